//! The observer of a stream: it sees the same in every cut, and the same as who reads frame by frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_dist::control::Op;
use skans_dist::frame::{self, Frame};
use skans_dist::stream::{Observer, Seen};
use skans_fuzz as _;

const MAX_FRAME: u32 = 1 << 20;

fuzz_target!(|data: &[u8]| {
    // The first byte says how the rest is cut.
    let Some((&cut, stream)) = data.split_first() else {
        return;
    };
    let mut wanted = Vec::new();
    let result = Observer::new(MAX_FRAME).feed(stream, &mut |seen| wanted.push(seen));

    let (mut observer, mut seen, mut ended) = (Observer::new(MAX_FRAME), Vec::new(), Ok(()));
    for chunk in stream.chunks(usize::from(cut % 40) + 1) {
        ended = observer.feed(chunk, &mut |event| seen.push(event));
        if ended.is_err() {
            break;
        }
    }
    assert_eq!(seen, wanted);
    assert_eq!(ended, result);

    let mut rest = stream;
    for seen in &wanted {
        let Ok(Some((bytes, used))) = frame::split(rest, MAX_FRAME) else {
            break;
        };
        rest = &rest[used..];
        let length = u32::try_from(bytes.len()).expect("within MAX_FRAME");
        match (Frame::decode(bytes), *seen) {
            (Ok(Frame::Tick), Seen::Tick) => {}
            (Ok(Frame::NextFragment { .. }), Seen::Continuation { length: announced }) => {
                assert_eq!(announced, length)
            }
            // The observer does not look at fragment numbers: zero is refused where they are followed.
            (Err(_), Seen::Continuation { .. }) => {}
            (
                Ok(Frame::PassThrough { terms }),
                Seen::Message {
                    op,
                    length: announced,
                    ..
                },
            ) => {
                assert_eq!((announced, Some(op)), (length, Op::from_code(terms[4])));
            }
            (
                Ok(Frame::Message { terms, .. } | Frame::FirstFragment { terms, .. }),
                Seen::Message {
                    op,
                    length: announced,
                    ..
                },
            ) => {
                assert_eq!((announced, Some(op)), (length, Op::from_code(terms[3])));
            }
            (
                Err(_),
                Seen::Message {
                    frame: skans_dist::stream::FrameKind::FirstFragment,
                    ..
                },
            ) => {}
            (frame, seen) => panic!("{frame:?} was seen as {seen:?}"),
        }
    }
});
