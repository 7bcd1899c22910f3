//! How much of what strangers do is written to the log.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Lines a second for each reason. What a person reads; a flood that wrote a line for each of its
/// connections would fill the disk, and slow down those who are no part of it.
const LINES: u32 = 20;

/// Keeps what strangers do from filling the log. Metrics count all of it.
#[derive(Debug, Default)]
pub struct Restraint(Mutex<HashMap<&'static str, Written>>);

#[derive(Debug)]
struct Written {
    since: Instant,
    lines: u32,
    left_out: u64,
}

impl Restraint {
    /// Whether one more line with this reason may be written now; with it, how many were left out
    /// since the last. Reasons are a fixed set: no stranger can add one.
    #[must_use]
    pub fn admit(&self, reason: &'static str, now: Instant) -> Option<u64> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let written = all.entry(reason).or_insert(Written {
            since: now,
            lines: 0,
            left_out: 0,
        });
        if now.saturating_duration_since(written.since) >= Duration::from_secs(1) {
            written.since = now;
            written.lines = 0;
        }
        if written.lines >= LINES {
            written.left_out += 1;
            return None;
        }
        written.lines += 1;
        Some(std::mem::take(&mut written.left_out))
    }
}

#[cfg(test)]
mod tests;
