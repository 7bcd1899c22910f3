use super::*;
use crate::id::NodeId;
use crate::testing::{HOUR, NOW, authority, credential, host, lab};

fn names() -> Vec<NamePattern> {
    NamePattern::cli_defaults()
}

fn with_host(text: &str, node: &str) -> PeerIdentity {
    let id = NodeId::new(&lab(), "main", "default", "web", node).unwrap();
    let host = Host::parse(text).unwrap();
    authority()
        .issue(id.id(), &host, HOUR, NOW)
        .unwrap()
        .identity()
        .clone()
}

#[test]
fn what_the_certificate_says_is_read() {
    let authority = authority();
    let a = credential(&authority, "a");
    let peer = PeerIdentity::from_der(&a.chain()[0]).unwrap();
    assert_eq!(peer.id.as_str(), crate::testing::NODE_A);
    assert_eq!(peer.host, Some(host()));
    assert_eq!(peer.not_before, NOW.as_secs() - 60);
    assert_eq!(peer.not_after, NOW.as_secs() + 3600);
    assert_eq!(peer.serial.len(), 32);
    assert!(peer.issuer.contains("Skans issuer"), "{}", peer.issuer);
}

#[test]
fn a_node_carries_its_own_name_and_no_other() {
    let peer = with_host("host-a", "a");
    assert_eq!(peer.may_carry("a", "host-a", &names()), Ok(()));
    for (alive, host) in [
        ("b", "host-a"),
        ("a", "host-b"),
        ("A", "host-a"),
        ("a", "HOST-A"),
        ("a", "host-a."),
        ("a", "host-a.lab"),
        ("", "host-a"),
        ("a", ""),
        ("rem-1-a", "host-a"),
        ("c17", "host-a"),
        ("cli", "host-a"),
    ] {
        let refusal = peer.may_carry(alive, host, &names()).unwrap_err();
        assert_eq!(refusal.label(), "node_name", "{alive}@{host}");
        assert!(refusal.to_string().contains("wanted a@host-a"), "{refusal}");
    }
}

#[test]
fn an_ip_host_is_spelled_canonically() {
    let peer = with_host("127.0.0.1", "a");
    assert!(peer.may_carry("a", "127.0.0.1", &[]).is_ok());
    assert!(peer.may_carry("a", "127.0.0.01", &[]).is_err());
    let peer = with_host("::1", "a");
    assert!(peer.may_carry("a", "::1", &[]).is_ok());
    assert!(peer.may_carry("a", "0:0:0:0:0:0:0:1", &[]).is_err());
}

#[test]
fn a_cli_identity_carries_short_lived_names_on_its_host() {
    let id = NodeId::cli(&lab(), "main", "default", "tools").unwrap();
    let peer = authority()
        .issue(id.id(), &host(), HOUR, NOW)
        .unwrap()
        .identity()
        .clone();
    assert!(
        peer.may_carry("rabbitmqcli-17-rabbit", "host-a", &names())
            .is_ok()
    );
    assert!(peer.may_carry("c17", "host-a", &names()).is_ok());
    for (alive, host) in [("a", "host-a"), ("cli", "host-a"), ("c17", "host-b")] {
        assert!(
            peer.may_carry(alive, host, &names()).is_err(),
            "{alive}@{host}"
        );
    }
    assert!(peer.may_carry("c17", "host-a", &[]).is_err());
    let own = [NamePattern::parse("tool-*").unwrap()];
    assert!(peer.may_carry("tool-1", "host-a", &own).is_ok());
}

#[test]
fn other_identities_carry_no_name() {
    let mut peer = with_host("host-a", "a");
    for id in [
        "spiffe://lab.test/skans/agent/a",
        "spiffe://lab.test/ns/default/sa/a",
    ] {
        peer.id = SpiffeId::parse(id).unwrap();
        assert_eq!(
            peer.may_carry("a", "host-a", &names()).unwrap_err().label(),
            "not_a_node"
        );
    }
}

#[test]
fn without_a_host_no_name_is_carried() {
    let mut peer = with_host("host-a", "a");
    peer.host = None;
    assert!(peer.may_carry("a", "host-a", &names()).is_err());
    assert!(peer.may_carry("a", "", &names()).is_err());
}

#[test]
fn a_claimed_name_is_escaped_in_the_message() {
    let peer = with_host("host-a", "a");
    let text = peer
        .may_carry("a\n\u{1b}[2J", "h", &[])
        .unwrap_err()
        .to_string();
    assert!(!text.contains(['\n', '\u{1b}']), "{text}");
}
