//! What became of connections to services, by service. The labels are names of this host's configuration: what a peer asks for
//! besides is counted under one.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::registry::Direction;

/// Stands for all that a peer asked for and nobody offers.
pub const UNKNOWN: &str = "unknown";

/// Counts by which end this is, and by service. Set-ups and ends are rare beside bytes, so a lock is good enough here.
#[derive(Debug, Default)]
pub struct Tally(Mutex<BTreeMap<(&'static str, Arc<str>), Counts>>);

/// What there is to say of one.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// How set-ups ended, by [`crate::Error::label`] or `ok`.
    pub results: BTreeMap<&'static str, u64>,
    /// Bytes from the local process, of connections that have ended.
    pub sent: u64,
    /// Bytes to it.
    pub received: u64,
}

impl Tally {
    /// A set-up ended like this.
    pub fn set_up(&self, direction: Direction, service: &str, result: &'static str) {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = map.entry((direction.label(), service.into())).or_default();
        *counts.results.entry(result).or_default() += 1;
    }

    /// A connection has ended that was up.
    pub fn carried(&self, direction: Direction, service: &str, sent: u64, received: u64) {
        // One that never was up is none of whose name is known to be a service's.
        if sent == 0 && received == 0 {
            return;
        }
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = map.entry((direction.label(), service.into())).or_default();
        counts.sent = counts.sent.saturating_add(sent);
        counts.received = counts.received.saturating_add(received);
    }

    /// All counts: direction, service, numbers.
    #[must_use]
    pub fn all(&self) -> Vec<(&'static str, Arc<str>, Counts)> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .map(|((direction, service), counts)| (*direction, Arc::clone(service), counts.clone()))
            .collect()
    }
}
