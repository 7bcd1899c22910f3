use proptest::prelude::*;

use super::*;

fn all(observer: &mut Observer, bytes: &[u8]) -> Result<Vec<Seen>> {
    let mut seen = Vec::new();
    observer.feed(bytes, &mut |event| seen.push(event))?;
    Ok(seen)
}

fn fresh() -> Observer {
    Observer::new(MAX_FRAME)
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

/// A reference of a made-up header: the index alone, or with an atom.
#[derive(Debug, Clone)]
enum Ref {
    Old,
    New(Vec<u8>),
}

#[derive(Debug, Clone)]
enum Made {
    Tick,
    Pass {
        op: Op,
        rest: Vec<u8>,
    },
    Header {
        first_fragment: bool,
        refs: Vec<Ref>,
        op: Op,
        rest: Vec<u8>,
    },
    Next {
        rest: Vec<u8>,
    },
}

fn control(op: Op) -> [u8; 4] {
    let arity = (0..=255).find(|arity| op.has_arity(*arity)).unwrap();
    [104, arity, 97, op.code()]
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        let body = match self {
            Self::Tick => vec![],
            Self::Pass { op, rest } => [&[112, 131][..], &control(*op), rest].concat(),
            Self::Next { rest } => [&[131, 70][..], &[7; 16], rest].concat(),
            Self::Header {
                first_fragment,
                refs,
                op,
                rest,
            } => {
                let mut body = if *first_fragment {
                    [&[131, 69][..], &[7; 16]].concat()
                } else {
                    vec![131, 68]
                };
                body.push(u8::try_from(refs.len()).unwrap());
                let long = refs
                    .iter()
                    .any(|r| matches!(r, Ref::New(text) if text.len() > 255));
                if !refs.is_empty() {
                    let mut nibbles: Vec<u8> = refs
                        .iter()
                        .map(|r| if matches!(r, Ref::New(_)) { 0x8 | 5 } else { 3 })
                        .collect();
                    nibbles.push(u8::from(long));
                    nibbles.resize(nibbles.len().next_multiple_of(2), 0);
                    body.extend(nibbles.chunks(2).map(|pair| pair[0] | pair[1] << 4));
                    assert_eq!(nibbles.len() / 2, refs.len() / 2 + 1);
                }
                for (index, reference) in refs.iter().enumerate() {
                    body.push(u8::try_from(index).unwrap());
                    if let Ref::New(text) = reference {
                        let length = u16::try_from(text.len()).unwrap().to_be_bytes();
                        body.extend_from_slice(if long { &length[..] } else { &length[1..] });
                        body.extend_from_slice(text);
                    }
                }
                [&body[..], &control(*op), rest].concat()
            }
        };
        frame(&body)
    }

    fn seen(&self) -> Seen {
        let length = u32::try_from(self.bytes().len() - 4).unwrap();
        match self {
            Self::Tick => Seen::Tick,
            Self::Pass { op, .. } => Seen::Message {
                op: *op,
                frame: FrameKind::PassThrough,
                length,
            },
            Self::Header {
                op,
                first_fragment: false,
                ..
            } => Seen::Message {
                op: *op,
                frame: FrameKind::Header,
                length,
            },
            Self::Header { op, .. } => Seen::Message {
                op: *op,
                frame: FrameKind::FirstFragment,
                length,
            },
            Self::Next { .. } => Seen::Continuation { length },
        }
    }
}

fn any_rest() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..60)
}

fn any_op() -> impl Strategy<Value = Op> {
    prop::sample::select(Op::ALL)
}

fn any_refs() -> impl Strategy<Value = Vec<Ref>> {
    let text = prop_oneof![9 => proptest::collection::vec(any::<u8>(), 0..30), 1 => proptest::collection::vec(any::<u8>(), 200..400)];
    let reference = prop_oneof![Just(Ref::Old), text.prop_map(Ref::New)];
    prop_oneof![
        8 => proptest::collection::vec(reference.clone(), 0..12),
        1 => proptest::collection::vec(reference, 250..256),
    ]
}

fn any_frame() -> impl Strategy<Value = Made> {
    prop_oneof![
        Just(Made::Tick),
        (any_op(), any_rest()).prop_map(|(op, rest)| Made::Pass { op, rest }),
        (any::<bool>(), any_refs(), any_op(), any_rest()).prop_map(
            |(first_fragment, refs, op, rest)| Made::Header {
                first_fragment,
                refs,
                op,
                rest
            }
        ),
        any_rest().prop_map(|rest| Made::Next { rest }),
    ]
}

proptest! {
    #[test]
    fn every_cut_of_a_stream_shows_the_same(
        frames in proptest::collection::vec(any_frame(), 0..12),
        cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let bytes = frames.iter().flat_map(Made::bytes).collect::<Vec<_>>();
        let wanted = frames.iter().map(Made::seen).collect::<Vec<_>>();
        let mut whole = fresh();
        prop_assert_eq!(&all(&mut whole, &bytes).unwrap(), &wanted);
        prop_assert!(whole.is_between_frames());

        let mut cuts = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect::<Vec<_>>();
        cuts.sort_unstable();
        cuts.push(bytes.len());
        let (mut pieces, mut from, mut seen) = (fresh(), 0, Vec::new());
        for to in cuts {
            seen.extend(all(&mut pieces, &bytes[from..to]).unwrap());
            from = to;
        }
        prop_assert_eq!(&seen, &wanted);
        prop_assert!(pieces.is_between_frames());

        let (mut bytewise, mut seen) = (fresh(), Vec::new());
        for byte in &bytes {
            seen.extend(all(&mut bytewise, &[*byte]).unwrap());
        }
        prop_assert_eq!(&seen, &wanted);
    }

    #[test]
    fn garbage_ends_the_same_in_every_cut(
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(112), Just(131), Just(68), Just(69), Just(104), Just(97), any::<u8>()], 0..80),
        length in 0u32..70,
    ) {
        let bytes = [&length.to_be_bytes()[..], &bytes].concat();
        let mut whole = fresh();
        let mut wanted = Vec::new();
        let result = whole.feed(&bytes, &mut |event| wanted.push(event));
        let (mut bytewise, mut seen, mut ended) = (fresh(), Vec::new(), Ok(()));
        for byte in &bytes {
            ended = bytewise.feed(&[*byte], &mut |event| seen.push(event));
            if ended.is_err() { break; }
        }
        prop_assert_eq!(ended, result);
        prop_assert_eq!(seen, wanted);
    }
}

#[test]
fn what_cannot_be_followed_is_refused_and_stays_refused() {
    let error = |body: &[u8]| {
        let mut observer = fresh();
        let error = all(&mut observer, &frame(body)).unwrap_err();
        assert_eq!(
            all(&mut observer, &frame(b"")),
            Err(error.clone()),
            "must not go on"
        );
        error
    };
    assert!(matches!(
        error(&[113, 131]),
        Error::Unexpected {
            what: "frame",
            found: 113,
            ..
        }
    ));
    assert!(matches!(
        error(&[112, 130]),
        Error::Unexpected {
            what: "pass-through frame",
            found: 130,
            ..
        }
    ));
    assert!(matches!(
        error(&[131, 71]),
        Error::Unexpected {
            what: "distribution header",
            found: 71,
            ..
        }
    ));
    assert!(matches!(
        error(&[131, 68, 0, 108, 0, 0, 0]),
        Error::Unexpected {
            what: "control message",
            found: 108,
            ..
        }
    ));
    assert!(matches!(
        error(&[131, 68, 0, 104, 3, 98, 0]),
        Error::Unexpected {
            what: "control operation",
            found: 98,
            ..
        }
    ));
    assert!(matches!(
        error(&[131, 68, 0, 104, 3, 97, 9]),
        Error::Unexpected {
            what: "control operation",
            found: 9,
            ..
        }
    ));
    assert!(matches!(
        error(&[131, 68, 0, 104, 4, 97, 2]),
        Error::Invalid { .. }
    ));
    assert!(matches!(
        error(&[131, 68, 0, 104, 0, 97, 2]),
        Error::Invalid { .. }
    ));
    assert!(matches!(error(&[131]), Error::Truncated { .. }));
    assert!(matches!(
        error(&[131, 68, 1, 0x08, 0, 200, b'a']),
        Error::Truncated { missing: 199, .. }
    ));
    assert!(matches!(
        error(&[131, 70, 0, 0]),
        Error::Truncated { missing: 14, .. }
    ));
}

#[test]
fn a_frame_above_the_limit_is_refused_at_its_length() {
    let mut observer = Observer::new(100);
    assert_eq!(all(&mut observer, &[0, 0, 0, 100]), Ok(vec![]));
    assert_eq!(observer.left(), 100);
    let mut observer = Observer::new(100);
    assert_eq!(
        all(&mut observer, &[0, 0, 0, 101]),
        Err(Error::TooLarge {
            what: "frame",
            found: 101,
            limit: 100
        })
    );
    assert!(matches!(
        all(&mut fresh(), &[255; 4]),
        Err(Error::TooLarge { .. })
    ));
}
