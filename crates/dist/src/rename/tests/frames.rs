//! One vector for each kind of frame and each form of an atom, by hand.

use super::*;

/// What becomes of frames, each of which is given without its length.
fn becomes(frames: &[&[u8]]) -> Vec<Vec<u8>> {
    let stream: Vec<u8> = frames.iter().flat_map(|frame| framed(frame)).collect();
    let out = at_once(&stream, names()).unwrap();
    let (mut rest, mut all) = (&out[..], Vec::new());
    while let Some((frame, used)) = crate::frame::split(rest, MAX_FRAME).unwrap() {
        all.push(frame.to_vec());
        rest = &rest[used..];
    }
    all
}

#[test]
fn a_tick() {
    assert_eq!(becomes(&[&[]]), [b""]);
}

#[test]
fn a_new_atom_of_a_header_and_its_later_references() {
    let first = b"\x83D\x02\x88\x00\x05\x0dorders@host-a\x06\x02okh\x02a\x06R\x00R\x00";
    let later = b"\x83D\x01\x00\x05h\x02a\x06R\x00R\x00";
    assert_eq!(
        becomes(&[first, later]),
        [
            &b"\x83D\x02\x88\x00\x05\x13north-orders@host-a\x06\x02okh\x02a\x06R\x00R\x00"[..],
            later
        ]
    );
}

#[test]
fn a_header_with_long_lengths() {
    assert_eq!(
        becomes(&[b"\x83D\x01\x18\x05\x00\x13south-orders@host-ah\x01a\x05"]),
        [b"\x83D\x01\x18\x05\x00\x0dorders@host-ah\x01a\x05"]
    );
}

#[test]
fn a_name_that_begins_or_ends_with_another() {
    let frame = b"\x83D\x01\x08\x05\x0eorders@host-abh\x02a\x05w\x0cxrders@host-";
    assert_eq!(becomes(&[frame]), [frame]);
}

#[test]
fn every_form_of_a_literal_atom() {
    for (form, becomes_it) in [
        (&b"w\x0dorders@host-a"[..], &b"w\x13north-orders@host-a"[..]),
        (b"v\0\x0dorders@host-a", b"w\x13north-orders@host-a"),
        (b"s\x0dorders@host-a", b"w\x13north-orders@host-a"),
        (b"d\0\x0dorders@host-a", b"w\x13north-orders@host-a"),
        (b"w\x0cb\xc3\xbccher@host", b"w\x0blivres@host"),
        (b"s\x0bb\xfccher@host", b"w\x0blivres@host"),
        (b"d\0\x0bb\xfccher@host", b"w\x0blivres@host"),
        // Text of the other encoding is another atom.
        (b"s\x0cb\xc3\xbccher@host", b"s\x0cb\xc3\xbccher@host"),
    ] {
        let frame = |atom: &[u8]| [b"\x83D\0h\x02a\x06", atom].concat();
        assert_eq!(becomes(&[&frame(form)]), [frame(becomes_it)]);
    }
}

#[test]
fn a_frame_without_header() {
    assert_eq!(
        becomes(&[b"p\x83h\x02a\x02X\x73\x0dorders@host-a\0\0\0\x01\0\0\0\0\0\0\0\x07\x83w\x0dorders@host-a"]),
        [&b"p\x83h\x02a\x02Xw\x13north-orders@host-a\0\0\0\x01\0\0\0\0\0\0\0\x07\x83w\x13north-orders@host-a"[..]]
    );
}

#[test]
fn text_that_is_no_atom() {
    let frame = b"\x83D\0h\x02a\x06l\0\0\0\x02k\0\x0forders@host-a!!m\0\0\0\x0fw\x0dorders@host-aj";
    assert_eq!(becomes(&[frame]), [frame]);
}

#[test]
fn a_name_that_a_border_of_fragments_cuts_moves_behind_it() {
    let first = b"\x83E\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x03\0h\x01a\x06h\x02w\x0dorders";
    let second = b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02@host";
    let third = b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01-am\0\0\0\x01x";
    assert_eq!(
        becomes(&[first, second, third]),
        [
            &b"\x83E\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x03\0h\x01a\x06h\x02"[..],
            b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02",
            b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01w\x13north-orders@host-am\0\0\0\x01x",
        ]
    );
}

#[test]
fn fragments_that_bring_no_name_stay_as_they_are() {
    let first = b"\x83E\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x03\0h\x01a\x06m\0\0\0\x1dorders";
    let second = b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02w\x0dorders@host-a";
    let third = b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01w\x0dorders";
    assert_eq!(
        becomes(&[first, second, third]),
        [&first[..], second, third]
    );
}

/// A fun of module `m` by a process of `orders@host-a`, with one free variable.
fn fun(size: u8, node: &[u8], free: &[u8]) -> Vec<u8> {
    let before = [
        &[b'p', 0, 0, 0, size, 1][..],
        &[7; 16],
        b"\0\0\0\0\0\0\0\x01w\x01ma\x06a\x07X",
    ];
    [&before.concat()[..], node, &[0; 12], free].concat()
}

#[test]
fn a_fun_says_how_long_it_is_with_the_names_in_it() {
    const SHORT: &[u8] = b"w\x0dorders@host-a";
    const LONG: &[u8] = b"w\x13south-orders@host-a";
    let frame = |fun: &[u8]| [b"\x83D\0h\x02a\x06", fun].concat();
    // 29 bytes from the size to the number of variables, 3 of the module, 4 of the numbers, 1 of the tag, 12 of the pid.
    let inner = fun(49 + 15 + 1, SHORT, b"j");
    let before = fun(49 + 21 + 66, LONG, &inner);
    let inner = fun(49 + 21 + 1, b"w\x13north-orders@host-a", b"j");
    let after = fun(49 + 15 + 72, SHORT, &inner);
    assert_eq!(becomes(&[&frame(&before)]), [frame(&after)]);
}

#[test]
fn a_fun_that_goes_on_in_a_further_fragment() {
    let whole = fun(49 + 15 + 1, b"w\x0dorders@host-a", b"j");
    let (here, there) = whole.split_at(whole.len() - 1);
    let first = b"\x83E\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x02\0h\x01a\x06";
    let second = b"\x83F\0\0\0\0\0\0\0\x05\0\0\0\0\0\0\0\x01";
    let named = fun(49 + 21 + 1, b"w\x13north-orders@host-a", b"");
    assert_eq!(
        becomes(&[&[first, here].concat(), &[second, there].concat()]),
        [[&first[..], &named].concat(), [second, there].concat()]
    );
}
