//! Phases, offsets and acknowledgements, in order and out of it.

use super::*;
use crate::{Close, Hello, Reason};

fn hello() -> Frame {
    Frame::Hello(Hello {
        version_min: 1,
        version_max: 1,
        session: [7; 16],
        offset: 0,
        tick_seconds: 60,
        clique: None,
        from: "a@x".into(),
        to: "b@y".into(),
        takeover: 0,
        resume: false,
        service: String::new(),
    })
}

fn welcome(session: SessionId) -> Frame {
    Frame::Welcome(Welcome {
        version: 1,
        session,
        offset: 0,
        tick_seconds: 60,
        clique: None,
    })
}

fn streaming() -> Session {
    let mut session = Session::responder();
    session.on_frame(&hello()).unwrap();
    session.start_streaming();
    session
}

#[test]
fn a_session_goes_from_greeting_to_streaming() {
    let mut session = Session::initiator([7; 16]);
    session.on_frame(&welcome([7; 16])).unwrap();
    assert_eq!(session.phase(), Phase::Handshake);
    session
        .on_frame(&Frame::Handshake(b"sok".to_vec()))
        .unwrap();
    session.start_streaming();
    session.on_data(0).unwrap();
    session.on_bytes(10);
    session.on_data(10).unwrap();
    session.on_bytes(1);
    assert_eq!(session.send(4), 0);
    assert_eq!(session.send(4), 4);
    session.on_frame(&Frame::Ack(6)).unwrap();
    assert_eq!(session.unacknowledged(), 2);
}

#[test]
fn data_before_the_nodes_shook_hands_is_refused() {
    let mut session = Session::responder();
    assert!(matches!(session.on_data(0), Err(Error::OutOfPhase { .. })));
    session.on_frame(&hello()).unwrap();
    assert!(matches!(session.on_data(0), Err(Error::OutOfPhase { .. })));
}

#[test]
fn a_second_hello_and_a_foreign_welcome_are_refused() {
    let mut session = streaming();
    assert!(matches!(
        session.on_frame(&hello()),
        Err(Error::OutOfPhase { .. })
    ));
    let mut session = Session::initiator([7; 16]);
    assert_eq!(
        session.on_frame(&welcome([8; 16])),
        Err(Error::OtherSession)
    );
    let mut session = Session::initiator([7; 16]);
    assert!(
        session.on_frame(&hello()).is_err(),
        "a responder must not greet first"
    );
}

#[test]
fn lost_or_doubled_bytes_are_noticed() {
    let mut session = streaming();
    session.on_data(0).unwrap();
    session.on_bytes(10);
    for offset in [0, 9, 11] {
        assert_eq!(
            session.on_data(offset),
            Err(Error::OffsetGap {
                found: offset,
                wanted: 10
            })
        );
    }
}

#[test]
fn an_ack_of_what_was_never_sent_is_refused() {
    let mut session = streaming();
    session.send(10);
    session.on_frame(&Frame::Ack(5)).unwrap();
    assert!(matches!(
        session.on_frame(&Frame::Ack(4)),
        Err(Error::BadAck { .. })
    ));
    assert!(matches!(
        session.on_frame(&Frame::Ack(11)),
        Err(Error::BadAck { .. })
    ));
}

#[test]
fn acks_come_once_in_so_many_bytes() {
    let mut session = streaming();
    session.on_data(0).unwrap();
    session.on_bytes(1024);
    assert_eq!(session.ack_due(), None);
    session.on_data(1024).unwrap();
    session.on_bytes(256 * 1024);
    assert_eq!(session.ack_due(), Some(1024 + 256 * 1024));
    assert_eq!(session.ack_due(), None);
}

#[test]
fn nothing_comes_after_a_close() {
    let mut session = streaming();
    session
        .on_frame(&Frame::Close(Close::new(Reason::NodeLeft, "")))
        .unwrap();
    assert_eq!(session.phase(), Phase::Closed);
    assert!(session.on_frame(&Frame::Ping(1)).is_err());
    assert!(session.on_data(0).is_err());
}

fn of_service(version_max: u8) -> Result<Session, Error> {
    let mut session = Session::responder();
    let Frame::Hello(hello) = hello() else {
        unreachable!()
    };
    session.on_frame(&Frame::Hello(Hello {
        version_min: 1,
        version_max,
        service: "postgres".into(),
        ..hello
    }))?;
    session.start_streaming();
    Ok(session)
}

#[test]
fn a_stream_of_a_service_ends_once_and_nothing_comes_behind_it() {
    let mut session = of_service(VERSION_MAX).unwrap();
    session.on_data(0).unwrap();
    session.on_bytes(3);
    assert!(matches!(
        session.on_frame(&Frame::End(2)),
        Err(Error::OffsetGap { .. })
    ));
    session.on_frame(&Frame::End(3)).unwrap();
    assert_eq!(session.ack_now(), Some(3), "not before it was taken");
    session.took_end();
    session.took_end();
    assert_eq!(session.ack_now(), Some(4), "it is acknowledged as a byte");
    let behind = Err(Error::AfterEnd {
        frame: FrameType::Data,
    });
    assert_eq!(session.on_data(4), behind);
    assert!(session.on_frame(&Frame::End(4)).is_err());
    assert!(!session.is_over(), "the other direction goes on");
    assert_eq!(session.send(5), 0);
    assert_eq!(session.end(), 5);
    session.on_frame(&Frame::Ack(5)).unwrap();
    assert!(!session.is_over(), "the end is still under way");
    session.on_frame(&Frame::Ack(6)).unwrap();
    assert!(session.is_over());
}

#[test]
fn only_services_end_one_direction() {
    let mut session = streaming();
    assert!(matches!(
        session.on_frame(&Frame::End(0)),
        Err(Error::OutOfPhase { .. })
    ));
}

#[test]
fn who_does_not_know_services_is_not_asked_for_one() {
    assert!(matches!(
        of_service(VERSION_SERVICE - 1),
        Err(Error::Version { .. })
    ));
    let mut session = Session::initiator([7; 16]).for_service();
    assert!(matches!(
        session.on_frame(&welcome([7; 16])),
        Err(Error::Version { .. })
    ));
}
