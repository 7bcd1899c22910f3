//! One link, as the rest of the agent sees it: whose it is, what it was decided on, and how it is ended.

use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU32, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use skans_dist::NodeName;
use skans_link::{Close, Denials, Reason, SessionId};
use tokio_util::sync::CancellationToken;

use super::{Direction, NewLink};
use crate::Error;
use crate::across::Across;
use crate::live::Live;
use crate::metrics::Traffic;
use crate::proof::Proof;
use crate::setup::UNNAMED;
use crate::traces::Steps;

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
    /// The service that it leads to; `None` for the node itself.
    pub service: Option<Arc<str>>,
    /// Whether its other end is of another trust domain.
    pub foreign: bool,
    /// What its two nodes are called over there, if this end dialled a node of another cluster.
    pub across: Option<Across>,
    /// When it was registered, in seconds since 1970.
    pub since: u64,
    /// Whether each node lists the other in `nodes()`.
    pub visible: AtomicBool,
    /// Set once both nodes are proven.
    pub up: AtomicBool,
    /// The creation of the peer's node; 0 while unknown.
    pub peer_creation: AtomicU32,
    /// The capabilities that both nodes have agreed on ([`skans_dist::Flags`]).
    pub flags: AtomicU64,
    /// Bytes and messages.
    pub traffic: Traffic,
    /// Bytes handed to TLS and not yet acknowledged by the other agent.
    pub unacknowledged: AtomicU64,
    /// How often it has moved to a fresh connection.
    pub takeovers: AtomicU64,
    /// How often it has gone on after a loss.
    pub resumed: AtomicU64,
    /// Since when it has no connection, in seconds since 1970; 0 if it has one.
    pub adrift_since: AtomicU64,
    /// The smaller `net_ticktime` of its two nodes, in seconds; 0 if neither is known.
    pub tick_seconds: AtomicU16,
    /// When the next takeover is due, in milliseconds since 1970; `u64::MAX` for never.
    pub(crate) takeover_at: AtomicU64,
    /// Somebody asked for that takeover: it is made even if our certificate is still the same.
    pub(crate) asked: AtomicBool,
    /// How its set-up went.
    pub steps: Steps,
    /// Set once it is known: with the HELLO.
    session: OnceLock<SessionId>,
    /// The name that a node without one was given.
    pub(super) given: OnceLock<NodeName>,
    proof: ArcSwap<Proof>,
    /// What a connection that may take its place has proven, and the number of the attempt.
    proposed: Mutex<Option<(u32, Arc<Proof>)>>,
    live: OnceLock<Live>,
    cancelled: CancellationToken,
    end: OnceLock<Close>,
    silence: OnceLock<Duration>,
    quiet: CancellationToken,
}

impl Link {
    pub(super) fn new(id: u64, since: u64, new: NewLink) -> Self {
        let [own, peer] = [&new.proof.own.peer, new.proof.identity()];
        let foreign = own.id.trust_domain() != peer.id.trust_domain();
        Self {
            foreign,
            id,
            local: new.local,
            peer: new.peer,
            direction: new.direction,
            service: new.service,
            across: new.across,
            since,
            visible: AtomicBool::new(false),
            up: AtomicBool::new(false),
            peer_creation: AtomicU32::new(0),
            flags: AtomicU64::new(0),
            traffic: Traffic::default(),
            unacknowledged: AtomicU64::new(0),
            takeovers: AtomicU64::new(0),
            resumed: AtomicU64::new(0),
            adrift_since: AtomicU64::new(0),
            tick_seconds: AtomicU16::new(0),
            takeover_at: AtomicU64::new(u64::MAX),
            asked: AtomicBool::new(false),
            steps: Steps::default(),
            session: OnceLock::new(),
            given: OnceLock::new(),
            proof: ArcSwap::from_pointee(new.proof),
            proposed: Mutex::default(),
            live: OnceLock::new(),
            cancelled: CancellationToken::new(),
            end: OnceLock::new(),
            silence: OnceLock::new(),
            quiet: CancellationToken::new(),
        }
    }

    /// The two names as they are now, the local one first: a given name in the place of `?@host`.
    #[must_use]
    pub fn names(&self) -> (&NodeName, &NodeName) {
        let now = |name| match self.given.get() {
            Some(given) if NodeName::alive(name) == UNNAMED => given,
            _ => name,
        };
        (now(&self.local), now(&self.peer))
    }

    /// The two names as both ends say them to each other, the local one first.
    #[must_use]
    pub fn said(&self) -> (&NodeName, &NodeName) {
        match &self.across {
            Some(across) => (&across.own, &across.there),
            None => self.names(),
        }
    }

    /// Its session, the same at both ends; zeros before there is one.
    #[must_use]
    pub fn correlation(&self) -> SessionId {
        let live = || Some(self.live()?.session().id());
        let known = self.session.get().copied();
        known.or_else(live).unwrap_or_default()
    }

    /// Its session is this one.
    pub fn begin(&self, session: SessionId) {
        self.session.get_or_init(|| session);
    }

    /// The name that was given to the end that had none.
    #[must_use]
    pub fn given_name(&self) -> Option<&NodeName> {
        self.given.get()
    }

    /// What its present connection has proven.
    #[must_use]
    pub fn proof(&self) -> Arc<Proof> {
        self.proof.load_full()
    }

    /// What a connection has proven that may be about to take its place.
    #[must_use]
    pub fn proposed(&self) -> Option<Arc<Proof>> {
        self.proposals()
            .as_ref()
            .map(|(_, proof)| Arc::clone(proof))
    }

    pub(super) fn propose(&self, number: u32, proof: Arc<Proof>) {
        let mut proposed = self.proposals();
        if proposed.as_ref().is_none_or(|(newest, _)| *newest < number) {
            *proposed = Some((number, proof));
        }
    }

    pub(super) fn withdraw(&self, number: u32) {
        let mut proposed = self.proposals();
        if proposed
            .as_ref()
            .is_some_and(|(newest, _)| *newest == number)
        {
            *proposed = None;
        }
    }

    /// The proposed connection is the link's own from now on.
    pub(super) fn adopt(&self) {
        if let Some((_, proof)) = self.proposals().take() {
            self.proof.store(proof);
            self.takeovers.fetch_add(1, Relaxed);
        }
    }

    /// What the two nodes say of their ticks, in seconds; 0 is unknown.
    pub fn ticks(&self, one: u16, other: u16) {
        let known = [one, other].into_iter().filter(|&seconds| seconds > 0);
        self.tick_seconds
            .store(known.min().unwrap_or_default(), Relaxed);
    }

    /// What can be done with it while bytes flow; `None` before.
    #[must_use]
    pub fn live(&self) -> Option<&Live> {
        self.live.get()
    }

    pub(crate) fn go_live(&self, live: Live) -> &Live {
        self.live.get_or_init(|| live)
    }

    /// The session, if the peer opened it.
    pub(super) fn session(&self) -> Option<SessionId> {
        let live = self.live.get()?;
        (self.direction == Direction::Inbound).then(|| live.session().id())
    }

    /// When it ends, in milliseconds since 1970: with the last second of the first certificate.
    #[must_use]
    pub fn ends_at(&self) -> u64 {
        let last = self.proof.load().not_after();
        last.saturating_add(1).saturating_mul(1000)
    }

    /// Ends the link, with a reason that both ends get to see. The first one counts.
    pub fn end(&self, close: Close) {
        self.end.get_or_init(|| close);
        self.cancelled.cancel();
    }

    /// Ends the link in two steps: nothing passes from now on, and after `silence` it is closed. Wait for
    /// [`Link::quiet`] to know that nothing passes any more.
    ///
    /// For a node that is shut out while others still let it in: `global` there would hear from it
    /// that it lost a peer, and take the peer for the culprit. While all agents are told, nobody
    /// hears anything; the closes come when nobody listens to it any more.
    ///
    /// A connection to a service is closed at once: nobody takes others for the culprit.
    pub fn mute(&self, close: Close, silence: Duration) {
        self.silence.get_or_init(|| match self.service {
            None => silence,
            Some(_) => Duration::ZERO,
        });
        self.end(close);
    }

    /// How long the link stays open without letting anything through before it is closed; `None` if it is not mute.
    #[must_use]
    pub fn silence(&self) -> Option<Duration> {
        self.silence.get().copied()
    }

    /// Returns once the link forwards nothing more in either direction, and never will: it was ended, and the task that
    /// moved its bytes has let go of both sockets. What the kernel had taken before is on its way.
    pub async fn quiet(&self) {
        self.quiet.cancelled().await;
    }

    pub(crate) fn quieted(&self) {
        self.quiet.cancel();
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

    /// Sends the newest head, when it is its turn; one that waits already is replaced.
    pub fn tell(&self, head: Arc<[u8]>) {
        if let Some(live) = self.live() {
            live.tell(head);
        }
    }

    /// Answers the peer's head, or its entries: wants the deny stream from `seq` on; 0 for nothing.
    pub fn want(&self, seq: u64) {
        if let Some(live) = self.live() {
            live.want(seq);
        }
    }

    /// Answers what the peer wants.
    pub fn deny(&self, entries: Denials) {
        if let Some(live) = self.live() {
            live.deny(entries);
        }
    }

    fn proposals(&self) -> std::sync::MutexGuard<'_, Option<(u32, Arc<Proof>)>> {
        self.proposed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
