//! The edges: what is held, what is refused for good, what is left out.

use super::*;

/// Says the same to every message.
struct Always(Verdict, usize);

impl Judge for Always {
    type Error = Error;

    fn judge(&mut self, _: &Shown<'_>) -> Result<Verdict> {
        self.1 += 1;
        Ok(self.0)
    }
}

fn terms(control: &Control<'_>, payload: &[u8]) -> Vec<u8> {
    [&control.encode().unwrap(), payload].concat()
}

fn fragment(kind: u8, sequence: u64, number: u64, rest: &[u8]) -> Vec<u8> {
    let numbers = [sequence.to_be_bytes(), number.to_be_bytes()].concat();
    framed(&[&[131, kind], &numbers[..], rest].concat())
}

/// The payload `{binary}` of so many bytes.
fn large(size: u32) -> Vec<u8> {
    let mut payload = vec![104, 1, 109];
    payload.extend(size.to_be_bytes());
    payload.resize(payload.len() + usize::try_from(size).unwrap(), 7);
    payload
}

#[test]
fn what_decides_in_a_later_fragment_is_waited_for() {
    // The judge of "hasty" wants 40 bytes, and they come one by one, with other messages in between.
    let payload = large(60);
    let count = u64::try_from(payload.len()).unwrap();
    let first = [&[0][..], &terms(&control("hasty"), &payload[..1])].concat();
    let friend = framed(&[&[131, 68, 0][..], &terms(&control("friend"), &[106])].concat());
    let mut stream = fragment(69, 5, count, &first);
    for (number, byte) in (1..count).rev().zip(&payload[1..]) {
        stream.extend_from_slice(&friend);
        stream.extend_from_slice(&[0; 4]);
        stream.extend(fragment(70, 5, number, &[*byte]));
    }
    for chunk in [1, 7, 1000, usize::MAX] {
        let mut judge = ByName::default();
        let out = relay(&stream, std::iter::repeat(chunk), &mut judge).unwrap();
        let (messages, ticks) = received(&out);
        assert_eq!(messages[0].0, "undefined");
        assert!(messages[1..].iter().all(|(name, _)| name == "friend"));
        assert_eq!(messages.len(), payload.len());
        // Its further fragments, and those that were there before.
        assert_eq!(ticks, 2 * (payload.len() - 1));
        let asked = judge
            .judged
            .iter()
            .filter(|(name, ..)| name == "hasty")
            .count();
        assert!(asked < 9, "asked {asked} times");
    }
}

#[test]
fn room_for_fragments_goes_back_once_they_are_decided() {
    let payload = large(60);
    let (begin, end) = payload.split_at(1);
    let first = [&[0][..], &terms(&control("patient"), begin)].concat();
    let stream = [fragment(69, 5, 2, &first), fragment(70, 5, 1, end)].concat();
    let (mut gate, mut judge) = (Gate::new(MAX_FRAME), ByName::default());
    let mut edits = Vec::new();
    let almost = stream.len() - 1;
    let decided = gate
        .feed(&stream[..almost], &mut judge, &mut edits)
        .unwrap();
    assert_eq!(decided, 0);
    gate.rest();
    assert!(gate.gather.room() > 0, "it is not decided yet");
    let decided = gate.feed(&stream, &mut judge, &mut edits).unwrap();
    assert_eq!(decided, stream.len());
    gate.rest();
    assert_eq!(gate.gather.room(), 0);
}

#[test]
fn what_needs_more_than_is_held_is_refused() {
    let whole = framed(
        &[
            &[131, 68, 0][..],
            &terms(&control("patient"), &large(70_000)),
        ]
        .concat(),
    );
    let in_fragments = [
        fragment(
            69,
            1,
            3,
            &[&[0][..], &terms(&control("patient"), &large(30)[..9])].concat(),
        ),
        framed(
            &[
                &[131, 68, 0][..],
                &terms(&control("friend"), &large(70_000)),
            ]
            .concat(),
        ),
        fragment(70, 1, 2, &[7; 10]),
        fragment(70, 1, 1, &[7; 18]),
    ]
    .concat();
    for stream in [whole, in_fragments] {
        for chunk in [10, 5000, usize::MAX] {
            let mut judge = ByName::default();
            let out = relay(&stream, std::iter::repeat(chunk), &mut judge).unwrap();
            assert_eq!(received(&out).0[0].0, "undefined");
            let (_, _, whole, last) = *judge
                .judged
                .iter()
                .rfind(|(name, ..)| name == "patient")
                .unwrap();
            assert!(!whole && last);
        }
    }
}

#[test]
fn a_frame_of_a_gibibyte_is_left_out_without_being_held() {
    let length = 1 << 30;
    let mut input = u32::try_from(length).unwrap().to_be_bytes().to_vec();
    input.extend([131, 68, 0]);
    input.extend(terms(&control("victim"), &[109, 0x3F, 0, 0, 0]));
    let head = input.len();
    input.resize(64 * 1024, 7);
    let (mut gate, mut judge, mut edits) = (Gate::new(MAX_FRAME), ByName::default(), Vec::new());
    let (mut left, mut out) = (length + 4, Vec::new());
    while left > 0 {
        let chunk = &input[..left.min(input.len())];
        assert_eq!(
            gate.feed(chunk, &mut judge, &mut edits).unwrap(),
            chunk.len()
        );
        assert!(gate.is_between_frames());
        for edit in &edits {
            out.extend_from_slice(&edit.with);
        }
        assert_eq!(
            edits.iter().map(|edit| edit.range.len()).sum::<usize>(),
            chunk.len()
        );
        left -= chunk.len();
        input[..head].fill(7);
    }
    let (messages, ticks) = received(&out);
    assert_eq!(messages, [("undefined".to_owned(), vec![106])]);
    assert_eq!(ticks, 1024, "a tick for each MiB");
}

#[test]
fn the_longest_header_is_kept() {
    let mut header = vec![255];
    // All of them new, in entries 0 to 254, with lengths of two bytes.
    header.extend(std::iter::repeat_n(0x88, 127));
    header.push(0x18);
    for index in 0..255_u8 {
        header.push(index);
        header.extend(1011_u16.to_be_bytes());
        header.extend(format!("{index:03}{}", "\u{1F980}".repeat(252)).bytes());
    }
    let refused = framed(&[&[131, 68], &header[..], &terms(&control("victim"), &[106])].concat());
    // One reference, to the entry 254.
    let payload = [104, 2, b'R', 0, 106];
    let next = framed(
        &[
            &[131, 68, 1, 0, 254][..],
            &terms(&control("friend"), &payload),
        ]
        .concat(),
    );
    let stream = [refused, next].concat();
    let out = relay(&stream, std::iter::repeat(5000), &mut ByName::default()).unwrap();
    let (messages, _) = received(&out);
    assert_eq!(messages[0].0, "undefined");
    assert!(messages[1].1[2..].starts_with(b"254"));
}

#[test]
fn a_refused_message_of_any_operation_reaches_nobody() {
    let reference = crate::term::Reference::new(crate::term::Atom::new("a@b"), 1, &[9]).unwrap();
    let (from, to) = (pid(), pid());
    let signals = [
        (
            Op::Link,
            Signal::Link {
                from: pid(),
                to: pid(),
            },
        ),
        (
            Op::GroupLeader,
            Signal::GroupLeader {
                from: pid(),
                to: pid(),
            },
        ),
        (
            Op::Send,
            Signal::Send {
                from: None,
                to: Target::Pid(pid()),
                priority: false,
            },
        ),
        (
            Op::AltactSigSend,
            Signal::Send {
                from: Some(pid()),
                to: Target::Pid(pid()),
                priority: true,
            },
        ),
        (
            Op::AliasSend,
            Signal::Send {
                from: Some(pid()),
                to: Target::Alias(reference.clone()),
                priority: false,
            },
        ),
        (
            Op::Exit2,
            Signal::Exit2 {
                from: pid(),
                to: Target::Pid(pid()),
                reason: Some(&[106]),
                priority: false,
            },
        ),
        (
            Op::PayloadExit2,
            Signal::Exit2 {
                from: pid(),
                to: Target::Pid(pid()),
                reason: None,
                priority: false,
            },
        ),
        (
            Op::MonitorP,
            Signal::Monitor {
                from,
                to: Target::Pid(to),
                reference: reference.clone(),
            },
        ),
        (
            Op::SpawnRequest,
            Signal::SpawnRequest {
                id: reference,
                from: pid(),
                group_leader: pid(),
                module: crate::term::Atom::new("m"),
                function: crate::term::Atom::new("f"),
                arity: 0,
                options: &[106],
            },
        ),
    ];
    for (op, signal) in signals {
        let control = Control {
            op,
            token: None,
            signal,
        };
        let payload: &[u8] = if op.has_payload() { &[106] } else { &[] };
        let bytes = control.encode().unwrap();
        let streams = [
            framed(&[&[131, 68, 0][..], &bytes, payload].concat()),
            frame::pass_through(&bytes, op.has_payload().then_some(payload)),
        ];
        for stream in streams {
            let (mut gate, mut edits) = (Gate::new(MAX_FRAME), Vec::new());
            let mut judge = Always(Verdict::Refuse, 0);
            assert_eq!(gate.feed(&stream, &mut judge, &mut edits), Ok(stream.len()));
            assert_eq!(edits.len(), 1);
            assert_eq!(edits[0].range, 0..stream.len());
            assert_eq!(
                received(&edits[0].with).0,
                [("undefined".to_owned(), vec![106])]
            );
        }
    }
}

#[test]
fn what_cannot_be_followed_ends_the_stream() {
    let friend = terms(&control("friend"), &[106]);
    let first = |sequence, number| fragment(69, sequence, number, &[&[0][..], &friend].concat());
    let link = Control {
        op: Op::Link,
        token: None,
        signal: Signal::Link {
            from: pid(),
            to: pid(),
        },
    };
    let bad: [(&str, Vec<u8>); 12] = [
        ("a type that does not exist", framed(&[113, 131])),
        (
            "a distribution header that does not exist",
            framed(&[131, 71, 0, 0]),
        ),
        ("a frame without end", vec![0xFF; 4]),
        ("a header that is cut off", framed(&[131, 68, 5])),
        (
            "a control message that is cut off",
            framed(&[&[131, 68, 0][..], &friend[..9]].concat()),
        ),
        (
            "an entry of the cache that was never filled",
            framed(&[&[131, 68, 1, 0, 9][..], &friend].concat()),
        ),
        (
            "no payload",
            framed(&[&[131, 68, 0][..], &terms(&control("friend"), &[])].concat()),
        ),
        (
            "a payload too many",
            framed(&[&[131, 68, 0][..], &terms(&link, &[106])].concat()),
        ),
        ("a fragment of nothing", fragment(70, 1, 1, &[106])),
        (
            "a sequence that is begun twice",
            [first(1, 2), first(1, 2)].concat(),
        ),
        (
            "fragments out of order",
            [first(1, 3), fragment(70, 1, 1, &[106])].concat(),
        ),
        ("fragment zero", first(1, 0)),
    ];
    for (what, stream) in bad {
        let (mut gate, mut edits) = (Gate::new(MAX_FRAME), Vec::new());
        let mut judge = Always(Verdict::Forward, 0);
        let mut result = Ok(0);
        let mut held = Vec::new();
        for byte in &stream {
            held.push(*byte);
            result = gate.feed(&held, &mut judge, &mut edits);
            match &result {
                Ok(decided) => drop(held.drain(..*decided)),
                Err(_) => break,
            }
        }
        assert!(result.is_err(), "{what}");
        assert!(
            gate.feed(&[0; 4], &mut judge, &mut edits).is_err(),
            "{what}: for good"
        );
    }
}

#[test]
fn a_gathered_payload_is_checked_for_its_order() {
    let start = [&[0][..], &terms(&control("patient"), &[104, 3])].concat();
    let stream = [
        fragment(69, 1, 4, &start),
        fragment(70, 1, 3, &[106]),
        fragment(70, 1, 1, &[106]),
    ]
    .concat();
    let (mut gate, mut edits) = (Gate::new(MAX_FRAME), Vec::new());
    assert!(
        gate.feed(&stream, &mut ByName::default(), &mut edits)
            .is_err()
    );
}

#[test]
fn a_control_message_that_does_not_end_ends_the_stream() {
    let mut stream = (1_u32 << 20).to_be_bytes().to_vec();
    // A message to a name, whose second element may be anything.
    stream.extend([131, 68, 0]);
    stream.extend(&terms(&control("friend"), &[])[..22]);
    stream.extend([109, 0, 0xF, 0, 0]);
    let (mut gate, mut edits) = (Gate::new(MAX_FRAME), Vec::new());
    let mut judge = Always(Verdict::Forward, 0);
    stream.resize(HOLD, 0);
    assert_eq!(gate.feed(&stream, &mut judge, &mut edits), Ok(0));
    stream.resize(HOLD + 100, 0);
    assert!(gate.feed(&stream, &mut judge, &mut edits).is_err());
}

#[test]
fn a_judge_can_end_the_stream() {
    struct Fed;
    #[derive(Debug, PartialEq)]
    enum Up {
        WithIt,
        With(Error),
    }
    impl From<Error> for Up {
        fn from(error: Error) -> Self {
            Self::With(error)
        }
    }
    impl Judge for Fed {
        type Error = Up;
        fn judge(&mut self, _: &Shown<'_>) -> core::result::Result<Verdict, Up> {
            Err(Up::WithIt)
        }
    }
    let stream = framed(&[&[131, 68, 0][..], &terms(&control("friend"), &[106])].concat());
    let (mut gate, mut edits) = (Gate::new(MAX_FRAME), Vec::new());
    assert_eq!(gate.feed(&stream, &mut Fed, &mut edits), Err(Up::WithIt));
    assert!(matches!(
        gate.feed(&stream, &mut Fed, &mut edits),
        Err(Up::With(_))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Each message counts for itself, refused or not, in whatever fragments it comes, mixed with whichever others.
    #[test]
    fn a_message_is_as_long_as_all_of_its_fragments(
        messages in prop::collection::vec((prop::collection::vec(1..200_usize, 1..12), any::<bool>()), 1..5),
        order in prop::collection::vec(0..30_usize, 1..20),
        below in 0..2_usize,
        chunk in prop_oneof![1..50_usize, Just(usize::MAX)],
    ) {
        let mut made = Vec::new();
        let mut longest = 0;
        for (n, (parts, refused)) in messages.iter().enumerate() {
            let sequence = u64::try_from(n).unwrap();
            let name = if *refused { "victim" } else { "friend" };
            let count = u64::try_from(parts.len()).unwrap();
            let mut payload = large(u32::try_from(parts.iter().sum::<usize>()).unwrap());
            let mut frames = Vec::new();
            for (number, part) in (1..=count).rev().zip(parts) {
                // The last one has what is left.
                let at = if number == 1 { payload.len() } else { *part };
                let left = payload.split_off(at);
                frames.push(if number == count {
                    fragment(69, sequence, number, &[&[0][..], &terms(&control(name), &payload)].concat())
                } else {
                    fragment(70, sequence, number, &payload)
                });
                payload = left;
            }
            longest = longest.max(frames.iter().map(|frame| frame.len() - 4).sum::<usize>());
            made.push(frames);
        }
        let stream = made::mixed(made, &order);
        let limit = u32::try_from(longest - below).unwrap();
        let mut gate = Gate::new(limit);
        let (mut judge, mut edits) = (ByName::default(), Vec::new());
        let (mut there, mut done, mut failed) = (0, 0, None);
        while there < stream.len() && failed.is_none() {
            there = there.saturating_add(chunk).min(stream.len());
            match gate.feed(&stream[done..there], &mut judge, &mut edits) {
                Ok(decided) => done += decided,
                Err(error) => failed = Some(error),
            }
        }
        match (below, failed) {
            (0, None) => prop_assert_eq!(done, stream.len()),
            (1, Some(Error::TooLarge { found, limit: told, .. })) => {
                prop_assert_eq!((found, told), (longest as u64, u64::from(limit)));
            }
            (_, other) => prop_assert!(false, "{:?} with {} below", other, below),
        }
    }
}
