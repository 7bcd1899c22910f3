//! How set-ups of links ended, by direction and reason.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use crate::Error;
use crate::registry::Direction;

/// Counts. Set-ups are rare beside messages, so a lock is good enough here.
#[derive(Debug, Default)]
pub struct Outcomes(Mutex<BTreeMap<(&'static str, &'static str), u64>>);

impl Outcomes {
    /// A link came up.
    pub fn established(&self, direction: Direction) {
        self.count(direction, "ok");
    }

    /// An attempt failed.
    pub fn failed(&self, direction: Direction, error: &Error) {
        self.count(direction, error.label());
    }

    /// All counts: direction, result, number. Labels are a fixed set: no peer can add one.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, &'static str, u64)> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .map(|(&(direction, result), &count)| (direction, result, count))
            .collect()
    }

    /// Counts a result by its label.
    pub fn count(&self, direction: Direction, result: &'static str) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *map.entry((direction.label(), result)).or_default() += 1;
    }
}
