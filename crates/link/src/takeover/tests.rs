//! Who may when; the simulation is in `tests/simulation.rs`.

use super::*;
use crate::{Close, Frame, Reason, VERSION_MAX};
use proptest::prelude::*;

fn hello(version_max: u8, takeover: u32, offset: u64) -> Hello {
    Hello {
        version_min: 1,
        version_max,
        session: [7; 16],
        offset,
        tick_seconds: 60,
        clique: None,
        from: "a@x".into(),
        to: "b@y".into(),
        takeover,
        resume: false,
        service: String::new(),
    }
}

fn welcome(version: u8, offset: u64) -> Welcome {
    Welcome {
        version,
        session: [7; 16],
        offset,
        tick_seconds: 60,
        clique: None,
    }
}

fn pair(version: u8) -> (Session, Session) {
    let (mut a, mut b) = (Session::initiator([7; 16]), Session::responder());
    b.on_frame(&Frame::Hello(hello(version, 0, 0))).unwrap();
    a.on_frame(&Frame::Welcome(welcome(b.version(), 0)))
        .unwrap();
    a.start_streaming();
    b.start_streaming();
    (a, b)
}

fn agreed() -> (Session, Session) {
    let (mut a, mut b) = pair(VERSION_MAX);
    let (number, offset) = a.begin_takeover().unwrap();
    let answer = b
        .on_takeover_hello(&hello(VERSION_MAX, number, offset))
        .unwrap();
    a.on_takeover_welcome(&welcome(VERSION_MAX, answer))
        .unwrap();
    (a, b)
}

#[test]
fn the_initiator_moves_first_and_the_responder_follows() {
    let (mut a, mut b) = agreed();
    assert_eq!(b.depart(), None, "not before the initiator");
    a.send(10);
    let moved = a.depart().unwrap();
    assert_eq!(
        moved,
        Moved {
            offset: 10,
            takeover: 1
        }
    );
    assert_eq!(a.depart(), None, "once");
    b.on_data(0).unwrap();
    b.on_bytes(10);
    b.on_frame(&Frame::Moved(moved)).unwrap();
    let back = b.depart().unwrap();
    assert_eq!(
        back,
        Moved {
            offset: 0,
            takeover: 1
        }
    );
    b.settle();
    a.on_frame(&Frame::Moved(back)).unwrap();
    assert!(
        a.begin_takeover().is_err(),
        "the old connection is still held"
    );
    // And again.
    a.settle();
    assert_eq!(a.begin_takeover(), Ok((2, 0)));
}

#[test]
fn a_version_1_session_cannot_be_taken_over() {
    let (mut a, mut b) = pair(1);
    assert!(a.begin_takeover().is_err());
    assert!(b.on_takeover_hello(&hello(VERSION_MAX, 1, 0)).is_err());
    for frame in [
        Frame::Moved(Moved {
            offset: 0,
            takeover: 0,
        }),
        Frame::Head(Vec::new()),
        Frame::Want(0),
        Frame::Deny(crate::Denials::default()),
    ] {
        assert!(matches!(b.on_frame(&frame), Err(Error::OutOfPhase { .. })));
    }
}

#[test]
fn a_takeover_changes_no_version() {
    let (mut a, mut b) = pair(VERSION_MAX);
    a.begin_takeover().unwrap();
    assert!(b.on_takeover_hello(&hello(1, 1, 0)).is_err());
    assert!(a.on_takeover_welcome(&welcome(1, 0)).is_err());
}

#[test]
fn only_one_takeover_at_a_time() {
    let (mut a, _) = pair(VERSION_MAX);
    a.begin_takeover().unwrap();
    assert!(a.begin_takeover().is_err());
    assert!(a.give_up(1));
    assert_eq!(a.begin_takeover(), Ok((2, 0)));
}

#[test]
fn a_later_attempt_takes_the_place_of_one_that_has_not_moved() {
    let (_, mut b) = agreed();
    b.on_takeover_hello(&hello(VERSION_MAX, 3, 0)).unwrap();
    assert!(
        b.on_takeover_hello(&hello(VERSION_MAX, 3, 0)).is_err(),
        "twice"
    );
    assert!(
        b.on_takeover_hello(&hello(VERSION_MAX, 2, 0)).is_err(),
        "overtaken"
    );
    let stale = Moved {
        offset: 0,
        takeover: 1,
    };
    assert!(matches!(
        b.on_frame(&Frame::Moved(stale)),
        Err(Error::BadMove { .. })
    ));
    let moved = Moved {
        offset: 0,
        takeover: 3,
    };
    b.on_frame(&Frame::Moved(moved)).unwrap();
    assert!(
        b.on_takeover_hello(&hello(VERSION_MAX, 4, 0)).is_err(),
        "it moves"
    );
}

#[test]
fn a_moved_that_does_not_fit_ends_the_session() {
    let (mut a, mut b) = agreed();
    let wrong = [
        Moved {
            offset: 1,
            takeover: 1,
        },
        Moved {
            offset: 0,
            takeover: 2,
        },
    ];
    for moved in wrong {
        assert!(b.on_frame(&Frame::Moved(moved)).is_err(), "{moved:?}");
    }
    let early = Moved {
        offset: 0,
        takeover: 1,
    };
    assert!(
        a.on_frame(&Frame::Moved(early)).is_err(),
        "a responder must not move first"
    );
    let (_, mut b) = pair(VERSION_MAX);
    assert!(
        b.on_frame(&Frame::Moved(Moved {
            offset: 0,
            takeover: 0
        }))
        .is_err(),
        "out of nothing"
    );
}

#[test]
fn an_offset_that_cannot_be_is_refused() {
    let (mut a, mut b) = pair(VERSION_MAX);
    b.send(10);
    assert!(b.on_takeover_hello(&hello(VERSION_MAX, 1, 11)).is_err());
    // The acknowledgement may overtake the hello, which goes over another connection.
    b.on_frame(&Frame::Ack(5)).unwrap();
    b.on_takeover_hello(&hello(VERSION_MAX, 1, 4)).unwrap();
    a.begin_takeover().unwrap();
    assert!(a.on_takeover_welcome(&welcome(VERSION_MAX, 1)).is_err());
}

#[test]
fn nothing_is_taken_over_while_closing_or_of_another_session() {
    let (_, mut b) = pair(VERSION_MAX);
    let other = Hello {
        session: [8; 16],
        ..hello(VERSION_MAX, 1, 0)
    };
    assert_eq!(b.on_takeover_hello(&other), Err(Error::OtherSession));
    let close = Frame::Close(Close::new(Reason::NodeLeft, ""));
    b.on_frame(&close).unwrap();
    assert!(b.on_takeover_hello(&hello(VERSION_MAX, 1, 0)).is_err());
    let mut young = Session::initiator([7; 16]);
    assert!(young.begin_takeover().is_err());
}

#[test]
fn an_attempt_can_be_given_up_until_something_has_moved() {
    let (mut a, mut b) = agreed();
    assert!(b.give_up(1));
    a.depart().unwrap();
    assert!(!a.give_up(1));
    assert!(a.give_up(0), "a former one is long over");
    let (mut a, mut b) = agreed();
    b.on_frame(&Frame::Moved(a.depart().unwrap())).unwrap();
    assert!(!b.give_up(1));
}

proptest! {
    #[test]
    fn moved_survives_the_wire(offset: u64, takeover: u32) {
        let moved = Moved { offset, takeover };
        prop_assert_eq!(Moved::decode(&moved.encode()[4..]), Ok(moved));
    }

    #[test]
    fn a_cut_moved_is_an_error(cut in 0usize..12) {
        let frame = Moved { offset: 1, takeover: 2 }.encode();
        prop_assert!(Moved::decode(&frame[4..4 + cut]).is_err());
    }
}
