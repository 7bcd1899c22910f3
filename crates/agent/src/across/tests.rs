use skans_identity::head::Audience;
use skans_identity::id::SpiffeId;

use super::*;
use crate::proof::testing::evidence;

fn settings() -> Settings {
    let text = "apiVersion: skans.io/v1alpha1\ntrustDomain: test\ncluster: main\n\
        nodes: [{name: stock@host-a}]\n\
        identity: {authority: {directory: /nowhere}}\n\
        peers: {static: [{nodes: '*@host-x-there', address: '10.0.0.1:4370'}]}\n";
    Settings::new(crate::config::parse(text, "test", |_| None).unwrap()).unwrap()
}

fn links() -> Links {
    let own = Audience {
        trust_domain: TrustDomain::parse("test").unwrap(),
        cluster: "main".into(),
    };
    let text = r#"[{"name": "there", "trustDomain": "theirs.test", "cluster": "far", "notAfter": 9999999999,
        "bundle": {"url": "https://control.theirs.test/bundle", "profile": "https_web"},
        "gateways": ["spiffe://theirs.test/skans/gateway/g9"],
        "forwards": ["spiffe://theirs.test/cluster/far/ns/default/sa/web/node/*"],
        "labels": [],
        "exports": [{"node": "stock@host-a"}],
        "imports": [{"alias": "orders@there", "node": "orders@host-b", "process": "order_server"}]}]"#;
    Links::parse(&own, text).unwrap()
}

fn identity(id: &str, host: Option<&str>) -> PeerIdentity {
    let mut peer = evidence("main", "a", host).peer;
    peer.id = SpiffeId::parse(id).unwrap();
    peer
}

const WEB: &str = "spiffe://theirs.test/cluster/far/ns/default/sa/web/node/web";

fn comes(id: &str, host: Option<&str>, local: &str, name: &str) -> Result<(), Error> {
    let identity = identity(id, host);
    let names = (&local.parse().unwrap(), &name.parse().unwrap());
    check(&settings(), &links(), Direction::Inbound, &identity, names)
}

#[test]
fn who_comes_bears_the_name_that_the_link_gives_it() {
    assert!(comes(WEB, Some("host-a"), "stock@host-a", "web@host-a-there").is_ok());
    assert!(comes(WEB, Some("host.a"), "stock@host-a", "web@host-a-there").is_ok());
    assert!(
        comes(
            WEB,
            Some("host-a"),
            "stock@host-a.example",
            "web@host-a.there"
        )
        .is_ok()
    );
    for (id, host, name) in [
        // As it calls itself, as somebody here, as another of theirs.
        (WEB, Some("host-a"), "web@host-a"),
        (WEB, Some("host-a"), "stock@host-a"),
        (WEB, Some("host-a"), "other@host-a-there"),
        (WEB, Some("host-b"), "web@host-a-there"),
        (WEB, None, "web@host-a-there"),
        // A name that leads to a node of ours.
        (WEB, Some("host-x"), "web@host-x-there"),
        // Whom the link does not let come: another workload, cluster, domain; one of our domain; no node.
        (
            &WEB.replace("sa/web", "sa/other"),
            Some("host-a"),
            "web@host-a-there",
        ),
        (
            &WEB.replace("far", "near"),
            Some("host-a"),
            "web@host-a-there",
        ),
        (
            &WEB.replace("theirs", "others"),
            Some("host-a"),
            "web@host-a-there",
        ),
        (
            &WEB.replace("theirs.test", "test"),
            Some("host-a"),
            "web@host-a-there",
        ),
        (
            "spiffe://theirs.test/skans/gateway/g9",
            Some("host-a"),
            "web@host-a-there",
        ),
    ] {
        let found = comes(id, host, "stock@host-a", name);
        assert!(
            matches!(found, Err(Error::WrongName(_))),
            "{id} {name}: {found:?}"
        );
    }
}

#[test]
fn who_answers_is_the_one_that_the_alias_stands_for() {
    let answers = |id: &str, host: &str, name: &str| {
        let names = (&"stock@host-a".parse().unwrap(), &name.parse().unwrap());
        let identity = identity(id, Some(host));
        check(&settings(), &links(), Direction::Outbound, &identity, names)
    };
    let orders = WEB.replace("node/web", "node/orders");
    assert!(answers(&orders, "host-b", "orders@there").is_ok());
    // Whoever is called need not be one that may come.
    assert!(
        answers(
            &orders.replace("sa/web", "sa/any"),
            "host-b",
            "orders@there"
        )
        .is_ok()
    );
    for (id, host, name) in [
        (&*orders, "host-c", "orders@there"),
        (WEB, "host-b", "orders@there"),
        (&orders, "host-b", "orders@host-b"),
        (&orders, "host-b", "stock@host-a"),
        (&orders.replace("far", "near"), "host-b", "orders@there"),
        (
            &orders.replace("theirs.test", "test"),
            "host-b",
            "orders@there",
        ),
    ] {
        assert!(answers(id, host, name).is_err(), "{id} {name}");
    }
    let foreign = behind(&links(), &"orders@there".parse().unwrap()).unwrap();
    assert_eq!(
        (foreign.link.as_str(), foreign.name.as_str()),
        ("there", "orders@host-b")
    );
    assert_eq!(behind(&links(), &"orders@host-b".parse().unwrap()), None);
}

#[test]
fn two_nodes_never_get_one_name() {
    let name = |text: &str| text.parse::<NodeName>().unwrap();
    let across = |own: &str, there: &str| Across {
        own: name(own),
        there: name(there),
    };
    let (local, peer) = (name("orders@host-a"), name("stock@there"));
    let renamed = across("orders@host-a-here", "orders@host-a");
    assert!(renamed.renamers(&local, &peer, 1 << 20).is_ok());
    let one = across("orders@host-a", "orders@host-a");
    assert!(matches!(
        one.renamers(&local, &peer, 1 << 20),
        Err(Error::WrongName(_))
    ));
}
