//! Terms as trees: for tools and tests, and for what is small. Large terms are walked over with a reader.

use std::borrow::Cow;

use super::reader::Reader;
use super::token::Token;
use super::{Atom, Pid, Port, Reference};
use crate::error::Result;

/// A term with everything inside it.
#[derive(Debug, Clone, PartialEq)]
pub enum Term<'a> {
    /// An integer of at most 64 bits.
    Integer(i64),
    /// Any other integer.
    Big {
        /// Whether it is below zero.
        negative: bool,
        /// Its magnitude, least significant byte first.
        digits: Cow<'a, [u8]>,
    },
    /// A floating point number.
    Float(f64),
    /// An atom.
    Atom(Atom<'a>),
    /// A process.
    Pid(Pid<'a>),
    /// A port.
    Port(Port<'a>),
    /// A reference.
    Reference(Reference<'a>),
    /// A tuple.
    Tuple(Vec<Self>),
    /// A list of anything; the empty list has neither elements nor tail.
    List {
        /// Its elements.
        elements: Vec<Self>,
        /// What stands in place of the empty list at the end of an improper one.
        tail: Option<Box<Self>>,
    },
    /// A list of bytes, in its short form.
    String(Cow<'a, [u8]>),
    /// A binary.
    Binary(Cow<'a, [u8]>),
    /// A bit string.
    Bits {
        /// Its bytes, the last one filled up with zeros.
        bytes: Cow<'a, [u8]>,
        /// How many bits of the last byte count, from the most significant one.
        last: u8,
    },
    /// A map, in the order of the wire.
    Map(Vec<(Self, Self)>),
    /// A fun with its free variables.
    Fun(Box<Fun<'a>>),
    /// `fun M:F/A`.
    Export {
        /// M.
        module: Atom<'a>,
        /// F.
        function: Atom<'a>,
        /// A.
        arity: u8,
    },
    /// A native record (OTP 29).
    Record(Box<Record<'a>>),
}

/// A fun with its free variables.
#[derive(Debug, Clone, PartialEq)]
pub struct Fun<'a> {
    /// How many arguments it takes.
    pub arity: u8,
    /// MD5 of what matters of its module.
    pub unique: [u8; 16],
    /// Its number in the module.
    pub index: u32,
    /// Its module.
    pub module: Atom<'a>,
    /// Its number in the module, of old.
    pub old_index: i64,
    /// A hash of its parse tree, of old.
    pub old_unique: i64,
    /// The process that made it.
    pub pid: Pid<'a>,
    /// Its free variables.
    pub free: Vec<Term<'a>>,
}

/// A native record (OTP 29).
#[derive(Debug, Clone, PartialEq)]
pub struct Record<'a> {
    /// Flags; bit 0: exported.
    pub flags: u8,
    /// The module that defines it.
    pub module: Atom<'a>,
    /// Its name.
    pub name: Atom<'a>,
    /// The names of its fields; atoms in a record that a node has made.
    pub names: Vec<Term<'a>>,
    /// The values of its fields.
    pub values: Vec<Term<'a>>,
}

impl<'a> Term<'a> {
    /// The atom of this text.
    #[must_use]
    pub const fn atom(text: &'a str) -> Self {
        Self::Atom(Atom::new(text))
    }

    /// A proper list.
    #[must_use]
    pub const fn list(elements: Vec<Self>) -> Self {
        Self::List {
            elements,
            tail: None,
        }
    }

    /// Reads one term that stands `depth` levels deep.
    pub(super) fn read(reader: &mut Reader<'a>, depth: u8) -> Result<Self> {
        Ok(match reader.token()? {
            Token::Integer(value) => Self::Integer(value),
            Token::Big { negative, digits } => Self::Big {
                negative,
                digits: digits.into(),
            },
            Token::Float(value) => Self::Float(value),
            Token::Atom(atom) => Self::Atom(atom),
            Token::Pid(pid) => Self::Pid(pid),
            Token::Port(port) => Self::Port(port),
            Token::Reference(reference) => Self::Reference(reference),
            Token::Nil => Self::list(Vec::new()),
            Token::String(bytes) => Self::String(bytes.into()),
            Token::Binary(bytes) => Self::Binary(bytes.into()),
            Token::Bits { bytes, last } => Self::Bits {
                bytes: bytes.into(),
                last,
            },
            Token::Export {
                module,
                function,
                arity,
            } => Self::Export {
                module,
                function,
                arity,
            },
            Token::Tuple(arity) => {
                let depth = reader.nested(depth)?;
                Self::Tuple(Self::several(reader, arity, depth)?)
            }
            Token::List(count) => {
                let depth = reader.nested(depth)?;
                let elements = Self::several(reader, count, depth)?;
                let tail = match Self::read(reader, depth)? {
                    Self::List {
                        elements: rest,
                        tail: None,
                    } if rest.is_empty() => None,
                    tail => Some(Box::new(tail)),
                };
                Self::List { elements, tail }
            }
            Token::Map(count) => {
                let depth = reader.nested(depth)?;
                let mut pairs = room(count);
                for _ in 0..count {
                    pairs.push((Self::read(reader, depth)?, Self::read(reader, depth)?));
                }
                Self::Map(pairs)
            }
            Token::Fun {
                arity,
                unique,
                index,
                free,
                module,
                old_index,
                old_unique,
                pid,
            } => {
                let depth = reader.nested(depth)?;
                let free = Self::several(reader, free, depth)?;
                Self::Fun(Box::new(Fun {
                    arity,
                    unique,
                    index,
                    module,
                    old_index,
                    old_unique,
                    pid,
                    free,
                }))
            }
            Token::Record {
                fields,
                flags,
                module,
                name,
            } => {
                let depth = reader.nested(depth)?;
                let names = Self::several(reader, fields, depth)?;
                let values = Self::several(reader, fields, depth)?;
                Self::Record(Box::new(Record {
                    flags,
                    module,
                    name,
                    names,
                    values,
                }))
            }
        })
    }

    fn several(reader: &mut Reader<'a>, count: u32, depth: u8) -> Result<Vec<Self>> {
        let mut terms = room(count);
        for _ in 0..count {
            terms.push(Self::read(reader, depth)?);
        }
        Ok(terms)
    }
}

/// Room for what a container announces, but no more than a little before it is there.
fn room<T>(count: u32) -> Vec<T> {
    Vec::with_capacity(usize::try_from(count).unwrap_or(usize::MAX).min(64))
}
