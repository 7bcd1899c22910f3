//! Which certificates this agent's peers showed, from where and on which links: each is reported once for each address, so that
//! one that was never issued is noticed, and one whose key is in two places can be.

use std::collections::{HashMap, HashSet, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use aws_lc_rs::digest::{Context, SHA256};
use skans_api::v1;
use skans_identity::peer::PeerIdentity;
use skans_link::SessionId;
use tokio::sync::Notify;

use super::{Control, own_links};

/// How many are remembered as reported. A peer renews twice an hour or so, and a mesh of a thousand nodes is large; what
/// falls out is reported again, which does no harm.
const REMEMBERED: usize = 16 * 1024;
/// Addresses at which one certificate is reported. A peer has one, or those of the address translation before it; who has a
/// whole network to himself must not push out what others showed.
const ADDRESSES: usize = 16;
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

/// One to be reported.
#[derive(Clone, Debug)]
pub struct Seen {
    leaf: Vec<u8>,
    link: Option<(SessionId, IpAddr)>,
    since: Instant,
}

#[derive(Debug, Default)]
struct Inner {
    known: HashSet<[u8; 32]>,
    /// At how many addresses a certificate is known.
    addresses: HashMap<[u8; 32], usize>,
    /// The certificate, and what stands for it at its address.
    order: VecDeque<([u8; 32], [u8; 32])>,
    waiting: VecDeque<Seen>,
}

impl Observed {
    /// A peer showed this leaf (DER), on a link with this session and from this address; `None` if no link came of it, or the peer
    /// is of another trust domain, and the address a gateway's.
    pub fn saw(&self, leaf: &[u8], link: Option<(SessionId, IpAddr)>) {
        let link = link.map(|(session, address)| (session, address.to_canonical()));
        let hash = sha256(&[leaf]);
        let at = match link.map(|(_, address)| address) {
            None => hash,
            Some(IpAddr::V4(address)) => sha256(&[&hash, &address.octets()]),
            Some(IpAddr::V6(address)) => sha256(&[&hash, &address.octets()]),
        };
        let mut inner = self.lock();
        let count = inner.addresses.get(&hash).copied().unwrap_or_default();
        if inner.known.contains(&at) || count >= ADDRESSES {
            return;
        }
        inner.known.insert(at);
        inner.addresses.insert(hash, count + 1);
        inner.order.push_back((hash, at));
        if inner.order.len() > REMEMBERED
            && let Some((hash, oldest)) = inner.order.pop_front()
        {
            inner.forget(&hash, &oldest);
        }
        if inner.waiting.len() >= WAITING {
            inner.waiting.pop_front();
        }
        inner.waiting.push_back(Seen {
            leaf: leaf.to_vec(),
            link,
            since: Instant::now(),
        });
        drop(inner);
        self.some.notify_one();
    }

    /// Up to [`BATCH`] that are to be reported.
    #[must_use]
    pub fn take(&self) -> Vec<Seen> {
        let mut inner = self.lock();
        let count = inner.waiting.len().min(BATCH);
        inner.waiting.drain(..count).collect()
    }

    /// They could not be reported: next time.
    pub fn put_back(&self, seen: Vec<Seen>) {
        let mut inner = self.lock();
        for one in seen.into_iter().rev() {
            if inner.waiting.len() < WAITING {
                inner.waiting.push_front(one);
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget(&mut self, hash: &[u8; 32], at: &[u8; 32]) {
        self.known.remove(at);
        if let Some(count) = self.addresses.get_mut(hash) {
            *count -= 1;
            if *count == 0 {
                self.addresses.remove(hash);
            }
        }
    }
}

/// What is said of them.
#[must_use]
pub fn report(seen: &[Seen]) -> v1::Observed {
    v1::Observed {
        leaves: seen.iter().map(|one| one.leaf.clone()).collect(),
        shown: seen.iter().map(shown).collect(),
    }
}

fn shown(seen: &Seen) -> v1::Shown {
    let Some((session, address)) = &seen.link else {
        return v1::Shown::default();
    };
    v1::Shown {
        session_sha256: own_links::named(session).to_vec(),
        address: match address {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets().to_vec(),
        },
        seconds_ago: u32::try_from(seen.since.elapsed().as_secs()).unwrap_or(u32::MAX),
    }
}

/// A peer's certificate from the end of TLS until it is known on which link it was shown. Dropped before, it is reported all the
/// same, without a link: what was never issued must not go unnoticed because its holder says nothing more.
#[derive(Debug)]
pub struct Sighting {
    control: Option<Arc<Control>>,
    leaf: Vec<u8>,
}

impl Sighting {
    /// Of this leaf (DER). Without a control plane nobody wants to know.
    #[must_use]
    pub fn new(control: Option<&Arc<Control>>, leaf: Option<&[u8]>) -> Self {
        let control = control.filter(|_| leaf.is_some()).cloned();
        Self {
            leaf: leaf
                .filter(|_| control.is_some())
                .unwrap_or_default()
                .to_vec(),
            control,
        }
    }

    /// It is that of this session. From here on whoever has the certificate may be asked for it: so not before it is known that it
    /// has heard of the session.
    pub fn on(mut self, session: SessionId, peer: &PeerIdentity, address: SocketAddr) {
        if let Some(control) = self.control.take() {
            let ours = *peer.id.trust_domain() == control.place.trust_domain;
            let link = ours.then(|| (session, address.ip()));
            if ours {
                control.suspects.remember(&self.leaf, peer);
            }
            control.observed.saw(&self.leaf, link);
        }
    }
}

impl Drop for Sighting {
    fn drop(&mut self) {
        if let Some(control) = self.control.take() {
            control.observed.saw(&self.leaf, None);
        }
    }
}

fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

#[cfg(test)]
mod tests;
