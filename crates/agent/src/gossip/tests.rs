//! Who is told what, and who answers while nobody listens.

use skans_link::VERSION_MAX;

use super::*;
use crate::live::testing::session;
use crate::proof::Proof;
use crate::proof::testing::proof;
use crate::registry::{Direction, NewLink, Registered};

fn up(registry: &Arc<Registry>, version: u8) -> Registered {
    up_with(registry, version, proof("c", "b", Some("there")))
}

fn up_with(registry: &Arc<Registry>, version: u8, proof: Proof) -> Registered {
    let new = NewLink {
        local: "a@here".parse().unwrap(),
        peer: "b@there".parse().unwrap(),
        direction: Direction::Inbound,
        proof,
        across: None,
        service: None,
    };
    let link = registry.register(new, 100).unwrap();
    link.start(
        session(Direction::Inbound, version),
        true,
        tokio::runtime::Handle::current(),
    );
    link
}

fn sent(link: &Link) -> Vec<u8> {
    link.live().unwrap().collect()
}

fn signed(text: &str) -> Arc<[u8]> {
    Arc::from(text.as_bytes())
}

#[tokio::test]
async fn the_newest_head_goes_to_every_link_and_to_those_that_come_later() {
    let (registry, gossip) = (Arc::new(Registry::default()), Gossip::default());
    let start = Instant::now();
    let (link, old) = (up(&registry, VERSION_MAX), up(&registry, 1));
    gossip.spread(&registry, signed("one"), start);
    assert_eq!(sent(&link), skans_link::head(b"one"));
    assert!(sent(&old).is_empty(), "version 1 knows no heads");
    // Too soon after the last, and the peer has not answered: the newest alone is kept.
    gossip.spread(&registry, signed("two"), start + PACE / 4);
    gossip.spread(&registry, signed("three"), start + PACE / 2);
    gossip.tick(&registry, start + PACE);
    assert!(sent(&link).is_empty());
    link.live().unwrap().hear(&Frame::Want(0)).unwrap();
    assert_eq!(sent(&link), skans_link::head(b"three"));
    let late = up(&registry, VERSION_MAX);
    gossip.greet(&late);
    assert_eq!(sent(&late), skans_link::head(b"three"));
}

#[tokio::test]
async fn a_head_does_not_go_back_to_whom_it_came_from() {
    let (registry, gossip) = (Arc::new(Registry::default()), Gossip::default());
    let (from, other) = (up(&registry, VERSION_MAX), up(&registry, VERSION_MAX));
    let head = Frame::Head(b"one".to_vec());
    from.live().unwrap().hear(&head).unwrap();
    from.want(0);
    assert_eq!(sent(&from), skans_link::want(0));
    gossip.spread(&registry, signed("one"), Instant::now());
    assert!(sent(&from).is_empty());
    assert_eq!(sent(&other), skans_link::head(b"one"));
}

#[tokio::test]
async fn another_trust_domain_hears_nothing_and_is_not_listened_to() {
    let (registry, gossip) = (Arc::new(Registry::default()), Gossip::default());
    let mut heard = gossip.listen().unwrap();
    let mut theirs = proof("c", "b", Some("there"));
    let id = "spiffe://theirs/cluster/c/ns/default/sa/w/node/b";
    theirs.peer.peer.id = skans_identity::id::SpiffeId::parse(id).unwrap();
    let link = up_with(&registry, VERSION_MAX, theirs);
    gossip.spread(&registry, signed("one"), Instant::now());
    gossip.greet(&link);
    assert!(sent(&link).is_empty());
    let head = Frame::Head(b"theirs".to_vec());
    link.live().unwrap().hear(&head).unwrap();
    gossip.hear(link.link(), head);
    assert_eq!(sent(&link), skans_link::want(0));
    assert!(heard.try_recv().is_err());
}

#[tokio::test]
async fn while_nobody_listens_peers_get_an_answer_all_the_same() {
    let (registry, gossip) = (Arc::new(Registry::default()), Gossip::default());
    let link = up(&registry, VERSION_MAX);
    let live = link.live().unwrap();
    for _ in 0..3 {
        let head = Frame::Head(b"one".to_vec());
        live.hear(&head).unwrap();
        gossip.hear(link.link(), head);
        assert_eq!(sent(&link), skans_link::want(0));
    }
    gossip.spread(&registry, signed("two"), Instant::now());
    sent(&link);
    live.hear(&Frame::Want(4)).unwrap();
    gossip.hear(link.link(), Frame::Want(4));
    assert_eq!(sent(&link), Denials::default().encode());
}

#[tokio::test]
async fn a_listener_hears_and_answers() {
    let (registry, gossip) = (Arc::new(Registry::default()), Gossip::default());
    let link = up(&registry, VERSION_MAX);
    let live = link.live().unwrap();
    let mut ears = gossip.listen().unwrap();
    assert!(gossip.listen().is_none(), "one listener");
    let head = Frame::Head(b"one".to_vec());
    live.hear(&head).unwrap();
    gossip.hear(link.link(), head);
    let heard = ears.recv().await.unwrap();
    assert_eq!(heard.said, Said::Head(b"one".to_vec()));
    assert!(sent(&link).is_empty(), "the answer is the listener's");
    heard.link.want(7);
    assert_eq!(sent(&link), skans_link::want(7));
    let entries = Frame::Deny(Denials::fit([b"entry"]));
    live.hear(&entries).unwrap();
    gossip.hear(link.link(), entries);
    let heard = ears.recv().await.unwrap();
    assert_eq!(heard.said, Said::Entries(Denials::fit([b"entry"])));
    heard.link.want(0);
    assert_eq!(sent(&link), skans_link::want(0));
}
