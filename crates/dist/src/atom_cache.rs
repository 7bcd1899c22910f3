//! The atom cache: what the receiver of one direction of a connection remembers of the atoms it has been sent.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::frame::Header;
use crate::term::MAX_ATOM;

/// How many entries an atom cache has.
pub const SLOTS: usize = 2048;

const EMPTY: Error = Error::Invalid {
    what: "atom cache",
    reason: "the entry has never been filled",
};

/// The atom cache of one direction of one connection. Its state depends on every header since the connection began, in
/// order: a message that is not forwarded must still be shown to it, and to the receiver.
///
/// Holds at most 2,048 atoms of 1,020 bytes: 2 MiB. In the stream of a real node they take some 50 KiB.
#[derive(Debug, Clone)]
pub struct AtomCache {
    slots: Vec<Option<Arc<str>>>,
}

impl AtomCache {
    /// A cache that knows no atom.
    #[must_use]
    pub fn new() -> Self {
        Self {
            slots: vec![None; SLOTS],
        }
    }

    /// Takes in the header of a message, and puts its atoms into `atoms` (in place of what is there), to be looked up by
    /// [`crate::term::Reader::with_atoms`]: the n-th reference of the header is the n-th of them.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a new atom is not UTF-8, or if an entry is referred to that has never been filled;
    /// [`Error::TooLarge`] if an atom has more than 255 characters. The cache may be out of step then: the connection
    /// is to be closed.
    pub fn apply(&mut self, header: &Header<'_>, atoms: &mut Vec<Arc<str>>) -> Result<()> {
        if let Some((flags, refs)) = header.known() {
            return self.look_up(flags, refs, atoms);
        }
        let mut refs = header.refs();
        let mut count = 0;
        while let Some(reference) = refs.next_ref()? {
            let Some(slot) = self.slots.get_mut(usize::from(reference.slot)) else {
                return Err(Error::Invalid {
                    what: "atom cache",
                    reason: "there is no such entry",
                });
            };
            if let Some(bytes) = reference.new {
                *slot = Some(checked(bytes)?.into());
            }
            put(atoms, count, slot.as_ref().ok_or(EMPTY)?);
            count += 1;
        }
        atoms.truncate(count);
        Ok(())
    }

    /// The same for a header that brings nothing along.
    fn look_up(&self, flags: &[u8], refs: &[u8], atoms: &mut Vec<Arc<str>>) -> Result<()> {
        for (count, byte) in refs.iter().enumerate() {
            let pair = flags.get(count / 2).copied().unwrap_or(0);
            let high = pair >> (4 * (count & 1)) & 7;
            let slot = usize::from(high) << 8 | usize::from(*byte);
            match self.slots.get(slot) {
                Some(Some(atom)) => put(atoms, count, atom),
                _ => return Err(EMPTY),
            }
        }
        atoms.truncate(refs.len());
        Ok(())
    }

    /// How many entries have been filled.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.slots.iter().flatten().count()
    }
}

impl Default for AtomCache {
    fn default() -> Self {
        Self::new()
    }
}

/// Puts an atom in a place, at most one behind the last. Messages that follow each other are mostly about the same.
#[inline]
fn put(atoms: &mut Vec<Arc<str>>, place: usize, atom: &Arc<str>) {
    match atoms.get_mut(place) {
        Some(before) if Arc::ptr_eq(before, atom) => {}
        Some(before) => *before = Arc::clone(atom),
        None => atoms.push(Arc::clone(atom)),
    }
}

fn checked(bytes: &[u8]) -> Result<&str> {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return Err(Error::Invalid {
            what: "atom cache",
            reason: "an atom is not UTF-8",
        });
    };
    let characters = text.chars().count();
    if characters > MAX_ATOM {
        return Err(Error::TooLarge {
            what: "atom",
            found: characters as u64,
            limit: MAX_ATOM as u64,
        });
    }
    Ok(text)
}
