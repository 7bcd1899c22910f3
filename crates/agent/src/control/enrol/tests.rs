//! What is there to enrol with, and the key that is kept until there is an answer. Enrolment itself is tried with the real
//! control plane.

use std::os::unix::fs::PermissionsExt;

use skans_identity::csr::ProvenKey;
use skans_identity::token::Address;

use super::*;
use crate::config;

struct Host {
    directory: tempfile::TempDir,
}

impl Host {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        Self { directory }
    }

    /// A new token in the place where the agent looks; its id.
    fn put_token(&self) -> String {
        let address = Address::parse("127.0.0.1:8443").unwrap();
        let token = JoinToken::draw([7; 32], vec![address]).unwrap();
        let path = self.directory.path().join("token");
        std::fs::write(&path, token.to_text().as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        token.id()
    }

    fn open(&self) -> Result<Control, Error> {
        let at = self.directory.path().display();
        let text = format!(
            "apiVersion: skans.io/v1alpha1\ntrustDomain: test.example\nnodes: [{{name: a@host}}]\nidentity: {{control: {{joinToken: {at}/token, stateDirectory: {at}/state}}}}\n"
        );
        let config = config::parse(&text, "test", |_| None).unwrap();
        let config::IdentitySource::Control(source) = &config.identity else {
            panic!("{text}");
        };
        Control::open(&config, source, &Identities::new(&config).unwrap(), None)
    }
}

fn public(key: &SoftwareKey) -> [u8; 32] {
    ProvenKey::of(key).spki_sha256()
}

#[test]
fn a_lost_answer_is_asked_for_with_the_same_key_and_another_token_with_another() {
    let host = Host::new();
    let token = host.put_token();
    let first = public(&host.open().unwrap().key(&token).unwrap());
    // As after a crash between asking and the answer.
    let control = host.open().unwrap();
    assert_eq!(public(&control.key(&token).unwrap()), first);
    let next = host.put_token();
    assert_ne!(public(&control.key(&next).unwrap()), first);
    let mode = control.state.path(Item::Pending).metadata().unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_agent_with_nothing_to_enrol_with_does_not_start_and_says_what_is_wanted() {
    let host = Host::new();
    let error = host.open().unwrap_err().to_string();
    assert!(error.contains("token"), "{error}");
    std::fs::write(host.directory.path().join("token"), "skans1.garbage").unwrap();
    let error = host.open().unwrap_err().to_string();
    assert!(error.contains("chmod 600"), "others may read it: {error}");
    let loose = host.directory.path().join("token");
    std::fs::set_permissions(loose, std::fs::Permissions::from_mode(0o600)).unwrap();
    let error = host.open().unwrap_err().to_string();
    assert!(error.contains("join token"), "{error}");
    assert!(
        !error.contains("garbage"),
        "a token stands in no log: {error}"
    );
}

#[test]
fn a_token_that_was_used_is_not_used_again() {
    let host = Host::new();
    let token = host.put_token();
    let control = host.open().unwrap();
    let enrolment = Enrolment {
        token,
        ..Enrolment::default()
    };
    write_json(&control.state, Item::Enrolment, &enrolment).unwrap();
    let error = control.check_evidence().unwrap_err().to_string();
    assert!(error.contains("wanted a new one"), "{error}");
    host.put_token();
    control.check_evidence().unwrap();
}
