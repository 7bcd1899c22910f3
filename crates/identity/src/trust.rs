//! What the verifier trusts at one moment: bundles and deny set in one snapshot. How either gets here is not said here.

#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};

use crate::bundle::Bundles;
use crate::deny::Target;
use crate::id::SpiffeId;
use crate::node_name::NodeName;
use crate::peer::PeerIdentity;

/// Bundles and deny set together, so that no handshake sees new bundles with an old deny set.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    /// The roots, by trust domain.
    pub bundles: Bundles,
    /// Who is refused although its certificate is in order.
    pub deny: DenySet,
}

/// Who is refused although its certificate is in order. Empty by default. Deny by key *and* by ID: a serial alone dies
/// with the next renewal.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DenySet {
    /// SPIFFE IDs.
    pub ids: HashSet<SpiffeId>,
    /// Node names, by the names that certificates carry: `cli@host` stands for all short-lived nodes of a host.
    pub nodes: HashSet<NodeName>,
    /// SHA-256 of a whole `SubjectPublicKeyInfo`: of a leaf, or of an intermediate and so of all that it signed.
    pub keys: HashSet<[u8; 32]>,
    /// The same, of CA certificates alone.
    pub issuers: HashSet<[u8; 32]>,
    /// Serial numbers in lower-case hex, each with the SHA-256 of its issuer's `SubjectPublicKeyInfo`.
    pub serials: HashSet<([u8; 32], String)>,
}

impl DenySet {
    /// Which kind of entry denies this peer. `signers` are the key hashes of the CA certificates above it, nearest
    /// first.
    #[must_use]
    pub fn denies(&self, peer: &PeerIdentity, signers: &[[u8; 32]]) -> Option<&'static str> {
        if self.ids.contains(&peer.id) {
            return Some("spiffe id");
        }
        if self.keys.contains(&peer.spki_sha256) {
            return Some("key");
        }
        if !self.nodes.is_empty()
            && peer
                .node_name()
                .is_some_and(|name| self.nodes.contains(&name))
        {
            return Some("node name");
        }
        let denied = |key| self.keys.contains(key) || self.issuers.contains(key);
        if signers.iter().any(denied) {
            return Some("issuer key");
        }
        let by_serial = !self.serials.is_empty()
            && signers
                .first()
                .is_some_and(|issuer| self.serials.contains(&(*issuer, peer.serial.clone())));
        by_serial.then_some("serial")
    }

    /// Denies this from now on: what a new entry of the stream asks for. What is allowed again is not taken out here,
    /// since another entry may deny it still: make the set anew, by [`Chain::deny_set`](crate::deny::Chain::deny_set).
    pub fn insert(&mut self, target: &Target) {
        match target {
            Target::Key(key) => _ = self.keys.insert(*key),
            Target::Id(id) => _ = self.ids.insert(id.clone()),
            Target::Node(name) => _ = self.nodes.insert(name.clone()),
            Target::Issuer(key) => _ = self.issuers.insert(*key),
            Target::Allow(_) => {}
        }
    }
}

/// The present [`Trust`], shared by everybody who verifies: readers never wait, a swap is atomic. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct SharedTrust(Arc<ArcSwap<Trust>>);

impl SharedTrust {
    /// Shares this trust.
    #[must_use]
    pub fn new(trust: Trust) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(trust)))
    }

    /// Puts another in its place. Handshakes that run keep what they began with.
    pub fn replace(&self, trust: Trust) {
        self.0.store(Arc::new(trust));
    }

    /// Changes a part of it: `change` gets a copy, and may run more than once if others change it as well.
    pub fn update(&self, mut change: impl FnMut(&mut Trust)) {
        self.0.rcu(|old| {
            let mut new = Trust::clone(old);
            change(&mut new);
            new
        });
    }

    /// The present trust.
    #[must_use]
    pub fn load(&self) -> Guard<Arc<Trust>> {
        self.0.load()
    }
}
