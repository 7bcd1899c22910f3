//! Peers that behave as if their key were somebody else's: told to the control plane, which alone judges. What they did was refused
//! already, where they did it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skans_api::v1::Suspicion;
use skans_api::v1::suspicion::Kind;
use skans_identity::peer::PeerIdentity;
use tokio::sync::Notify;

/// How often one thing is told of one certificate. What comes in between is counted, and told with the next.
const OFTEN: Duration = Duration::from_secs(60);
/// How many wait to be told: what the contract allows in one message. Beyond it the oldest goes.
const WAITING: usize = 64;
/// Certificates of which something was told within [`OFTEN`]. Beyond it nothing is told of others: who has a thousand certificates that
/// somebody signed has more than keys.
const TOLD: usize = 1024;
/// Certificates that are remembered, for when something is to be told of one: those of peers that connected last, about a megabyte.
const LEAVES: usize = 1024;
/// What is told of a name, in bytes.
const DETAIL: usize = 256;

/// What is to be told, and what was.
#[derive(Debug, Default)]
pub struct Suspects {
    inner: Mutex<Inner>,
    /// There is something to tell.
    pub some: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    /// By the SHA-256 of their keys.
    leaves: HashMap<[u8; 32], Leaf>,
    order: VecDeque<[u8; 32]>,
    told: HashMap<([u8; 32], Kind), Told>,
    waiting: VecDeque<([u8; 32], Suspicion)>,
}

#[derive(Debug)]
struct Leaf {
    der: Vec<u8>,
    id: Arc<str>,
}

#[derive(Debug)]
struct Told {
    at: Instant,
    /// How often it happened since.
    since: u32,
}

impl Suspects {
    /// A peer connected with this leaf (DER).
    pub fn remember(&self, der: &[u8], peer: &PeerIdentity) {
        let mut inner = self.inner();
        let key = peer.spki_sha256;
        if let Some(known) = inner.leaves.get_mut(&key) {
            if known.der != der {
                known.der = der.to_vec();
            }
            return;
        }
        let leaf = Leaf {
            der: der.to_vec(),
            id: peer.id.as_str().into(),
        };
        inner.leaves.insert(key, leaf);
        inner.order.push_back(key);
        if inner.order.len() > LEAVES
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.leaves.remove(&oldest);
        }
    }

    /// The key that was last seen with an identity.
    #[must_use]
    pub fn newest(&self, id: &str) -> Option<[u8; 32]> {
        let inner = self.inner();
        let known = |key: &&[u8; 32]| inner.leaves.get(*key).is_some_and(|leaf| *leaf.id == *id);
        inner.order.iter().rev().find(known).copied()
    }

    /// Whoever has the key with this SHA-256 did something so many times.
    pub fn did(&self, key: &[u8; 32], kind: Kind, count: u32, detail: &str, now: Instant) {
        let mut inner = self.inner();
        let Some(leaf) = inner.leaves.get(key).map(|leaf| leaf.der.clone()) else {
            return;
        };
        let waiting = inner.waiting.iter_mut();
        let mut same = waiting.filter(|(of, one)| of == key && one.kind() == kind);
        if let Some((_, waits)) = same.next() {
            waits.count = waits.count.saturating_add(count);
            return;
        }
        let recent = |told: &Told| now.saturating_duration_since(told.at) < OFTEN;
        let mut count = count;
        if let Some(told) = inner.told.get_mut(&(*key, kind)) {
            if recent(told) {
                told.since = told.since.saturating_add(count);
                return;
            }
            count = count.saturating_add(told.since);
        } else if inner.told.len() >= TOLD {
            inner.told.retain(|_, told| recent(told));
            if inner.told.len() >= TOLD {
                return;
            }
        }
        inner.told.insert((*key, kind), Told { at: now, since: 0 });
        if inner.waiting.len() >= WAITING {
            inner.waiting.pop_front();
        }
        let suspicion = Suspicion {
            leaf,
            kind: kind.into(),
            count,
            detail: shown(detail),
        };
        inner.waiting.push_back((*key, suspicion));
        drop(inner);
        self.some.notify_one();
    }

    /// What is to be told: at most what one message may hold.
    #[must_use]
    pub fn take(&self) -> Vec<([u8; 32], Suspicion)> {
        self.inner().waiting.drain(..).collect()
    }

    /// It could not be told: next time.
    pub fn put_back(&self, suspicions: Vec<([u8; 32], Suspicion)>) {
        let mut inner = self.inner();
        for one in suspicions.into_iter().rev() {
            if inner.waiting.len() < WAITING {
                inner.waiting.push_front(one);
            }
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name in somebody else's words: printable ASCII, and not more than is read.
fn shown(text: &str) -> String {
    text.escape_default().take(DETAIL).collect()
}

#[cfg(test)]
mod tests;
