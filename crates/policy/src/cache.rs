//! What was decided already: one cache for each link and direction, bounded, without a lock and without memory of its own
//! on a hit.
//!
//! Sets of eight slots, of which each request has two. What is asked for often moves to the front of its set, what is new
//! replaces the last: a peer that invents names pushes out only what nobody else asks for. Keys are fingerprints under a random key, so that a peer can
//! neither find two requests that share one nor fill a set on purpose.
//!
//! Beside the verdict stands whether another set would give another one, as long as there is one to compare with. That is found out when the
//! verdict is, and costs nothing where it is remembered.

mod front;
#[cfg(test)]
mod tests;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::mem::size_of;
use std::sync::Arc;

use crate::action::Action;
use crate::decision::{Decision, Verdict};
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

/// 125 bits of a fingerprint, whether another set says otherwise, and a verdict in the last two bits; 0 is empty.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Slot(u128);

const VERDICT: u128 = 0b11;
const DIFFERS: u128 = 0b100;

/// What is remembered of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// What decides.
    pub verdict: Verdict,
    /// The set that is compared with says otherwise.
    pub differs: bool,
}

impl Slot {
    const fn new(fingerprint: u128, known: Known) -> Self {
        let verdict = match known.verdict {
            Verdict::Permit => 1,
            Verdict::Deny => 2,
            Verdict::WouldDeny => 3,
        };
        let differs = if known.differs { DIFFERS } else { 0 };
        Self(fingerprint & !(VERDICT | DIFFERS) | differs | verdict)
    }

    const fn known(self) -> Option<Known> {
        let verdict = match self.0 & VERDICT {
            1 => Verdict::Permit,
            2 => Verdict::Deny,
            3 => Verdict::WouldDeny,
            _ => return None,
        };
        Some(Known {
            verdict,
            differs: self.0 & DIFFERS != 0,
        })
    }

    const fn is_of(self, fingerprint: u128) -> bool {
        (self.0 ^ fingerprint) & !(VERDICT | DIFFERS) == 0 && self.0 & VERDICT != 0
    }
}

/// Verdicts of one pair.
pub struct Cache {
    basis: Option<Arc<Basis>>,
    /// Of the pair that is compared with, if one is.
    beside: Option<Arc<Basis>>,
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
            beside: None,
            front: None,
            keys: [RandomState::new(), RandomState::new()],
            sets: Vec::new(),
            entries: 0,
        }
    }

    /// The verdict: remembered, else decided. What is remembered of another pair stays if the two decide alike, as they do
    /// when a new set changes nothing between these nodes. `connect` is never remembered, since it may depend on time.
    pub fn decide(&mut self, pair: &Pair, request: &Request<'_>) -> Verdict {
        self.compare_noting(pair, None, request, |_| ()).verdict
    }

    /// The same, and whether another set would say otherwise, by its pair of the same nodes.
    pub fn compare(&mut self, pair: &Pair, beside: Option<&Pair>, request: &Request<'_>) -> Known {
        self.compare_noting(pair, beside, request, |_| ())
    }

    /// The same; `note` is told of what is decided now, and not of what is remembered.
    pub fn compare_noting(
        &mut self,
        pair: &Pair,
        beside: Option<&Pair>,
        request: &Request<'_>,
        note: impl FnOnce(&Decision),
    ) -> Known {
        if request.action == Action::Connect {
            return asked(pair, beside, request, note);
        }
        self.follow(pair, beside);
        let front = self.front.get_or_insert_with(|| Box::new(Front::new()));
        if let Some(known) = front.recall(request) {
            return known;
        }
        let fingerprint = self.fingerprint(request);
        let known = self.recall(fingerprint).unwrap_or_else(|| {
            let known = asked(pair, beside, request, note);
            self.remember(fingerprint, known);
            known
        });
        if let Some(front) = &mut self.front {
            front.remember(request, known);
        }
        known
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
    fn follow(&mut self, pair: &Pair, beside: Option<&Pair>) {
        let beside = beside.map(Pair::basis);
        let same = |one: Option<&Arc<Basis>>, other: Option<&Arc<Basis>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other) || one == other,
            (one, other) => one.is_none() && other.is_none(),
        };
        let held = |one: Option<&Arc<Basis>>, other: Option<&Arc<Basis>>| match (one, other) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (one, other) => one.is_none() && other.is_none(),
        };
        let own = Some(pair.basis());
        if held(self.basis.as_ref(), own) && held(self.beside.as_ref(), beside) {
            return;
        }
        if !same(self.basis.as_ref(), own) || !same(self.beside.as_ref(), beside) {
            self.front = None;
            self.sets = Vec::new();
            self.entries = 0;
        }
        self.basis = own.cloned();
        self.beside = beside.cloned();
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

    fn recall(&mut self, fingerprint: u128) -> Option<Known> {
        for set in self.sets_of(fingerprint) {
            let set = self.sets.get_mut(set)?;
            if let Some(at) = set.iter().position(|slot| slot.is_of(fingerprint)) {
                let known = set.get(at)?.known();
                if at > 0 {
                    set.swap(at, at - 1);
                }
                return known;
            }
        }
        None
    }

    fn remember(&mut self, fingerprint: u128, known: Known) {
        let slot = Slot::new(fingerprint, known);
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
            slots.filter(|slot| slot.known().is_none()).count()
        };
        let [a, b] = self.sets_of(slot.0);
        let set = if free(&b) > free(&a) { b } else { a };
        let Some(set) = self.sets.get_mut(set) else {
            return false;
        };
        if let Some(free) = set.iter_mut().find(|slot| slot.known().is_none()) {
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
            if slot.known().is_some() {
                self.insert(*slot);
            }
        }
    }
}

fn asked(
    pair: &Pair,
    beside: Option<&Pair>,
    request: &Request<'_>,
    note: impl FnOnce(&Decision),
) -> Known {
    let decision = pair.decide(request);
    note(&decision);
    let verdict = decision.verdict;
    Known {
        verdict,
        differs: beside.is_some_and(|beside| beside.decide(request).verdict != verdict),
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
