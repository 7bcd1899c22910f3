//! What is frozen comes back as it was, and nothing else is taken for it. What a session does with it is simulated in
//! `tests/simulation.rs`.

use proptest::prelude::*;

use super::*;
use crate::{Frame, Welcome};

fn adrift() -> Session {
    let mut session = Session::initiator([7; 16]);
    let welcome = Welcome {
        version: VERSION_MAX,
        session: [7; 16],
        offset: 0,
        tick_seconds: 60,
        clique: None,
    };
    session.on_frame(&Frame::Welcome(welcome)).unwrap();
    session.start_streaming();
    session.send(90);
    session.on_frame(&Frame::Ack(40)).unwrap();
    session.on_bytes(1000);
    assert!(session.lost());
    session.begin_resume().unwrap();
    session
}

#[test]
fn a_session_comes_back_as_it_was() {
    let session = adrift();
    let frozen = session.freeze();
    let thawed = Session::thaw(&frozen).unwrap();
    assert_eq!(thawed.freeze(), frozen);
    assert_eq!(format!("{thawed:?}"), format!("{session:?}"));
}

#[test]
fn what_is_no_session_is_refused() {
    let good = adrift().freeze();
    for (at, with, why) in [
        (0, 2, "no such role"),
        (
            1,
            VERSION_RESUME - 1,
            "a version that ends with its connection",
        ),
        (1, VERSION_MAX + 1, "a version to come"),
        (25, 0, "acknowledged beyond what was sent"),
        (41, 0xff, "acknowledged beyond what came"),
    ] {
        let mut bad = good.clone();
        bad[at] = with;
        if at == 41 {
            bad[42..50].fill(0xff);
        }
        assert!(Session::thaw(&bad).is_err(), "{why}");
    }
    assert!(Session::thaw(&good[..good.len() - 1]).is_err());
    assert!(Session::thaw(&[&good[..], &[0]].concat()).is_err());
}

#[test]
fn a_window_comes_back_as_it_was() {
    let mut window = Window::new(WINDOW_LEAST);
    window.room()[..300].fill(7);
    window.read(300);
    window.decide(200);
    window.send(90);
    window.release(40);
    let frozen = window.freeze();
    let mut thawed = Window::thaw(&frozen, WINDOW_LEAST).unwrap();
    assert_eq!(thawed.freeze(), frozen);
    assert!(thawed.fits(&adrift()));
    assert_eq!((thawed.kept(), thawed.held()), (50, &[7; 100][..]));
    assert_eq!(thawed.send(1000), (90, &[7; 110][..]));
}

proptest! {
    #[test]
    fn no_bytes_thaw_to_what_panics(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
        if let Ok(session) = Session::thaw(&bytes) {
            prop_assert_eq!(session.freeze(), bytes.clone());
        }
        if let Ok(mut window) = Window::thaw(&bytes, 1000) {
            prop_assert_eq!(window.freeze(), bytes);
            window.rewind(7);
            window.send(50);
            window.release(u64::MAX);
            let room = window.room().len();
            window.read(room);
            window.decide(room);
        }
    }
}
