//! The live links, and everything that each was decided on.
//!
//! Register first, then decide, then watch: a link stands here before its permission is looked at,
//! so that a change of configuration which happens in between finds it and decides it again.

mod link;
mod marks;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skans_dist::NodeName;
use skans_identity::deny::Target;
use skans_link::{Close, Reason, Session, SessionId};
use tokio::runtime::Handle;

use crate::Error;
use crate::across::Across;
use crate::live::Live;
use crate::metrics::Traffic;
use crate::outcomes::Outcomes;
use crate::proof::Proof;

pub use link::Link;
use marks::{Mark, Marks};

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

/// What a link is registered with.
#[derive(Debug)]
pub struct NewLink {
    /// The node of this host.
    pub local: NodeName,
    /// The node at the other end.
    pub peer: NodeName,
    /// Which end this is.
    pub direction: Direction,
    /// What its connection has proven.
    pub proof: Proof,
    /// What its two nodes are called over there, if this end dialled a node of another cluster.
    pub across: Option<Across>,
    /// The service that it leads to; `None` for the node itself.
    pub service: Option<Arc<str>>,
}

/// All live links of an agent.
#[derive(Debug, Default)]
pub struct Registry {
    inner: Mutex<Inner>,
    next: AtomicU64,
    /// What links that have ended carried.
    retired: Traffic,
    /// What became of connections to services.
    pub services: crate::services::Tally,
    /// How takeovers ended, by direction.
    pub takeovers: Outcomes,
    /// How losses ended, by direction.
    pub resumptions: Outcomes,
    /// Links that were up when a certificate of theirs ran out.
    pub expired: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    links: BTreeMap<u64, Entry>,
    marks: Marks,
    /// When to look at which link, in milliseconds since 1970.
    due: BTreeSet<(u64, u64)>,
}

#[derive(Debug)]
struct Entry {
    link: Arc<Link>,
    /// Under which it stands in the index.
    marks: Box<[Arc<Mark>]>,
    /// Under which it stands in the schedule.
    due: u64,
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
        let gone = self.registry.lock().remove(self.link.id);
        if let Some(link) = gone {
            self.registry.retire(&link);
        }
        self.link.quieted();
    }
}

impl Registered {
    /// The link, to be kept elsewhere as well.
    #[must_use]
    pub const fn link(&self) -> &Arc<Link> {
        &self.link
    }

    /// Bytes flow from here on, moved by this thread. The link can be taken over.
    pub fn start(&self, session: Session, outlives: bool, runtime: Handle) -> &Live {
        let live = self.link.go_live(Live::new(session, outlives, runtime));
        self.registry.refresh(&self.link);
        crate::keeper::watch(&self.registry, &self.link);
        live
    }

    /// A name was given to the end that had none.
    pub fn give(&self, name: &NodeName) {
        self.link.given.get_or_init(|| name.clone());
        self.registry.refresh(&self.link);
    }

    /// The connection that was proposed is in use.
    pub fn adopt(&self) {
        self.registry.adopt(&self.link);
    }

    /// It has no connection; for how long already, to the second.
    pub fn adrift(&self) -> Duration {
        let now = crate::keeper::now().as_secs();
        let since = &self.link.adrift_since;
        let began = match since.load(Relaxed) {
            0 => now,
            began => began,
        };
        since.store(began, Relaxed);
        Duration::from_secs(now.saturating_sub(began))
    }

    /// It has another, or none for ever: how that ended is counted.
    pub fn recovered(&self, outcome: Result<(), &Error>) {
        self.link.adrift_since.store(0, Relaxed);
        let direction = self.link.direction;
        match outcome {
            Ok(()) => {
                self.link.resumed.fetch_add(1, Relaxed);
                self.registry.resumptions.established(direction);
                self.adopt();
                crate::keeper::watch(&self.registry, &self.link);
            }
            Err(error) => self.registry.resumptions.failed(direction, error),
        }
    }
}

impl Registry {
    /// Registers a link.
    ///
    /// # Errors
    /// [`Error::TooMany`] if this peer has `limit` links already.
    pub fn register(self: &Arc<Self>, new: NewLink, limit: usize) -> Result<Registered, Error> {
        let mut inner = self.lock();
        let identity = new.proof.identity();
        let same = inner
            .marks
            .find(&marks::id(&identity.id))
            .filter_map(|id| inner.links.get(&id))
            .filter(|entry| entry.link.service == new.service)
            .filter(|entry| entry.link.proof().is_same_peer(&new.proof))
            .count();
        if same >= limit {
            return Err(Error::TooMany {
                what: match &new.service {
                    None => format!("links with {} for {}", identity.id, new.peer),
                    Some(service) => {
                        format!(
                            "connections to {service} with {} for {}",
                            identity.id, new.peer
                        )
                    }
                },
                limit,
            });
        }
        let id = self.next.fetch_add(1, Relaxed) + 1;
        let link = Arc::new(Link::new(id, crate::keeper::now().as_secs(), new));
        inner.insert(Arc::clone(&link));
        drop(inner);
        Ok(Registered {
            registry: Arc::clone(self),
            link,
        })
    }

    /// Registers a link that another process has had so far, under its own number.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is one of that number.
    pub fn register_again(
        self: &Arc<Self>,
        (id, since): (u64, u64),
        new: NewLink,
    ) -> Result<Registered, Error> {
        let mut inner = self.lock();
        if inner.links.contains_key(&id) {
            return Err(Error::Internal(format!("found link {id} twice")));
        }
        self.next.fetch_max(id, Relaxed);
        let link = Arc::new(Link::new(id, since, new));
        inner.insert(Arc::clone(&link));
        drop(inner);
        Ok(Registered {
            registry: Arc::clone(self),
            link,
        })
    }

    /// The number of the newest link.
    #[must_use]
    pub fn newest(&self) -> u64 {
        self.next.load(Relaxed)
    }

    /// Goes on counting links behind this number.
    pub fn count_from(&self, newest: u64) {
        self.next.fetch_max(newest, Relaxed);
    }

    /// The links as they are now.
    #[must_use]
    pub fn snapshot(&self) -> Vec<Arc<Link>> {
        let inner = self.lock();
        inner
            .links
            .values()
            .map(|entry| Arc::clone(&entry.link))
            .collect()
    }

    /// The links that a deny entry touches, at either end; those that are still being set up, or about to move to another
    /// connection, as well. Put the entry in force first: a link that is registered after this is decided by it.
    #[must_use]
    pub fn touched_by(&self, target: &Target) -> Vec<Arc<Link>> {
        let inner = self.lock();
        let touched = inner.marks.touched_by(target);
        touched.iter().filter_map(|id| inner.get(*id)).collect()
    }

    /// The link with this number.
    #[must_use]
    pub fn by_id(&self, id: u64) -> Option<Arc<Link>> {
        self.lock().get(id)
    }

    /// The running link that a peer opened with this session.
    #[must_use]
    pub fn by_session(&self, session: SessionId) -> Option<Arc<Link>> {
        let inner = self.lock();
        let id = inner.marks.find(&Mark::Session(session)).next()?;
        inner.get(id)
    }

    /// Another connection may take the place of a link's: from here on it counts as one that the link was decided on.
    pub fn propose(&self, link: &Arc<Link>, number: u32, proof: Arc<Proof>) {
        link.propose(number, proof);
        self.refresh(link);
    }

    /// That connection came to nothing.
    pub fn withdraw(&self, link: &Arc<Link>, number: u32) {
        link.withdraw(number);
        self.refresh(link);
    }

    /// That connection is in use.
    pub fn adopt(&self, link: &Arc<Link>) {
        link.adopt();
        self.refresh(link);
    }

    /// Says when a takeover is due, in milliseconds since 1970; `u64::MAX` for never.
    pub fn schedule(&self, link: &Arc<Link>, at: u64) {
        link.takeover_at.store(at, Relaxed);
        self.refresh(link);
    }

    /// Lets the links that `fits` says be re-authenticated, spread over the time given. Those that a peer opened are its to
    /// take over. How many there are.
    pub fn reauthenticate(&self, within: Duration, fits: impl Fn(&Link) -> bool) -> usize {
        let links = self.snapshot();
        self.move_all(links.iter().filter(|link| fits(link)), within)
    }

    /// The same, at once, of links whose peer showed the key with this SHA-256; or, if `ours` is set, this end did.
    pub fn leave(&self, key: &[u8; 32], ours: bool) -> usize {
        let links = self.touched_by(&Target::Key(*key));
        let shows = |link: &&Arc<Link>| {
            let proof = link.proof();
            let own = ours && proof.own.peer.spki_sha256 == *key;
            own || proof.identity().spki_sha256 == *key
        };
        self.move_all(links.iter().filter(shows), Duration::ZERO)
    }

    fn move_all<'a>(&self, links: impl Iterator<Item = &'a Arc<Link>>, within: Duration) -> usize {
        let ours = links.filter(|link| {
            link.direction == Direction::Outbound
                && link.live().is_some_and(Live::may_move)
                && link.still_holds().is_ok()
        });
        let mut count = 0;
        for link in ours {
            link.asked.store(true, Relaxed);
            let at = crate::keeper::now() + within.mul_f64(crate::keeper::chance());
            self.schedule(link, crate::keeper::millis(at));
            count += 1;
        }
        count
    }

    /// Takes the links off the schedule that are to be looked at by `now`, in milliseconds since 1970. Each comes back on it
    /// by the next change.
    #[must_use]
    pub fn due(&self, now: u64) -> Vec<Arc<Link>> {
        let mut inner = self.lock();
        let later = inner.due.split_off(&(now.saturating_add(1), 0));
        let due = std::mem::replace(&mut inner.due, later);
        due.iter().filter_map(|(_, id)| inner.get(*id)).collect()
    }

    /// Ends what is left of a node's former life: links of the same pair under another creation.
    /// To be called once both nodes are proven, or a stranger could end links by a name alone.
    pub fn supersede(&self, newer: &Link) {
        let creation = newer.peer_creation.load(Relaxed);
        for link in self.snapshot() {
            let older = link.peer_creation.load(Relaxed);
            if link.id != newer.id
                && link.service.is_none()
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

    /// Traffic of all links between nodes, past ones included.
    #[must_use]
    pub fn total(&self) -> Traffic {
        let total = Traffic::default();
        // Under the lock, so that a link that ends meanwhile is counted once.
        let inner = self.lock();
        total.add(&self.retired);
        let links = inner.links.values().map(|entry| &entry.link);
        for link in links.filter(|link| link.service.is_none()) {
            total.add(&link.traffic);
        }
        total
    }

    /// How many links `fits` says yes to.
    pub fn count(&self, fits: impl Fn(&Link) -> bool) -> usize {
        let inner = self.lock();
        inner
            .links
            .values()
            .filter(|entry| fits(&entry.link))
            .count()
    }

    /// A link has ended: what it carried is kept. Those to services are counted by service.
    fn retire(&self, link: &Link) {
        match &link.service {
            None => self.retired.add(&link.traffic),
            Some(service) => self.services.carried(
                link.direction,
                service,
                link.traffic.sent.bytes.load(Relaxed),
                link.traffic.received.bytes.load(Relaxed),
            ),
        }
    }

    /// Brings index and schedule in line with what the link says now.
    fn refresh(&self, link: &Arc<Link>) {
        let mut inner = self.lock();
        if inner.remove(link.id).is_some() {
            inner.insert(Arc::clone(link));
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // No code panics while it holds this; if it did, the maps would still be whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn get(&self, id: u64) -> Option<Arc<Link>> {
        self.links.get(&id).map(|entry| Arc::clone(&entry.link))
    }

    fn insert(&mut self, link: Arc<Link>) {
        let marks = self.marks.add(link.id, marks::of(&link));
        let due = link.ends_at().min(link.takeover_at.load(Relaxed));
        self.due.insert((due, link.id));
        self.links.insert(link.id, Entry { link, marks, due });
    }

    fn remove(&mut self, id: u64) -> Option<Arc<Link>> {
        let Entry { link, marks, due } = self.links.remove(&id)?;
        self.marks.remove(id, &marks);
        self.due.remove(&(due, id));
        Some(link)
    }
}

#[cfg(test)]
mod tests;
