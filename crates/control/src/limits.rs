//! Bounds on what callers may cost: who may be in the middle of proving who they are, and how often one may ask.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use tokio_util::sync::CancellationToken;

/// The address that limits count by: all of a /64 is one caller, for any host has as many as it likes of those.
#[must_use]
pub(crate) fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        v4 => v4,
    }
}

/// Connections of those who have not said who they are: in the middle of a handshake, or without a certificate.
///
/// When one more comes than may be, the oldest of the address that holds most of them is dropped. So a flood from one
/// address pushes out itself, and an agent that proves itself within milliseconds always gets through.
#[derive(Debug)]
pub(crate) struct Pending {
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
pub(crate) struct Waiting {
    pending: Arc<Pending>,
    number: u64,
    /// Cancelled when it has to make room.
    pub(crate) evicted: CancellationToken,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pending.lock().remove(self.number);
    }
}

impl Pending {
    /// At most `limit` at once.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            limit,
            inner: Mutex::default(),
        })
    }

    /// Lets one more in.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Waiting {
        let address = counted(address);
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

    /// How many there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn evict(&mut self) {
        let most = self.by_address.iter().max_by_key(|(_, count)| **count);
        let Some((&most, _)) = most else { return };
        let oldest = self.waiting.iter().find(|(_, (ip, _))| *ip == most);
        if let Some((&number, _)) = oldest {
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
