//! What is counted, who has to go, and what stays of a link that is over.

use skans_identity::id::SpiffeId;

use super::*;

fn identity(node: &str) -> PeerIdentity {
    PeerIdentity {
        id: SpiffeId::parse(&format!(
            "spiffe://test/cluster/c/ns/n/sa/w/node/{}",
            node.replace('?', "cli")
        ))
        .unwrap(),
        host: None,
        not_before: 0,
        not_after: u64::MAX,
        serial: "01".into(),
        issuer: String::new(),
        spki_sha256: [0; 32],
    }
}

fn new(peer: &str) -> NewLink {
    NewLink {
        local: "a@here".parse().unwrap(),
        peer: format!("{peer}@there").parse().unwrap(),
        direction: Direction::Inbound,
        identity: identity(peer),
        address: "127.0.0.1:1".parse().unwrap(),
        tls: TlsFacts {
            version: "TLSv1.3",
            suite: String::new(),
            group: String::new(),
        },
    }
}

/// A link whose nodes are proven, under this creation of the peer's.
fn up(registry: &Arc<Registry>, peer: &str, creation: u32) -> Registered {
    let link = registry.register(new(peer), 100).unwrap();
    link.peer_creation.store(creation, Relaxed);
    link.up.store(true, Relaxed);
    link
}

fn is_over(link: &Link) -> bool {
    link.end.get().is_some()
}

#[test]
fn one_identity_gets_so_many_links_and_others_still_get_theirs() {
    let registry = Arc::new(Registry::default());
    let held: Vec<_> = (0..3)
        .map(|_| registry.register(new("b"), 3).unwrap())
        .collect();
    let error = registry.register(new("b"), 3).unwrap_err();
    assert!(matches!(error, Error::TooMany { limit: 3, .. }), "{error}");
    assert!(registry.register(new("c"), 3).is_ok());
    drop(held);
    assert!(registry.register(new("b"), 3).is_ok());
}

#[test]
fn nodes_that_are_called_alike_on_many_hosts_do_not_share_a_bound() {
    let registry = Arc::new(Registry::default());
    let on = |host: &str| {
        let mut link = new("rabbit");
        link.identity.host = Some(skans_identity::host::Host::parse(host).unwrap());
        link
    };
    let _held: Vec<_> = (0..9)
        .map(|n| registry.register(on(&format!("host-{n}")), 2).unwrap())
        .collect();
    let _second = registry.register(on("host-1"), 2).unwrap();
    assert!(registry.register(on("host-1"), 2).is_err());
}

#[test]
fn nodes_that_were_given_names_are_not_taken_for_each_other() {
    let registry = Arc::new(Registry::default());
    let given = |name: &str, creation| {
        let link = up(&registry, crate::setup::UNNAMED, creation);
        link.given.get_or_init(|| name.parse().unwrap());
        link
    };
    let (first, second) = (given("AAAAAAAAAA@there", 5), given("BBBBBBBBBB@there", 6));
    registry.supersede(&second);
    assert!(!is_over(&first));
}

#[test]
fn a_new_life_of_a_node_ends_the_links_of_its_old_one_and_no_others() {
    let registry = Arc::new(Registry::default());
    let (old, other) = (up(&registry, "b", 7), up(&registry, "c", 7));
    // Both nodes may connect at once: the same life twice is for them to decide.
    let (twin, unproven) = (
        up(&registry, "b", 8),
        registry.register(new("b"), 100).unwrap(),
    );
    let newest = up(&registry, "b", 8);
    registry.supersede(&newest);
    assert!(is_over(&old));
    assert_eq!(old.end.get().unwrap().reason, Reason::Superseded);
    for link in [&other, &twin, &unproven, &newest] {
        assert!(!is_over(link), "{} {}", link.id, link.peer);
    }
}

#[test]
fn the_traffic_of_links_that_are_over_is_still_counted() {
    let registry = Arc::new(Registry::default());
    let (gone, live) = (up(&registry, "b", 1), up(&registry, "c", 1));
    gone.traffic.sent.bytes(40);
    live.traffic.sent.bytes(2);
    drop(gone);
    assert_eq!(registry.snapshot().len(), 1);
    assert_eq!(registry.total().sent.bytes.load(Relaxed), 42);
}

#[tokio::test]
async fn the_first_reason_to_end_a_link_is_the_one_that_is_told() {
    let registry = Arc::new(Registry::default());
    let link = up(&registry, "b", 1);
    link.mute(
        Close::new(Reason::NotPermitted, "first"),
        Duration::from_secs(1),
    );
    link.end(Close::new(Reason::Draining, "second"));
    assert_eq!(link.ended().await.text, "first");
    assert_eq!(link.silence(), Some(Duration::from_secs(1)));
}
