//! What an agent sends: cut into frames at any place, held against the phases of a session.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_fuzz as _;
use skans_link::{Close, Decoder, Frame, Hello, Piece, Session, Welcome};

fuzz_target!(|input: (u8, Vec<u8>)| {
    let (cut, bytes) = input;
    let mut decoder = Decoder::new();
    let mut session = Session::responder();
    for chunk in bytes.chunks(usize::from(cut).max(1)) {
        let mut chunk = chunk;
        loop {
            match decoder.next(&mut chunk) {
                Ok(Some(Piece::DataStart { offset, length })) => {
                    if session.on_data(offset, length).is_err() {
                        return;
                    }
                }
                Ok(Some(Piece::Data(_))) => {}
                Ok(Some(Piece::Frame(frame))) => {
                    round_trip(&frame);
                    if session.on_frame(&frame).is_err() {
                        return;
                    }
                    session.start_streaming();
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
