//! What was decided already: one cache for each link and direction, bounded, without a lock and without memory of its own
//! on a hit.
//!
//! Sets of eight slots, of which each request has two. What is asked for often moves to the front of its set, what is new
//! replaces the last: a peer that invents names pushes out only what nobody else asks for. Keys are fingerprints under a random key, so that a peer can
//! neither find two requests that share one nor fill a set on purpose.

mod front;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem::size_of;
use std::sync::Arc;

use crate::action::Action;
use crate::decision::Verdict;
use crate::pair::{Basis, Pair};
use crate::request::{Request, Resource};
use front::Front;

/// Most verdicts of one cache: 2 MiB, and more names than a node is asked for. A peer that invents names gets no further.
pub const MAX_ENTRIES: usize = 131_072;
/// Slots of a set: two lines of a processor's cache.
const WAYS: usize = 8;
/// Sets of a cache that has just been used first: 512 bytes. Must be a power of two.
const FIRST_SETS: usize = 4;
const MAX_SETS: usize = MAX_ENTRIES / WAYS;

type Set = [Slot; WAYS];

/// 126 bits of a fingerprint, and a verdict in the last two; 0 is empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Slot(u128);

const VERDICT: u128 = 0b11;

impl Slot {
    const fn new(fingerprint: u128, verdict: Verdict) -> Self {
        let verdict = match verdict {
            Verdict::Permit => 1,
            Verdict::Deny => 2,
            Verdict::WouldDeny => 3,
        };
        Self(fingerprint & !VERDICT | verdict)
    }

    const fn verdict(self) -> Option<Verdict> {
        match self.0 & VERDICT {
            1 => Some(Verdict::Permit),
            2 => Some(Verdict::Deny),
            3 => Some(Verdict::WouldDeny),
            _ => None,
        }
    }

    const fn is_of(self, fingerprint: u128) -> bool {
        (self.0 ^ fingerprint) & !VERDICT == 0 && self.0 & VERDICT != 0
    }
}

/// Verdicts of one pair.
pub struct Cache {
    basis: Option<Arc<Basis>>,
    /// Made with the first question, and again after a rest.
    front: Option<Box<Front>>,
    keys: [RandomState; 2],
    /// A power of two of them, or none.
    sets: Vec<Set>,
    entries: usize,
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// An empty one. It takes memory as it is used.
    #[must_use]
    pub fn new() -> Self {
        Self {
            basis: None,
            front: None,
            keys: [RandomState::new(), RandomState::new()],
            sets: Vec::new(),
            entries: 0,
        }
    }

    /// The verdict: remembered, else decided. What is remembered of another pair stays if the two decide alike, as they do
    /// when a new set changes nothing between these nodes. `connect` is never remembered, since it may depend on time.
    pub fn decide(&mut self, pair: &Pair, request: &Request<'_>) -> Verdict {
        if request.action == Action::Connect {
            return pair.decide(request).verdict;
        }
        self.follow(pair);
        let front = self.front.get_or_insert_with(|| Box::new(Front::new()));
        if let Some(verdict) = front.recall(request) {
            return verdict;
        }
        let fingerprint = self.fingerprint(request);
        let verdict = self.recall(fingerprint).unwrap_or_else(|| {
            let verdict = pair.decide(request).verdict;
            self.remember(fingerprint, verdict);
            verdict
        });
        if let Some(front) = &mut self.front {
            front.remember(request, verdict);
        }
        verdict
    }

    /// Gives back memory that is quickly made again: nothing is asked for a while.
    pub fn rest(&mut self) {
        self.front = None;
    }

    /// How many verdicts are remembered.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.entries
    }

    /// Whether none is.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Memory in bytes, beside the cache itself.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let front = self.front.as_deref().map_or(0, size_of_val);
        self.sets.len() * size_of::<Set>() + front
    }

    /// Forgets what another pair decided, unless this one decides alike.
    fn follow(&mut self, pair: &Pair) {
        match &self.basis {
            Some(basis) if Arc::ptr_eq(basis, pair.basis()) => return,
            Some(basis) if basis == pair.basis() => {}
            _ => {
                self.front = None;
                self.sets = Vec::new();
                self.entries = 0;
            }
        }
        self.basis = Some(pair.basis().clone());
    }

    fn fingerprint(&self, request: &Request<'_>) -> u128 {
        let [a, b] = &self.keys;
        u128::from(hash(a, request)) << 64 | u128::from(hash(b, request))
    }

    /// The two sets of a fingerprint.
    fn sets_of(&self, fingerprint: u128) -> [usize; 2] {
        let mask = self.sets.len().wrapping_sub(1);
        let [a, b] = [fingerprint >> 96, fingerprint >> 64 & 0xffff_ffff];
        [a, b].map(|bits| usize::try_from(bits).unwrap_or(0) & mask)
    }

    fn recall(&mut self, fingerprint: u128) -> Option<Verdict> {
        for set in self.sets_of(fingerprint) {
            let set = self.sets.get_mut(set)?;
            if let Some(at) = set.iter().position(|slot| slot.is_of(fingerprint)) {
                let verdict = set.get(at)?.verdict();
                if at > 0 {
                    set.swap(at, at - 1);
                }
                return verdict;
            }
        }
        None
    }

    fn remember(&mut self, fingerprint: u128, verdict: Verdict) {
        let slot = Slot::new(fingerprint, verdict);
        if self.sets.is_empty() {
            self.sets = vec![Set::default(); FIRST_SETS];
        }
        while !self.insert(slot) && self.sets.len() < MAX_SETS {
            self.grow();
        }
    }

    /// Takes a free slot of the emptier set. At the full size, the last one if none is free.
    fn insert(&mut self, slot: Slot) -> bool {
        let may_replace = self.sets.len() >= MAX_SETS;
        let free = |set: &usize| {
            let slots = self.sets.get(*set).into_iter().flatten();
            slots.filter(|slot| slot.verdict().is_none()).count()
        };
        let [a, b] = self.sets_of(slot.0);
        let set = if free(&b) > free(&a) { b } else { a };
        let Some(set) = self.sets.get_mut(set) else {
            return false;
        };
        if let Some(free) = set.iter_mut().find(|slot| slot.verdict().is_none()) {
            *free = slot;
            self.entries += 1;
            return true;
        }
        if may_replace && let Some(last) = set.last_mut() {
            *last = slot;
        }
        may_replace
    }

    /// Twice as many sets. What finds no place there is forgotten.
    fn grow(&mut self) {
        let larger = vec![Set::default(); self.sets.len() * 2];
        let smaller = std::mem::replace(&mut self.sets, larger);
        self.entries = 0;
        for slot in smaller.iter().flatten() {
            if slot.verdict().is_some() {
                self.insert(*slot);
            }
        }
    }
}

/// Lengths first: no two requests feed it the same bytes.
fn hash(key: &RandomState, request: &Request<'_>) -> u64 {
    let mut hasher = key.build_hasher();
    match request.resource {
        Resource::Node => hasher.write_u64(head(request, 0, 0)),
        Resource::Process(name) => {
            hasher.write_u64(head(request, 1, 0));
            hasher.write(name.as_bytes());
        }
        Resource::Service(name) => {
            hasher.write_u64(head(request, 3, 0));
            hasher.write(name.as_bytes());
        }
        Resource::Function {
            module,
            function,
            arity,
        } => {
            hasher.write_u64(head(request, 2, arity));
            hasher.write_usize(module.len());
            hasher.write(module.as_bytes());
            hasher.write(function.as_bytes());
        }
    }
    hasher.finish()
}

/// All of a question that is no name.
fn head(request: &Request<'_>, kind: u64, arity: u32) -> u64 {
    let flags = u64::from(request.carries_function) | u64::from(request.via_pid) << 1;
    u64::from(request.action as u8) | flags << 8 | kind << 16 | u64::from(arity) << 32
}
