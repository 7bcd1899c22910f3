//! All the ways in which a term may legally be written.

use std::sync::Arc;

use crate::term::{Atom, Pid, Reference, Term, tag};

/// Where there is a choice, what is chosen.
pub(super) struct Choices {
    numbers: Vec<u16>,
    at: usize,
}

impl Choices {
    pub(super) const fn new(numbers: Vec<u16>) -> Self {
        Self { numbers, at: 0 }
    }

    /// What a node would choose.
    pub(super) const fn plain() -> Self {
        Self::new(Vec::new())
    }

    fn of(&mut self, count: usize) -> usize {
        if self.numbers.is_empty() {
            return 0;
        }
        let number = usize::from(self.numbers[self.at % self.numbers.len()]);
        self.at += 1;
        // Another round is not the same.
        (number + self.at / self.numbers.len()) % count
    }
}

pub(super) fn encode(
    term: &Term<'static>,
    choices: &mut Choices,
    atoms: &mut Vec<Arc<str>>,
) -> Vec<u8> {
    let mut out = Vec::new();
    write(term, choices, atoms, &mut out);
    out
}

fn long(length: usize) -> [u8; 4] {
    u32::try_from(length).unwrap().to_be_bytes()
}

fn short(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap().to_be_bytes()
}

fn write(
    term: &Term<'static>,
    choices: &mut Choices,
    atoms: &mut Vec<Arc<str>>,
    out: &mut Vec<u8>,
) {
    // A list of no elements whose tail is the term.
    for _ in 0..choices.of(8).saturating_sub(5) {
        out.push(tag::LIST);
        out.extend(long(0));
    }
    match term {
        Term::Atom(atom) => write_atom(atom, choices, atoms, out),
        Term::Pid(pid) => write_pid(pid, choices, atoms, out),
        Term::Reference(reference) => write_reference(reference, choices, atoms, out),
        Term::Integer(value) => write_integer(*value, choices, out),
        Term::Binary(bytes) => {
            out.push(tag::BINARY);
            out.extend(long(bytes.len()));
            out.extend_from_slice(bytes);
        }
        Term::Export {
            module,
            function,
            arity,
        } => {
            out.push(tag::EXPORT);
            write_atom(module, choices, atoms, out);
            write_atom(function, choices, atoms, out);
            out.extend([tag::SMALL_INTEGER, *arity]);
        }
        Term::Tuple(elements) => {
            match choices.of(2) {
                0 => out.extend([tag::SMALL_TUPLE, u8::try_from(elements.len()).unwrap()]),
                _ => {
                    out.push(tag::LARGE_TUPLE);
                    out.extend(long(elements.len()));
                }
            }
            for element in elements {
                write(element, choices, atoms, out);
            }
        }
        Term::List { elements, tail } => {
            write_list(elements, tail.as_deref(), choices, atoms, out);
        }
        Term::Map(pairs) => {
            out.push(tag::MAP);
            out.extend(long(pairs.len()));
            for (key, value) in pairs {
                write(key, choices, atoms, out);
                write(value, choices, atoms, out);
            }
        }
        Term::Fun(fun) => {
            let begin = out.len();
            out.push(tag::NEW_FUN);
            out.extend(long(0));
            out.push(fun.arity);
            out.extend(fun.unique);
            out.extend(fun.index.to_be_bytes());
            out.extend(long(fun.free.len()));
            write_atom(&fun.module, choices, atoms, out);
            write_integer(fun.old_index, choices, out);
            write_integer(fun.old_unique, choices, out);
            write_pid(&fun.pid, choices, atoms, out);
            for free in &fun.free {
                write(free, choices, atoms, out);
            }
            let size = long(out.len() - begin - 1);
            out[begin + 1..begin + 5].copy_from_slice(&size);
        }
        other => panic!("the tests do not use {other:?}"),
    }
}

fn write_list(
    elements: &[Term<'static>],
    tail: Option<&Term<'static>>,
    choices: &mut Choices,
    atoms: &mut Vec<Arc<str>>,
    out: &mut Vec<u8>,
) {
    let bytes: Option<Vec<u8>> = elements
        .iter()
        .map(|element| match element {
            Term::Integer(value) => u8::try_from(*value).ok(),
            _ => None,
        })
        .collect();
    match (elements, tail, bytes) {
        ([], Some(tail), _) => write(tail, choices, atoms, out),
        ([], None, _) => match choices.of(3) {
            0 => out.push(tag::NIL),
            1 => out.extend([tag::STRING, 0, 0]),
            _ => {
                out.push(tag::LIST);
                out.extend(long(0));
                out.push(tag::NIL);
            }
        },
        (_, None, Some(bytes)) if choices.of(2) == 0 => {
            out.push(tag::STRING);
            out.extend(short(bytes.len()));
            out.extend(bytes);
        }
        _ => {
            // In one piece, or in two, the second one the tail of the first.
            let count = elements.len() - choices.of(elements.len());
            let (first, rest) = elements.split_at(count);
            out.push(tag::LIST);
            out.extend(long(first.len()));
            for element in first {
                write(element, choices, atoms, out);
            }
            write_list(rest, tail, choices, atoms, out);
        }
    }
}

fn write_atom(
    atom: &Atom<'static>,
    choices: &mut Choices,
    atoms: &mut Vec<Arc<str>>,
    out: &mut Vec<u8>,
) {
    let text = atom.text().unwrap();
    let length = text.len();
    match choices.of(5) {
        0 => {
            out.extend([tag::ATOM_CACHE_REF, u8::try_from(atoms.len()).unwrap()]);
            atoms.push(text.into());
            return;
        }
        1 => out.extend([tag::SMALL_ATOM, u8::try_from(length).unwrap()]),
        2 => out.extend([tag::SMALL_ATOM_UTF8, u8::try_from(length).unwrap()]),
        3 => {
            out.push(tag::ATOM);
            out.extend(short(length));
        }
        _ => {
            out.push(tag::ATOM_UTF8);
            out.extend(short(length));
        }
    }
    assert!(text.is_ascii(), "the same in Latin-1 and UTF-8");
    out.extend_from_slice(text.as_bytes());
}

fn write_pid(
    pid: &Pid<'static>,
    choices: &mut Choices,
    atoms: &mut Vec<Arc<str>>,
    out: &mut Vec<u8>,
) {
    let old = choices.of(2) == 1;
    out.push(if old { tag::PID } else { tag::NEW_PID });
    write_atom(&pid.node, choices, atoms, out);
    out.extend(pid.id.to_be_bytes());
    out.extend(pid.serial.to_be_bytes());
    let creation = pid.creation.to_be_bytes();
    out.extend(if old { &creation[3..] } else { &creation });
}

fn write_reference(
    reference: &Reference<'static>,
    choices: &mut Choices,
    atoms: &mut Vec<Arc<str>>,
    out: &mut Vec<u8>,
) {
    let old = choices.of(2) == 1;
    out.push(if old {
        tag::NEW_REFERENCE
    } else {
        tag::NEWER_REFERENCE
    });
    out.extend(short(reference.words().len()));
    write_atom(&reference.node, choices, atoms, out);
    let creation = reference.creation.to_be_bytes();
    out.extend(if old { &creation[3..] } else { &creation });
    for word in reference.words() {
        out.extend(word.to_be_bytes());
    }
}

fn write_integer(value: i64, choices: &mut Choices, out: &mut Vec<u8>) {
    let byte = u8::try_from(value).ok();
    match (choices.of(4), byte) {
        (0, Some(byte)) => out.extend([tag::SMALL_INTEGER, byte]),
        (2, Some(byte)) => out.extend([tag::SMALL_BIG, 2, 0, byte, 0]),
        (3, Some(byte)) => out.extend([tag::LARGE_BIG, 0, 0, 0, 1, 0, byte]),
        _ => {
            out.push(tag::INTEGER);
            out.extend(i32::try_from(value).unwrap().to_be_bytes());
        }
    }
}
