//! By what a link can be found without looking at all of them: keys, identities, names, issuers and sessions.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use skans_dist::NodeName;
use skans_identity::deny::Target;
use skans_identity::id::SpiffeId;
use skans_identity::verify::Evidence;
use skans_link::SessionId;

use super::Link;

/// One thing that is known of a link. Both ends' are kept: an agent whose own node is denied ends its links as well.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Mark {
    /// SHA-256 of a leaf's `SubjectPublicKeyInfo`.
    Key([u8; 32]),
    /// The same of a CA above one.
    Signer([u8; 32]),
    /// A SPIFFE ID.
    Id(String),
    /// A node name: as the nodes call themselves, and as the certificates do.
    Node(String),
    /// A session that the peer opened. Never one of our own: only an initiator may take over.
    Session(SessionId),
}

/// Links by mark. Each mark is kept once: most are those of many links.
#[derive(Debug, Default)]
pub struct Marks(HashMap<Arc<Mark>, BTreeSet<u64>>);

impl Marks {
    /// A link stands under these from here on; they are what it is to be removed by.
    pub fn add(&mut self, id: u64, marks: BTreeSet<Mark>) -> Box<[Arc<Mark>]> {
        let kept = |mark: Mark| {
            let known = self.0.get_key_value(&mark).map(|(known, _)| known.clone());
            let mark = known.unwrap_or_else(|| Arc::new(mark));
            self.0.entry(mark.clone()).or_default().insert(id);
            mark
        };
        marks.into_iter().map(kept).collect()
    }

    pub fn remove(&mut self, id: u64, marks: &[Arc<Mark>]) {
        for mark in marks {
            if let Some(links) = self.0.get_mut(mark) {
                links.remove(&id);
                if links.is_empty() {
                    self.0.remove(mark);
                }
            }
        }
    }

    pub fn find(&self, mark: &Mark) -> impl Iterator<Item = u64> + '_ {
        self.0.get(mark).into_iter().flatten().copied()
    }

    /// The links that a deny entry touches.
    pub fn touched_by(&self, target: &Target) -> BTreeSet<u64> {
        let marks = match target {
            Target::Key(key) => vec![Mark::Key(*key), Mark::Signer(*key)],
            Target::Issuer(key) => vec![Mark::Signer(*key)],
            Target::Id(id) => vec![Mark::Id(id.to_string())],
            Target::Node(name) => vec![Mark::Node(name.to_string())],
            Target::Allow(_) => Vec::new(),
        };
        marks.iter().flat_map(|mark| self.find(mark)).collect()
    }
}

/// The marks of a link as it is now: of its connection, and of the one that may be about to take its place.
pub fn of(link: &Link) -> BTreeSet<Mark> {
    let mut marks = BTreeSet::new();
    let (local, peer) = link.names();
    marks.extend([local, peer].map(|name: &NodeName| Mark::Node(name.to_string())));
    marks.extend(link.session().map(Mark::Session));
    for proof in [Some(link.proof()), link.proposed()].into_iter().flatten() {
        for evidence in [&proof.peer, &*proof.own] {
            put(&mut marks, evidence);
        }
    }
    marks
}

/// Where the links of one identity stand.
pub fn id(id: &SpiffeId) -> Mark {
    Mark::Id(id.to_string())
}

fn put(marks: &mut BTreeSet<Mark>, evidence: &Evidence) {
    let peer = &evidence.peer;
    marks.insert(Mark::Key(peer.spki_sha256));
    marks.insert(id(&peer.id));
    marks.extend(evidence.signers.iter().copied().map(Mark::Signer));
    marks.extend(peer.node_name().map(|name| Mark::Node(name.to_string())));
}
