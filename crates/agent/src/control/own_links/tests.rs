//! What is said of a link: that it is ours, that it is not, or that nobody knows.

use super::*;
use crate::proof::testing::evidence;

const START: Duration = Duration::from_secs(100_000);

/// Links of an agent that began at [`START`] after some moment, and that moment.
fn begun() -> (OwnLinks, Instant) {
    let zero = Instant::now();
    (OwnLinks::new(zero + START), zero)
}

fn own(node: &str, key: u8) -> PeerIdentity {
    let mut identity = evidence("c", node, Some("here")).peer;
    identity.spki_sha256 = [key; 32];
    identity
}

fn whose(session: SessionId, key: u8, seconds_ago: u32) -> v1::Whose {
    v1::Whose {
        session_sha256: named(&session).to_vec(),
        spki_sha256: vec![key; 32],
        seconds_ago,
    }
}

fn answer(links: &OwnLinks, question: &v1::Whose, now: Instant) -> Answer {
    let answer = links.answer(question, now).unwrap();
    assert_eq!(answer.session_sha256, question.session_sha256);
    assert_eq!(answer.spki_sha256, question.spki_sha256);
    answer.answer()
}

#[test]
fn a_link_is_ours_with_every_key_that_its_node_had() {
    let (links, zero) = begun();
    let now = zero + START + Duration::from_secs(60);
    links.note(&[1; 16], &own("a", 1), now);
    // Renewed, and not yet shown by what was noted.
    links.holds(&own("a", 2), now);
    links.holds(&own("b", 3), now);
    for (question, wanted) in [
        (whose([1; 16], 1, 0), Answer::Mine),
        (whose([1; 16], 2, 0), Answer::Mine),
        (whose([2; 16], 1, 0), Answer::NotMine),
        // Our own link, and a key of another node of ours on it.
        (whose([1; 16], 3, 0), Answer::NotMine),
        // A key that we never had.
        (whose([1; 16], 9, 0), Answer::NotMine),
    ] {
        assert_eq!(answer(&links, &question, now), wanted, "{question:?}");
    }
}

#[test]
fn both_ends_of_a_link_may_be_here() {
    let (links, zero) = begun();
    let now = zero + START + Duration::from_secs(60);
    links.note(&[1; 16], &own("a", 1), now);
    links.note(&[1; 16], &own("b", 2), now);
    for key in [1, 2] {
        assert_eq!(answer(&links, &whose([1; 16], key, 0), now), Answer::Mine);
    }
}

#[test]
fn of_a_time_before_it_began_an_agent_says_nothing() {
    let (links, zero) = begun();
    let at = |seconds| zero + START + Duration::from_secs(seconds);
    let question = |ago| whose([1; 16], 1, ago);
    assert_eq!(answer(&links, &question(0), at(9)), Answer::Unsure);
    assert_eq!(answer(&links, &question(0), at(10)), Answer::NotMine);
    assert_eq!(answer(&links, &question(30), at(39)), Answer::Unsure);
    assert_eq!(answer(&links, &question(30), at(40)), Answer::NotMine);
    assert_eq!(answer(&links, &question(u32::MAX), at(40)), Answer::Unsure);
    // Taken over: what the other process did otherwise is not known here.
    links.begin(at(100));
    links.note(&[1; 16], &own("a", 1), at(100));
    assert_eq!(answer(&links, &question(0), at(101)), Answer::Mine);
    let other = whose([2; 16], 1, 0);
    assert_eq!(answer(&links, &other, at(109)), Answer::Unsure);
    assert_eq!(answer(&links, &other, at(110)), Answer::NotMine);
}

#[test]
fn what_was_forgotten_is_denied_to_be_known_and_not_to_be_ours() {
    let (links, zero) = begun();
    let at = |seconds| zero + START + Duration::from_secs(seconds);
    let session = |number: usize| -> SessionId {
        let mut session = [0; 16];
        session[..8].copy_from_slice(&number.to_be_bytes());
        session
    };
    links.note(&session(0), &own("a", 1), at(60));
    for number in 1..=LINKS {
        links.note(&session(number), &own("a", 1), at(70));
    }
    let ours = |number, ago| answer(&links, &whose(session(number), 1, ago), at(100));
    assert_eq!(ours(0, 40), Answer::Unsure);
    assert_eq!(ours(1, 30), Answer::Mine);
    // Of the time since, nothing was forgotten.
    assert_eq!(ours(LINKS + 1, 30), Answer::NotMine);
    // What goes on being used stays.
    links.note(&session(1), &own("a", 1), at(100));
    for number in 2 * LINKS..3 * LINKS - 1 {
        links.note(&session(number), &own("a", 1), at(100));
    }
    assert_eq!(ours(1, 0), Answer::Mine);
    let inner = links.inner();
    assert_eq!(inner.links.order.len(), LINKS);
    assert!(inner.links.known.len() <= LINKS);
}

#[test]
fn a_key_that_is_in_use_is_not_forgotten_before_its_links() {
    let (links, zero) = begun();
    let at = |seconds| zero + START + Duration::from_secs(seconds);
    links.note(&[1; 16], &own("a", 1), at(0));
    links.note(&[2; 16], &own("a", 1), at(800));
    // The first one is old, and with it the key as it was noted; the second one is not.
    let later = AGE.as_secs() + 1;
    links.note(&[3; 16], &own("b", 2), at(later));
    let ago = u32::try_from(later - 800).unwrap();
    let said = answer(&links, &whose([2; 16], 1, ago), at(later));
    assert_ne!(said, Answer::NotMine);
}

#[test]
fn a_flood_of_questions_gets_so_many_answers_a_second() {
    let (links, zero) = begun();
    let now = zero + START + Duration::from_secs(60);
    let question = whose([1; 16], 1, 0);
    let ask = |now| links.answer(&question, now).is_some();
    assert_eq!((0..1000).filter(|_| ask(now)).count(), 100);
    assert!(ask(now + Duration::from_secs(1)));
    for (session, key) in [(31, 32), (32, 33), (0, 0)] {
        let bad = v1::Whose {
            session_sha256: vec![0; session],
            spki_sha256: vec![0; key],
            seconds_ago: 0,
        };
        assert!(links.answer(&bad, now + Duration::from_secs(5)).is_none());
    }
}
