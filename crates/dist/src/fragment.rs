//! Messages in fragments: which of them are under way in one direction of a connection, and what is known of each.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use crate::error::{Error, Result};

/// The most messages that may be under way at once, unless configured otherwise.
///
/// A process has one at most, and a node interleaves those of all its processes: thousands of processes that send
/// more than 64 KiB at the same moment are no cluster that works. OTP has no limit.
pub const MAX_OPEN: usize = 4096;

/// The messages in fragments that are under way, with a `T` for each: a verdict, a buffer, an operation.
///
/// As strict as OTP's receiver: a sequence that is begun twice, continued out of order or without having been begun is
/// an error that ends the connection.
#[derive(Debug, Clone)]
pub struct Sequences<T> {
    open: HashMap<u64, Sequence<T>>,
    max_open: usize,
}

#[derive(Debug, Clone)]
struct Sequence<T> {
    /// The number of the fragment that comes next.
    next: u64,
    value: T,
}

/// What a further fragment does to its message.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress<'a, T> {
    /// More fragments follow.
    More(&'a mut T),
    /// It was the last.
    Last(T),
}

impl<T> Sequences<T> {
    /// None under way, and at most `max_open` at once; see [`MAX_OPEN`].
    #[must_use]
    pub fn new(max_open: usize) -> Self {
        Self {
            open: HashMap::new(),
            max_open,
        }
    }

    /// Those under way, each with the number of its next fragment.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (u64, u64, &T)> {
        let open = self.open.iter();
        open.map(|(&number, sequence)| (number, sequence.next, &sequence.value))
    }

    /// Whether a message of this sequence is under way.
    pub(crate) fn is_open(&self, sequence: u64) -> bool {
        self.open.contains_key(&sequence)
    }

    /// How many are under way.
    #[must_use]
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    /// Takes in a first fragment. A message of a single fragment is over at once, and its value comes back.
    ///
    /// # Errors
    /// [`Error::TooLarge`] if too many are under way; [`Error::Invalid`] if this one is, or if the number is zero.
    pub fn first(&mut self, sequence: u64, fragment: u64, value: T) -> Result<Option<T>> {
        let open = self.open.len();
        let Entry::Vacant(entry) = self.open.entry(sequence) else {
            return Err(invalid("the sequence has already been begun"));
        };
        match fragment.checked_sub(1) {
            None => Err(invalid("its number is zero")),
            Some(0) => Ok(Some(value)),
            Some(_) if open >= self.max_open => Err(Error::TooLarge {
                what: "messages in fragments under way",
                found: open as u64 + 1,
                limit: self.max_open as u64,
            }),
            Some(next) => {
                entry.insert(Sequence { next, value });
                Ok(None)
            }
        }
    }

    /// Takes in a further fragment.
    ///
    /// # Errors
    /// [`Error::Invalid`] if its message is not under way, or if another fragment of it comes first.
    pub fn next(&mut self, sequence: u64, fragment: u64) -> Result<Progress<'_, T>> {
        let Entry::Occupied(mut entry) = self.open.entry(sequence) else {
            return Err(invalid("the sequence has not been begun"));
        };
        if entry.get().next != fragment {
            return Err(invalid("it is out of order"));
        }
        if fragment == 1 {
            return Ok(Progress::Last(entry.remove().value));
        }
        entry.get_mut().next -= 1;
        Ok(Progress::More(&mut entry.into_mut().value))
    }
}

const fn invalid(reason: &'static str) -> Error {
    Error::Invalid {
        what: "fragment",
        reason,
    }
}

/// Puts the payloads of messages in fragments together, within a bound on what is held in all. For tools and tests: a
/// proxy has no need to.
#[derive(Debug, Clone)]
pub struct Assembler {
    sequences: Sequences<Vec<u8>>,
    held: usize,
    max_held: usize,
}

impl Assembler {
    /// At most `max_open` messages under way, and at most `max_held` bytes of them held.
    #[must_use]
    pub fn new(max_open: usize, max_held: usize) -> Self {
        Self {
            sequences: Sequences::new(max_open),
            held: 0,
            max_held,
        }
    }

    /// Whether no message is under way.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sequences.is_empty()
    }

    /// Takes in the terms of a first fragment; those of the whole message come back if it was the only one.
    ///
    /// # Errors
    /// As [`Sequences::first`]; [`Error::TooLarge`] if too much would be held.
    pub fn first(&mut self, sequence: u64, fragment: u64, terms: &[u8]) -> Result<Option<Vec<u8>>> {
        self.hold(terms.len())?;
        let whole = self.sequences.first(sequence, fragment, terms.to_vec())?;
        self.release(whole.as_ref());
        Ok(whole)
    }

    /// Takes in a further fragment; the terms of the whole message come back with the last one.
    ///
    /// # Errors
    /// As [`Sequences::next`]; [`Error::TooLarge`] if too much would be held.
    pub fn next(&mut self, sequence: u64, fragment: u64, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        self.hold(bytes.len())?;
        let whole = match self.sequences.next(sequence, fragment)? {
            Progress::More(terms) => {
                terms.extend_from_slice(bytes);
                None
            }
            Progress::Last(mut terms) => {
                terms.extend_from_slice(bytes);
                Some(terms)
            }
        };
        self.release(whole.as_ref());
        Ok(whole)
    }

    fn hold(&mut self, more: usize) -> Result<()> {
        let held = self.held.saturating_add(more);
        if held > self.max_held {
            return Err(Error::TooLarge {
                what: "messages in fragments held",
                found: held as u64,
                limit: self.max_held as u64,
            });
        }
        self.held = held;
        Ok(())
    }

    fn release(&mut self, whole: Option<&Vec<u8>>) {
        self.held -= whole.map_or(0, Vec::len);
    }
}
