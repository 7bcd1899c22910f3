//! A cursor over external terms: one token at a time, no copy, no recursion.

#[cfg(test)]
mod tests;

use core::ops::Range;
use std::sync::Arc;

use super::token::Token;
use super::tree::Term;
use super::values::{
    bits, float, latin1_atom, old_float, refused, significant, unsigned, utf8_atom, words,
};
use super::{Atom, Limits, MAX_ATOM, MAX_REFERENCE_WORDS, Pid, Port, Reference, VERSION, tag};
use crate::bytes::Input;
use crate::error::{Error, Result};

/// A cursor over external terms.
///
/// After an error the position is unspecified: the input is to be refused.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    input: Input<'a>,
    size: usize,
    limits: Limits,
    /// How many tokens have been read.
    count: u32,
    /// How many atoms of them stood there literally.
    literal_atoms: usize,
    atoms: Option<&'a [Arc<str>]>,
}

impl<'a> Reader<'a> {
    /// A reader with [`Limits::DEFAULT`].
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the input is longer than that.
    pub fn new(bytes: &'a [u8]) -> Result<Self> {
        Self::with_limits(bytes, Limits::DEFAULT)
    }

    /// A reader with limits of its own.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if the input is longer than they allow.
    pub fn with_limits(bytes: &'a [u8], limits: Limits) -> Result<Self> {
        if bytes.len() > limits.size {
            return Err(Error::TooLarge {
                what: "term",
                found: bytes.len() as u64,
                limit: limits.size as u64,
            });
        }
        let input = Input::new("term", bytes);
        Ok(Self {
            input,
            size: bytes.len(),
            limits,
            count: 0,
            literal_atoms: 0,
            atoms: None,
        })
    }

    /// A reader without any limit but the input, which takes no memory to walk over.
    #[inline]
    pub(crate) const fn over(bytes: &'a [u8], atoms: &'a [Arc<str>]) -> Self {
        Self {
            input: Input::new("term", bytes),
            size: bytes.len(),
            limits: Limits {
                size: usize::MAX,
                count: u32::MAX,
                depth: 0,
            },
            count: 0,
            literal_atoms: 0,
            atoms: Some(atoms),
        }
    }

    /// Resolves references to the atom cache with the atoms of the message's distribution header.
    #[must_use]
    pub const fn with_atoms(mut self, atoms: &'a [Arc<str>]) -> Self {
        self.atoms = Some(atoms);
        self
    }

    /// How many bytes have been read.
    #[must_use]
    pub const fn position(&self) -> usize {
        self.size - self.input.rest().len()
    }

    /// What has not been read.
    #[must_use]
    pub const fn rest(&self) -> &'a [u8] {
        self.input.rest()
    }

    /// Whether everything has been read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.input.rest().is_empty()
    }

    /// How many atoms have been read that stand in the input literally, not by the atom cache; those inside pids, ports,
    /// references and funs, and in what has been passed over, are among them.
    #[must_use]
    pub const fn literal_atoms(&self) -> usize {
        self.literal_atoms
    }

    /// Reads the version byte, 131, which stands before a term of its own.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if something else stands there.
    pub fn version(&mut self) -> Result<()> {
        self.input.tag(VERSION, "131")
    }

    /// Passes over one whole term, and returns where it stands in the input.
    ///
    /// # Errors
    /// What is wrong with the term.
    pub fn skip(&mut self) -> Result<Range<usize>> {
        let start = self.position();
        if let Some((_, rest)) = self.cached(self.input.rest())
            && self.count < self.limits.count
        {
            self.count += 1;
            self.input = Input::new("term", rest);
            return Ok(start..self.position());
        }
        let mut open = 1_u64;
        while open > 0 {
            open += self.token()?.children();
            open -= 1;
        }
        Ok(start..self.position())
    }

    /// Reads one whole term as a tree.
    ///
    /// # Errors
    /// What is wrong with the term; [`Error::TooLarge`] if it is nested too deeply.
    pub fn term(&mut self) -> Result<Term<'a>> {
        Term::read(self, 0)
    }

    /// Refuses a nesting of `depth` levels if that is too deep.
    pub(super) fn nested(&self, depth: u8) -> Result<u8> {
        let limit = self.limits.depth;
        if depth >= limit {
            return Err(Error::TooLarge {
                what: "term depth",
                found: u64::from(depth) + 1,
                limit: limit.into(),
            });
        }
        Ok(depth + 1)
    }

    /// Reads the next token.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the input ends within it, or is too short for what it announces; [`Error::Unsupported`]
    /// for tags that are recognised and refused; [`Error::Unexpected`] for those that do not exist;
    /// [`Error::TooLarge`] if there are more terms than the limits allow; [`Error::Invalid`] for a content that cannot
    /// be.
    pub fn token(&mut self) -> Result<Token<'a>> {
        if self.count >= self.limits.count {
            let limit = self.limits.count.into();
            return Err(Error::TooLarge {
                what: "term count",
                found: limit + 1,
                limit,
            });
        }
        self.count += 1;
        let tag = self.input.u8()?;
        let token = match tag {
            tag::SMALL_INTEGER => Token::Integer(self.input.u8()?.into()),
            tag::INTEGER => Token::Integer(i32::from_be_bytes(self.input.array()?).into()),
            tag::SMALL_BIG => {
                let length = self.input.u8()?;
                self.big(length.into())?
            }
            tag::LARGE_BIG => {
                let length = self.input.u32()?;
                self.big(length)?
            }
            tag::NEW_FLOAT => float(f64::from_bits(self.input.u64()?))?,
            tag::FLOAT => old_float(self.input.take(31)?)?,
            tag::NEW_PID | tag::PID => Token::Pid(self.pid_body(tag)?),
            tag::V4_PORT | tag::NEW_PORT | tag::PORT => Token::Port(self.port_body(tag)?),
            tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE => {
                Token::Reference(self.reference_body(tag)?)
            }
            tag::SMALL_TUPLE => Token::Tuple(self.input.u8()?.into()),
            tag::LARGE_TUPLE => Token::Tuple(self.input.u32()?),
            tag::NIL => Token::Nil,
            tag::STRING => {
                let length = self.input.u16()?;
                match self.input.take(length.into())? {
                    [] => Token::Nil,
                    bytes => Token::String(bytes),
                }
            }
            tag::LIST => Token::List(self.input.u32()?),
            tag::BINARY => {
                let length = self.input.u32()?;
                Token::Binary(self.run(length)?)
            }
            tag::BIT_BINARY => {
                let length = self.input.u32()?;
                let last = self.input.u8()?;
                bits(length, last)?;
                Token::Bits {
                    bytes: self.run(length)?,
                    last,
                }
            }
            tag::MAP => Token::Map(self.input.u32()?),
            tag::NEW_FUN => self.fun()?,
            tag::EXPORT => Token::Export {
                module: self.atom()?,
                function: self.atom()?,
                arity: {
                    self.input
                        .tag(tag::SMALL_INTEGER, "97 (SMALL_INTEGER_EXT)")?;
                    self.input.u8()?
                },
            },
            tag::RECORD => Token::Record {
                fields: self.input.u32()?,
                flags: self.input.u8()?,
                module: self.atom()?,
                name: self.atom()?,
            },
            tag::COMPRESSED | tag::LOCAL | tag::FUN => return Err(refused(tag)),
            _ => Token::Atom(self.atom_body(tag)?),
        };
        // Every term takes a byte at least: what cannot be there is refused before anybody makes room for it.
        let children = token.children();
        if children > self.input.rest().len() as u64 {
            let missing = usize::try_from(children).unwrap_or(usize::MAX) - self.input.rest().len();
            return Err(Error::Truncated {
                what: "term",
                missing,
            });
        }
        Ok(token)
    }

    /// Reads a term that must be an atom.
    ///
    /// # Errors
    /// As [`Reader::token`], and [`Error::Unexpected`] for any other term.
    #[inline]
    pub fn atom(&mut self) -> Result<Atom<'a>> {
        if let Some((atom, rest)) = self.cached(self.input.rest()) {
            self.input = Input::new("term", rest);
            return Ok(atom);
        }
        let tag = self.input.u8()?;
        self.atom_body(tag)
    }

    /// Reads a term that must be a pid.
    ///
    /// # Errors
    /// As [`Reader::token`], and [`Error::Unexpected`] for any other term.
    #[inline]
    pub fn pid(&mut self) -> Result<Pid<'a>> {
        if let [tag::NEW_PID, pid @ ..] = self.input.rest()
            && let Some((node, rest)) = self.cached(pid)
            && let Some((numbers, rest)) = rest.split_first_chunk()
        {
            self.input = Input::new("term", rest);
            let [id, serial, creation] = words(numbers);
            return Ok(Pid {
                node,
                id,
                serial,
                creation,
            });
        }
        self.any_pid()
    }

    /// In whatever form, or not to be read.
    fn any_pid(&mut self) -> Result<Pid<'a>> {
        match self.input.u8()? {
            tag @ (tag::NEW_PID | tag::PID) => self.pid_body(tag),
            found => Err(Error::Unexpected {
                what: "term",
                found,
                wanted: "a pid (88 or 103)",
            }),
        }
    }

    /// Reads a term that must be a reference.
    ///
    /// # Errors
    /// As [`Reader::token`], and [`Error::Unexpected`] for any other term.
    #[inline]
    pub fn reference(&mut self) -> Result<Reference<'a>> {
        if let [tag::NEWER_REFERENCE, 0, 3, reference @ ..] = self.input.rest()
            && let Some((node, rest)) = self.cached(reference)
            && let Some((creation, rest)) = rest.split_first_chunk()
            && let Some((numbers, rest)) = rest.split_first_chunk()
        {
            self.input = Input::new("term", rest);
            let creation = u32::from_be_bytes(*creation);
            return Ok(Reference::of_three(node, creation, words(numbers)));
        }
        self.any_reference()
    }

    /// In whatever form, or not to be read.
    fn any_reference(&mut self) -> Result<Reference<'a>> {
        match self.input.u8()? {
            tag @ (tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE) => {
                self.reference_body(tag)
            }
            found => Err(Error::Unexpected {
                what: "term",
                found,
                wanted: "a reference (90, 114 or 101)",
            }),
        }
    }

    /// Reads a term that must be a tuple, and returns how many elements follow.
    ///
    /// # Errors
    /// As [`Reader::token`], and [`Error::Unexpected`] for any other term.
    pub fn tuple(&mut self) -> Result<u32> {
        if let [tag::SMALL_TUPLE, arity, rest @ ..] = self.input.rest()
            && usize::from(*arity) <= rest.len()
            && self.count < self.limits.count
        {
            self.count += 1;
            self.input = Input::new("term", rest);
            return Ok((*arity).into());
        }
        let found = self.peek()?;
        match self.token()? {
            Token::Tuple(arity) => Ok(arity),
            _ => Err(Error::Unexpected {
                what: "term",
                found,
                wanted: "a tuple (104 or 105)",
            }),
        }
    }

    /// Reads a term that must be an integer without sign, of at most 64 bits.
    ///
    /// # Errors
    /// As [`Reader::token`], [`Error::Unexpected`] for any other term, [`Error::Invalid`] for any other integer.
    pub fn unsigned(&mut self) -> Result<u64> {
        if let [tag::SMALL_INTEGER, value, rest @ ..] = self.input.rest()
            && self.count < self.limits.count
        {
            self.count += 1;
            self.input = Input::new("term", rest);
            return Ok((*value).into());
        }
        let found = self.peek()?;
        match self.token()? {
            Token::Integer(value) => u64::try_from(value).ok(),
            Token::Big {
                negative: false,
                digits,
            } => unsigned(digits),
            Token::Big { .. } => None,
            _ => {
                return Err(Error::Unexpected {
                    what: "term",
                    found,
                    wanted: "an integer (97, 98, 110 or 111)",
                });
            }
        }
        .ok_or(Error::Invalid {
            what: "integer",
            reason: "it must have 64 bits at most, and no sign",
        })
    }

    /// The tag of the next term, which is not read.
    ///
    /// # Errors
    /// [`Error::Truncated`] if there is none.
    pub fn peek(&self) -> Result<u8> {
        self.input.rest().first().copied().ok_or(Error::Truncated {
            what: "term",
            missing: 1,
        })
    }

    /// The atom of the cache that these bytes begin with, if they do, and what follows it.
    #[inline]
    fn cached(&self, bytes: &'a [u8]) -> Option<(Atom<'a>, &'a [u8])> {
        match bytes {
            [tag::ATOM_CACHE_REF, index, rest @ ..] => {
                let text = self.atoms?.get(usize::from(*index))?;
                Some((Atom::new(text), rest))
            }
            _ => None,
        }
    }

    fn run(&mut self, length: u32) -> Result<&'a [u8]> {
        self.input
            .take(usize::try_from(length).unwrap_or(usize::MAX))
    }

    fn big(&mut self, length: u32) -> Result<Token<'a>> {
        let negative = self.input.u8()? != 0;
        let digits = significant(self.run(length)?);
        let small = unsigned(digits).and_then(|magnitude| {
            if negative {
                0_i64.checked_sub_unsigned(magnitude)
            } else {
                i64::try_from(magnitude).ok()
            }
        });
        Ok(small.map_or(Token::Big { negative, digits }, Token::Integer))
    }

    fn atom_body(&mut self, tag: u8) -> Result<Atom<'a>> {
        self.literal_atoms += usize::from(tag != tag::ATOM_CACHE_REF);
        match tag {
            tag::SMALL_ATOM_UTF8 => {
                let length = self.input.u8()?;
                utf8_atom(self.input.take(length.into())?)
            }
            tag::ATOM_UTF8 => utf8_atom(self.input.run_u16(MAX_ATOM * 4)?),
            tag::SMALL_ATOM => {
                let length = self.input.u8()?;
                Ok(latin1_atom(self.input.take(length.into())?))
            }
            tag::ATOM => Ok(latin1_atom(self.input.run_u16(MAX_ATOM)?)),
            tag::ATOM_CACHE_REF => {
                let index = self.input.u8()?;
                match self.atoms.map(|atoms| atoms.get(usize::from(index))) {
                    None => Ok(Atom::Cached(index)),
                    Some(Some(text)) => Ok(Atom::new(text)),
                    Some(None) => Err(Error::Invalid {
                        what: "atom cache reference",
                        reason: "the header has no such entry",
                    }),
                }
            }
            found => Err(Error::Unexpected {
                what: "term",
                found,
                wanted: "a tag that may stand here",
            }),
        }
    }

    fn pid_body(&mut self, tag: u8) -> Result<Pid<'a>> {
        Ok(Pid {
            node: self.atom()?,
            id: self.input.u32()?,
            serial: self.input.u32()?,
            creation: if tag == tag::PID {
                self.input.u8()?.into()
            } else {
                self.input.u32()?
            },
        })
    }

    fn port_body(&mut self, tag: u8) -> Result<Port<'a>> {
        Ok(Port {
            node: self.atom()?,
            id: if tag == tag::V4_PORT {
                self.input.u64()?
            } else {
                self.input.u32()?.into()
            },
            creation: if tag == tag::PORT {
                self.input.u8()?.into()
            } else {
                self.input.u32()?
            },
        })
    }

    fn reference_body(&mut self, tag: u8) -> Result<Reference<'a>> {
        if tag == tag::REFERENCE {
            let (node, word) = (self.atom()?, self.input.u32()?);
            return Reference::new(node, self.input.u8()?.into(), &[word]);
        }
        let count = usize::from(self.input.u16()?);
        let node = self.atom()?;
        let creation = if tag == tag::NEW_REFERENCE {
            self.input.u8()?.into()
        } else {
            self.input.u32()?
        };
        let mut words = [0; MAX_REFERENCE_WORDS];
        let Some(words) = words.get_mut(..count) else {
            return Err(Error::TooLarge {
                what: "reference",
                found: count as u64,
                limit: MAX_REFERENCE_WORDS as u64,
            });
        };
        for word in words.iter_mut() {
            *word = self.input.u32()?;
        }
        Reference::new(node, creation, words)
    }

    fn fun(&mut self) -> Result<Token<'a>> {
        // The size of the whole fun. OTP does not look at it, so that nothing can be hidden behind it either.
        self.input.u32()?;
        Ok(Token::Fun {
            arity: self.input.u8()?,
            unique: self.input.array()?,
            index: self.input.u32()?,
            free: self.input.u32()?,
            module: self.atom()?,
            old_index: self.small()?,
            old_unique: self.small()?,
            pid: self.pid()?,
        })
    }

    /// An integer inside a fun.
    fn small(&mut self) -> Result<i64> {
        match self.input.u8()? {
            tag::SMALL_INTEGER => Ok(self.input.u8()?.into()),
            tag::INTEGER => Ok(i32::from_be_bytes(self.input.array()?).into()),
            found => Err(Error::Unexpected {
                what: "fun",
                found,
                wanted: "an integer (97 or 98)",
            }),
        }
    }
}
