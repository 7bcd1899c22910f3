//! Turns, rates, entries.

use super::*;
use proptest::prelude::*;

fn head_frame() -> Frame {
    Frame::Head(b"head".to_vec())
}

#[test]
fn a_turn_goes_from_head_to_want_nothing() {
    let now = Instant::now();
    let (mut teller, mut hearer) = (Gossip::default(), Gossip::default());
    assert!(teller.tell());
    assert!(!teller.tell(), "one at a time");
    hearer.on_frame(&head_frame(), now).unwrap();
    for _ in 0..3 {
        assert!(hearer.ask(7));
        assert!(!hearer.ask(8), "the answer is still to come");
        teller.on_frame(&Frame::Want(7), now).unwrap();
        assert!(teller.answer());
        assert!(!teller.answer(), "one answer for each question");
        hearer
            .on_frame(&Frame::Deny(Denials::default()), now)
            .unwrap();
    }
    assert!(hearer.ask(0));
    teller.on_frame(&Frame::Want(0), now).unwrap();
    assert!(teller.tell());
}

#[test]
fn both_may_have_a_turn_at_once() {
    let now = Instant::now();
    let mut one = Gossip::default();
    assert!(one.tell());
    one.on_frame(&head_frame(), now).unwrap();
    assert!(one.ask(0));
    one.on_frame(&Frame::Want(0), now).unwrap();
}

#[test]
fn what_comes_out_of_turn_is_refused() {
    let now = Instant::now();
    let mut quiet = Gossip::default();
    assert!(quiet.on_frame(&Frame::Want(1), now).is_err());
    assert!(
        quiet
            .on_frame(&Frame::Deny(Denials::default()), now)
            .is_err()
    );
    quiet.on_frame(&head_frame(), now).unwrap();
    assert!(
        matches!(
            quiet.on_frame(&head_frame(), now),
            Err(Error::OutOfTurn { .. })
        ),
        "a second head before the first is answered"
    );
    let mut asked = Gossip::default();
    assert!(asked.tell());
    asked.on_frame(&Frame::Want(1), now).unwrap();
    assert!(asked.on_frame(&Frame::Want(1), now).is_err());
}

#[test]
fn questions_of_one_turn_are_bounded() {
    let now = Instant::now();
    let mut teller = Gossip::default();
    assert!(teller.tell());
    for _ in 0..MAX_QUESTIONS {
        teller.on_frame(&Frame::Want(1), now).unwrap();
        assert!(teller.answer());
    }
    assert!(teller.on_frame(&Frame::Want(1), now).is_err());
}

#[test]
fn heads_that_come_too_fast_are_refused_and_others_are_not() {
    let start = Instant::now();
    let mut hearer = Gossip::default();
    let mut hear = |at: Duration| {
        let heard = hearer.on_frame(&head_frame(), start + at);
        if heard.is_ok() {
            assert!(hearer.ask(0));
        }
        heard
    };
    for _ in 0..HEADS_AT_ONCE {
        hear(Duration::ZERO).unwrap();
    }
    assert_eq!(
        hear(Duration::from_millis(100)),
        Err(Error::TooManyHeads(HEADS_PER_SECOND))
    );
    let mut hearer = Gossip::default();
    for number in 0..10_000 {
        hearer
            .on_frame(&head_frame(), start + Duration::from_millis(130) * number)
            .unwrap();
        assert!(hearer.ask(0));
    }
}

#[test]
fn only_what_fits_is_put_in_a_frame() {
    let entries = vec![vec![1; 1000]; 40];
    let denials = Denials::fit(&entries);
    assert_eq!(denials.iter().count(), 16);
    assert!(denials.encode().len() <= 4 + MAX_DENY);
    let rest = Denials::fit(entries.iter().skip(denials.iter().count()));
    assert_eq!(rest.iter().count(), 16);
    assert!(Denials::fit([vec![1; MAX_DENY]]).is_empty());
}

proptest! {
    #[test]
    fn entries_survive_the_wire(entries in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..300), 0..20)) {
        let frame = Denials::fit(&entries).encode();
        let again = Denials::decode(&frame[4..]).unwrap();
        prop_assert!(again.iter().eq(entries.iter().map(Vec::as_slice)));
    }

    #[test]
    fn garbage_does_not_panic_and_says_the_same_again(body in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(denials) = Denials::decode(&body) {
            let entries: Vec<_> = denials.iter().map(<[u8]>::to_vec).collect();
            prop_assert!(entries.iter().all(|entry| !entry.is_empty()));
            prop_assert_eq!(&Denials::fit(&entries).encode()[4..], &body);
        }
    }
}
