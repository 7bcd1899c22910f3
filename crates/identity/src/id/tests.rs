use proptest::prelude::*;

use super::*;

const NODE: &str = "spiffe://prod.example/cluster/main/ns/shop/sa/web/node/a";

fn why(text: &str) -> String {
    SpiffeId::parse(text).unwrap_err().to_string()
}

#[test]
fn a_node_id_has_its_parts() {
    let id = SpiffeId::parse(NODE).unwrap();
    assert_eq!(id.to_string(), NODE);
    assert_eq!(id.trust_domain().as_str(), "prod.example");
    assert_eq!(id.path(), "/cluster/main/ns/shop/sa/web/node/a");
    let role = Role::Node {
        cluster: "main",
        namespace: "shop",
        workload: "web",
        node: "a",
    };
    assert_eq!(id.role(), Some(role));
}

#[test]
fn reserved_ids_have_roles() {
    let role = |text: &str| format!("{:?}", SpiffeId::parse(text).unwrap().role());
    assert_eq!(role("spiffe://x/skans/agent/h1"), r#"Some(Agent("h1"))"#);
    assert_eq!(role("spiffe://x/skans/control/1"), r#"Some(Control("1"))"#);
    assert_eq!(role("spiffe://x/skans/gateway/g"), r#"Some(Gateway("g"))"#);
    assert_eq!(role("spiffe://x/skans/user/eva"), r#"Some(User("eva"))"#);
}

#[test]
fn other_shapes_have_no_role() {
    for path in [
        "",
        "/ns/shop/sa/web",
        "/skans/agent",
        "/skans/agent/a/b",
        "/skans/root/a",
        "/skans",
        "/cluster/main/ns/shop/sa/web/node",
        "/cluster/main/ns/shop/sa/web/node/a/b",
        "/cluster/main/ns/shop/sa/web/pod/a",
        "/cluster/main/sa/web/ns/shop/node/a",
        "/Cluster/main/ns/shop/sa/web/node/a",
    ] {
        let id = SpiffeId::parse(&format!("spiffe://x{path}")).unwrap();
        assert_eq!(id.role(), None, "{path}");
    }
}

// After the table of go-spiffe's spiffeid tests: the same inputs are refused there.
#[test]
fn what_the_specification_forbids_is_refused() {
    for (text, reason) in [
        ("", "spiffe://"),
        ("spiffe:/", "spiffe://"),
        ("SPIFFE://x/a", "spiffe://"),
        ("https://x/a", "spiffe://"),
        (" spiffe://x/a", "spiffe://"),
        ("spiffe://", "a name such as"),
        ("spiffe:///a", "a name such as"),
        ("spiffe://X/a", "no upper case"),
        ("spiffe://x:80/a", "no port"),
        ("spiffe://u@x/a", "only a-z"),
        ("spiffe://x?q", "only a-z"),
        ("spiffe://xn\u{e9}/a", "only a-z"),
        ("spiffe://x/", "empty path segment"),
        ("spiffe://x/a/", "empty path segment"),
        ("spiffe://x//a", "empty path segment"),
        ("spiffe://x/./a", "'.' or '..'"),
        ("spiffe://x/a/..", "'.' or '..'"),
        ("spiffe://x/a%2fb", "path segments"),
        ("spiffe://x/a b", "path segments"),
        ("spiffe://x/a\0", "path segments"),
        ("spiffe://x/a?b", "path segments"),
        ("spiffe://x/a#b", "path segments"),
        ("spiffe://x/\u{443}", "path segments"),
    ] {
        let why = why(text);
        assert!(why.contains(reason), "{text:?}: {why}");
    }
}

#[test]
fn lengths_are_bounded_exactly() {
    let head = "spiffe://x/";
    assert!(SpiffeId::parse(&format!("{head}{}", "a".repeat(MAX_ID - head.len()))).is_ok());
    assert!(why(&format!("{head}{}", "a".repeat(MAX_ID + 1 - head.len()))).contains("2048"));
    assert!(TrustDomain::parse(&"a".repeat(MAX_TRUST_DOMAIN)).is_ok());
    assert!(TrustDomain::parse(&"a".repeat(MAX_TRUST_DOMAIN + 1)).is_err());
}

#[test]
fn nothing_is_normalised() {
    let (a, b) = (
        SpiffeId::parse("spiffe://x/a").unwrap(),
        SpiffeId::parse("spiffe://x/A").unwrap(),
    );
    assert_ne!(a, b);
    assert_ne!(
        TrustDomain::parse("x").unwrap(),
        TrustDomain::parse("x.").unwrap()
    );
}

#[test]
fn a_message_cannot_be_forged_by_what_it_quotes() {
    let shown = why("spiffe://x/\u{1b}[31m\n\u{202e}evil");
    assert!(
        shown.chars().all(|c| c.is_ascii() && !c.is_ascii_control()),
        "{shown}"
    );
    assert!(why(&"y".repeat(100_000)).len() < 1000);
}

#[test]
fn a_node_id_is_built_from_parts() {
    let td = TrustDomain::parse("prod.example").unwrap();
    let id = NodeId::new(&td, "main", "shop", "web", "a").unwrap();
    assert_eq!(id.to_string(), NODE);
    assert_eq!(id.cluster(), "main");
    assert_eq!(NodeId::try_from(id.id().clone()).unwrap(), id);
    assert!(
        NodeId::cli(&td, "main", "shop", "web")
            .unwrap()
            .id()
            .path()
            .ends_with("/node/cli")
    );
}

#[test]
fn a_wrong_part_is_named() {
    let td = TrustDomain::parse("x").unwrap();
    let long = "a".repeat(MAX_PART + 1);
    for (parts, what) in [
        (["", "n", "w", "a"], "cluster"),
        (["..", "n", "w", "a"], "cluster"),
        (["c", "n/m", "w", "a"], "namespace"),
        (["c", "n", &long, "a"], "workload"),
        (["c", "n", "w", ""], "node"),
        (["c", "n", "w", "a.b"], "node"),
        (["c", "n", "w", "a@h"], "node"),
        (["c", "n", "w", "cli"], "node"),
    ] {
        let [cluster, namespace, workload, node] = parts;
        let error = NodeId::new(&td, cluster, namespace, workload, node).unwrap_err();
        assert!(error.to_string().starts_with(what), "{error}");
    }
    // What has the shape of a node's ID still has to hold a node's name.
    let id = SpiffeId::parse("spiffe://x/cluster/c/ns/n/sa/w/node/a.b").unwrap();
    assert!(NodeId::try_from(id).is_err());
}

proptest! {
    #[test]
    fn parsing_is_the_identity_or_an_error(text in "(spiffe://)?[a-zA-Z0-9._:/%-]{0,60}") {
        if let Ok(id) = SpiffeId::parse(&text) {
            prop_assert_eq!(id.as_str(), &text);
            let again = format!("spiffe://{}{}", id.trust_domain(), id.path());
            prop_assert_eq!(&again, &text);
            let _ = id.role();
        }
    }

    #[test]
    fn no_input_panics(text in ".{0,200}") {
        let _ = SpiffeId::parse(&text);
        let _ = TrustDomain::parse(&text);
    }

    #[test]
    fn parts_come_back(cluster in "[a-z0-9-]{1,63}", node in "[A-Za-z0-9_-]{1,40}") {
        prop_assume!(node != CLI);
        let td = TrustDomain::parse("x").unwrap();
        let id = NodeId::new(&td, &cluster, "n", "w", &node).unwrap();
        let parsed = SpiffeId::parse(id.id().as_str()).unwrap();
        let role = Role::Node { cluster: &cluster, namespace: "n", workload: "w", node: &node };
        prop_assert_eq!(parsed.role(), Some(role));
    }
}
