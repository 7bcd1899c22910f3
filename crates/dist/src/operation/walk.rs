//! A cursor over a payload of which only the beginning may be there, and which is written as its sender likes.
//!
//! Other than [`crate::term::Reader`] it does not ask that what a term announces be there, and takes terms as the VM
//! does: a list of no elements with a tail is that tail, whatever it is.

use std::sync::Arc;

use crate::bytes::Input;
use crate::error::{Error, Result};
use crate::gate::{HOLD, Shown};
use crate::term::{Atom, Limits, Pid, Reader, Reference, tag};

/// A cursor; [`Error::Truncated`] means that the payload may go on where it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Walk<'a> {
    input: Input<'a>,
    atoms: &'a [Arc<str>],
    /// How many bytes may still be shown behind the end.
    reach: usize,
}

/// How a term begins.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Head<'a> {
    /// So many elements follow.
    Tuple(u32),
    /// So many elements follow, one at least, and then the tail.
    List(u32),
    /// So many bytes follow, one at least, which are a proper list.
    String(u16),
    Nil,
    Atom(Atom<'a>),
    Pid(Pid<'a>),
    Reference(Reference<'a>),
    /// Anything else, of which nothing has been read.
    Other,
}

/// A term that has been passed over, or its beginning if it is a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) tag: u8,
    /// How many terms follow that belong to it.
    pub(super) children: u64,
    /// How many literal atoms stand in it.
    pub(super) atoms: usize,
}

const NO_LIMITS: Limits = Limits {
    size: usize::MAX,
    count: u32::MAX,
    depth: 0,
};

impl<'a> Walk<'a> {
    pub(super) fn new(message: &Shown<'a>) -> Self {
        let shown = message.control_bytes.len() + message.payload.len();
        Self {
            reach: if message.may_grow() {
                HOLD.saturating_sub(shown)
            } else {
                0
            },
            ..Self::over(message.payload, message.atoms)
        }
    }

    pub(super) const fn over(bytes: &'a [u8], atoms: &'a [Arc<str>]) -> Self {
        Self {
            input: Input::new("payload", bytes),
            atoms,
            reach: 0,
        }
    }

    /// Whether more of the payload will tell, if this is what stands in the way.
    pub(super) fn is_cut(&self, error: &Error) -> bool {
        matches!(error, Error::Truncated { missing, .. } if *missing <= self.reach)
    }

    pub(super) const fn rest(&self) -> &'a [u8] {
        self.input.rest()
    }

    /// The tag of the next term.
    pub(super) fn peek(&self) -> Result<u8> {
        let mut input = self.input;
        input.u8()
    }

    /// Reads what is read of a term at once; a cursor that stands at [`Head::Other`] has not moved.
    pub(super) fn head(&mut self) -> Result<Head<'a>> {
        loop {
            let mut input = self.input;
            let head = match input.u8()? {
                tag::SMALL_TUPLE => Head::Tuple(input.u8()?.into()),
                tag::LARGE_TUPLE => Head::Tuple(input.u32()?),
                tag::LIST => match input.u32()? {
                    0 => {
                        self.input = input;
                        continue;
                    }
                    count => Head::List(count),
                },
                tag::STRING => match input.u16()? {
                    0 => Head::Nil,
                    count => Head::String(count),
                },
                tag::NIL => Head::Nil,
                tag::ATOM
                | tag::SMALL_ATOM
                | tag::ATOM_UTF8
                | tag::SMALL_ATOM_UTF8
                | tag::ATOM_CACHE_REF => return Ok(Head::Atom(self.leaf(Reader::atom)?)),
                tag::NEW_PID | tag::PID => return Ok(Head::Pid(self.leaf(Reader::pid)?)),
                tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE => {
                    return Ok(Head::Reference(self.leaf(Reader::reference)?));
                }
                _ => return Ok(Head::Other),
            };
            self.input = input;
            return Ok(head);
        }
    }

    /// The atom that stands here; `None` for any other term, in which case the cursor is of no further use.
    pub(super) fn atom(&mut self) -> Result<Option<Atom<'a>>> {
        Ok(match self.head()? {
            Head::Atom(atom) => Some(atom),
            _ => None,
        })
    }

    /// The module and, of `fun M:F/A`, the function of the fun that stands here; `None` for any other term. The cursor is of no
    /// further use.
    pub(super) fn fun(&mut self) -> Result<Option<(Atom<'a>, Option<Atom<'a>>)>> {
        if self.head()? != Head::Other {
            return Ok(None);
        }
        let exported = match self.input.u8()? {
            tag::EXPORT => true,
            tag::NEW_FUN => {
                // Size, arity, what tells its code from other code, index, how many free variables.
                self.pass(4 + 1 + 16 + 4 + 4)?;
                false
            }
            _ => return Ok(None),
        };
        let Some(module) = self.atom()? else {
            return Ok(None);
        };
        let function = if exported { self.atom()? } else { None };
        Ok(Some((module, function)))
    }

    /// What stands between here and a later position.
    pub(super) fn until(&self, later: &Self) -> &'a [u8] {
        let length = self.rest().len().saturating_sub(later.rest().len());
        self.rest().get(..length).unwrap_or_default()
    }

    /// Passes over one whole term, and returns its bytes.
    pub(super) fn skip(&mut self) -> Result<&'a [u8]> {
        let before = *self;
        let mut open = 1_u64;
        while open > 0 {
            open = (open - 1).saturating_add(self.step()?.children);
        }
        Ok(before.until(self))
    }

    /// Passes over a term that holds no other, or over the beginning of one that does.
    #[inline]
    pub(super) fn step(&mut self) -> Result<Step> {
        match self.plain() {
            Some(step) => Ok(step),
            None => self.step_over(&mut |_, _| {}),
        }
    }

    /// The same for what messages mostly consist of, if it is there to its end. It has no literal atoms.
    #[inline]
    fn plain(&mut self) -> Option<Step> {
        let bytes = self.rest();
        let (rest, children) = match bytes {
            [tag::ATOM_CACHE_REF | tag::SMALL_INTEGER, _, rest @ ..] => (rest, 0),
            [tag::SMALL_TUPLE, arity, rest @ ..] => (rest, (*arity).into()),
            [tag::NIL, rest @ ..] | [tag::INTEGER, _, _, _, _, rest @ ..] => (rest, 0),
            [tag::LIST, a, b, c, d, rest @ ..] => {
                (rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 1)
            }
            [tag::BINARY, a, b, c, d, rest @ ..] => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                (rest.get(usize::try_from(length).ok()?..)?, 0)
            }
            [tag::NEW_PID, tag::ATOM_CACHE_REF, _, rest @ ..] => (rest.get(4 + 4 + 4..)?, 0),
            [
                tag::NEWER_REFERENCE,
                high,
                low,
                tag::ATOM_CACHE_REF,
                _,
                rest @ ..,
            ] => {
                let words = usize::from(u16::from_be_bytes([*high, *low]));
                (rest.get(4 + 4 * words..)?, 0)
            }
            _ => return None,
        };
        let tag = *bytes.first()?;
        self.input = Input::new("payload", rest);
        Some(Step {
            tag,
            children,
            atoms: 0,
        })
    }

    /// The same; tells each literal atom in it, by its tag and its text as it stands there.
    pub(super) fn step_over(&mut self, tell: &mut impl FnMut(u8, &'a [u8])) -> Result<Step> {
        let tag = self.input.u8()?;
        let mut step = Step {
            tag,
            children: 0,
            atoms: 0,
        };
        match tag {
            tag::SMALL_INTEGER => self.pass(1)?,
            tag::INTEGER => self.pass(4)?,
            tag::SMALL_BIG => {
                let length = self.input.u8()?;
                self.pass(u64::from(length) + 1)?;
            }
            tag::LARGE_BIG => {
                let length = self.input.u32()?;
                self.pass(u64::from(length) + 1)?;
            }
            tag::NEW_FLOAT => self.pass(8)?,
            tag::FLOAT => self.pass(31)?,
            tag::NIL => {}
            tag::STRING => {
                let length = self.input.u16()?;
                self.pass(length.into())?;
            }
            tag::BINARY => {
                let length = self.input.u32()?;
                self.pass(length.into())?;
            }
            tag::BIT_BINARY => {
                let length = self.input.u32()?;
                self.pass(u64::from(length) + 1)?;
            }
            tag::SMALL_TUPLE => step.children = self.input.u8()?.into(),
            tag::LARGE_TUPLE => step.children = self.input.u32()?.into(),
            tag::LIST => step.children = u64::from(self.input.u32()?) + 1,
            tag::MAP => step.children = u64::from(self.input.u32()?) * 2,
            tag::NEW_FUN => {
                self.pass(4 + 1 + 16 + 4)?;
                // Module, old index, old hash and pid are terms like the free variables.
                step.children = u64::from(self.input.u32()?) + 4;
            }
            tag::EXPORT => step.children = 3,
            tag::RECORD => {
                let fields = self.input.u32()?;
                self.pass(1)?;
                step.children = u64::from(fields) * 2 + 2;
            }
            tag::NEW_PID => step.atoms = self.node(4 + 4 + 4, tell)?,
            tag::PID => step.atoms = self.node(4 + 4 + 1, tell)?,
            tag::V4_PORT => step.atoms = self.node(8 + 4, tell)?,
            tag::NEW_PORT => step.atoms = self.node(4 + 4, tell)?,
            tag::PORT | tag::REFERENCE => step.atoms = self.node(4 + 1, tell)?,
            tag::NEWER_REFERENCE => {
                let words = u64::from(self.input.u16()?);
                step.atoms = self.node(4 + 4 * words, tell)?;
            }
            tag::NEW_REFERENCE => {
                let words = u64::from(self.input.u16()?);
                step.atoms = self.node(1 + 4 * words, tell)?;
            }
            _ => step.atoms = self.pass_atom(tag, tell)?,
        }
        Ok(step)
    }

    /// An atom and so many bytes behind it.
    fn node(&mut self, behind: u64, tell: &mut impl FnMut(u8, &'a [u8])) -> Result<usize> {
        let tag = self.input.u8()?;
        let atoms = self.pass_atom(tag, tell)?;
        self.pass(behind)?;
        Ok(atoms)
    }

    fn pass_atom(&mut self, tag: u8, tell: &mut impl FnMut(u8, &'a [u8])) -> Result<usize> {
        let length: usize = match tag {
            tag::ATOM_CACHE_REF => {
                self.pass(1)?;
                return Ok(0);
            }
            tag::SMALL_ATOM | tag::SMALL_ATOM_UTF8 => self.input.u8()?.into(),
            tag::ATOM | tag::ATOM_UTF8 => self.input.u16()?.into(),
            found => {
                return Err(Error::Unexpected {
                    what: "payload",
                    found,
                    wanted: "a tag that may stand here",
                });
            }
        };
        tell(tag, self.input.take(length)?);
        Ok(1)
    }

    fn pass(&mut self, count: u64) -> Result<()> {
        self.input
            .take(usize::try_from(count).unwrap_or(usize::MAX))?;
        Ok(())
    }

    /// Reads a term that holds no other.
    #[inline]
    fn leaf<T>(&mut self, read: impl FnOnce(&mut Reader<'a>) -> Result<T>) -> Result<T> {
        let mut reader = Reader::with_limits(self.rest(), NO_LIMITS)?.with_atoms(self.atoms);
        let value = read(&mut reader)?;
        self.input = Input::new("payload", reader.rest());
        Ok(value)
    }
}
