//! What is refused, and what is bounded.

use super::*;
use crate::fragment::MAX_OPEN;

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

fn refused(stream: &[u8]) -> Error {
    let mut renamer = Renamer::new(names(), MAX_FRAME);
    let error = renamer.feed(stream, &mut Vec::new()).unwrap_err();
    // It stays so.
    assert!(renamer.feed(&[], &mut Vec::new()).is_err());
    assert!(renamer.freeze().is_err());
    error
}

#[test]
fn names_that_could_not_be_told_apart() {
    let pair = |from, to| (name(from), name(to));
    let both = |a, b| Names::new(&[a, b]);
    assert!(both(pair("a@h", "b@h"), pair("b@h", "a@h")).is_ok());
    assert!(matches!(
        both(pair("a@h", "b@h"), pair("a@h", "c@h")),
        Err(Error::Invalid { reason, .. }) if reason.contains("one is to become two")
    ));
    assert!(matches!(
        both(pair("a@h", "c@h"), pair("b@h", "c@h")),
        Err(Error::Invalid { reason, .. }) if reason.contains("two are to become one")
    ));
    // Also if one of them keeps its name.
    assert!(both(pair("a@h", "a@h"), pair("b@h", "a@h")).is_err());
    let many: Vec<_> = (0..=MAX_NAMES)
        .map(|n| (name(&format!("a{n}@h")), name(&format!("b{n}@h"))))
        .collect();
    assert!(matches!(Names::new(&many), Err(Error::TooLarge { .. })));
    assert!(Names::new(&many[1..]).is_ok());
    // Latin-1 cannot write every name.
    let names = both(pair("日@h", "b@h"), pair("é@h", "c@h")).unwrap();
    assert_eq!(names.find(b"\xe5@h", names::Encoding::Latin1), None);
    assert_eq!(names.find(b"\xe9@h", names::Encoding::Latin1), Some("c@h"));
    assert_eq!(names.inverse().inverse(), names);
}

#[test]
fn what_is_no_frame_and_no_term() {
    let fragment = |kind: u8, number: u8, rest: &[u8]| {
        framed(
            &[
                &[131, kind][..],
                &[0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, number],
                rest,
            ]
            .concat(),
        )
    };
    for (stream, wanted) in [
        (framed(&[1, 2]), "unexpected"),
        (framed(b"\x83D\x02"), "truncated"),
        (framed(b"\x83D\0h\x02a\x06"), "truncated"),
        (framed(b"\x83D\0h\x01a\x06m\0\0\0\x05x"), "truncated"),
        (framed(b"\x83D\0h\x01a\x06jj"), "invalid"),
        (framed(b"\x83D\0h\x01P"), "unsupported"),
        (framed(b"\x83D\0h\x01y"), "unsupported"),
        (framed(b"\x83D\0h\x01u"), "unsupported"),
        (framed(b"\x83D\0h\x01Xj"), "unexpected"),
        (framed(b"\x83D\0h\x01Z\0\x06"), "invalid"),
        (framed(b"\x83D\0h\x01w\x01\xff"), "invalid"),
        (framed(b"\x83D\0h\x01v\x04\0"), "too_large"),
        (framed(b"p"), "truncated"),
        (framed(b"ph\x01a\x06"), "unexpected"),
        (framed(b"p\x83h\x01a\x06j"), "unexpected"),
        // A control message that is not whole in the first fragment, and a payload that never is.
        (fragment(69, 2, b"\0h\x02a\x06"), "truncated"),
        (fragment(69, 1, b"\0h\x01a\x06h\x01"), "truncated"),
        (
            [
                fragment(69, 2, b"\0h\x01a\x06h\x01"),
                fragment(70, 1, b"w\x02o"),
            ]
            .concat(),
            "truncated",
        ),
        (
            [
                fragment(69, 3, b"\0h\x01a\x06j"),
                fragment(70, 2, b""),
                fragment(70, 1, b"j"),
            ]
            .concat(),
            "invalid",
        ),
        (fragment(70, 1, b""), "invalid"),
    ] {
        assert_eq!(refused(&stream).label(), wanted, "{stream:?}");
    }
    assert_eq!(refused(&[0x40, 0, 0, 1]).label(), "too_large");
}

#[test]
fn too_many_messages_in_fragments() {
    let first = |sequence: usize| {
        let numbers = [
            u64::try_from(sequence).unwrap().to_be_bytes(),
            2_u64.to_be_bytes(),
        ]
        .concat();
        framed(&[&[131, 69][..], &numbers, b"\0h\x01a\x06h\x01v\0\xffx"].concat())
    };
    let mut renamer = Renamer::new(names(), MAX_FRAME);
    for sequence in 1..=MAX_OPEN {
        let frame = first(sequence);
        assert_eq!(renamer.feed(&frame, &mut Vec::new()), Ok(frame.len()));
    }
    let thawed = Renamer::thaw(&renamer.freeze().unwrap(), names(), MAX_FRAME).unwrap();
    assert_eq!(thawed.sequences.len(), MAX_OPEN);
    assert!(matches!(
        renamer.feed(&first(MAX_OPEN + 1), &mut Vec::new()),
        Err(Error::TooLarge { .. })
    ));
}

#[test]
fn names_make_a_frame_longer_by_so_much_and_no_more() {
    let long = format!("{}@host", "x".repeat(250));
    let names = Names::new(&[(name("a@b"), name(&long))]).unwrap();
    // Five bytes become 257.
    let most = MAX_GROWTH / 252;
    let feed = |count: usize| {
        let list = [
            &b"\x83D\0h\x01a\x06l"[..],
            &u32::try_from(count).unwrap().to_be_bytes(),
            &b"w\x03a@b".repeat(count),
            b"j",
        ]
        .concat();
        let mut edits = Vec::new();
        let mut renamer = Renamer::new(names.clone(), MAX_FRAME);
        renamer.feed(&framed(&list), &mut edits)?;
        Ok((edits[0].with.len() - edits[0].range.len()) / 252)
    };
    assert_eq!(feed(most), Ok(most));
    assert!(matches!(feed(most + 1), Err(Error::TooLarge { .. })));
    // Nor beyond the limit of frames.
    let mut renamer = Renamer::new(names, 20);
    let frame = framed(b"\x83D\0h\x02a\x06w\x03a@b");
    assert!(matches!(
        renamer.feed(&frame, &mut Vec::new()),
        Err(Error::TooLarge { what: "frame", .. })
    ));
}

/// A message to a name, whose payload is a list of this many atoms and binaries in turn.
fn long(count: usize) -> Vec<u8> {
    let item = [&b"w\x0dorders@host-am\0\0\0\xc8"[..], &[b'w'; 200]].concat();
    let list = [
        &b"l"[..],
        &u32::try_from(2 * count).unwrap().to_be_bytes(),
        &item.repeat(count),
        b"w\x13south-orders@host-a",
    ]
    .concat();
    let control = b"h\x04a\x06Xw\x0dorders@host-a\0\0\0\x01\0\0\0\0\0\0\0\x07w\0w\x03srv";
    framed(&[b"\x83D\x01\x08\x05\x02ok", &control[..], &list].concat())
}

#[test]
fn a_message_in_a_frame_too_long_to_be_held_goes_on_in_fragments() {
    let frame = long(5000);
    // Another one takes the sequence that would be chosen first.
    let numbers = |number: u64| [u64::MAX.to_be_bytes(), number.to_be_bytes()].concat();
    let first = framed(&[&[131, 69][..], &numbers(2), b"\0h\x01a\x06h\x01w\x0dord"].concat());
    let last = framed(&[&[131, 70][..], &numbers(1), b"ers@host-a"].concat());
    let stream = [&first[..], &frame, &[0; 4], &last, &long(3)].concat();
    let wanted = renamed(&stream);
    let out = at_once(&stream, names()).unwrap();
    assert_eq!(meaning(&out), wanted);
    for chunk in [1000, 65_537, 400_000] {
        for every in [1, 3, usize::MAX] {
            let chunks = std::iter::repeat(chunk);
            assert!(relay_in_parts(&stream, chunks, names(), every).unwrap() == out);
        }
    }
    // And only so.
    let mut lengths = Vec::new();
    let mut rest = &out[..];
    while let Some((frame, used)) = crate::frame::split(rest, MAX_FRAME).unwrap() {
        lengths.push(frame.len());
        rest = &rest[used..];
    }
    let pieces = (frame.len() - MOST_HELD).div_ceil(PIECE);
    assert_eq!(lengths.len(), 5 + pieces);
    assert!(
        lengths[2..2 + pieces]
            .iter()
            .all(|length| *length < PIECE * 2)
    );
    let held = long((MOST_HELD - 120) / 220);
    assert!(held.len() <= MOST_HELD && held.len() > MOST_HELD - 340);
    let out = at_once(&held, names()).unwrap();
    assert_eq!(meaning(&out), renamed(&held));
    assert_eq!(
        crate::frame::split(&out, MAX_FRAME).unwrap().unwrap().1,
        out.len()
    );
}

#[test]
fn a_frame_too_long_to_be_held_that_cannot_be_cut() {
    let length = u32::try_from(MOST_HELD - 3).unwrap().to_be_bytes();
    for beginning in [&b"p\x83"[..], b"\x83E", b"\x83F", b"p"] {
        let stream = [&length[..], beginning].concat();
        assert!(
            matches!(refused(&stream), Error::TooLarge { .. }),
            "{beginning:?}"
        );
    }
    let filled = |beginning: &[u8]| {
        let mut stream = [&length[..], b"\x83D\0", beginning, b"m\0\x10\0\0"].concat();
        stream.resize(MOST_HELD + 1, 0);
        stream
    };
    let pid = b"Xw\x03a@b\0\0\0\x01\0\0\0\0\0\0\0\x07";
    let altact = |flags: u8, to: &[u8]| filled(&[&b"h\x04a\x25a"[..], &[flags], pid, to].concat());
    // By name, without priority; then with it.
    assert_eq!(refused(&altact(8, b"w\x03srv")).label(), "unsupported");
    assert_eq!(refused(&altact(0, pid)).label(), "unsupported");
    let urgent = altact(9, b"w\x03srv");
    let mut renamer = Renamer::new(names(), MAX_FRAME);
    let decided = renamer.feed(&urgent[..MOST_HELD], &mut Vec::new());
    assert_eq!(decided, Ok(MOST_HELD));
    // LINK has no payload.
    let link = filled(&[&b"h\x03a\x01"[..], pid, pid].concat());
    assert_eq!(refused(&link).label(), "unsupported");
    // A control message that does not end.
    assert_eq!(refused(&filled(b"h\x04a\x06")).label(), "unexpected");
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), chunk in 1..40_usize) {
        let _ = relay_some(&framed(&bytes), chunk);
        let _ = relay_some(&bytes, chunk);
    }

    #[test]
    fn what_is_wrong_is_refused_in_every_cut_or_in_none(
        all in several(),
        order in order(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        chunk in 1..60_usize,
    ) {
        let mut stream = stream(&all, &order);
        let at = at.index(stream.len());
        stream[at] = with;
        let whole = relay_some(&stream, usize::MAX);
        let in_parts = relay_some(&stream, chunk);
        prop_assert_eq!(whole.is_ok(), in_parts.is_ok());
        if let (Ok(whole), Ok(in_parts)) = (whole, in_parts) {
            prop_assert_eq!(whole, in_parts);
        }
    }

    #[test]
    fn no_bytes_thaw_to_a_renamer_that_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), more in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(mut renamer) = Renamer::thaw(&bytes, names(), MAX_FRAME) {
            let _ = renamer.feed(&more, &mut Vec::new());
            let again = renamer.freeze();
            prop_assert!(again.is_err() || Renamer::thaw(&again.unwrap(), names(), MAX_FRAME).is_ok());
        }
    }

    #[test]
    fn a_frozen_renamer_that_was_changed_is_refused_or_goes_on(
        all in several(),
        order in order(),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let stream = stream(&all, &order);
        let (first, rest) = stream.split_at(cut.index(stream.len()));
        let (mut renamer, mut edits) = (Renamer::new(names(), MAX_FRAME), Vec::new());
        let decided = renamer.feed(first, &mut edits).unwrap();
        let mut frozen = renamer.freeze().unwrap();
        let at = at.index(frozen.len());
        frozen[at] = with;
        if let Ok(mut renamer) = Renamer::thaw(&frozen, names(), MAX_FRAME) {
            let _ = renamer.feed(&[&first[decided..], rest].concat(), &mut edits);
        }
        prop_assert!(Renamer::thaw(&frozen[..frozen.len() - 1], names(), MAX_FRAME).is_err());
    }
}

/// As [`relay`], of a stream that need not end.
fn relay_some(stream: &[u8], chunk: usize) -> Result<Vec<u8>> {
    let mut renamer = Renamer::new(names(), MAX_FRAME);
    let (mut held, mut out, mut edits) = (Vec::new(), Vec::new(), Vec::new());
    for chunk in stream.chunks(chunk) {
        held.extend_from_slice(chunk);
        let decided = renamer.feed(&held, &mut edits)?;
        let mut at = 0;
        for Edit { range, with } in &edits {
            out.extend_from_slice(&held[at..range.start]);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        assert!(held.len() < MOST_HELD);
    }
    Ok(out)
}
