use skans_identity::head::Audience;
use skans_identity::id::{SpiffeId, TrustDomain};

use super::*;
use crate::proof::testing::evidence;

const NOW: UnixTime = UnixTime::since_unix_epoch(std::time::Duration::from_secs(1000));

fn settings() -> Settings {
    let text = "apiVersion: skans.io/v1alpha1\ntrustDomain: test\ncluster: main\n\
        gateway: {name: g1@gw, routes: {there: ['10.0.0.9:4371']}}\n\
        identity: {authority: {directory: /nowhere}}\n\
        peers: {static: [{nodes: '*@host-a', address: '10.0.0.1:4370'}]}\n";
    Settings::new(crate::config::parse(text, "test", |_| None).unwrap()).unwrap()
}

fn links(not_after: u64) -> Links {
    let own = Audience {
        trust_domain: TrustDomain::parse("test").unwrap(),
        cluster: "main".into(),
    };
    let text = format!(
        r#"[{{"name": "there", "trustDomain": "theirs.test", "cluster": "far", "notAfter": {not_after},
            "bundle": {{"url": "https://control.theirs.test/bundle", "profile": "https_web"}},
            "gateways": ["spiffe://theirs.test/skans/gateway/g9"],
            "forwards": ["spiffe://theirs.test/cluster/far/ns/default/sa/*/node/*"],
            "labels": [],
            "exports": [{{"node": "stock@host-a", "process": "stock_server"}}, {{"node": "lost@host-z"}}],
            "imports": [{{"alias": "orders@there", "node": "orders@host-b", "process": "order_server"}}]}}]"#
    );
    Links::parse(&own, &text).unwrap()
}

/// Whoever has this identity.
fn who(id: &str, host: &str) -> Evidence {
    let mut evidence = evidence("main", "a", Some(host));
    evidence.peer.id = SpiffeId::parse(id).unwrap();
    evidence
}

fn end(domain: &str, cluster: &str, node: &str) -> End {
    End {
        trust_domain: domain.into(),
        cluster: cluster.into(),
        node: node.into(),
    }
}

fn ours(node: &str) -> End {
    end("test", "main", node)
}

fn theirs(node: &str) -> End {
    end("theirs.test", "far", node)
}

fn ask(asker: &Evidence, from: End, to: End, not_after: u64) -> Result<Next, String> {
    let ask = Ask {
        session: [1; 16],
        from,
        to,
    };
    decide(&settings(), &links(not_after), asker, &ask, NOW)
}

const OWN: &str = "spiffe://test/cluster/main/ns/default/sa/w/node/web";
const GATEWAY: &str = "spiffe://theirs.test/skans/gateway/g9";

#[test]
fn a_node_of_ours_is_brought_to_what_is_imported_and_no_further() {
    let node = who(OWN, "host-a");
    let there = Next::Gateway {
        link: "there".into(),
    };
    let from = || ours("web@host-a");
    assert_eq!(ask(&node, from(), theirs("orders@host-b"), 2000), Ok(there));
    for (asker, from, to, not_after) in [
        // Nothing that is imported; another cluster; over.
        (&node, from(), theirs("other@host-b"), 2000),
        (
            &node,
            from(),
            end("theirs.test", "near", "orders@host-b"),
            2000,
        ),
        (
            &node,
            from(),
            end("others.test", "far", "orders@host-b"),
            2000,
        ),
        (&node, from(), ours("stock@host-a"), 2000),
        (&node, from(), theirs("orders@host-b"), 999),
        // In another's name.
        (&node, ours("other@host-a"), theirs("orders@host-b"), 2000),
        (&node, ours("web@host-b"), theirs("orders@host-b"), 2000),
        (&node, theirs("web@host-a"), theirs("orders@host-b"), 2000),
        // No node of this cluster.
        (
            &who(&OWN.replace("main", "second"), "host-a"),
            from(),
            theirs("orders@host-b"),
            2000,
        ),
        (
            &who("spiffe://test/skans/agent/a", "host-a"),
            from(),
            theirs("orders@host-b"),
            2000,
        ),
        (
            &who("spiffe://test/skans/gateway/g2", "host-a"),
            from(),
            theirs("orders@host-b"),
            2000,
        ),
        (
            &who("spiffe://test/skans/user/mia", "host-a"),
            from(),
            theirs("orders@host-b"),
            2000,
        ),
    ] {
        let found = ask(asker, from.clone(), to.clone(), not_after);
        assert!(
            found.is_err(),
            "{} {from:?} {to:?}: {found:?}",
            asker.peer.id
        );
    }
}

#[test]
fn a_gateway_of_theirs_gets_to_what_is_exported_and_no_further() {
    let mut gateway = who(GATEWAY, "gw-b");
    gateway.cluster = Some("far".into());
    let from = || theirs("web@host-a");
    let agent = Next::Agent {
        address: "10.0.0.1:4370".into(),
        // Short, as the name of the node that is called.
        alias: "web@host-a-there".into(),
    };
    assert_eq!(ask(&gateway, from(), ours("stock@host-a"), 2000), Ok(agent));
    let imported = ask(
        &gateway,
        theirs("orders@host-b"),
        ours("stock@host-a"),
        2000,
    );
    assert!(matches!(imported, Ok(Next::Agent { alias, .. }) if alias == "orders@there"));
    let mut elsewhere = gateway.clone();
    elsewhere.cluster = Some("near".into());
    for (asker, from, to, not_after) in [
        (&gateway, from(), ours("web@host-a"), 2000),
        (&gateway, from(), ours("lost@host-z"), 2000),
        (&gateway, from(), ours("stock@host-a"), 999),
        // Nothing leads on from here, nor back.
        (&gateway, from(), theirs("orders@host-b"), 2000),
        (
            &gateway,
            from(),
            end("others.test", "far", "stock@host-a"),
            2000,
        ),
        (&gateway, ours("web@host-a"), ours("stock@host-a"), 2000),
        (
            &gateway,
            end("others.test", "far", "web@host-a"),
            ours("stock@host-a"),
            2000,
        ),
        (&gateway, from(), ours("no node name"), 2000),
        // Another gateway, one whose certificate another cluster's issuer signed, and no gateway.
        (
            &who(&GATEWAY.replace("g9", "g8"), "gw-b"),
            from(),
            ours("stock@host-a"),
            2000,
        ),
        (
            &who("spiffe://test/skans/gateway/g9", "gw-b"),
            from(),
            ours("stock@host-a"),
            2000,
        ),
        (&elsewhere, from(), ours("stock@host-a"), 2000),
        (
            &who(
                "spiffe://theirs.test/cluster/far/ns/default/sa/w/node/web",
                "host-a",
            ),
            from(),
            ours("stock@host-a"),
            2000,
        ),
    ] {
        let found = ask(asker, from.clone(), to.clone(), not_after);
        assert!(
            found.is_err(),
            "{} {from:?} {to:?}: {found:?}",
            asker.peer.id
        );
    }
}

#[test]
fn nobody_but_a_gateway_answers_for_one() {
    let settings = settings();
    let own = |id: &str| reach::check(&settings, &who(id, "gw"), &reach::Wanted::Ours);
    assert!(own("spiffe://test/skans/gateway/g1").is_ok());
    for id in [
        OWN,
        "spiffe://test/skans/agent/a",
        "spiffe://test/skans/control/one",
        GATEWAY,
        "spiffe://test.evil/skans/gateway/g1",
    ] {
        assert!(own(id).is_err(), "{id}");
    }
    let mut second = who("spiffe://test/skans/gateway/g1", "gw");
    second.cluster = Some("second".into());
    assert!(reach::check(&settings, &second, &reach::Wanted::Ours).is_err());
    let links = links(u64::MAX >> 1);
    let link = links.iter().next().unwrap();
    let theirs = |id: &str| {
        let mut evidence = who(id, "gw");
        evidence.cluster = None;
        reach::check(&settings, &evidence, &reach::Wanted::Theirs(link))
    };
    assert!(theirs(GATEWAY).is_ok());
    for id in [
        OWN,
        "spiffe://test/skans/gateway/g9",
        "spiffe://theirs.test/skans/gateway/g8",
    ] {
        assert!(theirs(id).is_err(), "{id}");
    }
}

#[test]
fn no_more_ways_are_open_than_there_may_be() {
    let ways = Ways::default();
    let one = ways.enter().unwrap();
    ways.open.store(MAX_WAYS, Relaxed);
    assert!(ways.enter().is_err());
    assert_eq!(ways.open.load(Relaxed), MAX_WAYS);
    drop(one);
    assert!(ways.enter().is_ok());
}

#[tokio::test]
async fn bytes_and_ends_go_through_a_pump() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let pair = async || {
        let connecting = TcpStream::connect(listener.local_addr().unwrap());
        let (near, far) = tokio::join!(connecting, listener.accept());
        (near.unwrap(), far.unwrap().0)
    };
    let ((mut here, mut one), (mut other, mut there)) = (pair().await, pair().await);
    let pump = tokio::spawn(async move {
        let none = || [AtomicU64::new(0), AtomicU64::new(0)];
        let (own, all) = (none(), none());
        let ended = pump::run(&mut one, &mut other, [&own, &all]).await;
        ended.map(|()| [own, all].map(|bytes| bytes.map(AtomicU64::into_inner)))
    });
    let sent = vec![7; 3_000_000];
    let mut got = Vec::new();
    let to_send = sent.clone();
    let sending = tokio::spawn(async move {
        here.write_all(&to_send).await.unwrap();
        here.shutdown().await.unwrap();
        let mut back = Vec::new();
        here.read_to_end(&mut back).await.unwrap();
        back
    });
    there.read_to_end(&mut got).await.unwrap();
    assert!(got == sent);
    // One direction has ended, the other goes on.
    there.write_all(b"back").await.unwrap();
    there.shutdown().await.unwrap();
    assert_eq!(sending.await.unwrap(), b"back");
    assert_eq!(pump.await.unwrap().unwrap(), [[3_000_000, 4]; 2]);
}
