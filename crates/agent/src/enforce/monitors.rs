//! Which monitors a node has set on names at the other one: what answers a refused request that does not say which monitor
//! its caller has. `gen_server:multi_call` before OTP 26 asks so, `rpc:sbcast`, `rpc:server_call`, and whoever sends
//! `{self(), Request}` by hand.
//!
//! Hardening of an answer, and no part of what is decided: what has been forgotten here is not answered, and waits as long as
//! its caller wants.

use std::hash::{BuildHasher, RandomState};

use skans_dist::term::{MAX_REFERENCE_WORDS, Pid, Reference};

/// Monitors of one direction that are remembered, a power of two; each new one takes the place of one other. Ours: who asks so
/// sets the monitor and asks in one go, so that in between there are those of the processes that run at the same time. 12 KiB,
/// in a direction in which there are such monitors at all.
const MOST: usize = 256;

/// Those of one direction of a link.
#[derive(Debug, Default)]
pub struct Monitors {
    keys: RandomState,
    /// Empty until the first one, then [`MOST`].
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

impl Monitors {
    /// Takes note of a monitor that goes on to the other node.
    pub fn set(&mut self, from: &Pid<'_>, to: &str, reference: &Reference<'_>) {
        // Who watches made it, or nobody could be told its end.
        if reference.node != from.node {
            return;
        }
        if self.slots.is_empty() {
            self.slots.resize(MOST, Slot::default());
        }
        let key = self.key(from, to);
        let words = reference.words();
        if let Some(slot) = self.slots.get_mut(place(key))
            && let Some(kept) = slot.words.get_mut(..words.len())
        {
            kept.copy_from_slice(words);
            (slot.key, slot.creation, slot.count) = (key, reference.creation, words.len());
        }
    }

    /// The youngest monitor of a process on a name, which is forgotten with this: it fires once.
    pub fn take<'a>(&mut self, from: &Pid<'a>, to: &str) -> Option<Reference<'a>> {
        let key = self.key(from, to);
        let slot = self.slots.get_mut(place(key))?;
        if slot.key != key {
            return None;
        }
        let count = std::mem::take(&mut slot.count);
        Reference::new(from.node.clone(), slot.creation, slot.words.get(..count)?).ok()
    }

    fn key(&self, from: &Pid<'_>, to: &str) -> u64 {
        // All of these are of one node, in one life.
        self.keys.hash_one((from.id, from.serial, to))
    }
}

/// By the lowest bits.
fn place(key: u64) -> usize {
    key.to_le_bytes()
        .first()
        .map_or(0, |byte| usize::from(*byte))
}

#[cfg(test)]
mod tests;
