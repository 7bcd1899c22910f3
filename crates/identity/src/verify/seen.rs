//! Chains that were verified before. Their signatures do not change, so they are not checked twice: a set-up asks for the
//! same chain in the handshake and after it, and a peer that comes back shows the one that it showed before. What may
//! change, time and trust, is asked anew each time, by [`recheck`](super::Verifier::recheck).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls_pki_types::{CertificateDer, UnixTime};

use super::{Evidence, Usage};
use crate::keys::sha256;

/// How many chains are remembered at least; at most twice as many, about a kilobyte each. More than a host has peers.
/// Only chains that were found good get here, so strangers cannot push others out.
const KEPT: usize = 1024;

/// Which chain, and what for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key([u8; 32], Usage);

impl Key {
    /// Of a chain whose sizes were checked.
    pub(super) fn of(
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
    ) -> Self {
        let certificates = || std::iter::once(end_entity).chain(intermediates);
        let mut all = Vec::with_capacity(certificates().map(|der| der.len() + 8).sum());
        for der in certificates() {
            // With its length, or two chains could be cut differently out of the same bytes.
            all.extend((der.len() as u64).to_be_bytes());
            all.extend_from_slice(der);
        }
        Self(sha256(&all), usage)
    }
}

/// The memory. Old entries leave in bulk: once the young ones are [`KEPT`], they become the old ones.
#[derive(Debug, Default)]
pub(super) struct Seen(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Key, Verified>,
    old: HashMap<Key, Verified>,
}

#[derive(Debug, Clone)]
struct Verified {
    evidence: Evidence,
    /// When: a clock that was set back asks again.
    at: u64,
}

impl Seen {
    /// What this chain said, if it was verified before.
    pub(super) fn get(&self, key: &Key, now: UnixTime) -> Option<Evidence> {
        let mut generations = self.lock();
        let found = match generations.young.get(key) {
            Some(found) => found.clone(),
            None => {
                let found = generations.old.remove(key)?;
                generations.put(*key, found.clone());
                found
            }
        };
        (found.at <= now.as_secs()).then_some(found.evidence)
    }

    /// Remembers a chain that was found good.
    pub(super) fn insert(&self, key: Key, evidence: Evidence, now: UnixTime) {
        let at = now.as_secs();
        self.lock().put(key, Verified { evidence, at });
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn put(&mut self, key: Key, verified: Verified) {
        if self.young.len() >= KEPT {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{NODE_A, NOW, at, authority, credential};

    fn key(number: usize) -> Key {
        Key(sha256(&number.to_be_bytes()), Usage::Client)
    }

    fn some_evidence() -> Evidence {
        let authority = authority();
        let peer = credential(&authority, "a").identity().clone();
        Evidence {
            peer,
            signers: Vec::new(),
            cluster: None,
            not_after: u64::MAX,
        }
    }

    #[test]
    fn what_is_in_use_stays_and_the_rest_is_bounded() {
        let (seen, evidence) = (Seen::default(), some_evidence());
        for number in 0..10 * KEPT {
            seen.insert(key(number), evidence.clone(), NOW);
            assert_eq!(
                seen.get(&key(0), NOW).unwrap().peer.id.as_str(),
                NODE_A,
                "asked for again and again"
            );
        }
        let generations = seen.lock();
        assert!(generations.young.len() + generations.old.len() <= 2 * KEPT);
        drop(generations);
        assert!(seen.get(&key(1), NOW).is_none());
    }

    #[test]
    fn a_clock_that_was_set_back_asks_again() {
        let seen = Seen::default();
        seen.insert(key(0), some_evidence(), NOW);
        assert!(seen.get(&key(0), at(NOW.as_secs() - 1)).is_none());
        assert!(seen.get(&key(0), NOW).is_some());
    }

    #[test]
    fn each_use_and_each_chain_is_one_of_its_own() {
        let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
        let (ab, a, b) = (der(b"ab"), der(b"a"), der(b"b"));
        let all = [
            Key::of(&ab, &[], Usage::Client),
            Key::of(&ab, &[], Usage::Server),
            Key::of(&a, std::slice::from_ref(&b), Usage::Client),
            Key::of(&b, std::slice::from_ref(&a), Usage::Client),
        ];
        let different: std::collections::HashSet<_> = all.iter().collect();
        assert_eq!(different.len(), all.len());
    }
}
