//! The live links, and everything that each was decided on.
//!
//! Register first, then decide, then watch: a link stands here before its permission is looked at,
//! so that a change of configuration which happens in between finds it and decides it again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skans_dist::NodeName;
use skans_identity::peer::PeerIdentity;
use skans_link::{Close, Reason};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::Traffic;
use crate::setup::UNNAMED;

/// Which end of the link this agent is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Direction {
    /// The peer's node called.
    Inbound,
    /// The node of this host called.
    Outbound,
}

impl Direction {
    /// A stable word for metrics and output.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// What TLS agreed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// `TLSv1.3`; nothing else is spoken.
    pub version: &'static str,
    /// The cipher suite, by its name in RFC 8446.
    pub suite: String,
    /// The key exchange group.
    pub group: String,
}

/// One link between a node of this host and a peer.
#[derive(Debug)]
pub struct Link {
    /// Counts up from 1 for the life of the agent.
    pub id: u64,
    /// The node of this host.
    pub local: NodeName,
    /// The node at the other end. One that is being given its name stands under its host alone,
    /// as `?@host`, until it has one.
    pub peer: NodeName,
    /// Which end this is.
    pub direction: Direction,
    /// Who the peer's certificate says it is.
    pub identity: PeerIdentity,
    /// The address of the peer's agent.
    pub address: SocketAddr,
    /// What TLS agreed on.
    pub tls: TlsFacts,
    /// When it was registered, in seconds since 1970.
    pub since: u64,
    /// Whether each node lists the other in `nodes()`.
    pub visible: AtomicBool,
    /// Set once both nodes are proven.
    pub up: AtomicBool,
    /// The creation of the peer's node; 0 while unknown.
    pub peer_creation: AtomicU32,
    /// Bytes and messages.
    pub traffic: Traffic,
    /// Bytes handed to TLS and not yet acknowledged by the other agent.
    pub unacknowledged: AtomicU64,
    /// The name that a node without one was given.
    pub given: OnceLock<NodeName>,
    cancelled: CancellationToken,
    end: OnceLock<Close>,
    silence: OnceLock<Duration>,
}

impl Link {
    /// The two names as they are now, the local one first: a given name in the place of `?@host`.
    #[must_use]
    pub fn names(&self) -> (&NodeName, &NodeName) {
        let now = |name| match self.given.get() {
            Some(given) if NodeName::alive(name) == UNNAMED => given,
            _ => name,
        };
        (now(&self.local), now(&self.peer))
    }

    /// Ends the link, with a reason that both ends get to see. The first one counts.
    pub fn end(&self, close: Close) {
        self.end.get_or_init(|| close);
        self.cancelled.cancel();
    }

    /// Ends the link in two steps: nothing passes from now on, and after `silence` it is closed.
    ///
    /// For a node that is shut out while others still let it in: `global` there would hear from it
    /// that it lost a peer, and take the peer for the culprit. While all agents are told, nobody
    /// hears anything; the closes come when nobody listens to it any more.
    pub fn mute(&self, close: Close, silence: Duration) {
        self.silence.get_or_init(|| silence);
        self.end(close);
    }

    /// How long the link stays open without letting anything through before it is closed.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.silence.get().copied()
    }

    /// Whether nobody has ended the link so far. For set-ups, which do not wait for it.
    ///
    /// # Errors
    /// [`Error::Ended`] with the reason.
    pub fn still_holds(&self) -> Result<(), Error> {
        match self.end.get() {
            None => Ok(()),
            Some(close) => Err(Error::Ended(close.clone())),
        }
    }

    /// Returns once [`Link::end`] was called, with its reason.
    pub async fn ended(&self) -> Close {
        self.cancelled.cancelled().await;
        self.end
            .get()
            .cloned()
            .unwrap_or_else(|| Close::new(Reason::Internal, "ended without a reason"))
    }
}

/// What a link is registered with.
#[derive(Debug)]
pub struct NewLink {
    /// The node of this host.
    pub local: NodeName,
    /// The node at the other end.
    pub peer: NodeName,
    /// Which end this is.
    pub direction: Direction,
    /// Who the peer's certificate says it is.
    pub identity: PeerIdentity,
    /// The address of the peer's agent.
    pub address: SocketAddr,
    /// What TLS agreed on.
    pub tls: TlsFacts,
}

/// All live links of an agent.
#[derive(Debug, Default)]
pub struct Registry {
    links: Mutex<BTreeMap<u64, Arc<Link>>>,
    next: AtomicU64,
    /// What links that have ended carried.
    retired: Traffic,
}

/// Keeps a link registered. Dropping it is the only way to say that the link is over.
#[derive(Debug)]
pub struct Registered {
    registry: Arc<Registry>,
    link: Arc<Link>,
}

impl std::ops::Deref for Registered {
    type Target = Link;

    fn deref(&self) -> &Link {
        &self.link
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let gone = self.registry.lock().remove(&self.link.id);
        if let Some(link) = gone {
            self.registry.retired.add(&link.traffic);
        }
    }
}

impl Registry {
    /// Registers a link.
    ///
    /// # Errors
    /// [`Error::TooMany`] if this peer has `limit` links already.
    pub fn register(self: &Arc<Self>, new: NewLink, limit: usize) -> Result<Registered, Error> {
        let mut links = self.lock();
        let same = links
            .values()
            .filter(|link| {
                // The host too: nodes of one workload are called alike on all of them.
                link.identity.id == new.identity.id && link.identity.host == new.identity.host
            })
            .count();
        if same >= limit {
            return Err(Error::TooMany {
                what: format!("links with {} for {}", new.identity.id, new.peer),
                limit,
            });
        }
        let id = self.next.fetch_add(1, Relaxed) + 1;
        let link = Arc::new(Link {
            id,
            local: new.local,
            peer: new.peer,
            direction: new.direction,
            identity: new.identity,
            address: new.address,
            tls: new.tls,
            since: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .map_or(0, |d| d.as_secs()),
            visible: AtomicBool::new(false),
            up: AtomicBool::new(false),
            peer_creation: AtomicU32::new(0),
            traffic: Traffic::default(),
            unacknowledged: AtomicU64::new(0),
            given: OnceLock::new(),
            cancelled: CancellationToken::new(),
            end: OnceLock::new(),
            silence: OnceLock::new(),
        });
        links.insert(id, Arc::clone(&link));
        drop(links);
        Ok(Registered {
            registry: Arc::clone(self),
            link,
        })
    }

    /// The links as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Link>> {
        self.lock().values().cloned().collect()
    }

    /// Ends what is left of a node's former life: links of the same pair under another creation.
    /// To be called once both nodes are proven, or a stranger could end links by a name alone.
    pub fn supersede(&self, newer: &Link) {
        let creation = newer.peer_creation.load(Relaxed);
        for link in self.snapshot() {
            let older = link.peer_creation.load(Relaxed);
            if link.id != newer.id
                && link.up.load(Relaxed)
                && link.names() == newer.names()
                && older != creation
            {
                link.end(Close::new(
                    Reason::Superseded,
                    format!(
                        "{} restarted: creation {older} is past, {creation} is here",
                        link.names().1
                    ),
                ));
            }
        }
    }

    /// Traffic of all links, past ones included.
    #[must_use]
    pub fn total(&self) -> Traffic {
        let total = Traffic::default();
        // Under the lock, so that a link that ends meanwhile is counted once.
        let links = self.lock();
        total.add(&self.retired);
        for link in links.values() {
            total.add(&link.traffic);
        }
        total
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Arc<Link>>> {
        // No code panics while it holds this; if it did, the map would still be whole.
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
