//! Policy sets that this agent refused, counted by reason, and revocations that it has put in force. Whoever sends them again and again fills
//! no file with it.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::events::ocsf;
use crate::keeper;

/// Refused for one reason.
#[derive(Clone, Debug, Default)]
pub(super) struct Refused {
    /// Milliseconds since 1970.
    pub first: u64,
    pub last: u64,
    pub count: u64,
    /// What was wrong with the last one.
    pub problem: String,
    /// Epoch and number of the set that stayed in force.
    pub in_force: (u64, u64),
}

/// Revocations that are in force.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Revoked {
    /// Milliseconds since 1970.
    pub first: u64,
    pub last: u64,
    pub count: u64,
    /// Links that forward nothing more because of them.
    pub links: u64,
    /// Epoch and sequence up to which they are.
    pub position: (u64, u64),
}

/// Those of one window. The reasons are labels of ours, so there are few.
#[derive(Debug, Default)]
pub(super) struct Sets(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    since: Option<Instant>,
    refused: BTreeMap<&'static str, Refused>,
    revoked: Option<Revoked>,
}

impl Sets {
    /// Counts one; it is told when its window ends.
    pub fn refused(&self, reason: &'static str, problem: String, in_force: (u64, u64)) {
        let now = keeper::millis(keeper::now());
        let mut inner = self.inner();
        inner.since.get_or_insert_with(Instant::now);
        let of = inner.refused.entry(reason).or_insert_with(|| Refused {
            first: now,
            ..Refused::default()
        });
        of.last = now;
        of.count += 1;
        (of.problem, of.in_force) = (problem, in_force);
    }

    /// So many are in force from now on, up to this position, and have cut so many links.
    pub fn revoked(&self, count: u64, links: u64, position: (u64, u64)) {
        let now = keeper::millis(keeper::now());
        let mut inner = self.inner();
        inner.since.get_or_insert_with(Instant::now);
        let all = inner.revoked.get_or_insert_with(|| Revoked {
            first: now,
            ..Revoked::default()
        });
        all.last = now;
        all.count = all.count.saturating_add(count);
        all.links = all.links.saturating_add(links);
        all.position = position;
    }

    /// The events of a window that is over.
    pub fn take(&self, window: Duration) -> Vec<Value> {
        let over = {
            let mut inner = self.inner();
            match inner.since {
                Some(since) if since.elapsed() >= window => std::mem::take(&mut *inner),
                _ => return Vec::new(),
            }
        };
        let all = over.refused.iter();
        all.map(|(reason, sets)| ocsf::refused(reason, sets))
            .chain(over.revoked.as_ref().map(ocsf::revoked))
            .collect()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
