//! Bounds on what strangers can make the agent do: waiting after failed accepts, who may be in the
//! middle of proving an identity, and how much of it is written to the log.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

/// Waits between failed accepts: 10 ms, doubled up to a second. Without it a process that is out of
/// file descriptors would spin; with more, it would be deaf long after they are back.
#[derive(Debug)]
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(Duration::from_millis(10))
    }
}

impl Backoff {
    /// An accept succeeded.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// An accept failed.
    pub async fn wait(&mut self, port: &str, error: &io::Error) {
        tracing::warn!(port, wait = ?self.0, "cannot accept: {error}");
        tokio::time::sleep(self.0).await;
        self.0 = (self.0 * 2).min(Duration::from_secs(1));
    }
}

/// Connections that have not said who they are yet, and what they want.
///
/// When one more comes than may be, the oldest of the address that holds most of them is dropped.
/// So a flood from one address pushes out itself, and a peer that proves itself within milliseconds
/// always gets through.
#[derive(Debug)]
pub struct Pending {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    waiting: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_address: HashMap<IpAddr, usize>,
}

/// One such connection; dropping it says that it has said so or is gone.
#[derive(Debug)]
pub struct Waiting {
    pending: Arc<Pending>,
    number: u64,
    /// Cancelled when it has to make room.
    pub evicted: CancellationToken,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.lock().remove(self.number);
    }
}

impl Pending {
    /// At most `limit` at once.
    #[must_use]
    pub fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
        })
    }

    /// Lets one more in.
    #[must_use]
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Waiting {
        let mut inner = self.lock();
        if inner.waiting.len() >= self.limit {
            inner.evict();
        }
        let number = inner.next;
        inner.next += 1;
        let evicted = CancellationToken::new();
        inner.waiting.insert(number, (address, evicted.clone()));
        *inner.by_address.entry(address).or_default() += 1;
        drop(inner);
        Waiting {
            pending: Arc::clone(self),
            number,
            evicted,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn evict(&mut self) {
        let Some(&most) = self
            .by_address
            .iter()
            .max_by_key(|(_, count)| **count)
            .map(|(ip, _)| ip)
        else {
            return;
        };
        let oldest = self
            .waiting
            .iter()
            .find(|(_, (ip, _))| *ip == most)
            .map(|(&number, _)| number);
        if let Some(number) = oldest {
            self.remove(number);
        }
    }

    fn remove(&mut self, number: u64) {
        let Some((address, evicted)) = self.waiting.remove(&number) else {
            return;
        };
        evicted.cancel();
        if let Some(count) = self.by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                self.by_address.remove(&address);
            }
        }
    }
}

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
