//! Who may, who sees whom, and where everybody is.

use super::*;

fn settings(more: &str) -> Settings {
    let text = format!(
        "apiVersion: skans.io/v1alpha1\ntrustDomain: test\nidentity: {{authority: {{directory: /x}}}}\nnodes: [{{name: a@host-a}}]\n{more}"
    );
    Settings::new(crate::config::parse(&text, "test", |_| None).unwrap()).unwrap()
}

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

#[test]
fn a_refused_name_is_refused_in_both_directions_and_the_rule_named() {
    let settings = settings("refuse: ['evil@*']");
    let (a, evil) = (name("a@host-a"), name("evil@x"));
    assert_eq!(
        settings.refusal(&evil, &a).unwrap(),
        "evil@x matches refuse: evil@*"
    );
    assert!(settings.refusal(&a, &evil).is_some());
    assert!(settings.refusal(&a, &name("b@host-b")).is_none());
}

#[test]
fn a_clique_is_the_same_for_equal_lists_in_any_order_and_for_no_others() {
    let pair = (name("a@host-a"), name("b@host-b"));
    let of = |more: &str| settings(more).clique(&pair.0, &pair.1);
    let whole = of("clique: {members: ['a@host-a', 'b@host-b']}");
    assert!(whole.is_some());
    assert_eq!(whole, of("clique: {members: ['b@host-b', 'a@host-a']}"));
    assert_ne!(whole, of("clique: {members: ['*@*']}"));
    assert_ne!(
        whole,
        of(
            "{clique: {members: ['a@host-a', 'b@host-b']}, cluster: other}"
                .trim_matches(['{', '}'])
                .replace(", cluster", "\ncluster")
                .as_str()
        )
    );
    assert_eq!(
        of("clique: {members: ['a@host-a']}"),
        None,
        "b is no member"
    );
}

#[test]
fn agents_that_know_other_short_lived_names_belong_to_other_cliques() {
    let pair = (name("a@host-a"), name("b@host-b"));
    let of = |more: &str| settings(more).clique(&pair.0, &pair.1);
    assert_ne!(of(""), of("cli: {patterns: ['migrate-*']}"));
    assert_ne!(of(""), of("cli: {enabled: false}"));
}

#[test]
fn refusing_a_member_makes_another_clique_and_refusing_a_stranger_does_not() {
    let pair = (name("a@host-a"), name("b@host-b"));
    let of = |more: &str| {
        settings(&format!(
            "clique: {{members: ['a@host-a', 'b@host-b', 'c@host-c']}}\n{more}"
        ))
        .clique(&pair.0, &pair.1)
    };
    assert_eq!(of(""), of("refuse: ['evil@*']"));
    assert_ne!(
        of(""),
        of("refuse: ['c@*']"),
        "a hole in the clique hides this agent from it"
    );
}

#[test]
fn short_lived_nodes_belong_to_no_clique() {
    let settings = settings("");
    assert!(
        settings
            .clique(&name("a@host-a"), &name("b@host-b"))
            .is_some()
    );
    assert!(
        settings
            .clique(&name("a@host-a"), &name("rabbitmqcli-1-a@host-b"))
            .is_none()
    );
    assert!(
        settings
            .clique(&name("a@host-a"), &name("?@host-b"))
            .is_none(),
        "nor does one whose name is still to be given"
    );
}

#[test]
fn places_are_found_in_order_and_unknown_names_nowhere() {
    let settings = settings(
        "peers:\n  static: [{nodes: '*@host-b', address: '10.0.0.2:4370'}]\n  dns: {hosts: '*.svc', port: 4371}",
    );
    assert_eq!(settings.place(&name("a@host-a")), Some(Place::Here));
    assert_eq!(settings.place(&name("rem-1@host-a")), Some(Place::Here));
    assert_eq!(
        settings.place(&name("z@host-a")),
        None,
        "a host of ours is served here or nowhere"
    );
    assert_eq!(
        settings.place(&name("b@host-b")),
        Some(Place::There("10.0.0.2:4370".into()))
    );
    assert_eq!(
        settings.place(&name("b@pod-0.svc")),
        Some(Place::There("pod-0.svc:4371".into()))
    );
    assert_eq!(settings.place(&name("b@elsewhere")), None);
}
