//! What was decided already: one cache for each link and direction, bounded, without a lock.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;

use crate::action::Action;
use crate::decision::Verdict;
use crate::pair::{Basis, Pair};
use crate::request::{Request, Resource};

/// Most entries.
pub const MAX_ENTRIES: usize = 131_072;

/// Verdicts of one pair.
pub struct Cache {
    basis: Option<Arc<Basis>>,
    keys: [RandomState; 2],
    verdicts: HashMap<(u64, u64), Verdict>,
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
            keys: [RandomState::new(), RandomState::new()],
            verdicts: HashMap::new(),
        }
    }

    /// The verdict: remembered, else decided. Those of another pair that decides alike stay; `connect` is never
    /// remembered, since it may depend on time.
    pub fn decide(&mut self, pair: &Pair, request: &Request<'_>) -> Verdict {
        if request.action == Action::Connect {
            return pair.decide(request).verdict;
        }
        if !self
            .basis
            .as_ref()
            .is_some_and(|basis| Arc::ptr_eq(basis, pair.basis()))
        {
            if self.basis.as_ref() != Some(pair.basis()) {
                self.verdicts.clear();
            }
            self.basis = Some(pair.basis().clone());
        }
        let key = (
            fingerprint(&self.keys[0], request),
            fingerprint(&self.keys[1], request),
        );
        if let Some(&verdict) = self.verdicts.get(&key) {
            return verdict;
        }
        let verdict = pair.decide(request).verdict;
        if self.verdicts.len() >= MAX_ENTRIES {
            self.verdicts.clear();
        }
        self.verdicts.insert(key, verdict);
        verdict
    }

    /// How many verdicts are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.verdicts.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.verdicts.is_empty()
    }
}

fn fingerprint(key: &RandomState, request: &Request<'_>) -> u64 {
    let mut hasher = key.build_hasher();
    let flags = u8::from(request.carries_function) | u8::from(request.via_pid) << 1;
    hasher.write(&[request.action as u8, flags]);
    match request.resource {
        Resource::Node => hasher.write_u8(0),
        Resource::Process(name) => {
            hasher.write_u8(1);
            hasher.write(name.as_bytes());
        }
        Resource::Function {
            module,
            function,
            arity,
        } => {
            hasher.write_u8(2);
            hasher.write_usize(module.len());
            hasher.write(module.as_bytes());
            hasher.write(function.as_bytes());
            hasher.write_u32(arity);
        }
    }
    hasher.finish()
}
