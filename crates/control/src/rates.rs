//! How often a caller may ask.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Most callers that are counted at once. Beyond it those are forgotten that could ask for their full share anyway.
const MAX_COUNTED: usize = 65_536;
/// Seconds' worth of asking that may come at once: a host that starts asks for all of its nodes.
const BURST: f64 = 5.0;

/// How often each caller may ask: a token bucket each.
#[derive(Debug)]
pub(crate) struct Rates<K> {
    per_second: f64,
    buckets: Mutex<HashMap<K, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    seen: Instant,
}

impl<K: Eq + Hash> Rates<K> {
    /// So many a second, and five seconds' worth at once.
    pub(crate) fn new(per_second: u32) -> Self {
        Self {
            per_second: f64::from(per_second),
            buckets: Mutex::default(),
        }
    }

    /// Whether this caller may ask for `count` things now. If not, none of them is counted.
    pub(crate) fn take(&self, key: K, count: u32, now: Instant) -> bool {
        let most = self.per_second * BURST;
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= MAX_COUNTED && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| self.refilled(*bucket, now) < most);
            if buckets.len() >= MAX_COUNTED {
                // Every counted caller is asking: a stranger more has to wait.
                return false;
            }
        }
        let bucket = buckets.entry(key).or_insert(Bucket {
            left: most,
            seen: now,
        });
        let left = self.refilled(*bucket, now) - f64::from(count);
        bucket.seen = now;
        if left < 0.0 {
            bucket.left = left + f64::from(count);
            return false;
        }
        bucket.left = left;
        true
    }

    fn refilled(&self, bucket: Bucket, now: Instant) -> f64 {
        let passed = now.saturating_duration_since(bucket.seen).as_secs_f64();
        (bucket.left + passed * self.per_second).min(self.per_second * BURST)
    }
}
