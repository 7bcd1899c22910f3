//! However the stream is cut, the same frames come out.

use super::*;
use crate::{Close, Reason, ack, data_header, handshake, ping};
use proptest::prelude::*;

/// What a stream says, with the borders of data pieces forgotten.
#[derive(Debug, PartialEq)]
enum Said {
    Data(u64, Vec<u8>),
    Frame(Frame),
}

fn decode(stream: &[u8], cuts: &[usize]) -> Result<Vec<Said>, Error> {
    let mut decoder = Decoder::new();
    let mut said = Vec::new();
    let mut rest = stream;
    let mut cuts = cuts.iter().cycle();
    while !rest.is_empty() {
        let (mut chunk, later) = rest.split_at((*cuts.next().unwrap()).clamp(1, rest.len()));
        rest = later;
        while let Some(piece) = decoder.next(&mut chunk)? {
            match piece {
                Piece::DataStart { offset, .. } => said.push(Said::Data(offset, Vec::new())),
                Piece::Data(bytes) => match said.last_mut() {
                    Some(Said::Data(_, all)) => all.extend_from_slice(bytes),
                    other => panic!("data after {other:?}"),
                },
                Piece::Frame(frame) => said.push(Said::Frame(frame)),
            }
        }
    }
    Ok(said)
}

fn stream() -> Vec<u8> {
    let mut out = handshake(b"sok");
    out.extend(data_header(0, 5));
    out.extend(b"hello");
    out.extend(ack(5));
    out.extend(data_header(5, 0));
    out.extend(data_header(5, 3));
    out.extend(b"abc");
    out.extend(ping(7));
    out.extend(Close::new(Reason::NodeLeft, "bye").encode());
    out
}

proptest! {
    #[test]
    fn the_cuts_do_not_matter(cuts in proptest::collection::vec(1usize..40, 1..20)) {
        let whole = decode(&stream(), &[usize::MAX]).unwrap();
        prop_assert_eq!(whole.len(), 7);
        prop_assert_eq!(decode(&stream(), &cuts).unwrap(), whole);
    }

    #[test]
    fn garbage_ends_in_an_error_or_in_frames(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        cuts in proptest::collection::vec(1usize..40, 1..20),
    ) {
        let _ = decode(&bytes, &cuts);
    }
}

#[test]
fn a_length_over_the_bound_is_refused_from_the_header_alone() {
    let mut decoder = Decoder::new();
    let mut input: &[u8] = &[FrameType::Hello as u8, 0xff, 0xff, 0xff];
    assert!(matches!(
        decoder.next(&mut input),
        Err(Error::TooLong { .. })
    ));
    let mut decoder = Decoder::new();
    let mut input: &[u8] = &[FrameType::Data as u8, 0, 0, 7];
    assert!(matches!(
        decoder.next(&mut input),
        Err(Error::CutShort { .. })
    ));
}
