//! Counts by result.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

/// Counts by result. Results are a fixed set of words: nobody outside can add one. Rare beside messages, so a lock will do.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<&'static str, u64>>);

impl Tally {
    /// One more.
    pub fn count(&self, result: &'static str) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *map.entry(result).or_default() += 1;
    }

    /// How many had this result.
    #[must_use]
    pub fn of(&self, result: &str) -> u64 {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(result).copied().unwrap_or_default()
    }

    /// All counts.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, u64)> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .map(|(&result, &count)| (result, count))
            .collect()
    }
}
