use std::sync::Arc;

use super::*;
use crate::proof::testing::proof;
use crate::registry::Registry;

#[test]
fn an_agent_that_knows_no_services_is_not_asked_for_one() {
    let registry = Arc::new(Registry::default());
    let new = NewLink {
        local: "a@here".parse().unwrap(),
        peer: "b@there".parse().unwrap(),
        direction: Direction::Outbound,
        proof: proof("c", "b", Some("there")),
        across: None,
        service: Some("postgres".into()),
    };
    let link = registry.register(new, 1).unwrap();
    let hello = greeting([1; 16], &link, "postgres");
    // What it offers at the least is what knows them: another agent finds no version in common.
    assert!(hello.version_min >= VERSION_SERVICE);
    assert!(skans_link::negotiate(hello.version_min, hello.version_max).is_ok());
    assert_eq!(hello.service, "postgres");
    assert_eq!(
        (hello.from.as_str(), hello.to.as_str()),
        ("a@here", "b@there")
    );
}
