//! What decides a link, whenever it is decided.

use std::sync::Arc;

use skans_identity::host::Host;
use skans_identity::id::SpiffeId;

use super::*;
use crate::registry::{Direction, NewLink, Registered, Registry, TlsFacts};

fn settings(more: &str) -> Settings {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: test\nidentity: {{authority: {{directory: /x}}}}\nnodes: [{{name: a@here}}]\n{more}"
    );
    Settings::new(crate::config::parse(&text, "test", |_| None).unwrap()).unwrap()
}

/// A link of `a@here` with `peer`, whose certificate is that of `node` at the host `there`.
fn link(registry: &Arc<Registry>, peer: &str, node: &str) -> Registered {
    let id = format!("spiffe://test/cluster/main/ns/default/sa/w/node/{node}");
    let new = NewLink {
        local: "a@here".parse().unwrap(),
        peer: peer.parse().unwrap(),
        direction: Direction::Inbound,
        identity: PeerIdentity {
            id: SpiffeId::parse(&id).unwrap(),
            host: Some(Host::parse("there").unwrap()),
            not_before: 0,
            not_after: u64::MAX,
            serial: "01".into(),
            issuer: String::new(),
            spki_sha256: [0; 32],
        },
        address: "127.0.0.1:1".parse().unwrap(),
        tls: TlsFacts {
            version: "TLSv1.3",
            suite: String::new(),
            group: String::new(),
        },
    };
    registry.register(new, 100).unwrap()
}

#[test]
fn a_refusal_hits_the_name_that_a_node_was_given() {
    let registry = Arc::new(Registry::default());
    let link = link(&registry, "?@there", CLI);
    let refuse = settings("refuse: ['1ABCDEFGHIJ@there']");
    assert!(check_link(&refuse, &link).is_ok());
    link.given
        .get_or_init(|| "1ABCDEFGHIJ@there".parse().unwrap());
    assert!(matches!(
        check_link(&refuse, &link),
        Err(Error::NotPermitted { .. })
    ));
    assert!(check_link(&settings(""), &link).is_ok());
}

#[test]
fn a_given_name_must_be_one_that_the_certificate_may_carry() {
    let registry = Arc::new(Registry::default());
    let link = link(&registry, "?@there", CLI);
    link.given.get_or_init(|| "rabbit@there".parse().unwrap());
    assert!(matches!(
        check_link(&settings(""), &link),
        Err(Error::WrongName(_))
    ));
}

#[test]
fn nobody_is_called_by_the_mark_of_those_without_a_name() {
    assert!(named("?@there".parse().unwrap()).is_err());
    assert!(named("a@there".parse().unwrap()).is_ok());
}

#[test]
fn a_link_that_was_ended_while_it_was_set_up_does_not_hold() {
    let registry = Arc::new(Registry::default());
    let link = link(&registry, "b@there", "b");
    assert!(link.still_holds().is_ok());
    let close = skans_link::Close::new(skans_link::Reason::NotPermitted, "why");
    link.mute(close, Duration::from_secs(1));
    assert!(matches!(link.still_holds(), Err(Error::Ended(_))));
}
