//! Passing over terms that come in pieces, as one looks for the atoms that stand in them literally.
//!
//! Nothing nests: what is kept is how many terms are still to come, how many bytes of the current one are passed over, and what
//! part of it comes then. A part that the end of a piece cuts in two is not taken in; the caller shows it again, whole. It takes
//! what [`crate::term::Reader`] takes and refuses what that refuses, but for references to the atom cache, which it does not look up.

use super::names::{Encoding, Names};
use super::splice::Splices;
use crate::bytes::Input;
use crate::error::{Error, Result};
use crate::term::{MAX_ATOM, MAX_REFERENCE_WORDS, bits, float, old_float, refused, tag, utf8_atom};

/// The longest part, in bytes: an atom of 255 characters of four bytes behind its tag and length.
pub(super) const MAX_PART: usize = 3 + 4 * MAX_ATOM;

/// What comes next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Step {
    /// A term, if any is still to come.
    #[default]
    Term,
    /// The node of a pid, port or reference; the numbers of the tail follow.
    Node,
    /// Of `fun M:F/A`.
    ExportModule,
    ExportFunction,
    ExportArity,
    /// Of a fun, behind the numbers that it begins with.
    FunModule,
    FunIndex,
    FunUnique,
    FunPid,
    /// Of a native record.
    RecordModule,
    RecordName,
}

impl Step {
    /// All of them: the place of each is its number where it is frozen.
    pub(super) const ALL: [Self; 11] = [
        Self::Term,
        Self::Node,
        Self::ExportModule,
        Self::ExportFunction,
        Self::ExportArity,
        Self::FunModule,
        Self::FunIndex,
        Self::FunUnique,
        Self::FunPid,
        Self::RecordModule,
        Self::RecordName,
    ];
}

/// A walk over terms, and where it stands. Its size does not depend on what it has passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Skipper {
    /// How many terms are still to come.
    pub(super) open: u64,
    /// How many bytes are passed over before the next part.
    pub(super) skip: u64,
    pub(super) step: Step,
    /// How many bytes follow the node of a pid, port or reference.
    pub(super) tail: u8,
}

impl Skipper {
    /// One more term is to come.
    pub(super) const fn begin(&mut self) {
        self.open = self.open.saturating_add(1);
    }

    /// Whether no part of a term is still to come.
    pub(super) fn is_over(&self) -> bool {
        self.open == 0 && self.skip == 0 && self.step == Step::Term
    }

    /// Goes on at `at`, until nothing is to come any more or a part is not whole, and returns where that is. What stands literally
    /// and is one of the names is put in `splices`, and so is each fun.
    ///
    /// # Errors
    /// What is wrong with a term.
    pub(super) fn run<'n>(
        &mut self,
        bytes: &[u8],
        at: usize,
        names: &'n Names,
        splices: &mut Splices<'n>,
    ) -> Result<usize> {
        let mut input = Input::new("term", bytes.get(at..).unwrap_or_default());
        loop {
            if self.skip > 0 {
                let there = input.rest().len();
                let passed = usize::try_from(self.skip).map_or(there, |skip| skip.min(there));
                input.take(passed)?;
                self.skip -= passed as u64;
            }
            if self.skip > 0 || self.is_over() {
                break;
            }
            let (mut next, mut rest) = (*self, input);
            match next.part(&mut rest, bytes.len(), names, splices) {
                Ok(()) => (*self, input) = (next, rest),
                Err(Error::Truncated { .. }) => break,
                Err(error) => return Err(error),
            }
        }
        Ok(bytes.len() - input.rest().len())
    }

    /// Takes in the next part. `end` is where the input ends. Whatever is put in `splices` is put there last: then the part is
    /// whole.
    fn part<'n>(
        &mut self,
        input: &mut Input<'_>,
        end: usize,
        names: &'n Names,
        splices: &mut Splices<'n>,
    ) -> Result<()> {
        let start = end - input.rest().len();
        let tag = input.u8()?;
        match self.step {
            Step::Term => {
                self.open = self.open.saturating_sub(1);
                return self.term(tag, input, end, names, splices);
            }
            Step::ExportArity => {
                if tag != tag::SMALL_INTEGER {
                    return Err(unexpected(tag, "97 (SMALL_INTEGER_EXT)"));
                }
                self.skip = 1;
                self.step = Step::Term;
                return Ok(());
            }
            Step::FunIndex | Step::FunUnique => {
                self.skip = match tag {
                    tag::SMALL_INTEGER => 1,
                    tag::INTEGER => 4,
                    found => return Err(unexpected(found, "an integer (97 or 98)")),
                };
                self.step = if self.step == Step::FunIndex {
                    Step::FunUnique
                } else {
                    Step::FunPid
                };
                return Ok(());
            }
            Step::FunPid => {
                match tag {
                    tag::NEW_PID => self.node(12),
                    tag::PID => self.node(9),
                    found => return Err(unexpected(found, "a pid (88 or 103)")),
                }
                return Ok(());
            }
            Step::Node => {
                self.skip = self.tail.into();
                self.tail = 0;
                self.step = Step::Term;
            }
            Step::ExportModule => self.step = Step::ExportFunction,
            Step::ExportFunction => self.step = Step::ExportArity,
            Step::FunModule => self.step = Step::FunIndex,
            Step::RecordModule => self.step = Step::RecordName,
            Step::RecordName => self.step = Step::Term,
        }
        atom(tag, start, input, end, names, splices)
    }

    /// Takes in the beginning of a term, behind its tag.
    fn term<'n>(
        &mut self,
        tag: u8,
        input: &mut Input<'_>,
        end: usize,
        names: &'n Names,
        splices: &mut Splices<'n>,
    ) -> Result<()> {
        let at = end - input.rest().len();
        match tag {
            tag::SMALL_INTEGER | tag::ATOM_CACHE_REF => self.skip = 1,
            tag::INTEGER => self.skip = 4,
            tag::NEW_FLOAT => {
                float(f64::from_bits(input.u64()?))?;
            }
            tag::FLOAT => {
                old_float(input.take(31)?)?;
            }
            tag::NIL => {}
            // A sign stands before the digits.
            tag::SMALL_BIG => self.skip = u64::from(input.u8()?) + 1,
            tag::LARGE_BIG => self.skip = u64::from(input.u32()?) + 1,
            tag::STRING => self.skip = input.u16()?.into(),
            tag::BINARY => self.skip = input.u32()?.into(),
            tag::BIT_BINARY => {
                let length = input.u32()?;
                bits(length, input.u8()?)?;
                self.skip = length.into();
            }
            tag::SMALL_TUPLE => {
                let arity = input.u8()?;
                self.children(arity.into());
            }
            tag::LARGE_TUPLE => {
                let arity = input.u32()?;
                self.children(arity.into());
            }
            tag::LIST => {
                let count = input.u32()?;
                self.children(u64::from(count) + 1);
            }
            tag::MAP => {
                let pairs = input.u32()?;
                self.children(u64::from(pairs) * 2);
            }
            tag::NEW_PID | tag::V4_PORT => self.node(12),
            tag::PID => self.node(9),
            tag::NEW_PORT => self.node(8),
            tag::PORT | tag::REFERENCE => self.node(5),
            tag::NEWER_REFERENCE => self.node(4 + words(input)?),
            tag::NEW_REFERENCE => self.node(1 + words(input)?),
            tag::EXPORT => self.step = Step::ExportModule,
            tag::NEW_FUN => {
                let size = input.u32()?;
                // Its number of arguments, what its module is known by, and its number there.
                input.take(1 + 16 + 4)?;
                let free = input.u32()?;
                self.children(free.into());
                self.step = Step::FunModule;
                splices.fun(at, size);
            }
            tag::RECORD => {
                let fields = input.u32()?;
                input.u8()?;
                self.children(u64::from(fields) * 2);
                self.step = Step::RecordModule;
            }
            tag::COMPRESSED | tag::LOCAL | tag::FUN => return Err(refused(tag)),
            _ => return atom(tag, at - 1, input, end, names, splices),
        }
        Ok(())
    }

    const fn children(&mut self, count: u64) {
        self.open = self.open.saturating_add(count);
    }

    /// A node comes, and so many bytes behind it.
    const fn node(&mut self, tail: u8) {
        self.step = Step::Node;
        self.tail = tail;
    }
}

/// How many bytes the words of a reference take.
fn words(input: &mut Input<'_>) -> Result<u8> {
    let count = input.u16()?;
    match u8::try_from(count) {
        Ok(few @ 1..) if usize::from(few) <= MAX_REFERENCE_WORDS => Ok(4 * few),
        _ => Err(Error::Invalid {
            what: "reference",
            reason: "it must have one to five words",
        }),
    }
}

/// Takes in an atom, which begins at `start` and whose tag has been read.
fn atom<'n>(
    tag: u8,
    start: usize,
    input: &mut Input<'_>,
    end: usize,
    names: &'n Names,
    splices: &mut Splices<'n>,
) -> Result<()> {
    let (text, encoding) = match tag {
        tag::ATOM_CACHE_REF => return input.u8().map(drop),
        tag::SMALL_ATOM_UTF8 => {
            let length = input.u8()?;
            (input.take(length.into())?, Encoding::Utf8)
        }
        tag::ATOM_UTF8 => (input.run_u16(MAX_ATOM * 4)?, Encoding::Utf8),
        tag::SMALL_ATOM => {
            let length = input.u8()?;
            (input.take(length.into())?, Encoding::Latin1)
        }
        tag::ATOM => (input.run_u16(MAX_ATOM)?, Encoding::Latin1),
        found => return Err(unexpected(found, "a tag that may stand here")),
    };
    if encoding == Encoding::Utf8 {
        utf8_atom(text)?;
    }
    if let Some(name) = names.find(text, encoding) {
        splices.atom(start..end - input.rest().len(), name)?;
    }
    Ok(())
}

const fn unexpected(found: u8, wanted: &'static str) -> Error {
    Error::Unexpected {
        what: "term",
        found,
        wanted,
    }
}
