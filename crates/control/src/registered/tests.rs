//! Registrations against wishes.

use skans_store::registrations::Evidence;

use super::*;

fn registration(patterns: &[&str]) -> Registration {
    Registration {
        id: "r".into(),
        name: "r".into(),
        evidence: Evidence::JoinToken,
        patterns: patterns.iter().map(ToString::to_string).collect(),
        namespace: "prod".into(),
        workload: "shop".into(),
        cli: false,
        leaf_life: 0,
        disabled: false,
        owner: String::new(),
        created: 1,
        changed: 1,
    }
}

fn ask(registration: &Registration, name: &str) -> Result<(), Gap> {
    ask_for(Asked::Node, registration, name)
}

fn ask_for(what: Asked, registration: &Registration, name: &str) -> Result<(), Gap> {
    let name = NodeName::parse(name).unwrap();
    covers(
        registration,
        &Wish {
            what,
            name: &name,
            namespace: "prod",
            workload: "shop",
            agent_host: "host-a",
        },
    )
}

#[test]
fn only_what_is_registered() {
    let it = registration(&["shop@host-a", "till@host-b", "web*@host-a"]);
    for name in ["shop@host-a", "till@host-b", "web1@host-a", "web@host-a"] {
        assert_eq!(ask(&it, name), Ok(()), "{name}");
    }
    for name in [
        "shop@host-b",
        "other@host-a",
        "SHOP@host-a",
        "shop@host-a.b",
        "xweb@host-a",
    ] {
        assert_eq!(ask(&it, name), Err(Gap::Name), "{name}");
    }
}

#[test]
fn a_wildcard_host_is_the_agents_own() {
    let it = registration(&["shop@*", "till@host-?"]);
    assert_eq!(ask(&it, "shop@host-a"), Ok(()));
    assert_eq!(ask(&it, "till@host-a"), Ok(()));
    assert_eq!(ask(&it, "shop@host-b"), Err(Gap::Name));
    assert_eq!(ask(&it, "till@host-b"), Err(Gap::Name));
}

#[test]
fn short_lived_nodes_only_where_they_are_registered() {
    let mut it = registration(&["shop@host-a"]);
    assert_eq!(ask(&it, "cli@host-a"), Err(Gap::Cli));
    it.cli = true;
    assert_eq!(ask(&it, "cli@host-a"), Ok(()));
    assert_eq!(ask(&it, "cli@host-b"), Err(Gap::Name));
}

#[test]
fn a_pattern_of_nodes_makes_nobody_a_gateway() {
    let gateway = |it: &Registration, name| ask_for(Asked::Gateway, it, name);
    let mut nodes = registration(&["*@host-a", "g1@host-a", "gateway@host-a", "gate*@*"]);
    assert_eq!(gateway(&nodes, "g1@host-a"), Err(Gap::Name));
    nodes.cli = true;
    assert_eq!(gateway(&nodes, "cli@host-a"), Err(Gap::Name));
    let mut gateways = registration(&["gateway/g1@host-a", "gateway/*@host-?"]);
    assert_eq!(gateway(&gateways, "g1@host-a"), Ok(()));
    assert_eq!(gateway(&gateways, "g2@host-a"), Ok(()));
    assert_eq!(gateway(&gateways, "g2@host-b"), Err(Gap::Name));
    gateways.cli = true;
    for name in ["g1@host-a", "g2@host-a", "cli@host-a"] {
        assert_eq!(ask(&gateways, name), Err(Gap::Name), "{name}");
    }
}

#[test]
fn neither_disabled_nor_elsewhere() {
    let mut it = registration(&["shop@host-a"]);
    it.namespace = "test".into();
    assert_eq!(ask(&it, "shop@host-a"), Err(Gap::Namespace));
    it.namespace = "prod".into();
    it.workload = "till".into();
    assert_eq!(ask(&it, "shop@host-a"), Err(Gap::Workload));
    it.workload = "shop".into();
    it.disabled = true;
    assert_eq!(ask(&it, "shop@host-a"), Err(Gap::Disabled));
}

#[test]
fn patterns_as_people_write_them() {
    for good in [
        "a@b",
        "*@host",
        "web-?@*.svc",
        "a@10.0.0.1",
        "a@2001:db8::1",
    ] {
        assert_eq!(check_pattern(good), Ok(()), "{good}");
    }
    for bad in ["", "a", "a@", "@b", "a@b@c", "a b@c", "a@b/c", "a@b\n"] {
        assert!(check_pattern(bad).is_err(), "{bad}");
    }
}
