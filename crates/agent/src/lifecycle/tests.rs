//! Files that change under a running agent; the rest is tried with real agents.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use skans_identity::authority::{Authority, Lifetimes};
use skans_identity::host::Host;
use skans_identity::id::{NodeId, TrustDomain};

use super::*;

fn write(directory: &Path, authority: &Authority) {
    let id = NodeId::new(authority.trust_domain(), "main", "default", "a", "a").unwrap();
    let credential = authority
        .issue(
            id.id(),
            &Host::parse("host").unwrap(),
            Duration::from_secs(600),
            UnixTime::now(),
        )
        .unwrap();
    std::fs::write(directory.join("chain"), credential.chain_pem()).unwrap();
    std::fs::write(directory.join("key"), credential.key_pem().as_bytes()).unwrap();
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(directory.join("key"), private).unwrap();
    std::fs::write(
        directory.join("bundle"),
        authority.bundle().unwrap().to_pem(),
    )
    .unwrap();
}

fn config(directory: &Path) -> Config {
    let directory = directory.display();
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: test.example\nnodes: [{{name: a@host, certificate: {{chain: {directory}/chain, key: {directory}/key}}}}]\ncli: {{enabled: false}}\nidentity: {{files: {{bundle: {directory}/bundle}}}}\n"
    );
    crate::config::parse(&text, "test", |_| None).unwrap()
}

#[test]
fn files_that_do_not_fit_leave_everything_as_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let domain = TrustDomain::parse("test.example").unwrap();
    let make =
        || Authority::generate(&domain, "main", UnixTime::now(), Lifetimes::default()).unwrap();
    let (ours, theirs) = (make(), make());
    write(directory.path(), &ours);
    let config = config(directory.path());
    let identities = Identities::new(&config).unwrap();
    load(&config, &identities).unwrap();
    let serial = || {
        identities
            .credential("a@host")
            .unwrap()
            .identity()
            .serial
            .clone()
    };
    let first = serial();

    let bundle = std::fs::read(directory.path().join("bundle")).unwrap();
    write(directory.path(), &theirs);
    std::fs::write(directory.path().join("bundle"), bundle).unwrap();
    assert!(load(&config, &identities).is_err());
    assert_eq!(serial(), first);

    write(directory.path(), &ours);
    load(&config, &identities).unwrap();
    assert_ne!(serial(), first);
}
