//! Messages that are like one that was decided before: found by the very bytes of their distribution header and control
//! message, so that nodes that say the same to the same again are neither read nor asked about again. What lives here: which
//! bytes these are, and the table. What does not: what a judge makes of it ([`super::Judge::lasting`]), and that it still
//! holds ([`super::Judge::again`]).
//!
//! Why this decides as reading would. The bytes that are compared are all that a header without new atoms and such a control
//! message are read from, each with the place where it ends in it: so the same bytes are the same message, as long as the atom
//! cache says the same ([`Memo::forget`] sees to that). The numbers of an alias or a monitor are left out of the comparison,
//! since whoever marks a message says that they do not matter; they are words of a fixed number, which can be anything. What
//! stands behind is data and nothing else, looked at each time.
//!
//! A hash only says where to look. Who finds messages that share a place makes them slow, and no other.

#[cfg(test)]
mod tests;

use super::judge::Mark;
use crate::atom_cache::group;
use crate::control::Op;
use crate::frame::{HEADER, VERSION};
use crate::term::{is_data, tag};

/// The longest header and control message that is kept: two pids, and 15 atoms or so.
const KEY: usize = 64;
/// A pid whose node is in the atom cache.
const PID: usize = 1 + 2 + 4 + 4 + 4;
/// A reference of three words whose node is in the atom cache, up to its numbers; and these.
const REFERENCE: usize = 1 + 2 + 2;
const NUMBERS: usize = 4 + 3 * 4;
const ATOM: usize = 2;

/// Entries of a set, among which one is free or gives way.
const WAYS: usize = 4;
const FIRST_SETS: usize = 2;
/// 128 entries, 12 KiB: a few dozen processes that speak at the same time. A direction that has less to say has fewer of
/// them, one that has said nothing twice none.
const MOST_SETS: usize = 32;
/// Messages that were seen once: what is never said again is not kept.
const ONCE: usize = 128;
/// Of the messages that stand for no others, every so manieth is tried again: why it did not may have changed.
const AGAIN: u32 = 64;

/// How the frame of a message begins that may be like another.
pub(super) struct Begins<'a> {
    /// Header and control message, but for the numbers at the end of that, if they do not matter: [`KEY`] bytes at most.
    key: &'a [u8],
    /// These numbers.
    numbers: &'a [u8],
    hash: u64,
    /// How many atoms the header has.
    atoms: u8,
    /// How many bytes of header and control message there are, the numbers included.
    ends: usize,
    payload: &'a [u8],
}

impl<'a> Begins<'a> {
    /// `None` for frames of other messages than the few that are said over and over. Whether it is one of these is not
    /// looked at: where it is another, its bytes are none that are kept.
    #[inline]
    pub(super) fn of(frame: &'a [u8]) -> Option<Self> {
        let [VERSION, HEADER, rest @ ..] = frame else {
            return None;
        };
        let atoms = *rest.first()?;
        let header = header_length(atoms);
        let [tag::SMALL_TUPLE, _, tag::SMALL_INTEGER, op, signal @ ..] = rest.get(header..)? else {
            return None;
        };
        let (signal, numbers) = extent(*op, signal)?;
        let length = header + 4 + signal;
        if length > KEY {
            return None;
        }
        let key = rest.get(..length)?;
        let ends = length + numbers;
        Some(Self {
            hash: hash(key),
            key,
            numbers: rest.get(length..ends)?,
            atoms,
            ends,
            payload: rest.get(ends..)?,
        })
    }

    /// The numbers that do not matter.
    pub(super) const fn numbers(&self) -> &'a [u8] {
        self.numbers
    }

    /// Whether a control message of so many bytes ends where this does.
    pub(super) fn is_up_to(&self, control: usize) -> bool {
        header_length(self.atoms) + control == self.ends
    }

    /// Whether what stands behind the control message is what may stand there, and data.
    #[inline]
    pub(super) fn holds_data(&self, op: Op) -> bool {
        if op.has_payload() {
            is_data(self.payload, self.atoms)
        } else {
            self.payload.is_empty()
        }
    }

    /// The groups of entries of the atom cache that a header without new atoms refers to.
    fn groups(&self) -> u64 {
        let count = usize::from(self.atoms);
        let refs = self.key.get(header_length(self.atoms) - count..);
        let refs = refs.unwrap_or_default().iter().take(count);
        refs.fold(0, |all, slot| all | group((*slot).into()))
    }

    /// The rest of the hash, by which what was seen once is told from other things.
    const fn once(&self) -> (usize, u16) {
        let [a, b, c, ..] = self.hash.to_le_bytes();
        (a as usize % ONCE, u16::from_le_bytes([b, c]) & !REFUSED)
    }
}

/// Of a header that brings no atom along: the count, half a byte for each atom and one more, and a byte for each.
const fn header_length(atoms: u8) -> usize {
    match atoms {
        0 => 1,
        atoms => 1 + atoms as usize / 2 + 1 + atoms as usize,
    }
}

/// How long such a signal is behind its operation, and how many bytes of numbers that do not matter stand at its end.
#[inline]
fn extent(op: u8, signal: &[u8]) -> Option<(usize, usize)> {
    const SEND: u8 = Op::Send.code();
    const REG_SEND: u8 = Op::RegSend.code();
    const SEND_SENDER: u8 = Op::SendSender.code();
    const ALIAS_SEND: u8 = Op::AliasSend.code();
    const MONITOR: u8 = Op::MonitorP.code();
    const DEMONITOR: u8 = Op::DemonitorP.code();
    Some(match op {
        SEND => (ATOM + PID, 0),
        REG_SEND => (PID + ATOM + ATOM, 0),
        SEND_SENDER => (PID + PID, 0),
        ALIAS_SEND => (PID + REFERENCE, NUMBERS),
        MONITOR | DEMONITOR => match *signal.get(PID)? {
            tag::ATOM_CACHE_REF => (PID + ATOM + REFERENCE, NUMBERS),
            tag::NEW_PID => (PID + PID + REFERENCE, NUMBERS),
            _ => return None,
        },
        _ => return None,
    })
}

/// Over some of the bytes: the beginning of the header, the number of the first pid, and the last twelve, where the receiver or
/// its name is. What differs elsewhere shares a place, and is told apart there.
#[inline]
fn hash(key: &[u8]) -> u64 {
    const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
    let word = |at: usize| -> u64 {
        let bytes = key.get(at..).and_then(<[u8]>::first_chunk);
        bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes))
    };
    let atoms = key.first().copied().unwrap_or(0);
    // Behind the operation: tag of a pid, and its node.
    let first = word(header_length(atoms) + 4 + 3);
    let last = key
        .last_chunk()
        .map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let before = word(key.len().saturating_sub(12));
    let sum = (first ^ u64::from(last).rotate_left(32)).wrapping_mul(MIX)
        ^ (before ^ word(0).rotate_left(13)).wrapping_mul(MIX.rotate_left(31) | 1);
    let sum = (sum ^ sum >> 29).wrapping_mul(MIX);
    sum ^ sum >> 32
}

/// A message that stands for others.
#[derive(Debug, Clone, Copy)]
struct Entry {
    key: [u8; KEY],
    mark: Mark,
    /// See [`Begins::groups`].
    groups: u64,
    hash: u32,
    length: u8,
    /// `None`: the place is free.
    op: Option<Op>,
}

const FREE: Entry = Entry {
    key: [0; KEY],
    mark: Mark(0, 0),
    groups: 0,
    hash: 0,
    length: 0,
    op: None,
};

impl Entry {
    #[inline]
    fn is(&self, begins: &Begins<'_>) -> bool {
        self.hash == low(begins.hash) && self.key() == begins.key
    }

    #[inline]
    fn key(&self) -> &[u8] {
        self.key.get(..self.length.into()).unwrap_or_default()
    }
}

/// The messages of one direction that stand for others. Takes memory as it is used.
#[derive(Debug, Clone, Default)]
pub(super) struct Memo {
    /// A power of two of them, or none.
    sets: Vec<[Entry; WAYS]>,
    /// [`ONCE`] of them, or none.
    once: Vec<u16>,
    turn: u32,
}

/// In [`Memo::once`]: it was seen again, and stands for no others.
const REFUSED: u16 = 1;

impl Memo {
    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.sets.is_empty()
    }

    /// What is kept of messages that begin so.
    #[inline]
    pub(super) fn find(&self, begins: &Begins<'_>) -> Option<(Op, Mark)> {
        let set = self.sets.get(self.place(begins.hash))?;
        let entry = set.iter().find(|entry| entry.is(begins))?;
        Some((entry.op?, entry.mark))
    }

    /// Whether it is to be found out if a message that is not kept stands for others: once it is said again.
    pub(super) fn is_due(&mut self, begins: &Begins<'_>) -> bool {
        if self.once.is_empty() {
            self.once = vec![0; ONCE];
        }
        let (place, tag) = begins.once();
        let Some(kept) = self.once.get_mut(place) else {
            return false;
        };
        if *kept == tag | REFUSED {
            self.turn = self.turn.wrapping_add(1);
            return self.turn.is_multiple_of(AGAIN);
        }
        std::mem::replace(kept, tag) == tag
    }

    /// Takes note that it does not.
    pub(super) fn put_off(&mut self, begins: &Begins<'_>) {
        let (place, tag) = begins.once();
        if let Some(kept) = self.once.get_mut(place) {
            *kept = tag | REFUSED;
        }
    }

    /// Keeps it, in the place of another one if need be.
    pub(super) fn put(&mut self, begins: &Begins<'_>, op: Op, mark: Mark) {
        if self.sets.is_empty() {
            self.sets = vec![[FREE; WAYS]; FIRST_SETS];
        }
        let mut key = [0; KEY];
        let (Some(place), Ok(length)) = (
            key.get_mut(..begins.key.len()),
            u8::try_from(begins.key.len()),
        ) else {
            return;
        };
        place.copy_from_slice(begins.key);
        let entry = Entry {
            key,
            mark,
            groups: begins.groups(),
            hash: low(begins.hash),
            length,
            op: Some(op),
        };
        let is_same = |other: &Entry| other.is(begins) && other.op.is_some();
        while !self.insert(begins.hash, entry, &is_same) && self.sets.len() < MOST_SETS {
            let more = vec![[FREE; WAYS]; self.sets.len() * 2];
            for entry in std::mem::replace(&mut self.sets, more).iter().flatten() {
                if entry.op.is_some() {
                    self.insert(hash(entry.key()), *entry, &|_| false);
                }
            }
        }
    }

    /// Takes the place of what is the same, or a free one; at the full size of the table any one.
    fn insert(&mut self, hash: u64, entry: Entry, is_same: &impl Fn(&Entry) -> bool) -> bool {
        let (full, place) = (self.sets.len() >= MOST_SETS, self.place(hash));
        self.turn = self.turn.wrapping_add(1);
        let any = usize::try_from(self.turn).unwrap_or(0) % WAYS;
        let Some(set) = self.sets.get_mut(place) else {
            return false;
        };
        let at = set.iter().position(is_same);
        let at = at.or_else(|| set.iter().position(|other| other.op.is_none()));
        let at = at.or(full.then_some(any));
        match at.and_then(|at| set.get_mut(at)) {
            Some(place) => {
                *place = entry;
                true
            }
            None => false,
        }
    }

    /// Forgets all whose headers refer to entries of the atom cache in these groups: they hold other atoms now.
    pub(super) fn forget(&mut self, groups: u64) {
        if groups == 0 {
            return;
        }
        for entry in self.sets.iter_mut().flatten() {
            if entry.groups & groups != 0 {
                *entry = FREE;
            }
        }
    }

    #[inline]
    fn place(&self, hash: u64) -> usize {
        usize::try_from(hash >> 56).unwrap_or(0) & self.sets.len().wrapping_sub(1)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the lower half is meant")]
const fn low(hash: u64) -> u32 {
    hash as u32
}
