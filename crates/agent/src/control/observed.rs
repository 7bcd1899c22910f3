//! Which certificates this agent's peers showed: each is reported once, so that one that was never issued is noticed.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use tokio::sync::Notify;

/// How many are remembered as reported. A peer renews twice an hour or so, and a mesh of a thousand nodes is large; what
/// falls out is reported again, which does no harm.
const REMEMBERED: usize = 16 * 1024;
/// How many wait to be reported. Beyond it the oldest goes: a control plane that is away must cost no memory.
const WAITING: usize = 1024;
/// How many are reported at once: what the contract allows.
pub const BATCH: usize = 256;

/// Certificates that were seen.
#[derive(Debug, Default)]
pub struct Observed {
    inner: Mutex<Inner>,
    /// There is one to report.
    pub some: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<[u8; 32]>,
    order: VecDeque<[u8; 32]>,
    waiting: VecDeque<Vec<u8>>,
}

impl Observed {
    /// A peer showed this leaf (DER).
    pub fn saw(&self, leaf: &[u8]) {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, leaf).as_ref());
        let mut inner = self.lock();
        if !inner.known.insert(hash) {
            return;
        }
        inner.order.push_back(hash);
        if inner.order.len() > REMEMBERED
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.known.remove(&oldest);
        }
        if inner.waiting.len() >= WAITING {
            inner.waiting.pop_front();
        }
        inner.waiting.push_back(leaf.to_vec());
        drop(inner);
        self.some.notify_one();
    }

    /// Up to [`BATCH`] that are to be reported.
    #[must_use]
    pub fn take(&self) -> Vec<Vec<u8>> {
        let mut inner = self.lock();
        let count = inner.waiting.len().min(BATCH);
        inner.waiting.drain(..count).collect()
    }

    /// They could not be reported: next time.
    pub fn put_back(&self, leaves: Vec<Vec<u8>>) {
        let mut inner = self.lock();
        for leaf in leaves.into_iter().rev() {
            if inner.waiting.len() < WAITING {
                inner.waiting.push_front(leaf);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
