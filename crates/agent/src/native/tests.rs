//! What the option file says. That OTP takes it, and what it does with it, is tried with real nodes.

use super::*;

fn text(directory: &str) -> String {
    let config = "apiVersion: skans.io/v1alpha1\ntrustDomain: test.example\ncluster: blue\nnodes: [{name: a@host, mode: native}]\nidentity: {authority: {directory: /nowhere}}\n";
    let config = crate::config::parse(config, "test", |_| None).unwrap();
    options(&config, Path::new("/run/skans/ebin"), Path::new(directory))
}

#[test]
fn both_ends_verify_and_the_server_wants_a_certificate() {
    let text = text("/run/skans/native/a");
    assert_eq!(text.matches("{verify, verify_peer}").count(), 2);
    assert_eq!(text.matches("{versions, ['tlsv1.3']}").count(), 2);
    assert_eq!(text.matches("{fail_if_no_peer_cert, true}").count(), 1);
    let check = "{verify_fun, {fun skans_tls:verify/3, \"spiffe://test.example/cluster/blue/\"}}";
    assert_eq!(text.matches(check).count(), 2);
}

#[test]
fn a_path_cannot_end_its_string() {
    let text = text("/run/a\"}, os:cmd(\"x\\");
    assert!(
        text.contains(r#"{certfile, "/run/a\"}, os:cmd(\"x\\/node.pem"}"#),
        "{text}"
    );
}
