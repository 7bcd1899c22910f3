//! What decides a link, whenever it is decided.

use std::sync::Arc;

use super::*;
use crate::registry::{Direction, NewLink, Registered, Registry};

fn settings(more: &str) -> Settings {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: test\nidentity: {{authority: {{directory: /x}}}}\nnodes: [{{name: a@here}}]\n{more}"
    );
    Settings::new(crate::config::parse(&text, "test", |_| None).unwrap()).unwrap()
}

/// A link of `a@here` with `peer`, whose certificate is that of `node` at the host `there`.
fn link(registry: &Arc<Registry>, peer: &str, node: &str) -> Registered {
    let new = NewLink {
        local: "a@here".parse().unwrap(),
        peer: peer.parse().unwrap(),
        direction: Direction::Inbound,
        proof: crate::proof::testing::proof("main", node, Some("there")),
        across: None,
        service: None,
    };
    registry.register(new, 100).unwrap()
}

#[test]
fn a_refusal_hits_the_name_that_a_node_was_given() {
    let registry = Arc::new(Registry::default());
    let link = link(&registry, "?@there", CLI);
    let refuse = settings("refuse: ['1ABCDEFGHIJ@there']");
    assert!(check_names(&refuse, &Links::default(), &link, &link.proof()).is_ok());
    link.give(&"1ABCDEFGHIJ@there".parse().unwrap());
    assert!(matches!(
        check_names(&refuse, &Links::default(), &link, &link.proof()),
        Err(Error::NotPermitted { .. })
    ));
    assert!(check_names(&settings(""), &Links::default(), &link, &link.proof()).is_ok());
}

#[test]
fn a_given_name_must_be_one_that_the_certificate_may_carry() {
    let registry = Arc::new(Registry::default());
    let link = link(&registry, "?@there", CLI);
    link.give(&"rabbit@there".parse().unwrap());
    assert!(matches!(
        check_names(&settings(""), &Links::default(), &link, &link.proof()),
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

#[test]
fn what_hides_nodes_by_policy_is_in_the_digest() {
    let names = [1; 32];
    assert_ne!(with_rules(&names, "a"), names);
    assert_ne!(with_rules(&names, "a"), with_rules(&names, "b"));
    assert_ne!(with_rules(&names, "a"), with_rules(&[2; 32], "a"));
    assert_eq!(with_rules(&names, "a"), with_rules(&names, "a"));
}

#[test]
fn spawn_is_taken_away_from_what_a_node_is_told_and_nothing_else() {
    let all = Flags::KNOWN;
    assert_eq!(told(all, true), all);
    assert_eq!(told(all, false), all.without(Flags::SPAWN));
}

#[test]
fn who_claims_the_name_of_somebody_else_is_told_from_who_is_in_the_wrong_place() {
    let settings = settings("");
    let claims = |cluster: &str, node: &str, name: &str| {
        let proof = crate::proof::testing::proof(cluster, node, Some("there"));
        let config = &settings.config;
        assert_eq!(config.trust_domain, "test");
        spoofs(&settings, proof.identity(), &name.parse().unwrap())
    };
    let ours = settings.config.cluster.as_str();
    assert!(!claims(ours, "b", "b@there"));
    assert!(claims(ours, "b", "c@there"));
    assert!(claims(ours, "b", "b@elsewhere"));
    assert!(!claims("another", "b", "c@there"));
    let mut agent = crate::proof::testing::proof(ours, "b", Some("there"));
    agent.peer.peer.id =
        skans_identity::id::SpiffeId::parse("spiffe://test/skans/agent/x").unwrap();
    let name = "b@there".parse().unwrap();
    assert!(spoofs(&settings, agent.identity(), &name));
    agent.peer.peer.id =
        skans_identity::id::SpiffeId::parse("spiffe://other/skans/agent/x").unwrap();
    assert!(!spoofs(&settings, agent.identity(), &name));
}
