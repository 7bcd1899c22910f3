use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::forge::Forge;
use crate::peer::PeerIdentity;
use crate::testing::{NOW, at, lab};

pub(in crate::federation) const GATEWAY: &str = "spiffe://theirs.test/skans/gateway/g1";
pub(in crate::federation) const ENDPOINT: &str = "spiffe://theirs.test/skans/control/c1";
pub(in crate::federation) const NODE: &str =
    "spiffe://theirs.test/cluster/main/ns/shop/sa/web/node/a";

pub(in crate::federation) fn audience(domain: &str, cluster: &str) -> Audience {
    Audience {
        trust_domain: domain.parse().unwrap(),
        cluster: cluster.into(),
    }
}

pub(in crate::federation) fn own() -> Audience {
    Audience {
        trust_domain: lab(),
        cluster: "main".into(),
    }
}

/// Our side's link to cluster `main` of theirs.test, over the web until something else is put in.
pub(in crate::federation) fn link() -> Value {
    json!({
        "name": "shop",
        "trustDomain": "theirs.test",
        "cluster": "main",
        "notAfter": NOW.as_secs() + 30 * 24 * 3600,
        "bundle": {"url": "https://theirs.test/v1/federation/bundle", "profile": "https_web"},
        "gateways": [GATEWAY],
        "forwards": ["spiffe://theirs.test/cluster/main/ns/shop/sa/*/node/*"],
        "labels": ["purpose"],
        "exports": [
            {"node": "orders@host-a", "process": "order_server"},
            {"node": "orders@host-a", "function": "orders:lookup/2"},
        ],
        "imports": [{"alias": "stock@shop", "node": "stock@host-a", "process": "stock_server"}],
    })
}

pub(in crate::federation) fn with(change: impl FnOnce(&mut Value)) -> Value {
    let mut link = link();
    change(&mut link);
    link
}

pub(in crate::federation) fn links(all: &[Value]) -> Result<Links, Error> {
    Links::parse(&own(), &Value::from(all).to_string())
}

pub(in crate::federation) fn one(link: Value) -> Link {
    links(&[link]).unwrap().0.remove(0)
}

pub(in crate::federation) fn evidence(id: &str, cluster: Option<&str>) -> Evidence {
    Evidence {
        peer: PeerIdentity {
            id: id.parse().unwrap(),
            host: None,
            not_before: NOW.as_secs(),
            not_after: NOW.as_secs() + 3600,
            serial: "01".into(),
            issuer: String::new(),
            spki_sha256: [1; 32],
        },
        signers: vec![],
        cluster: cluster.map(Into::into),
        not_after: NOW.as_secs() + 3600,
    }
}

fn why(link: Value) -> String {
    links(&[link]).unwrap_err().to_string()
}

#[test]
fn a_link_says_what_was_written() {
    let link = one(link());
    assert_eq!(&*link.name, "shop");
    assert_eq!(link.peer, audience("theirs.test", "main"));
    assert_eq!(link.own, own());
    assert_eq!(link.exports[0].node.to_string(), "orders@host-a");
    assert_eq!(link.exports[1].what.to_string(), "function orders:lookup/2");
    assert_eq!(link.imports[0].alias.to_string(), "stock@shop");
    assert_eq!(link.source.staleness, STALENESS);
    assert!(link.counts("purpose") && !link.counts("data-class"));
    assert!(Links::parse(&own(), "[]").unwrap().iter().next().is_none());
}

#[test]
fn what_is_wrong_is_named_with_its_link_and_its_place() {
    let set =
        |at: &'static str, value: Value| with(move |link| *link.pointer_mut(at).unwrap() = value);
    for (wrong, said) in [
        (set("/name", json!("a b")), "\"a b\""),
        (set("/trustDomain", json!("Theirs.test")), "trustDomain"),
        (set("/trustDomain", json!("theirs.test.")), "gateways"),
        (set("/trustDomain", json!("lab.test")), "our own"),
        (set("/cluster", json!("../x")), "cluster"),
        (set("/notAfter", json!("soon")), "0019"),
        (
            set("/bundle/url", json!("http://theirs.test/")),
            "bundle.url",
        ),
        (
            set("/bundle/url", json!("https://169.254.169.254/")),
            "bundle.url",
        ),
        (set("/bundle/profile", json!("http")), "bundle.profile"),
        (
            set("/bundle/profile", json!("https_spiffe")),
            "bundle.profile",
        ),
        (set("/gateways/0", json!(NODE)), "gateways"),
        (
            set("/gateways/0", json!("spiffe://lab.test/skans/gateway/g1")),
            "gateways",
        ),
        (
            set("/gateways/0", json!("spiffe://theirs.test/skans/gateway/*")),
            "gateways",
        ),
        (
            set("/forwards/0", json!("spiffe://lab.test/ns/a")),
            "forwards",
        ),
        (
            set("/forwards/0", json!("spiffe://theirs.test/skans/user/a")),
            "forwards",
        ),
        (set("/labels/0", json!("a b")), "labels"),
        (set("/exports/0/node", json!("*@host-a")), "exports[0]"),
        (set("/exports/0/process", json!("order_*")), "exports[0]"),
        (set("/exports/0/process", json!("rex")), "exports[0]"),
        (
            set("/exports/0/process", json!("global_name_server")),
            "exports[0]",
        ),
        (
            set("/exports/1/function", json!("orders:lookup/*")),
            "exports[1]",
        ),
        (
            set("/exports/1/function", json!("orders:lookup/02")),
            "exports[1]",
        ),
        (
            set("/exports/1/function", json!("orders:lookup/256")),
            "exports[1]",
        ),
        (set("/exports/1/function", json!("lookup/2")), "exports[1]"),
        (
            with(|link| link["exports"][0]["function"] = json!("a:b/1")),
            "not both",
        ),
        (
            with(|link| link["exports"][0]["alias"] = json!("a@b")),
            "who imports",
        ),
        (
            with(|link| link["exports"][1] = link["exports"][0].clone()),
            "exports[1] again",
        ),
        (
            with(|link| _ = link["imports"][0].as_object_mut().unwrap().remove("alias")),
            "imports[0]",
        ),
        (
            with(|link| link["imports"][0]["alias"] = json!("orders@host-a")),
            "alias",
        ),
        (
            with(|link| link["bundle"]["staleness"] = json!(899)),
            "staleness",
        ),
        (
            with(|link| link["bundle"]["staleness"] = json!(604_801)),
            "staleness",
        ),
        (
            with(|link| link["bundle"]["roots"] = json!("none")),
            "bundle.roots",
        ),
        (with(|link| link["everything"] = json!(true)), "0019"),
        (with(|link| link["labels"] = json!(["a", "a"])), "again"),
        (
            with(|link| link["labels"] = json!(vec!["a"; MAX_SCOPE + 1])),
            "labels: 65",
        ),
        (
            with(|link| link["exports"] = json!(vec![json!({"node": "a@b"}); MAX_ITEMS + 1])),
            "257",
        ),
    ] {
        let found = why(wrong.clone());
        assert!(found.contains(said), "{wrong}: {found}");
        assert!(found.contains("cluster link"), "{found}");
    }
    let text = format!("[{}]", " ".repeat(MAX_TEXT));
    assert!(Links::parse(&own(), &text).is_err());
    assert!(Links::parse(&own(), &"[".repeat(1000)).is_err());
    let many = (0..=MAX_LINKS).map(|n| with(|link| link["name"] = json!(format!("l{n}"))));
    let many: Vec<_> = many.collect();
    assert!(links(&many).unwrap_err().to_string().contains("at most 64"));
}

#[test]
fn https_spiffe_begins_with_roots_of_the_very_domain() {
    let theirs = "theirs.test".parse().unwrap();
    let other = "other.test".parse().unwrap();
    let pem = |domain: &TrustDomain| Forge::new(domain, NOW).unwrap().bundle().unwrap().to_pem();
    let spiffe = |id: &str, roots: Option<String>| {
        with(|link| {
            link["bundle"]["profile"] = json!("https_spiffe");
            link["bundle"]["endpointId"] = json!(id);
            if let Some(roots) = roots {
                link["bundle"]["roots"] = json!(roots);
            }
        })
    };
    assert!(links(&[spiffe(ENDPOINT, Some(pem(&theirs)))]).is_ok());
    assert!(why(spiffe(ENDPOINT, None)).contains("bundle.roots"));
    assert!(why(spiffe(ENDPOINT, Some(pem(&other)))).contains("other.test"));
    let elsewhere = "spiffe://other.test/skans/control/c1";
    assert!(why(spiffe(elsewhere, Some(pem(&theirs)))).contains("endpointId"));
    assert!(why(spiffe("spiffe://theirs.test", Some(pem(&theirs)))).contains("endpointId"));
}

#[test]
fn links_do_not_contradict_each_other() {
    let second = |change: &dyn Fn(&mut Value)| {
        with(|link| {
            link["name"] = json!("second");
            link["cluster"] = json!("second");
            link["forwards"] = json!([]);
            link["imports"][0]["alias"] = json!("stock@second");
            change(link);
        })
    };
    assert!(links(&[link(), second(&|_| ())]).is_ok());
    for (change, said) in [
        (
            &(|link: &mut Value| link["name"] = json!("shop")) as &dyn Fn(&mut Value),
            "name again",
        ),
        (&|link| link["cluster"] = json!("main"), "one link to each"),
        (
            &|link| link["bundle"]["url"] = json!("https://else.test/b"),
            "one source",
        ),
        (
            &|link| link["bundle"]["staleness"] = json!(3600),
            "one source",
        ),
        (
            &|link| link["imports"][0]["alias"] = json!("stock@shop"),
            "one node for one alias",
        ),
        (
            &|link| link["imports"][0]["alias"] = json!("orders@host-a"),
            "one node for one alias",
        ),
        (
            &|link| {
                let mut again = link["imports"][0].clone();
                again["node"] = json!("stock@host-b");
                link["imports"].as_array_mut().unwrap().push(again);
            },
            "one node for one alias",
        ),
    ] {
        let found = links(&[link(), second(change)]).unwrap_err().to_string();
        assert!(found.contains(said), "{found}");
    }
}

#[test]
fn a_gateway_forwards_what_its_link_names_and_nothing_else() {
    let link = one(link());
    let gateway = evidence(GATEWAY, Some("main"));
    let node = evidence(NODE, Some("main"));
    assert_eq!(link.may_forward(&gateway, &node, NOW), Ok(()));
    // A gateway of another authority does not say its cluster.
    assert_eq!(
        link.may_forward(&evidence(GATEWAY, None), &node, NOW),
        Ok(())
    );
    for (gateway, id) in [
        // Not their gateway: another's id, a node, one of ours with the same id, another cluster's under their root.
        (
            evidence("spiffe://theirs.test/skans/gateway/g2", Some("main")),
            NODE,
        ),
        (evidence(NODE, Some("main")), NODE),
        (
            evidence("spiffe://lab.test/skans/gateway/g1", Some("main")),
            NODE,
        ),
        (evidence(GATEWAY, Some("other")), NODE),
        // Out of its scope: ours, another domain's, another namespace or cluster, what carries no node.
        (
            gateway.clone(),
            "spiffe://lab.test/cluster/main/ns/shop/sa/web/node/a",
        ),
        (
            gateway.clone(),
            "spiffe://other.test/cluster/main/ns/shop/sa/web/node/a",
        ),
        (
            gateway.clone(),
            "spiffe://theirs.test/cluster/main/ns/bank/sa/web/node/a",
        ),
        (
            gateway.clone(),
            "spiffe://theirs.test/cluster/other/ns/shop/sa/web/node/a",
        ),
        (gateway.clone(), "spiffe://theirs.test/skans/user/alice"),
        (gateway.clone(), "spiffe://theirs.test/skans/control/c1"),
        (gateway.clone(), GATEWAY),
    ] {
        let verdict = link.may_forward(&gateway, &evidence(id, Some("main")), NOW);
        assert!(verdict.is_err(), "{} forwards {id}", gateway.peer.id);
    }
    let last = at(link.not_after);
    assert_eq!(link.may_forward(&gateway, &node, last), Ok(()));
    let over = link.may_forward(&gateway, &node, at(link.not_after + 1));
    assert!(over.unwrap_err().to_string().contains("not over"));
}

#[test]
fn nothing_passes_by_the_consent_of_one_side() {
    let ours = one(link());
    let text = |link: Value| Value::from(vec![link]).to_string();
    let mirrored = json!({
        "name": "lab",
        "trustDomain": "lab.test",
        "cluster": "main",
        "notAfter": NOW.as_secs() + 3600,
        "bundle": {"url": "https://lab.test/v1/federation/bundle", "profile": "https_web"},
        "exports": [
            {"node": "stock@host-a", "process": "stock_server"},
            {"node": "stock@host-a", "process": "secret_server"},
        ],
        "imports": [
            {"alias": "orders@lab", "node": "orders@host-a", "process": "order_server"},
            {"alias": "orders@lab", "node": "orders@host-a", "process": "not_exported"},
        ],
    });
    let theirs_at =
        |own: Audience, link: Value| Links::parse(&own, &text(link)).unwrap().0.remove(0);
    let theirs = theirs_at(audience("theirs.test", "main"), mirrored.clone());
    let both = consent(&ours, &theirs, NOW);
    assert_eq!(both.given, [&ours.exports[0]]);
    assert_eq!(both.taken, [&ours.imports[0]]);
    // Theirs is over, or another cluster's, or about another cluster of ours.
    assert_eq!(
        consent(&ours, &theirs, at(theirs.not_after + 1)),
        Consent::default()
    );
    let other = theirs_at(audience("theirs.test", "other"), mirrored.clone());
    assert_eq!(consent(&ours, &other, NOW), Consent::default());
    let mut about_another = mirrored;
    about_another["cluster"] = json!("second");
    let other = theirs_at(audience("theirs.test", "main"), about_another);
    assert_eq!(consent(&ours, &other, NOW), Consent::default());
}

#[test]
fn a_link_has_an_end_in_sight() {
    let ending = |at: u64| links(&[with(|link| link["notAfter"] = json!(at))]).unwrap();
    let now = NOW.as_secs();
    assert!(ending(now + MAX_LIFE).check_life(NOW).is_ok());
    for at in [0, now - 1, now + MAX_LIFE + 1, u64::MAX] {
        assert!(ending(at).check_life(NOW).is_err(), "{at}");
    }
    let theirs = "theirs.test".parse().unwrap();
    assert!(ending(now).source(&theirs, NOW).is_some());
    assert!(ending(now - 1).source(&theirs, NOW).is_none());
}

proptest! {
    #[test]
    fn no_text_panics(text in "\\PC{0,200}") {
        let _ = Links::parse(&own(), &text);
    }
}
