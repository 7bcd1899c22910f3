//! What a receiver makes of a stream, and what it should make of it.

use std::collections::HashMap;
use std::sync::Arc;

use super::made::NAMES;
use crate::atom_cache::AtomCache;
use crate::fragment::Assembler;
use crate::frame::{self, Frame};
use crate::term::{Atom, Reader, Term};

/// A message: its terms, and what the references among them mean.
pub(super) struct Received {
    control: Vec<u8>,
    payload: Vec<u8>,
    atoms: Vec<Arc<str>>,
    /// Whether it came in one frame.
    whole: bool,
}

impl Received {
    /// The terms of the message as text, their atoms changed by `names`.
    pub(super) fn meaning(&self, names: &[(&'static str, &'static str)]) -> [String; 2] {
        [&self.control, &self.payload].map(|bytes| {
            if bytes.is_empty() {
                return String::new();
            }
            let mut reader = Reader::new(bytes).unwrap().with_atoms(&self.atoms);
            let mut term = reader.term().unwrap();
            assert!(reader.is_empty(), "nothing follows a term");
            change(&mut term, names);
            format!("{term:?}")
        })
    }

    /// The terms of the message as they stand in the stream.
    pub(super) fn terms(&self) -> [Vec<u8>; 2] {
        [self.control.clone(), self.payload.clone()]
    }

    /// Whether its funs say how long they are. In fragments they need not.
    pub(super) fn funs_are_right(&self) -> bool {
        let looked_at = if self.whole { &self.payload[..] } else { &[] };
        [&self.control[..], looked_at].into_iter().all(|bytes| {
            let mut reader = Reader::new(bytes).unwrap();
            while !reader.is_empty() {
                let rest = reader.rest();
                if let [b'p', a, b, c, d, ..] = *rest {
                    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap();
                    let there = Reader::new(rest).unwrap().skip().unwrap().len() - 1;
                    if size != there {
                        return false;
                    }
                }
                reader.token().unwrap();
            }
            true
        })
    }
}

/// The messages of a stream, in the order in which they begin.
pub(super) fn received(mut stream: &[u8]) -> Vec<Received> {
    let (mut cache, mut atoms) = (AtomCache::new(), Vec::new());
    let mut assembler = Assembler::new(1000, 1 << 26);
    let (mut messages, mut open) = (Vec::<Received>::new(), HashMap::new());
    while let Some((bytes, used)) = frame::split(stream, u32::MAX).unwrap() {
        stream = &stream[used..];
        match Frame::decode(bytes).unwrap() {
            Frame::Tick => {}
            Frame::PassThrough { terms } => {
                let terms = terms.strip_prefix(&[131]).unwrap();
                let (control, payload) = split(terms);
                messages.push(Received {
                    control,
                    payload: payload.strip_prefix(&[131]).unwrap_or_default().to_vec(),
                    atoms: Vec::new(),
                    whole: true,
                });
            }
            Frame::Message { header, terms } => {
                cache.apply(&header, &mut atoms).unwrap();
                let (control, payload) = split(terms);
                messages.push(Received {
                    control,
                    payload,
                    atoms: atoms.clone(),
                    whole: true,
                });
            }
            Frame::FirstFragment {
                sequence,
                fragment,
                header,
                terms,
            } => {
                cache.apply(&header, &mut atoms).unwrap();
                let (control, payload) = split(terms);
                let whole = assembler.first(sequence, fragment, &payload).unwrap();
                if whole.is_none() {
                    open.insert(sequence, messages.len());
                }
                messages.push(Received {
                    control,
                    payload,
                    atoms: atoms.clone(),
                    whole: whole.is_some(),
                });
            }
            Frame::NextFragment {
                sequence,
                fragment,
                bytes,
            } => {
                if let Some(payload) = assembler.next(sequence, fragment, bytes).unwrap() {
                    let index = open.remove(&sequence).unwrap();
                    messages[index].payload = payload;
                }
            }
        }
    }
    assert!(
        stream.is_empty() && assembler.is_empty(),
        "the stream ends between messages"
    );
    messages
}

/// A control message and what is behind it.
fn split(terms: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let mut reader = Reader::new(terms).unwrap();
    let end = reader.skip().unwrap().end;
    let (control, payload) = terms.split_at(end);
    (control.to_vec(), payload.to_vec())
}

/// Changes the atoms of a tree.
fn change(term: &mut Term<'_>, names: &[(&'static str, &'static str)]) {
    let swap = |atom: &mut Atom<'_>| {
        let found = names.iter().find(|(from, _)| atom.text() == Some(*from));
        if let Some((_, to)) = found {
            *atom = Atom::new(to);
        }
    };
    match term {
        Term::Atom(atom) => swap(atom),
        Term::Pid(pid) => swap(&mut pid.node),
        Term::Port(port) => swap(&mut port.node),
        Term::Reference(reference) => swap(&mut reference.node),
        Term::Export {
            module, function, ..
        } => {
            swap(module);
            swap(function);
        }
        Term::Tuple(all) => all.iter_mut().for_each(|term| change(term, names)),
        Term::List { elements, tail } => {
            let all = elements.iter_mut().chain(tail.as_deref_mut());
            all.for_each(|term| change(term, names));
        }
        Term::Map(pairs) => {
            for (key, value) in pairs {
                change(key, names);
                change(value, names);
            }
        }
        Term::Fun(fun) => {
            swap(&mut fun.module);
            swap(&mut fun.pid.node);
            fun.free.iter_mut().for_each(|term| change(term, names));
        }
        Term::Record(record) => {
            swap(&mut record.module);
            swap(&mut record.name);
            let all = record.names.iter_mut().chain(&mut record.values);
            all.for_each(|term| change(term, names));
        }
        Term::Integer(_)
        | Term::Big { .. }
        | Term::Float(_)
        | Term::String(_)
        | Term::Binary(_)
        | Term::Bits { .. } => {}
    }
}

/// What all messages of a stream mean once their names are changed.
pub(super) fn renamed(stream: &[u8]) -> Vec<[String; 2]> {
    let messages = received(stream);
    messages
        .iter()
        .map(|message| message.meaning(NAMES))
        .collect()
}

/// What all messages of a stream mean.
pub(super) fn meaning(stream: &[u8]) -> Vec<[String; 2]> {
    let messages = received(stream);
    messages
        .iter()
        .map(|message| message.meaning(&[]))
        .collect()
}
