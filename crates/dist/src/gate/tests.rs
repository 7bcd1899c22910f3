use proptest::prelude::*;

use super::*;
use crate::control::{Message, Signal, Target};
use crate::fragment::Assembler;
use crate::frame;
use crate::term::{Atom, Pid, Writer};

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
    mut chunks: impl Iterator<Item = usize>,
    judge: &mut ByName,
) -> Result<Vec<u8>> {
    let mut gate = Gate::new(MAX_FRAME);
    let (mut held, mut out, mut edits) = (Vec::new(), Vec::new(), Vec::new());
    let mut rest = stream;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(chunks.next().unwrap_or(4096).clamp(1, rest.len()));
        rest = behind;
        held.extend_from_slice(chunk);
        let decided = gate.feed(&held, judge, &mut edits)?;
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
fn received(mut stream: &[u8]) -> (Vec<(String, Vec<u8>)>, usize) {
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
                    let message: &mut (String, Vec<u8>) = &mut messages[index];
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

#[derive(Debug, Clone, Copy, PartialEq)]
enum Form {
    Pass,
    Header,
    /// In fragments of so many bytes.
    Fragments(usize),
}

#[derive(Debug, Clone)]
enum Made {
    Tick,
    Message {
        name: &'static str,
        form: Form,
        /// The atom in the payload; the cache is small, so that it often takes another's place.
        atom: usize,
        long: bool,
        size: usize,
    },
}

/// Few, so that atoms take each other's places.
const SLOTS: usize = 7;

/// A sender with an atom cache of its own.
struct Sender {
    slots: Vec<Option<String>>,
    sequence: u64,
}

impl Sender {
    fn new() -> Self {
        Self {
            slots: vec![None; SLOTS],
            sequence: 0,
        }
    }

    /// A header with these atoms.
    fn header(&mut self, atoms: &[String], long: bool) -> Vec<u8> {
        let mut nibbles = Vec::new();
        let mut refs = Vec::new();
        let long = long || atoms.iter().any(|atom| atom.len() > 255);
        for atom in atoms {
            let slot = atom.bytes().map(usize::from).sum::<usize>() % SLOTS;
            refs.push(u8::try_from(slot).unwrap());
            if self.slots[slot].as_ref() == Some(atom) {
                nibbles.push(0);
                continue;
            }
            nibbles.push(8);
            let length = u16::try_from(atom.len()).unwrap().to_be_bytes();
            refs.extend_from_slice(if long { &length } else { &length[1..] });
            refs.extend_from_slice(atom.as_bytes());
            self.slots[slot] = Some(atom.clone());
        }
        nibbles.push(u8::from(long));
        if nibbles.len() % 2 == 1 {
            nibbles.push(0);
        }
        let mut header = vec![u8::try_from(atoms.len()).unwrap()];
        header.extend(nibbles.chunks(2).map(|pair| pair[0] | pair[1] << 4));
        header.extend(refs);
        header
    }

    /// The frames of a message, and what its receiver is to see.
    fn frames(&mut self, made: &Made) -> (Vec<Vec<u8>>, Option<(String, Vec<u8>)>) {
        let Made::Message {
            name,
            form,
            atom,
            long,
            size,
        } = made
        else {
            return (vec![vec![0; 4]], None);
        };
        let atom = format!(
            "{}{atom}",
            "a".repeat(if *long { 300 } else { 3 })
                .get(..250)
                .unwrap_or("aaa")
        );
        let binary = {
            let mut writer = Writer::new();
            writer.binary(&vec![u8::try_from(size % 251).unwrap(); *size]);
            writer.finish().unwrap()
        };
        let wanted = [&[104, 2], atom.as_bytes(), &binary].concat();
        let mut frames = Vec::new();
        if *form == Form::Pass {
            let mut writer = Writer::new();
            control(name).write(&mut writer).unwrap();
            frames.push(frame::pass_through(
                &writer.finish().unwrap(),
                Some(&binary),
            ));
            return (frames, Some(((*name).to_owned(), binary)));
        }
        // Two atoms that share an entry must not meet in one header.
        let header = self.header(&[atom], *long);
        let mut writer = Writer::new();
        control(name).write(&mut writer).unwrap();
        let control = writer.finish().unwrap();
        let payload = [&[104, 2, b'R', 0][..], &binary].concat();
        match form {
            Form::Fragments(cut) => {
                self.sequence += 1;
                let parts: Vec<&[u8]> = payload.chunks((*cut).max(1)).collect();
                for (index, part) in parts.iter().enumerate() {
                    let number = u64::try_from(parts.len() - index).unwrap();
                    let numbers = [self.sequence.to_be_bytes(), number.to_be_bytes()].concat();
                    frames.push(if index == 0 {
                        framed(&[&[131, 69], &numbers[..], &header, &control, part].concat())
                    } else {
                        framed(&[&[131, 70], &numbers[..], part].concat())
                    });
                }
            }
            _ => frames.push(framed(
                &[&[131, 68], &header[..], &control, &payload].concat(),
            )),
        }
        (frames, Some(((*name).to_owned(), wanted)))
    }
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn pid() -> Pid<'static> {
    Pid {
        node: Atom::new("a@b"),
        id: 7,
        serial: 0,
        creation: 1,
    }
}

fn control(name: &'static str) -> Control<'static> {
    let mut control = Control::to_nobody(pid());
    if let Signal::Send { to, .. } = &mut control.signal {
        *to = Target::Name(Atom::new(name));
    }
    control
}

fn is_refused(name: &str) -> bool {
    ["victim", "doomed", "hasty"].contains(&name)
}

/// Puts the frames of messages in a row; those of messages in fragments mix as `order` says.
fn mixed(messages: Vec<Vec<Vec<u8>>>, order: &[usize]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut open: Vec<std::collections::VecDeque<Vec<u8>>> = Vec::new();
    let mut order = order.iter().cycle();
    let mut waiting = messages.into_iter();
    loop {
        let choice = *order.next().unwrap();
        let next = if open.is_empty() || choice % 3 == 0 {
            waiting.next()
        } else {
            None
        };
        match next {
            Some(frames) => {
                let mut frames: std::collections::VecDeque<_> = frames.into();
                stream.extend(frames.pop_front().unwrap());
                if !frames.is_empty() {
                    open.push(frames);
                }
            }
            None if open.is_empty() => return stream,
            None => {
                let index = choice % open.len();
                stream.extend(open[index].pop_front().unwrap());
                if open[index].is_empty() {
                    open.remove(index);
                }
            }
        }
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![10 => 0..300_usize, 1 => 60_000..70_000_usize, 1 => 130_000..200_000_usize]
}

fn made(
    names: &'static [&'static str],
    size: impl Strategy<Value = usize>,
) -> impl Strategy<Value = Made> {
    let form = prop_oneof![
        Just(Form::Pass),
        Just(Form::Header),
        Just(Form::Header),
        (1..200_usize).prop_map(Form::Fragments),
        Just(Form::Fragments(65_536)),
    ];
    let message = (
        prop::sample::select(names),
        form,
        0..20_usize,
        any::<bool>(),
        size,
    )
        .prop_map(|(name, form, atom, long, size)| Made::Message {
            name,
            form,
            atom,
            long,
            // Many small fragments of a large payload take long, and show nothing new.
            size: match form {
                Form::Fragments(cut) if cut < 1000 => size % 3000,
                _ => size,
            },
        });
    prop_oneof![1 => Just(Made::Tick), 8 => message]
}

fn stream(all: &[Made], order: &[usize]) -> (Vec<u8>, Vec<(String, Vec<u8>)>) {
    let mut sender = Sender::new();
    let (mut frames, mut wanted) = (Vec::new(), Vec::new());
    for made in all {
        let (own, message) = sender.frames(made);
        frames.push(own);
        wanted.extend(message);
    }
    (mixed(frames, order), wanted)
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
