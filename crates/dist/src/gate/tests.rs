mod bounds;
mod made;

use proptest::prelude::*;

use super::*;
use crate::control::{Message, Signal, Target};
use crate::fragment::Assembler;
use crate::frame;
use made::{Said, control, framed, made, pid, size, stream};

const MAX_FRAME: u32 = 1 << 30;

/// Decides by the name that a message goes to.
#[derive(Default)]
struct ByName {
    judged: Vec<(String, usize, bool, bool)>,
    seen: Vec<Seen>,
}

impl Judge for ByName {
    type Error = Error;

    fn judge(&mut self, message: &Shown<'_>) -> Result<Verdict> {
        assert!(message.control_bytes.len() + message.payload.len() <= HOLD);
        assert!(!(message.whole && message.last));
        let Signal::Send {
            to: Target::Name(name),
            ..
        } = &message.control.signal
        else {
            panic!("the tests send to names");
        };
        let name = name.text().unwrap().to_owned();
        let wanted = match name.as_str() {
            "friend" | "victim" => 0,
            "patient" | "doomed" => usize::MAX,
            _ => 40,
        };
        let enough = message.payload.len() >= wanted || message.whole;
        let refused = ["victim", "doomed", "hasty"].contains(&name.as_str());
        self.judged
            .push((name, message.payload.len(), message.whole, message.last));
        Ok(match (enough, refused) {
            (false, _) => Verdict::More,
            (true, true) => Verdict::Refuse,
            (true, false) => Verdict::Forward,
        })
    }

    fn seen(&mut self, seen: Seen) {
        self.seen.push(seen);
    }
}

/// What goes on, if the stream comes in these chunks. Looks also whether the gate keeps its promises to the caller.
fn relay(
    stream: &[u8],
    chunks: impl Iterator<Item = usize>,
    judge: &mut ByName,
) -> Result<Vec<u8>> {
    relay_in_parts(stream, chunks, judge, usize::MAX)
}

/// The same, by another gate after each so many chunks.
fn relay_in_parts(
    stream: &[u8],
    mut chunks: impl Iterator<Item = usize>,
    judge: &mut ByName,
    every: usize,
) -> Result<Vec<u8>> {
    let mut gate = Gate::new(MAX_FRAME);
    let mut count = 0;
    let (mut held, mut out, mut edits) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chunks.next().unwrap_or(4096).clamp(1, rest.len()));
        rest = behind;
        held.extend_from_slice(chunk);
        let decided = gate.feed(&held, judge, &mut edits)?;
        // It may stand still anywhere.
        gate.rest();
        count += 1;
        if count % every == 0 {
            gate = Gate::thaw(&gate.freeze().unwrap(), MAX_FRAME).unwrap();
        }
        let mut at = 0;
        for Edit { range, with } in &edits {
            assert!(at <= range.start && range.start < range.end && range.end <= decided);
            out.extend_from_slice(&held[at..range.start]);
            out.extend_from_slice(with);
            at = range.end;
        }
        out.extend_from_slice(&held[at..decided]);
        held.drain(..decided);
        assert!(held.len() < MOST_HELD);
        assert_eq!(gate.is_between_frames(), ends_between_frames(&out));
    }
    assert!(
        held.is_empty() && gate.is_between_frames(),
        "the stream ends between frames"
    );
    Ok(out)
}

fn ends_between_frames(mut out: &[u8]) -> bool {
    while let Some(prefix) = out.first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*prefix)).unwrap() + 4;
        match out.get(length..) {
            Some(rest) => out = rest,
            None => return false,
        }
    }
    out.is_empty()
}

/// What a receiver makes of a stream: each message by name and payload, and how many ticks there were.
fn received(mut stream: &[u8]) -> (Vec<Said>, usize) {
    let (mut cache, mut atoms) = (AtomCache::new(), Vec::new());
    let mut open = std::collections::HashMap::new();
    let mut assembler = Assembler::new(1000, 1 << 24);
    let (mut messages, mut ticks) = (Vec::new(), 0);
    while let Some((bytes, used)) = frame::split(stream, MAX_FRAME).unwrap() {
        stream = &stream[used..];
        let frame = Frame::decode(bytes).unwrap();
        match &frame {
            Frame::Tick => ticks += 1,
            Frame::Message { header, .. } | Frame::FirstFragment { header, .. } => {
                cache.apply(header, &mut atoms).unwrap();
            }
            Frame::PassThrough { .. } => atoms.clear(),
            Frame::NextFragment {
                sequence,
                fragment,
                bytes,
            } => {
                if let Some(payload) = assembler.next(*sequence, *fragment, bytes).unwrap() {
                    let (index, atoms): (usize, Vec<Arc<str>>) = open.remove(sequence).unwrap();
                    let message: &mut Said = &mut messages[index];
                    message.1 = resolved(&payload, &atoms);
                }
            }
        }
        let Some(message) = Message::of(&frame, &atoms).unwrap() else {
            continue;
        };
        let Signal::Send {
            to: Target::Name(name),
            ..
        } = &message.control.signal
        else {
            panic!("the tests send to names");
        };
        let name = name.text().unwrap().to_owned();
        let payload = match frame {
            Frame::FirstFragment {
                sequence, fragment, ..
            } => match assembler
                .first(sequence, fragment, message.payload)
                .unwrap()
            {
                Some(payload) => resolved(&payload, &atoms),
                None => {
                    open.insert(sequence, (messages.len(), atoms.clone()));
                    Vec::new()
                }
            },
            _ => resolved(message.payload, &atoms),
        };
        messages.push((name, payload));
    }
    assert!(stream.is_empty() && assembler.is_empty());
    (messages, ticks)
}

/// A payload with its first atom, if it is a reference to the cache, written out.
fn resolved(payload: &[u8], atoms: &[Arc<str>]) -> Vec<u8> {
    match payload {
        [104, 2, b'R', index, rest @ ..] => {
            [&[104, 2], atoms[usize::from(*index)].as_bytes(), rest].concat()
        }
        _ => payload.to_vec(),
    }
}

fn is_refused(name: &str) -> bool {
    ["victim", "doomed", "hasty"].contains(&name)
}

fn chunks() -> impl Strategy<Value = Vec<usize>> {
    prop_oneof![
        prop::collection::vec(1..30_usize, 1..20),
        prop::collection::vec(1..70_000_usize, 1..20),
    ]
}

const ALL: &[&str] = &["friend", "curious", "patient", "victim", "hasty", "doomed"];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn what_is_permitted_goes_on_byte_for_byte(
        all in prop_oneof![
            prop::collection::vec(made(&["friend"], size()), 1..12),
            // What lies between the fragments of an undecided message is held as well.
            prop::collection::vec(made(&["friend", "curious", "patient"], 0..150_usize), 1..12),
        ],
        order in prop::collection::vec(0..30_usize, 1..20),
        chunks in chunks(),
    ) {
        let (stream, wanted) = stream(&all, &order);
        prop_assert_eq!(&received(&stream).0, &wanted, "the test reads what it writes");
        let out = relay(&stream, chunks.iter().copied().cycle(), &mut ByName::default()).unwrap();
        prop_assert!(out == stream);
    }

    #[test]
    fn what_is_refused_reaches_nobody_and_leaves_the_cache_in_step(
        all in prop::collection::vec(made(ALL, size()), 1..12),
        order in prop::collection::vec(0..30_usize, 1..20),
        chunks in chunks(),
    ) {
        let (stream, wanted) = stream(&all, &order);
        let (mut judge, mut other) = (ByName::default(), ByName::default());
        let out = relay(&stream, chunks.iter().copied().cycle(), &mut judge).unwrap();
        let at_once = relay(&stream, std::iter::repeat(usize::MAX), &mut other).unwrap();
        prop_assert!(out == at_once, "the output does not depend on how the input is cut");
        prop_assert_eq!(&judge.seen, &other.seen);
        let (messages, _) = received(&out);
        prop_assert_eq!(messages.len(), wanted.len());
        for ((name, payload), (wanted, content)) in messages.iter().zip(&wanted) {
            // Who asks for more than is held gets nothing.
            let unseen = ["patient", "curious"].contains(&wanted.as_str()) && name == "undefined";
            if is_refused(wanted) || unseen {
                prop_assert_eq!((name.as_str(), payload.as_slice()), ("undefined", &[106][..]));
            } else {
                prop_assert_eq!(name, wanted);
                prop_assert!(payload == content);
            }
        }
    }

    #[test]
    fn another_gate_goes_on_where_one_was_frozen(
        all in prop::collection::vec(made(ALL, size()), 1..12),
        order in prop::collection::vec(0..30_usize, 1..20),
        chunks in chunks(),
        every in 1..40_usize,
    ) {
        let (stream, _) = stream(&all, &order);
        let (mut judge, mut other) = (ByName::default(), ByName::default());
        let chunks = || chunks.iter().copied().cycle();
        let out = relay_in_parts(&stream, chunks(), &mut judge, every).unwrap();
        prop_assert!(out == relay(&stream, chunks(), &mut other).unwrap());
        prop_assert_eq!(&judge.seen, &other.seen);
        prop_assert_eq!(&judge.judged, &other.judged, "nothing is asked twice");
    }

    #[test]
    fn no_bytes_thaw_to_a_gate_that_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), more in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(mut gate) = Gate::thaw(&bytes, MAX_FRAME) {
            let _ = gate.feed(&more, &mut ByName::default(), &mut Vec::new());
            let again = gate.freeze();
            prop_assert!(again.is_err() || Gate::thaw(&again.unwrap(), MAX_FRAME).is_ok());
        }
    }

    #[test]
    fn a_frozen_gate_that_was_changed_is_refused_or_goes_on(
        all in prop::collection::vec(made(ALL, 0..300_usize), 1..6),
        order in prop::collection::vec(0..30_usize, 1..20),
        cut in any::<prop::sample::Index>(),
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
    ) {
        let (stream, _) = stream(&all, &order);
        let (first, rest) = stream.split_at(cut.index(stream.len()));
        let mut gate = Gate::new(MAX_FRAME);
        let (mut judge, mut edits) = (ByName::default(), Vec::new());
        let decided = gate.feed(first, &mut judge, &mut edits).unwrap();
        let mut frozen = gate.freeze().unwrap();
        let at = at.index(frozen.len());
        frozen[at] = with;
        if let Ok(mut gate) = Gate::thaw(&frozen, MAX_FRAME) {
            // What it makes of it is the sender's fault, and no panic.
            struct Deaf;
            impl Judge for Deaf {
                type Error = Error;
                fn judge(&mut self, _: &Shown<'_>) -> Result<Verdict> { Ok(Verdict::Refuse) }
            }
            let input = [&first[decided..], rest].concat();
            let _ = gate.feed(&input, &mut Deaf, &mut edits);
        }
        prop_assert!(Gate::thaw(&frozen[..frozen.len() - 1], MAX_FRAME).is_err());
    }

    #[test]
    fn the_gate_sees_what_the_observer_sees(
        all in prop::collection::vec(made(ALL, size()), 1..12),
        order in prop::collection::vec(0..30_usize, 1..20),
        chunks in chunks(),
    ) {
        let (stream, _) = stream(&all, &order);
        let mut wanted = Vec::new();
        crate::stream::Observer::new(MAX_FRAME).feed(&stream, &mut |seen| wanted.push(seen)).unwrap();
        let mut judge = ByName::default();
        relay(&stream, chunks.iter().copied().cycle(), &mut judge).unwrap();
        prop_assert_eq!(judge.seen, wanted);
    }
}
