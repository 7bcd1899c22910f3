//! A list as the VM takes it: in one piece or several, as bytes or as terms.

use super::walk::{Head, Walk};
use crate::error::{Error, Result};

/// The elements of a list. An element is passed over when the next one is asked for, so that the last one need not be
/// there to its end.
#[derive(Debug, Clone, Copy)]
pub(super) struct List<'a> {
    walk: Walk<'a>,
    /// How many elements of the current piece have not been begun.
    left: u32,
    /// The same, of a piece in the form of bytes.
    bytes: u16,
    /// An element has been begun and not been passed over.
    inside: bool,
    /// How many elements have been begun.
    seen: u32,
    ended: bool,
}

/// An element of a list.
#[derive(Debug, Clone, Copy)]
pub(super) enum Item<'a> {
    /// A term, and where it begins.
    Term(Walk<'a>),
    /// An integer.
    Byte,
}

/// How many elements a list has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) count: u32,
    /// Whether its end was not seen.
    pub(super) open: bool,
}

impl<'a> List<'a> {
    /// The list that stands here; `None` for any other term.
    pub(super) fn at(mut walk: Walk<'a>) -> Result<Option<Self>> {
        let mut list = Self {
            walk,
            left: 0,
            bytes: 0,
            inside: false,
            seen: 0,
            ended: false,
        };
        match walk.head()? {
            Head::Nil => list.ended = true,
            Head::List(count) => list.left = count,
            Head::String(count) => list.bytes = count,
            _ => return Ok(None),
        }
        list.walk = walk;
        Ok(Some(list))
    }

    /// The next element; `None` after the last one.
    ///
    /// # Errors
    /// [`Error::Truncated`] if it cannot be seen; [`Error::Invalid`] if the list does not end with the empty one.
    pub(super) fn next(&mut self) -> Result<Option<Item<'a>>> {
        if self.inside {
            self.walk.skip()?;
            self.inside = false;
        }
        while !self.ended {
            if self.bytes > 0 {
                self.bytes -= 1;
                self.ended = self.bytes == 0;
                self.seen = self.seen.saturating_add(1);
                return Ok(Some(Item::Byte));
            }
            if self.left > 0 {
                self.left -= 1;
                self.inside = true;
                self.seen = self.seen.saturating_add(1);
                return Ok(Some(Item::Term(self.walk)));
            }
            match self.walk.head()? {
                Head::Nil => self.ended = true,
                Head::List(count) => self.left = count,
                Head::String(count) => self.bytes = count,
                _ => return Err(IMPROPER),
            }
        }
        Ok(None)
    }

    /// How many elements there are, as far as what is there tells.
    pub(super) fn length(mut self) -> Result<Length> {
        loop {
            match self.next() {
                Ok(Some(_)) => {}
                Ok(None) => {
                    return Ok(Length {
                        count: self.seen,
                        open: false,
                    });
                }
                Err(Error::Truncated { .. }) => {
                    return Ok(Length {
                        count: self
                            .seen
                            .saturating_add(self.left)
                            .saturating_add(self.bytes.into()),
                        open: true,
                    });
                }
                Err(error) => return Err(error),
            }
        }
    }
}

/// No function can be applied to it; not an error of the sender's encoding.
pub(super) const IMPROPER: Error = Error::Invalid {
    what: "list",
    reason: "it does not end with the empty list",
};
