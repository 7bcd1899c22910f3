//! What an agent sends: cut into frames at any place, held against the phases of a session.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use std::time::Instant;

use skans_link::{Answer, Ask, Close, Decoder, Denials, Frame, Gossip, Hello, Moved, Piece, Session, Welcome};

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (cut, bytes) = input;
    if let Ok(ask) = Ask::decode(&bytes) {
        let again = ask.encode();
        assert_eq!(again.get(2..).map(Ask::decode), Some(Ok(ask)));
    }
    if let Ok(answer) = Answer::decode(&bytes) {
        let again = answer.encode();
        assert_eq!(again.get(2..).map(Answer::decode), Some(Ok(answer)));
    }
    let mut decoder = Decoder::new();
    let mut session = Session::responder();
    let mut gossip = Gossip::default();
    let now = Instant::now();
    for chunk in bytes.chunks(usize::from(cut).max(1)) {
        let mut chunk = chunk;
        loop {
            match decoder.next(&mut chunk) {
                Ok(Some(Piece::DataStart { offset, .. })) => {
                    if session.on_data(offset).is_err() {
                        return;
                    }
                }
                Ok(Some(Piece::Data(bytes))) => session.on_bytes(bytes.len()),
                Ok(Some(Piece::Frame(frame))) => {
                    round_trip(&frame);
                    if session.on_frame(&frame).is_err() {
                        return;
                    }
                    session.start_streaming();
                    // What the agent does with it: the answers go out, and a takeover is followed.
                    if gossip.on_frame(&frame, now).is_err() {
                        return;
                    }
                    match &frame {
                        Frame::Head(_) => assert!(gossip.ask(1)),
                        Frame::Deny(_) => assert!(gossip.ask(0)),
                        Frame::Want(1..) => assert!(gossip.answer()),
                        Frame::Hello(hello) => {
                            let number = session.connection();
                            if session.could_resume(hello).is_ok() {
                                assert!(session.lost());
                                assert!(session.on_resume_hello(hello).is_ok());
                                assert!(session.connection() > number);
                            } else if session.on_takeover_hello(hello).is_ok() {
                                assert!(session.connection() > number);
                            }
                        }
                        Frame::Moved(_) => {
                            assert!(session.depart().is_some());
                            session.settle();
                            assert!(!session.is_moving());
                        }
                        _ => {
                            gossip.tell();
                        }
                    }
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
});

/// What was decoded says the same once it is encoded again.
fn round_trip(frame: &Frame) {
    match frame {
        Frame::Hello(hello) => assert_eq!(Hello::decode(body(&hello.encode())).as_ref(), Ok(hello)),
        Frame::Welcome(welcome) => assert_eq!(Welcome::decode(body(&welcome.encode())).as_ref(), Ok(welcome)),
        Frame::Moved(moved) => assert_eq!(Moved::decode(body(&moved.encode())).as_ref(), Ok(moved)),
        Frame::Deny(entries) => {
            let again = Denials::decode(body(&entries.encode()));
            assert_eq!(again.as_ref(), Ok(entries));
            assert!(entries.iter().all(|entry| !entry.is_empty()));
        }
        Frame::Close(close) => {
            let again = Close::decode(body(&close.encode()));
            assert_eq!(again.map(|again| again.reason), Ok(close.reason));
        }
        _ => {}
    }
}

fn body(frame: &[u8]) -> &[u8] {
    frame.get(4..).unwrap_or_default()
}
