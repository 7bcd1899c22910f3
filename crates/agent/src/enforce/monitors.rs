//! Which monitors a node has set on names at the other one: what answers a refused request that does not say which monitor
//! its caller has. `gen_server:multi_call` before OTP 26 asks so, `rpc:sbcast`, `rpc:server_call`, and whoever sends
//! `{self(), Request}` by hand.
//!
//! Hardening of an answer, and no part of what is decided: what has been forgotten here is not answered, and waits as long as
//! its caller wants.

use std::hash::{BuildHasher, RandomState};
use std::num::NonZeroU64;

use skans_dist::term::{MAX_REFERENCE_WORDS, Pid, Reference};

/// Monitors of one direction that are remembered, a power of two; each new one takes the place of one other. Ours: who asks so
/// sets the monitor and asks in one go, so that in between there are those of the processes that run at the same time. 12 KiB,
/// in a direction in which there are such monitors at all.
const MOST: usize = 256;

/// Those of one direction of a link.
#[derive(Debug, Default)]
pub struct Monitors {
    keys: RandomState,
    /// Empty until the first one and at rest, else [`MOST`].
    slots: Vec<Slot>,
}

#[derive(Clone, Debug, Default)]
struct Slot {
    /// Who watches whom.
    key: u64,
    creation: u32,
    words: [u32; MAX_REFERENCE_WORDS],
    /// None: the place is free.
    count: usize,
}

/// Where the monitors of one process on one name are kept.
#[derive(Clone, Copy, Debug)]
pub struct Place(NonZeroU64);

impl Place {
    /// As a number, which is never 0.
    pub const fn number(self) -> u64 {
        self.0.get()
    }

    /// The place of that number; none for 0.
    pub fn of(number: u64) -> Option<Self> {
        NonZeroU64::new(number).map(Self)
    }
}

impl Monitors {
    /// Takes note of a monitor that goes on to the other node, and says where.
    pub fn set(&mut self, from: &Pid<'_>, to: &str, reference: &Reference<'_>) -> Option<Place> {
        // Who watches made it, or nobody could be told its end.
        if reference.node != from.node {
            return None;
        }
        let key = self.key(from, to);
        self.keep(key, reference.creation, reference.words().iter().copied());
        Some(Place(key))
    }

    /// Takes note of a further one at the same place: creation and words as they stand in a message.
    pub fn set_again(&mut self, place: Place, numbers: &[u8]) {
        let (numbers, _) = numbers.as_chunks();
        if let Some((creation, words)) = numbers.split_first() {
            let creation = u32::from_be_bytes(*creation);
            let words = words.iter().map(|word| u32::from_be_bytes(*word));
            self.keep(place.0, creation, words);
        }
    }

    /// Gives the room back, and forgets: nothing came for a while, and a request that needs its monitor comes right behind it.
    pub fn rest(&mut self) {
        self.slots = Vec::new();
    }

    fn keep(&mut self, key: NonZeroU64, creation: u32, words: impl Iterator<Item = u32>) {
        if self.slots.is_empty() {
            self.slots.resize(MOST, Slot::default());
        }
        let Some(slot) = self.slots.get_mut(at(key)) else {
            return;
        };
        (slot.key, slot.creation, slot.count) = (key.get(), creation, 0);
        for (kept, word) in slot.words.iter_mut().zip(words) {
            *kept = word;
            slot.count += 1;
        }
    }

    /// The youngest monitor of a process on a name, which is forgotten with this: it fires once.
    pub fn take<'a>(&mut self, from: &Pid<'a>, to: &str) -> Option<Reference<'a>> {
        let key = self.key(from, to);
        let slot = self.slots.get_mut(at(key))?;
        if slot.key != key.get() {
            return None;
        }
        let count = std::mem::take(&mut slot.count);
        Reference::new(from.node.clone(), slot.creation, slot.words.get(..count)?).ok()
    }

    fn key(&self, from: &Pid<'_>, to: &str) -> NonZeroU64 {
        // All of these are of one node, in one life.
        let key = self.keys.hash_one((from.id, from.serial, to));
        NonZeroU64::new(key).unwrap_or(NonZeroU64::MIN)
    }
}

/// By the lowest bits.
fn at(key: NonZeroU64) -> usize {
    key.get()
        .to_le_bytes()
        .first()
        .map_or(0, |byte| usize::from(*byte))
}

#[cfg(test)]
mod tests;
