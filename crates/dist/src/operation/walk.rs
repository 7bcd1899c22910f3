//! A cursor over a payload of which only the beginning may be there, and which is written as its sender likes.
//!
//! Other than [`crate::term::Reader`] it does not ask that what a term announces be there, and takes terms as the VM
//! does: a list of no elements with a tail is that tail, whatever it is.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::bytes::Input;
use crate::error::{Error, Result};
use crate::gate::{HOLD, Shown};
use crate::term::{Atom, Pid, Reader, Reference, tag};

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

/// A function, as it is written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Fun<'a> {
    /// `fun M:F/A`.
    Exported {
        module: Atom<'a>,
        function: Atom<'a>,
        /// `None` if it is written as no node writes it.
        arity: Option<u8>,
    },
    /// Any other.
    Closure {
        module: Atom<'a>,
        arity: u8,
        /// Which of those in the code of the module.
        index: u32,
        /// How many variables it brings along.
        free: u32,
    },
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

/// What is known of a function besides its module.
enum Named<'a> {
    Function(Atom<'a>),
    Closure { arity: u8, index: u32, free: u32 },
}

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
    #[inline]
    pub(super) fn head(&mut self) -> Result<Head<'a>> {
        // The short way for what most messages begin with; whatever this leaves is read below, to the same end.
        let (head, rest) = match self.rest() {
            [tag::SMALL_TUPLE, arity, rest @ ..] => (Head::Tuple((*arity).into()), rest),
            [tag::ATOM_CACHE_REF, index, rest @ ..] => match self.atoms.get(usize::from(*index)) {
                Some(text) => (Head::Atom(Atom::new(text)), rest),
                None => return self.any_head(),
            },
            _ => return self.any_head(),
        };
        self.input = Input::new("payload", rest);
        Ok(head)
    }

    fn any_head(&mut self) -> Result<Head<'a>> {
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
    #[inline]
    pub(super) fn atom(&mut self) -> Result<Option<Atom<'a>>> {
        Ok(match self.head()? {
            Head::Atom(atom) => Some(atom),
            _ => None,
        })
    }

    /// The module and, of `fun M:F/A`, the function of the fun that stands here; `None` for any other term. The cursor is of no
    /// further use.
    pub(super) fn fun(&mut self) -> Result<Option<(Atom<'a>, Option<Atom<'a>>)>> {
        Ok(match self.named_fun()? {
            Some((module, Named::Function(function))) => Some((module, Some(function))),
            Some((module, Named::Closure { .. })) => Some((module, None)),
            None => None,
        })
    }

    /// The function that stands here; `None` for any other term. The cursor is of no further use.
    pub(super) fn whole_fun(&mut self) -> Result<Option<Fun<'a>>> {
        Ok(match self.named_fun()? {
            Some((module, Named::Function(function))) => Some(Fun::Exported {
                module,
                function,
                arity: match self.input.u8()? {
                    tag::SMALL_INTEGER => Some(self.input.u8()?),
                    _ => None,
                },
            }),
            Some((module, Named::Closure { arity, index, free })) => Some(Fun::Closure {
                module,
                arity,
                index,
                free,
            }),
            None => None,
        })
    }

    /// The same as far as the names, which is all that is there of a closure.
    fn named_fun(&mut self) -> Result<Option<(Atom<'a>, Named<'a>)>> {
        if self.head()? != Head::Other {
            return Ok(None);
        }
        let closure = match self.input.u8()? {
            tag::EXPORT => None,
            tag::NEW_FUN => {
                self.pass(4)?;
                let arity = self.input.u8()?;
                // What tells its code from other code.
                self.pass(16)?;
                let index = self.input.u32()?;
                let free = self.input.u32()?;
                Some(Named::Closure { arity, index, free })
            }
            _ => return Ok(None),
        };
        let Some(module) = self.atom()? else {
            return Ok(None);
        };
        let named = match closure {
            Some(closure) => closure,
            None => match self.atom()? {
                Some(function) => Named::Function(function),
                None => return Ok(None),
            },
        };
        Ok(Some((module, named)))
    }

    /// What stands between here and a later position.
    pub(super) fn until(&self, later: &Self) -> &'a [u8] {
        let length = self.rest().len().saturating_sub(later.rest().len());
        self.rest().get(..length).unwrap_or_default()
    }

    /// Passes over one whole term, and returns its bytes.
    pub(super) fn skip(&mut self) -> Result<&'a [u8]> {
        let before = *self;
        let mut open = self.pass_plain(1);
        while open > 0 {
            open = (open - 1).saturating_add(self.step()?.children);
            open = self.pass_plain(open);
        }
        Ok(before.until(self))
    }

    /// Passes over so many terms, and what is in them, as long as they are [`plain`]; how many are left. No literal atom
    /// is passed over, and no function.
    pub(super) fn pass_plain(&mut self, mut open: u64) -> u64 {
        let mut bytes = self.rest();
        while open > 0
            && let Some((rest, children)) = plain(bytes)
        {
            bytes = rest;
            open = (open - 1).saturating_add(children);
        }
        self.input = Input::new("payload", bytes);
        open
    }

    /// Passes over one term, or its beginning: how many follow that belong to it.
    pub(super) fn children(&mut self) -> Result<u64> {
        match plain(self.rest()) {
            Some((rest, children)) => {
                self.input = Input::new("payload", rest);
                Ok(children)
            }
            None => Ok(self.step()?.children),
        }
    }

    /// Passes over a term that holds no other, or over the beginning of one that does.
    pub(super) fn step(&mut self) -> Result<Step> {
        self.step_over(&mut |_, _| {})
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
        let mut reader = Reader::over(self.rest(), self.atoms);
        let value = read(&mut reader)?;
        self.input = Input::new("payload", reader.rest());
        Ok(value)
    }
}

/// What stands behind a term of the kinds that messages mostly consist of, and how many terms follow that belong to it.
/// `None` for all others, and where it is not there to its end.
#[inline(always)]
fn plain(bytes: &[u8]) -> Option<(&[u8], u64)> {
    Some(match bytes {
        [tag::ATOM_CACHE_REF | tag::SMALL_INTEGER, _, rest @ ..] => (rest, 0),
        [tag::SMALL_TUPLE, arity, rest @ ..] => (rest, (*arity).into()),
        [tag::NIL, rest @ ..] | [tag::INTEGER, _, _, _, _, rest @ ..] => (rest, 0),
        [tag::LIST, a, b, c, d, rest @ ..] => {
            (rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 1)
        }
        [tag::MAP, a, b, c, d, rest @ ..] => {
            (rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])) * 2)
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
    })
}
