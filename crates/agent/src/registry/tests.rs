//! What is counted, who has to go, and what stays of a link that is over.

use std::sync::atomic::Ordering::Relaxed;

use skans_identity::deny::Target;
use skans_identity::host::Host;
use skans_link::VERSION_MAX;

use super::*;
use crate::live::testing::session;
use crate::proof::testing::proof;

fn new(peer: &str) -> NewLink {
    NewLink {
        local: "a@here".parse().unwrap(),
        peer: format!("{peer}@there").parse().unwrap(),
        direction: Direction::Inbound,
        proof: proof("c", &peer.replace('?', "cli"), Some("there")),
        across: None,
        service: None,
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
    link.still_holds().is_err()
}

fn reason(link: &Link) -> Reason {
    match link.still_holds() {
        Err(Error::Ended(close)) => close.reason,
        other => panic!("{other:?}"),
    }
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
        link.proof.peer.peer.host = Some(Host::parse(host).unwrap());
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
        link.give(&name.parse().unwrap());
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
    assert_eq!(reason(&old), Reason::Superseded);
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

fn touched(registry: &Registry, target: &Target) -> Vec<u64> {
    let links = registry.touched_by(target);
    links.iter().map(|link| link.id).collect()
}

fn node(name: &str) -> Target {
    Target::parse(3, name).unwrap()
}

/// By everything that an entry may name, at either end, and nothing else.
#[test]
fn a_deny_entry_touches_the_links_that_it_names_and_no_others() {
    let registry = Arc::new(Registry::default());
    let (b, c) = (up(&registry, "b", 1), up(&registry, "c", 1));
    let both = vec![b.id, c.id];
    let peer = b.proof().peer.clone();
    assert_eq!(
        touched(&registry, &Target::Key(peer.peer.spki_sha256)),
        [b.id]
    );
    assert_eq!(
        touched(&registry, &Target::Id(peer.peer.id.clone())),
        [b.id]
    );
    assert_eq!(touched(&registry, &node("b@there")), [b.id]);
    assert_eq!(touched(&registry, &Target::Issuer([0xaa; 32])), both);
    assert_eq!(
        touched(&registry, &Target::Key([0xbb; 32])),
        both,
        "the key of a CA above it"
    );
    // Our own end.
    let own = c.proof().own.peer.clone();
    assert_eq!(touched(&registry, &Target::Key(own.spki_sha256)), both);
    assert_eq!(touched(&registry, &Target::Id(own.id)), both);
    assert_eq!(touched(&registry, &node("a@here")), both);
    for target in [
        Target::Key([1; 32]),
        Target::Issuer(peer.peer.spki_sha256),
        node("b@elsewhere"),
        Target::Allow(1),
    ] {
        assert!(touched(&registry, &target).is_empty(), "{target:?}");
    }
    drop(b);
    assert_eq!(touched(&registry, &Target::Issuer([0xaa; 32])), [c.id]);
}

#[test]
fn a_node_that_was_given_its_name_is_found_by_it_and_by_its_certificate() {
    let registry = Arc::new(Registry::default());
    let link = up(&registry, crate::setup::UNNAMED, 1);
    link.give(&"1ABCDEFGHIJ@there".parse().unwrap());
    assert_eq!(touched(&registry, &node("cli@there")), [link.id]);
    assert_eq!(touched(&registry, &node("1ABCDEFGHIJ@there")), [link.id]);
}

/// Register first, then decide: an entry that is put in force while a takeover is decided finds it.
#[test]
fn a_deny_entry_finds_the_connection_that_is_about_to_take_over() {
    let registry = Arc::new(Registry::default());
    let link = up(&registry, "b", 1);
    let old = link.proof().peer.peer.spki_sha256;
    let mut fresh = proof("c", "b", Some("there"));
    fresh.peer.peer.spki_sha256 = [7; 32];
    let (first, second) = (Arc::new(fresh.clone()), Arc::new(fresh));
    registry.propose(link.link(), 1, first);
    assert_eq!(touched(&registry, &Target::Key([7; 32])), [link.id]);
    registry.withdraw(link.link(), 1);
    assert!(touched(&registry, &Target::Key([7; 32])).is_empty());
    registry.propose(link.link(), 2, second);
    registry.withdraw(link.link(), 1);
    link.adopt();
    assert_eq!(touched(&registry, &Target::Key([7; 32])), [link.id]);
    assert!(
        touched(&registry, &Target::Key(old)).is_empty(),
        "what it was opened with is past"
    );
    assert_eq!(link.takeovers.load(Relaxed), 1);
}

/// Between two nodes of one host the agent has both ends of a session: a takeover must find that of the responder.
#[tokio::test]
async fn only_sessions_that_peers_opened_are_found() {
    let registry = Arc::new(Registry::default());
    let ours = NewLink {
        direction: Direction::Outbound,
        ..new("b")
    };
    let ours = registry.register(ours, 100).unwrap();
    ours.start(
        session(Direction::Outbound, VERSION_MAX),
        true,
        tokio::runtime::Handle::current(),
    );
    assert!(registry.by_session([5; 16]).is_none());
    let theirs = registry.register(new("b"), 100).unwrap();
    assert!(registry.by_session([5; 16]).is_none(), "not up yet");
    theirs.start(
        session(Direction::Inbound, VERSION_MAX),
        true,
        tokio::runtime::Handle::current(),
    );
    assert_eq!(registry.by_session([5; 16]).unwrap().id, theirs.id);
    drop(theirs);
    assert!(registry.by_session([5; 16]).is_none());
}

#[test]
fn links_are_due_when_their_first_certificate_has_run_out_or_a_takeover_is_due() {
    let registry = Arc::new(Registry::default());
    let ends = |own: u64, peer: u64| {
        let mut new = new("b");
        new.proof.peer.not_after = peer;
        Arc::make_mut(&mut new.proof.own).not_after = own;
        registry.register(new, 100).unwrap()
    };
    let (first, second) = (ends(10, 99), ends(99, 20));
    let due = |now| -> Vec<u64> { registry.due(now).iter().map(|link| link.id).collect() };
    assert_eq!(due(10_999), [] as [u64; 0], "the last second is still good");
    assert_eq!(due(11_000), [first.id]);
    assert_eq!(due(11_000), [] as [u64; 0], "once");
    registry.schedule(second.link(), 15_000);
    assert_eq!(due(15_000), [second.id]);
    registry.schedule(second.link(), u64::MAX);
    assert_eq!(due(20_999), [] as [u64; 0]);
    assert_eq!(due(21_000), [second.id]);
    registry.schedule(second.link(), u64::MAX);
    drop(second);
    assert_eq!(due(99_999), [] as [u64; 0], "what is over is never due");
}

#[tokio::test]
async fn a_link_that_is_over_is_quiet() {
    let registry = Arc::new(Registry::default());
    let registered = up(&registry, "b", 1);
    let link = Arc::clone(registered.link());
    link.mute(Close::new(Reason::Denied, ""), Duration::from_secs(1));
    drop(registered);
    link.quiet().await;
}

#[tokio::test]
async fn links_leave_a_key_at_once_and_only_those_that_this_end_opened() {
    let registry = Arc::new(Registry::default());
    let up = |direction, peer: &str, own: u8| {
        let mut new = new(peer);
        new.direction = direction;
        let mut evidence = proof("c", "a", Some("here")).peer;
        evidence.peer.spki_sha256 = [own; 32];
        new.proof.own = Arc::new(evidence);
        let link = registry.register(new, 100).unwrap();
        let session = session(direction, VERSION_MAX);
        link.start(session, true, tokio::runtime::Handle::current());
        link
    };
    let key = proof("c", "b", Some("there")).identity().spki_sha256;
    let of_peer = up(Direction::Outbound, "b", 1);
    let _inbound = up(Direction::Inbound, "b", 1);
    let other = up(Direction::Outbound, "c", 2);
    let over = up(Direction::Outbound, "b", 1);
    over.end(Close::new(Reason::Draining, "over"));
    let soon =
        |link: &Link| link.takeover_at.load(Relaxed) <= crate::keeper::millis(crate::keeper::now());
    assert!(!soon(&of_peer), "it has all the time that there is");
    assert_eq!(registry.leave(&key, false), 1);
    assert!(soon(&of_peer) && of_peer.asked.load(Relaxed));
    // Ours: not before there is another.
    assert_eq!(registry.leave(&[2; 32], false), 0);
    assert!(!soon(&other));
    assert_eq!(registry.leave(&[2; 32], true), 1);
    assert!(soon(&other));
    // An authority's key is no leaf's.
    assert_eq!(registry.leave(&[0xaa; 32], true), 0);
}
