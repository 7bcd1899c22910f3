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
/// Holds at most 2,048 atoms of 1,020 bytes: 2 MiB. In the stream of a real node they take some 50 KiB; until the first one
/// comes, nothing.
#[derive(Debug, Clone, Default)]
pub struct AtomCache {
    /// Which entries have been filled; none until the first one is. Most links use a few dozen of them, anywhere among all: a bit
    /// for each is what an idle link can afford.
    filled: Option<Box<Filled>>,
    /// Their atoms, in the order of the entries.
    atoms: Vec<Arc<str>>,
    /// Which entries hold another atom than before: those whose numbers have the same lowest six bits share one here.
    rewritten: u64,
}

impl AtomCache {
    /// A cache that knows no atom.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            filled: None,
            atoms: Vec::new(),
            rewritten: 0,
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
            let slot = usize::from(reference.slot);
            if let Some(bytes) = reference.new
                && !self.fill(reference.slot, checked(bytes)?.into())
            {
                return Err(Error::Invalid {
                    what: "atom cache",
                    reason: "there is no such entry",
                });
            }
            put(atoms, count, self.get(slot).ok_or(EMPTY)?);
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
            put(atoms, count, self.get(slot).ok_or(EMPTY)?);
        }
        atoms.truncate(refs.len());
        Ok(())
    }

    /// The entries that have been filled, with their numbers.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u16, &Arc<str>)> {
        let numbered = (0..).zip(0..SLOTS);
        numbered.filter_map(|(number, slot)| Some((number, self.get(slot)?)))
    }

    /// Fills an entry; `false` if there is none of that number.
    pub(crate) fn fill(&mut self, slot: u16, atom: Arc<str>) -> bool {
        let filled = self.filled.get_or_insert_default();
        match filled.find(slot.into()) {
            Some(Place::Of(place)) => {
                let Some(before) = self.atoms.get_mut(place) else {
                    return false;
                };
                if *before != atom {
                    self.rewritten |= group(slot);
                }
                *before = atom;
            }
            Some(Place::Before(place)) => {
                self.atoms.insert(place.min(self.atoms.len()), atom);
                filled.note(slot.into());
            }
            None => return false,
        }
        true
    }

    /// The groups of entries ([`group`]) in which an atom has taken another's place since the last call.
    pub(crate) const fn take_rewritten(&mut self) -> u64 {
        std::mem::replace(&mut self.rewritten, 0)
    }

    /// How many entries have been filled.
    #[must_use]
    pub fn filled(&self) -> usize {
        self.atoms.len()
    }

    #[inline]
    fn get(&self, slot: usize) -> Option<&Arc<str>> {
        match self.filled.as_deref()?.find(slot)? {
            Place::Of(place) => self.atoms.get(place),
            Place::Before(_) => None,
        }
    }
}

/// Words of bits, one bit for each entry.
const WORDS: usize = SLOTS / 64;

/// Which entries have been filled, and so where in their order each of them is.
#[derive(Debug, Clone, Default)]
struct Filled {
    bits: [u64; WORDS],
    /// How many are filled in the words before each.
    before: [u16; WORDS],
}

/// A place in the order of the entries that have been filled.
enum Place {
    /// That of an entry.
    Of(usize),
    /// Where one belongs that has never been filled.
    Before(usize),
}

impl Filled {
    /// Where an entry is; `None` if there is none of that number.
    #[inline]
    fn find(&self, slot: usize) -> Option<Place> {
        let (bits, before) = (self.bits.get(slot / 64)?, self.before.get(slot / 64)?);
        let bit = 1 << (slot % 64);
        let place = usize::from(*before) + (bits & (bit - 1)).count_ones() as usize;
        Some(match bits & bit {
            0 => Place::Before(place),
            _ => Place::Of(place),
        })
    }

    /// An entry is filled from now on.
    fn note(&mut self, slot: usize) {
        if let Some(bits) = self.bits.get_mut(slot / 64) {
            *bits |= 1 << (slot % 64);
        }
        for before in self.before.iter_mut().skip(slot / 64 + 1) {
            *before += 1;
        }
    }
}

/// The bit of an entry among 64, each of which stands for 32 of them.
pub(crate) const fn group(slot: u16) -> u64 {
    1 << (slot & 63)
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

pub(crate) fn checked(bytes: &[u8]) -> Result<&str> {
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
