//! Streams as a node could write them.

use std::collections::VecDeque;

use proptest::prelude::*;

use crate::control::{Control, Signal, Target};
use crate::frame;
use crate::term::{Atom, Pid, Writer};

/// A message by its name and its payload.
pub(super) type Said = (String, Vec<u8>);

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    Pass,
    Header,
    /// In fragments of so many bytes.
    Fragments(usize),
}

#[derive(Debug, Clone)]
pub(super) enum Made {
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
pub(super) struct Sender {
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
    fn frames(&mut self, made: &Made) -> (Vec<Vec<u8>>, Option<Said>) {
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

pub(super) fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

pub(super) fn pid() -> Pid<'static> {
    Pid {
        node: Atom::new("a@b"),
        id: 7,
        serial: 0,
        creation: 1,
    }
}

pub(super) fn control(name: &'static str) -> Control<'static> {
    let mut control = Control::to_nobody(pid());
    if let Signal::Send { to, .. } = &mut control.signal {
        *to = Target::Name(Atom::new(name));
    }
    control
}

/// Puts the frames of messages in a row; those of messages in fragments mix as `order` says.
pub(super) fn mixed(messages: Vec<Vec<Vec<u8>>>, order: &[usize]) -> Vec<u8> {
    let mut stream = Vec::new();
    let mut open: Vec<VecDeque<Vec<u8>>> = Vec::new();
    let mut order = order.iter().cycle();
    let mut waiting = messages.into_iter();
    loop {
        let choice = *order.next().unwrap();
        let next = if open.is_empty() || choice.is_multiple_of(3) {
            waiting.next()
        } else {
            None
        };
        match next {
            Some(frames) => {
                let mut frames: VecDeque<_> = frames.into();
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

pub(super) fn size() -> impl Strategy<Value = usize> {
    prop_oneof![10 => 0..300_usize, 1 => 60_000..70_000_usize, 1 => 130_000..200_000_usize]
}

pub(super) fn made(
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

pub(super) fn stream(all: &[Made], order: &[usize]) -> (Vec<u8>, Vec<Said>) {
    let mut sender = Sender::new();
    let (mut frames, mut wanted) = (Vec::new(), Vec::new());
    for made in all {
        let (own, message) = sender.frames(made);
        frames.push(own);
        wanted.extend(message);
    }
    (mixed(frames, order), wanted)
}
