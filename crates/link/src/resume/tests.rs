//! Who may when; the simulation is in `tests/simulation.rs`.

use super::*;
use crate::{Frame, VERSION_MAX};

fn hello(takeover: u32, offset: u64, resume: bool) -> Hello {
    Hello {
        version_min: 1,
        version_max: VERSION_MAX,
        session: [7; 16],
        offset,
        tick_seconds: 60,
        clique: None,
        from: "a@x".into(),
        to: "b@y".into(),
        takeover,
        resume,
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

/// Both ends of a session that streams; A has sent 10 bytes, of which B has read 6.
fn pair(version: u8) -> (Session, Session) {
    let (mut a, mut b) = (Session::initiator([7; 16]), Session::responder());
    let greeting = Hello {
        version_max: version,
        ..hello(0, 0, false)
    };
    b.on_frame(&Frame::Hello(greeting)).unwrap();
    a.on_frame(&Frame::Welcome(welcome(version, 0))).unwrap();
    a.start_streaming();
    b.start_streaming();
    a.send(10);
    b.on_data(0).unwrap();
    b.on_bytes(6);
    (a, b)
}

#[test]
fn both_go_on_from_what_the_other_has_read() {
    let (mut a, mut b) = pair(VERSION_MAX);
    assert!(a.lost() && b.lost());
    let (number, offset) = a.begin_resume().unwrap();
    assert_eq!((number, offset), (1, 0));
    let reached = b.on_resume_hello(&hello(number, offset, true)).unwrap();
    assert_eq!(reached, 6, "bytes of a frame that was cut short count");
    a.on_resume_welcome(&welcome(VERSION_MAX, reached)).unwrap();
    assert_eq!(b.ack_now(), None, "the greeting has said it");
    assert_eq!(a.send(4), 6);
    b.on_data(6).unwrap();
    b.on_bytes(4);
    // A takeover and another loss count on.
    let (number, offset) = a.begin_takeover().unwrap();
    assert_eq!((number, offset), (2, 0));
    assert!(a.lost() && b.lost(), "the takeover is past");
    let (number, _) = a.begin_resume().unwrap();
    assert_eq!(number, 3);
    assert!(b.on_takeover_hello(&hello(2, 0, false)).is_err());
    b.on_resume_hello(&hello(3, 0, true)).unwrap();
}

/// The peer's MOVED has come, and the old connection is still being read: that is past, too.
#[test]
fn a_takeover_that_was_being_settled_is_past() {
    let (mut a, mut b) = pair(VERSION_MAX);
    b.on_bytes(4);
    let (number, offset) = a.begin_takeover().unwrap();
    let reached = b.on_takeover_hello(&hello(number, offset, false)).unwrap();
    a.on_takeover_welcome(&welcome(VERSION_MAX, reached))
        .unwrap();
    let moved = a.depart().unwrap();
    b.on_frame(&Frame::Moved(moved)).unwrap();
    assert!(a.lost() && b.lost());
    let (number, offset) = a.begin_resume().unwrap();
    let reached = b.on_resume_hello(&hello(number, offset, true)).unwrap();
    a.on_resume_welcome(&welcome(VERSION_MAX, reached)).unwrap();
    assert!(!a.is_moving() && !b.is_moving(), "another may begin");
    assert_eq!(a.begin_takeover(), Ok((3, 0)));
}

#[test]
fn an_attempt_whose_answer_was_lost_is_followed_by_another() {
    let (mut a, mut b) = pair(VERSION_MAX);
    assert!(a.lost() && b.lost());
    a.begin_resume().unwrap();
    b.on_resume_hello(&hello(1, 0, true)).unwrap();
    let (number, offset) = a.begin_resume().unwrap();
    let second = hello(number, offset, true);
    b.could_resume(&second).unwrap();
    assert!(
        b.on_resume_hello(&second).is_err(),
        "first let go of the other"
    );
    assert!(b.lost());
    assert_eq!(b.on_resume_hello(&second), Ok(6));
    assert!(
        b.could_resume(&hello(1, 0, true)).is_err(),
        "an old greeting"
    );
}

#[test]
fn what_does_not_fit_is_refused_and_changes_nothing() {
    let (mut a, mut b) = pair(VERSION_MAX);
    b.send(20);
    b.on_frame(&Frame::Ack(5)).unwrap();
    assert!(a.lost() && b.lost());
    let before = format!("{b:?}");
    let other = Hello {
        session: [8; 16],
        ..hello(1, 5, true)
    };
    let older = Hello {
        version_max: 2,
        ..hello(1, 5, true)
    };
    for wrong in [
        hello(0, 5, true),
        hello(1, 5, false),
        hello(1, 4, true),
        hello(1, 21, true),
        other,
        older,
    ] {
        assert!(b.on_resume_hello(&wrong).is_err(), "{wrong:?}");
    }
    assert!(b.begin_resume().is_err(), "a responder does not dial");
    assert_eq!(format!("{b:?}"), before);
    a.begin_resume().unwrap();
    let before = format!("{a:?}");
    assert!(a.on_resume_hello(&hello(2, 0, true)).is_err());
    for wrong in [
        welcome(VERSION_MAX, 11),
        welcome(2, 6),
        Welcome {
            session: [8; 16],
            ..welcome(VERSION_MAX, 6)
        },
    ] {
        assert!(a.on_resume_welcome(&wrong).is_err(), "{wrong:?}");
    }
    assert_eq!(format!("{a:?}"), before);
}

#[test]
fn nothing_is_understood_without_a_connection() {
    let (mut a, _) = pair(VERSION_MAX);
    assert!(a.begin_resume().is_err(), "it has one");
    assert!(a.lost());
    assert!(a.on_frame(&Frame::Ack(10)).is_err());
    assert!(a.on_data(0).is_err());
    assert!(a.begin_takeover().is_err());
    assert_eq!(a.ack_now(), None);
}

#[test]
fn older_sessions_and_set_ups_do_not_outlive_a_loss() {
    for version in [1, 2] {
        let (mut a, mut b) = pair(version);
        assert!(!a.lost() && !b.lost());
        assert!(a.begin_resume().is_err());
        assert!(b.could_resume(&hello(1, 0, true)).is_err());
    }
    assert!(!Session::initiator([7; 16]).lost());
}
