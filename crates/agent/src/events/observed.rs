//! What goes between two nodes, whether it is permitted or a dry run lets it pass: each different request once, and again with a
//! count while it goes on. It is what a policy is learned from. Bounded by the pair: who invents names spends its own room.
//!
//! A request is noted where it is decided, not where it is remembered, so that messages cost what they cost without. So that what
//! goes on is noted again, links forget what they remember at each turn ([`Observed::turn`]).

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::events::ocsf;
use crate::events::share::{Owned, Party, Subject, number_of};
use crate::events::spool::{Room, Spool};
use crate::keeper;
use crate::registry::Direction;

/// Different requests between two nodes that are told within [`PERIOD`]; the rest is counted. RabbitMQ's nodes have some 200,
/// each with each; at most 1 MiB a pair.
const MOST: usize = 1024;
/// After which there is room again.
const PERIOD: Duration = Duration::from_secs(3600);
/// How long what was told is only counted.
const AGAIN: Duration = Duration::from_secs(600);
/// Requests in one event: some 10 KiB with ordinary names.
const IN_ONE: usize = 32;
/// Longest names of a request in bytes, together. What is longer is cut in events, and cannot be learned from.
const LONGEST: usize = 512;

/// A request that passes.
#[derive(Clone, Copy, Debug)]
pub struct Observation<'a> {
    /// Inbound: the peer sent it.
    pub direction: Direction,
    /// The action of the policy, such as `call`.
    pub action: &'static str,
    /// It passes in a dry run only.
    pub would_deny: bool,
    /// A policy forbids it.
    pub forbidden: bool,
    /// What is to be used.
    pub resource: Subject<'a>,
    /// A fun was in it, or may have been.
    pub carries_function: bool,
    /// The name was found for a bare pid.
    pub via_pid: bool,
    /// Epoch and number of the policy set.
    pub version: (u64, u64),
}

/// What goes between two nodes. The short-lived nodes of a host are one.
#[derive(Debug)]
pub struct Observed {
    local: Party,
    peer: Party,
    spool: Arc<Spool>,
    /// Also where nothing is tried out; one for all pairs.
    always: Arc<AtomicBool>,
    turn: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    began: Option<Instant>,
    turned: Option<Instant>,
    noted: BTreeMap<Kind, BTreeMap<Key, Noted>>,
    different: usize,
    /// Requests for which there was no room: sent, received.
    more: [u64; 2],
}

/// What is told in one event.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Kind {
    pub inbound: bool,
    pub action: &'static str,
    pub would_deny: bool,
    pub version: (u64, u64),
}

/// One of the requests in it.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) struct Key {
    pub resource: Owned,
    pub carries_function: bool,
    pub via_pid: bool,
    pub forbidden: bool,
}

/// How often, and when: milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Noted {
    pub count: u64,
    pub first: u64,
    pub last: u64,
    told: Option<Instant>,
}

/// The action of what there was no room for.
pub(super) const OTHER: &str = "other";

impl Observed {
    pub(super) fn new(
        local: &Party,
        peer: &Party,
        spool: Arc<Spool>,
        always: Arc<AtomicBool>,
    ) -> Self {
        Self {
            local: local.clone(),
            peer: peer.clone(),
            spool,
            always,
            turn: AtomicU64::new(0),
            inner: Mutex::default(),
        }
    }

    /// Whether what passes is noted, also where nothing is tried out.
    #[must_use]
    pub fn always(&self) -> bool {
        self.always.load(Relaxed)
    }

    /// Another number means: what was remembered is to be decided, and so noted, again.
    #[must_use]
    pub fn turn(&self) -> u64 {
        self.turn.load(Relaxed)
    }

    /// Has everything decided again.
    pub(super) fn turn_over(&self) {
        self.turn.fetch_add(1, Relaxed);
    }

    /// Takes note of a request.
    pub fn note(&self, seen: &Observation<'_>) {
        let now = keeper::millis(keeper::now());
        let mut inner = self.inner();
        let inner = &mut *inner;
        inner.began.get_or_insert_with(Instant::now);
        inner.turned.get_or_insert_with(Instant::now);
        let kind = Kind {
            inbound: seen.direction == Direction::Inbound,
            action: seen.action,
            would_deny: seen.would_deny,
            version: seen.version,
        };
        let room = inner.different < MOST && seen.resource.length() <= LONGEST;
        let key = Key {
            resource: seen.resource.into(),
            carries_function: seen.carries_function,
            via_pid: seen.via_pid,
            forbidden: seen.forbidden,
        };
        let known = inner.noted.get_mut(&kind).and_then(|all| all.get_mut(&key));
        if let Some(noted) = known {
            if noted.count == 0 {
                noted.first = now;
            }
            noted.count += 1;
            noted.last = now;
        } else if room {
            let noted = Noted {
                count: 1,
                first: now,
                last: now,
                told: None,
            };
            inner.noted.entry(kind).or_default().insert(key, noted);
            inner.different += 1;
        } else {
            let [sent, received] = &mut inner.more;
            *(if kind.inbound { received } else { sent }) += 1;
        }
    }

    /// Tells what is new, and what has gone on for long enough; or all that was not told.
    pub(super) fn tell(&self, all: bool) {
        let mut inner = self.inner();
        let Some(began) = inner.began else { return };
        let over = began.elapsed() >= PERIOD;
        let turned = inner.turned.is_some_and(|at| at.elapsed() >= AGAIN);
        let mut events = Vec::new();
        for (kind, noted) in &mut inner.noted {
            let mut due: Vec<(&Key, Noted)> = Vec::new();
            for (key, noted) in noted {
                let waits = noted.told.is_some_and(|at| at.elapsed() < AGAIN);
                if noted.count == 0 || (waits && !all && !over) {
                    continue;
                }
                due.push((key, *noted));
                noted.count = 0;
                noted.told = Some(Instant::now());
            }
            for some in due.chunks(IN_ONE) {
                events.push(self.event(kind, some, 0));
            }
        }
        if all || over || turned {
            let [sent, received] = std::mem::take(&mut inner.more);
            for (inbound, count) in [(false, sent), (true, received)] {
                if count > 0 {
                    let kind = Kind {
                        inbound,
                        action: OTHER,
                        would_deny: false,
                        version: (0, 0),
                    };
                    events.push(self.event(&kind, &[], count));
                }
            }
        }
        if over {
            *inner = Inner::default();
        }
        if over || turned {
            inner.turned = inner.began.map(|_| Instant::now());
            self.turn_over();
        }
        drop(inner);
        let room = Room::Share(number_of(&self.local, &self.peer));
        for event in events {
            self.spool.put(event, room);
        }
    }

    fn event(&self, kind: &Kind, some: &[(&Key, Noted)], others: u64) -> serde_json::Value {
        let (from, to) = if kind.inbound {
            (&self.peer, &self.local)
        } else {
            (&self.local, &self.peer)
        };
        ocsf::observed(from, to, kind, some, others)
    }

    /// Nothing is left to tell, and no room is taken.
    pub(super) fn is_empty(&self) -> bool {
        self.inner().began.is_none()
    }

    fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
