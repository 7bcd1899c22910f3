//! The pairs of nodes that were asked about, made once: a link that comes up asks for its two in several places, and those of a
//! node that reconnects are the same again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::pair::Pair;
use crate::request::Subject;

/// Pairs that nothing holds are kept up to this many, and as many as are held besides: a node has few neighbours, an agent few
/// nodes. The names come from certificates, so that no peer invents them.
const SPARE: usize = 128;

/// See the module.
#[derive(Default)]
pub(crate) struct Pairs(Mutex<Kept>);

#[derive(Default)]
struct Kept {
    made: HashMap<Key, Arc<Pair>>,
    /// How many there may be before those that nothing holds are let go.
    most: usize,
}

/// From whom to whom, and whether in a dry run.
type Key = (Arc<Subject>, Arc<Subject>, bool);

impl Pairs {
    /// The pair, made now if it is not there. Takes a lock: for a link that comes up, not for a message.
    pub(crate) fn get(
        &self,
        from: &Subject,
        to: &Subject,
        dry: bool,
        make: impl FnOnce() -> Pair,
    ) -> Arc<Pair> {
        let key = (Arc::new(from.clone()), Arc::new(to.clone()), dry);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(pair) = kept.made.get(&key) {
            return pair.clone();
        }
        if kept.made.len() >= kept.most {
            kept.made.retain(|_, pair| Arc::strong_count(pair) > 1);
            // Again after as many more: so each costs a bounded part of it.
            kept.most = kept.made.len() * 2 + SPARE;
        }
        let pair = Arc::new(make());
        // Its own names, which are there already.
        let key = (pair.from().clone(), pair.to().clone(), dry);
        kept.made.insert(key, pair.clone());
        pair
    }
}

#[cfg(test)]
mod tests;
