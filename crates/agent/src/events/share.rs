//! What one peer has room for: its denials, counted by action and reason, and its connections. Bounded whatever it does.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use siphasher::sip::SipHasher13;
use skans_link::SessionId;

use crate::events::observed::Observed;
use crate::events::ocsf::{self, Connection};
use crate::events::spool::{Room, Spool};
use crate::keeper;
use crate::registry::Direction;

/// Different resources that one event shows. Eight are read; an attack that tries names is seen by them.
const MAX_RESOURCES: usize = 8;
/// Different links that one event names. A node has one with a peer; services have one for each connection.
const MAX_SESSIONS: usize = 8;
/// Kinds of denials of one peer in a window: more than the actions that an honest one is ever denied. What is beyond is
/// counted in one event more.
const MAX_KINDS: usize = 32;
/// Connections of one peer that are told one by one in a window. A node that is restarted has two.
const MAX_CONNECTIONS: u32 = 16;

/// The action of what no policy refused, and failed all the same.
pub const FAILED: &str = "fail";

/// The action and the reason of what is beyond [`MAX_KINDS`].
const OTHER: &str = "other";

/// Very much of what a peer sent was refused within one window.
#[derive(Clone, Debug)]
pub struct Burst {
    /// The node of this host.
    pub local: Party,
    /// Who sent it.
    pub peer: Party,
    /// How many messages and connections.
    pub count: u64,
}

/// One end of a link.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Party {
    /// Its SPIFFE ID.
    pub id: Arc<str>,
    /// Its node name.
    pub node: Arc<str>,
}

impl Party {
    /// All that share its identity: of the short-lived nodes of a host, any.
    pub(super) fn of_its_kind(&self) -> Self {
        let short_lived = self.id.rsplit('/').next() == Some(skans_identity::id::CLI);
        match self.node.rsplit_once('@') {
            Some((_, host)) if short_lived => Self {
                id: Arc::clone(&self.id),
                node: format!("{}@{host}", skans_identity::id::CLI).into(),
            },
            _ => self.clone(),
        }
    }
}

/// What was to be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Subject<'a> {
    /// The receiving node.
    Node,
    /// A process with this name.
    Process(&'a str),
    /// A function.
    Function(&'a str, &'a str, u32),
    /// A service of the node.
    Service(&'a str),
}

/// One message, or one connection, that was refused, or would be by a set that is tried out.
#[derive(Clone, Copy, Debug)]
pub struct Denial<'a> {
    /// Inbound: the peer sent it. Outbound: the node of this host did.
    pub direction: Direction,
    /// The action of the policy, such as `call`.
    pub action: &'static str,
    /// Why, as in metrics.
    pub reason: &'static str,
    /// It passed all the same.
    pub dry_run: bool,
    /// What was to be used.
    pub resource: Subject<'a>,
    /// A fun was in it, or may have been.
    pub carries_function: bool,
    /// The name was found for a bare pid.
    pub via_pid: bool,
    /// Epoch and number of the policy set.
    pub version: (u64, u64),
    /// The link that it was refused on, by the number that all have for it who carry it; zeros where there is none yet.
    pub session: SessionId,
}

/// The room of one peer of one node.
#[derive(Debug)]
pub struct Share {
    local: Party,
    peer: Party,
    spool: Arc<Spool>,
    /// Which part of the room on disk its events may use.
    room: Room,
    observed: Arc<Observed>,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    since: Option<Instant>,
    kinds: BTreeMap<Kind, Group>,
    connections: u32,
    /// Connections beyond those that are told one by one: opened, closed.
    more: (u64, u64),
}

/// What is told in one event.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Kind {
    pub inbound: bool,
    pub action: &'static str,
    pub reason: &'static str,
    pub dry_run: bool,
    pub version: (u64, u64),
}

/// Its count, and what there is to show.
#[derive(Debug, Default)]
pub(super) struct Group {
    /// Milliseconds since 1970.
    pub first: u64,
    pub last: u64,
    pub count: u64,
    pub resources: Vec<Shown>,
    /// Of the count, what concerned other resources than those shown.
    pub others: u64,
    /// The links that these were refused on, as many as there is room to show.
    pub sessions: Vec<SessionId>,
    /// There were more.
    pub more_sessions: bool,
}

impl Group {
    fn on(&mut self, session: SessionId) {
        if session == SessionId::default() || self.sessions.contains(&session) {
            return;
        }
        if self.sessions.len() < MAX_SESSIONS {
            self.sessions.push(session);
        } else {
            self.more_sessions = true;
        }
    }
}

/// A resource, and how often it was wanted.
#[derive(Debug)]
pub(super) struct Shown {
    pub resource: Owned,
    pub carries_function: bool,
    pub via_pid: bool,
    pub count: u64,
}

impl Subject<'_> {
    /// How long its names are, in bytes.
    pub(super) const fn length(&self) -> usize {
        match self {
            Self::Node => 0,
            Self::Process(name) | Self::Service(name) => name.len(),
            Self::Function(module, function, _) => module.len() + function.len(),
        }
    }
}

/// [`Subject`], kept.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Owned {
    Node,
    Process(String),
    Function(String, String, u32),
    Service(String),
}

impl Owned {
    fn is(&self, other: Subject<'_>) -> bool {
        match (self, other) {
            (Self::Node, Subject::Node) => true,
            (Self::Process(name), Subject::Process(other))
            | (Self::Service(name), Subject::Service(other)) => name == other,
            (Self::Function(module, function, arity), Subject::Function(m, f, a)) => {
                module == m && function == f && *arity == a
            }
            _ => false,
        }
    }
}

impl From<Subject<'_>> for Owned {
    fn from(subject: Subject<'_>) -> Self {
        match subject {
            Subject::Node => Self::Node,
            Subject::Process(name) => Self::Process(name.to_owned()),
            Subject::Service(name) => Self::Service(name.to_owned()),
            Subject::Function(module, function, arity) => {
                Self::Function(module.to_owned(), function.to_owned(), arity)
            }
        }
    }
}

impl Share {
    pub(super) fn new(
        local: Party,
        peer: Party,
        spool: Arc<Spool>,
        observed: Arc<Observed>,
    ) -> Self {
        Self {
            room: Room::Share(number_of(&local, &peer)),
            local,
            peer,
            spool,
            observed,
            inner: Mutex::default(),
        }
    }

    /// What goes between the two.
    #[must_use]
    pub const fn observed(&self) -> &Arc<Observed> {
        &self.observed
    }

    /// Counts a denial; it is told when its window ends.
    pub fn denied(&self, denial: &Denial<'_>) {
        let now = keeper::millis(keeper::now());
        let mut inner = self.inner();
        inner.since.get_or_insert_with(Instant::now);
        let mut kind = Kind {
            inbound: denial.direction == Direction::Inbound,
            action: denial.action,
            reason: denial.reason,
            dry_run: denial.dry_run,
            version: denial.version,
        };
        let mut resource = denial.resource;
        if inner.kinds.len() >= MAX_KINDS && !inner.kinds.contains_key(&kind) {
            (kind.action, kind.reason, resource) = (OTHER, OTHER, Subject::Node);
            (kind.version, kind.dry_run, kind.inbound) = ((0, 0), false, true);
        }
        let group = inner.kinds.entry(kind).or_insert_with(|| Group {
            first: now,
            ..Group::default()
        });
        group.last = now;
        group.count += 1;
        group.on(denial.session);
        let flags = (denial.carries_function, denial.via_pid);
        let known = group.resources.iter_mut().find(|shown| {
            (shown.carries_function, shown.via_pid) == flags && shown.resource.is(resource)
        });
        if let Some(shown) = known {
            shown.count += 1;
        } else if group.resources.len() < MAX_RESOURCES {
            group.resources.push(Shown {
                resource: resource.into(),
                carries_function: flags.0,
                via_pid: flags.1,
                count: 1,
            });
        } else {
            group.others += 1;
        }
    }

    /// A link came up.
    pub fn opened(&self, what: Connection<'_>, direction: Direction, version: (u64, u64)) {
        if self.has_room(|more| more.0 += 1) {
            let event = ocsf::opened((&self.local, &self.peer), what, direction, version);
            self.spool.put(event, self.room);
        }
    }

    /// A link ended; `reason` is a label of ours, never what the peer said.
    pub fn closed(
        &self,
        connection: Connection<'_>,
        direction: Direction,
        reason: &'static str,
        bytes: (u64, u64),
        version: (u64, u64),
    ) {
        if self.has_room(|more| more.1 += 1) {
            let what = ocsf::Closed {
                connection,
                direction,
                reason,
                bytes,
            };
            let event = ocsf::closed(&self.local, &self.peer, &what, version);
            self.spool.put(event, self.room);
        }
    }

    fn has_room(&self, count: impl FnOnce(&mut (u64, u64))) -> bool {
        let mut inner = self.inner();
        inner.since.get_or_insert_with(Instant::now);
        inner.connections = inner.connections.saturating_add(1);
        let room = inner.connections <= MAX_CONNECTIONS;
        if !room {
            count(&mut inner.more);
        }
        room
    }

    /// Tells what was counted, if the window is over; gives how much of it was the peer's, and was refused by a policy.
    pub(super) fn tell(&self, window: Duration) -> u64 {
        let over = {
            let mut inner = self.inner();
            match inner.since {
                Some(since) if since.elapsed() >= window => std::mem::take(&mut *inner),
                _ => return 0,
            }
        };
        let mut refused = 0;
        for (kind, group) in &over.kinds {
            let (from, to) = if kind.inbound {
                (&self.peer, &self.local)
            } else {
                (&self.local, &self.peer)
            };
            let event = match kind.action {
                FAILED => ocsf::failed(from, to, kind, group),
                // What is beyond the kinds may have passed.
                _ if kind.inbound && !kind.dry_run && kind.action != OTHER => {
                    refused += group.count;
                    ocsf::denied(from, to, kind, group)
                }
                _ => ocsf::denied(from, to, kind, group),
            };
            self.spool.put(event, self.room);
        }
        if over.more != (0, 0) {
            let event = ocsf::more_connections(&self.local, &self.peer, over.more);
            self.spool.put(event, self.room);
        }
        refused
    }

    /// So much of it, by this peer of this node.
    pub(super) fn burst(&self, count: u64) -> Burst {
        Burst {
            local: self.local.clone(),
            peer: self.peer.clone(),
            count,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.inner().since.is_none()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same in the next process. Never 0, which is nobody.
pub(super) fn number_of(local: &Party, peer: &Party) -> u64 {
    let mut hasher = SipHasher13::new();
    for text in [&local.id, &local.node, &peer.id, &peer.node] {
        hasher.write(text.as_bytes());
        hasher.write_u8(0xff);
    }
    hasher.finish() | 1
}
