use proptest::prelude::*;

use super::*;
use crate::atom_cache::AtomCache;
use crate::control::{Message, Signal, Target};
use crate::term::{Reader, Term};

/// The example of `erl_ext_dist.md`: `{call, <0.245.2>, {set_get_state, <<0:1024>>}}` sent to `reg` in two fragments.
/// Two of its five atoms have been sent before.
fn example() -> (Vec<u8>, Vec<u8>) {
    let first: &[&[u8]] = &[
        &[131, 69, 0, 0, 2, 168, 0, 0, 5, 83, 0, 0, 0, 0, 0, 0, 0, 2],
        &[
            5, 4, 137, 9, 10, 5, 236, 3, 114, 101, 103, 9, 4, 99, 97, 108, 108,
        ],
        &[
            238, 13, 115, 101, 116, 95, 103, 101, 116, 95, 115, 116, 97, 116, 101,
        ],
        &[
            104, 4, 97, 6, 103, 82, 0, 0, 0, 0, 85, 0, 0, 0, 0, 2, 82, 1, 82, 2,
        ],
        &[104, 3, 82, 3, 103, 82, 0, 0, 0, 0, 245, 0, 0, 0, 2, 2],
        &[104, 2, 82, 4, 109, 0, 0, 0, 128],
        &[0; 103],
    ];
    let next: &[&[u8]] = &[
        &[131, 70, 0, 0, 2, 168, 0, 0, 5, 83, 0, 0, 0, 0, 0, 0, 0, 1],
        &[0; 25],
    ];
    (first.concat(), next.concat())
}

#[test]
fn the_example_of_the_documentation() {
    let (first, next) = example();
    let Ok(
        frame @ Frame::FirstFragment {
            sequence,
            fragment: 2,
            header,
            terms,
        },
    ) = Frame::decode(&first)
    else {
        panic!("not a first fragment");
    };
    assert_eq!(sequence, 0x0000_02a8_0000_0553);
    assert_eq!(
        (header.count(), header.new_atoms(), header.bytes().len()),
        (5, 3, 32)
    );
    assert_eq!(header.bytes(), &first[18..50]);
    let refs = {
        let mut refs = header.refs();
        core::iter::from_fn(|| refs.next_ref().unwrap()).collect::<Vec<_>>()
    };
    let slots = refs.iter().map(|r| r.slot).collect::<Vec<_>>();
    assert_eq!(slots, [4 << 8 | 10, 5, 1 << 8 | 236, 9, 1 << 8 | 238]);

    // A receiver that missed the two old atoms cannot read it.
    let (mut cache, mut atoms) = (AtomCache::new(), Vec::new());
    assert!(matches!(
        cache.apply(&header, &mut atoms),
        Err(Error::Invalid {
            what: "atom cache",
            ..
        })
    ));
    let before = [131, 68, 2, 0x8c, 0, 10, 3, b'a', b'@', b'h', 5, 0];
    let Ok(Frame::Message {
        header: earlier, ..
    }) = Frame::decode(&before)
    else {
        panic!("not a message")
    };
    cache.apply(&earlier, &mut atoms).unwrap();
    cache.apply(&header, &mut atoms).unwrap();
    assert_eq!(
        atoms.iter().map(AsRef::as_ref).collect::<Vec<&str>>(),
        ["a@h", "", "reg", "call", "set_get_state"]
    );

    let message = Message::of(&frame, &atoms).unwrap().unwrap();
    let Signal::Send {
        from: Some(from),
        to: Target::Name(to),
        ..
    } = &message.control.signal
    else {
        panic!("{message:?}")
    };
    assert_eq!(
        (from.node.text(), from.id, to.text()),
        (Some("a@h"), 85, Some("reg"))
    );
    assert_eq!(terms.len() - message.payload.len(), 20);

    let Ok(Frame::NextFragment {
        sequence: same,
        fragment: 1,
        bytes,
    }) = Frame::decode(&next)
    else {
        panic!("{next:?}")
    };
    assert_eq!(same, sequence);
    let payload = [message.payload, bytes].concat();
    let mut reader = Reader::new(&payload).unwrap().with_atoms(&atoms);
    let Ok(Term::Tuple(elements)) = reader.term() else {
        panic!("no tuple")
    };
    assert!(reader.is_empty());
    assert_eq!(elements[0], Term::atom("call"));
    assert_eq!(
        elements[2],
        Term::Tuple(vec![
            Term::atom("set_get_state"),
            Term::Binary(vec![0; 128].into())
        ])
    );
}

#[test]
fn refusals() {
    assert_eq!(Frame::decode(b""), Ok(Frame::Tick));
    assert!(matches!(
        Frame::decode(&[113]),
        Err(Error::Unexpected { found: 113, .. })
    ));
    assert!(matches!(
        Frame::decode(&[131, 67]),
        Err(Error::Unexpected { found: 67, .. })
    ));
    assert!(matches!(
        Frame::decode(&[131]),
        Err(Error::Truncated { .. })
    ));
    assert!(matches!(
        Frame::decode(&[[131, 70].as_slice(), &[0; 16]].concat()),
        Err(Error::Invalid {
            what: "fragment",
            ..
        })
    ));
    let (first, _) = example();
    for end in 1..50 {
        assert!(
            matches!(Frame::decode(&first[..end]), Err(Error::Truncated { .. })),
            "cut at {end}"
        );
    }
    assert_eq!(split(&[0, 0, 0], 10), Ok(None));
    assert_eq!(split(&[0, 0, 0, 2, 1], 10), Ok(None));
    assert_eq!(split(&[0, 0, 0, 1, 1, 9], 10), Ok(Some((&[1][..], 5))));
    assert!(matches!(
        split(&[0, 0, 0, 11], 10),
        Err(Error::TooLarge {
            found: 11,
            limit: 10,
            ..
        })
    ));
}

#[test]
fn what_agents_say_is_framed() {
    let bytes = message(&Header::EMPTY, b"h\x01a\x05");
    assert_eq!(bytes, b"\0\0\0\x07\x83D\0h\x01a\x05");
    let Ok(Some((frame, 11))) = split(&bytes, 100) else {
        panic!("not whole")
    };
    assert_eq!(
        Frame::decode(frame),
        Ok(Frame::Message {
            header: Header::EMPTY,
            terms: b"h\x01a\x05"
        })
    );
    assert_eq!(
        pass_through(b"h\x01a\x05", None),
        b"\0\0\0\x06p\x83h\x01a\x05"
    );
    assert_eq!(
        pass_through(b"h\x01a\x05", Some(b"j")),
        b"\0\0\0\x08p\x83h\x01a\x05\x83j"
    );
}

const STARTS: &[&[u8]] = &[&[131, 68], &[131, 69], &[131, 70], &[112, 131], &[]];

proptest! {
    #[test]
    fn anything_is_survived(
        bytes in proptest::collection::vec(prop_oneof![Just(0u8), Just(0x88), 1..9_u8, any::<u8>()], 0..300),
        start in prop::sample::select(STARTS),
    ) {
        let bytes = [start, &bytes[..]].concat();
        if let Ok(frame) = Frame::decode(&bytes) {
            let (mut cache, mut atoms) = (AtomCache::new(), Vec::new());
            let Frame::Message { header, terms } = frame else { return Ok(()) };
            prop_assert_eq!(&[&[131, 68][..], header.bytes(), terms].concat(), &bytes);
            prop_assert!(header.new_atoms() <= usize::from(header.count()));
            if cache.apply(&header, &mut atoms).is_ok() {
                prop_assert_eq!(atoms.len(), usize::from(header.count()));
            }
            // The frame that says the same, built anew.
            let again = message(&header, terms);
            prop_assert_eq!(split(&again, u32::MAX), Ok(Some((&bytes[..], bytes.len() + 4))));
        }
    }
}
