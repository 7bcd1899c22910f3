//! What goes on is told in parts: of each part the bytes, messages and denials since the one before, and what happened meanwhile.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

use skans_link::SessionId;

use super::span::{self, SpanId};
use super::way::Carried;
use super::{On, now};
use crate::registry::Link;
use crate::{Error, random};
use skans_otlp::wire::{Event, KeyValue, Span, SpanKind};

/// Things that happened, in one part. A link that loses its connection every few seconds has more; how many are left out is told.
const MAX_EVENTS: usize = 16;
/// Kinds of denials that one part shows, those that were most. All of them are counted, and the events have each.
const MAX_DENIALS: usize = 8;

/// What goes on.
#[derive(Debug)]
pub enum Subject {
    /// A link of a node of this host.
    Link(Arc<Link>),
    /// A way through this gateway.
    Way(Arc<Carried>),
}

/// Something that goes on, and what was told of it.
#[derive(Debug)]
pub struct Followed {
    subject: Subject,
    /// Since when nothing was told.
    since: u64,
    /// When it is to be told of.
    due: u64,
    /// At that time.
    counts: Counts,
    denied: Denied,
    /// When it was last looked at: how often it was resumed and re-authenticated, and what it was judged by.
    moved: (u64, u64),
    version: (u64, u64),
    events: Vec<Event>,
    left_out: u32,
    /// Nothing more is told of it.
    over: bool,
}

/// What something has carried, and been through.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// From this side: of a gateway, from who asked for the way.
    pub sent: u64,
    /// To it.
    pub received: u64,
    /// Messages, where somebody reads them: sent, received.
    pub messages: Option<(u64, u64)>,
    /// How often it went on after a loss, and how often it went over to a fresh connection. A way does neither.
    pub moved: Option<(u64, u64)>,
}

/// Denials by direction, verdict, action and reason.
pub type Denied = BTreeMap<(&'static str, &'static str, &'static str, &'static str), u64>;

/// Keeps something followed. Dropped without [`Trace::end`], nothing more is told of it.
#[derive(Debug)]
pub struct Trace {
    on: Arc<On>,
    number: u64,
    followed: Arc<Mutex<Followed>>,
}

impl Trace {
    /// Follows something from here on.
    pub(super) fn begin(on: &Arc<On>, subject: Subject, version: (u64, u64)) -> Self {
        let followed = Arc::new(Mutex::new(Followed::new(
            subject,
            now(),
            version,
            on.pause(),
        )));
        let mut following = on.following();
        following.next += 1;
        let number = following.next;
        following.all.insert(number, Arc::clone(&followed));
        drop(following);
        Self {
            on: Arc::clone(on),
            number,
            followed,
        }
    }

    /// Tells the last part. `reason` is a label of ours; `failed` if nobody wanted this end.
    pub fn end(self, version: (u64, u64), reason: &'static str, failed: bool) {
        let mut followed = self.followed();
        followed.note(now(), version);
        let span = followed.tell(now(), Some((reason, failed)));
        followed.over = true;
        drop(followed);
        self.on.put(span);
    }

    fn followed(&self) -> std::sync::MutexGuard<'_, Followed> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        self.followed().over = true;
        self.on.following().all.remove(&self.number);
    }
}

impl Followed {
    pub(super) fn new(subject: Subject, now: u64, version: (u64, u64), pause: u64) -> Self {
        Self {
            counts: subject.counts(),
            denied: subject.denied(),
            moved: subject.moved(),
            subject,
            since: now,
            due: now.saturating_add(pause),
            version,
            events: Vec::new(),
            left_out: 0,
            over: false,
        }
    }

    /// Takes note of what has happened; a part, if it is time for one and there is something to tell.
    pub(super) fn look(
        &mut self,
        now: u64,
        version: (u64, u64),
        pause: impl FnOnce() -> u64,
    ) -> Option<Span> {
        if self.over {
            return None;
        }
        self.note(now, version);
        if now < self.due {
            return None;
        }
        self.due = now.saturating_add(pause());
        // Of a link that rests nothing is told but its beginning and end: ticks alone are in the next part.
        if !self.has_said() {
            return None;
        }
        self.tell(now, None).ok()
    }

    /// Takes note of what has happened since this was last asked.
    fn note(&mut self, now: u64, version: (u64, u64)) {
        if version != self.version {
            self.version = version;
            self.happened("policy", now, vec![span::version(version)]);
        }
        let moved = self.subject.moved();
        let (resumed, reauthenticated) = std::mem::replace(&mut self.moved, moved);
        if moved.0 != resumed {
            self.happened("resumed", now, Vec::new());
        }
        if moved.1 != reauthenticated {
            self.happened("re-authenticated", now, Vec::new());
        }
    }

    fn happened(&mut self, what: &str, now: u64, attributes: Vec<KeyValue>) {
        if self.events.len() < MAX_EVENTS {
            self.events.push(span::event(what, now, attributes));
        } else {
            self.left_out = self.left_out.saturating_add(1);
        }
    }

    /// Whether anybody has said anything, or anything has happened.
    fn has_said(&self) -> bool {
        let counts = self.subject.counts();
        let said = match counts.messages {
            Some(_) => counts.messages != self.counts.messages,
            None => (counts.sent, counts.received) != (self.counts.sent, self.counts.received),
        };
        said || !self.events.is_empty() || self.subject.denied() != self.denied
    }

    /// The part from where the last one ended; the very last one if there is an end.
    pub(super) fn tell(&mut self, now: u64, end: Option<(&str, bool)>) -> Result<Span, Error> {
        let counts = self.subject.counts();
        let denied = self.subject.denied();
        let (before, denied_before) = (
            std::mem::replace(&mut self.counts, counts),
            std::mem::replace(&mut self.denied, denied),
        );
        let since = std::mem::replace(&mut self.since, now);
        let mut span = span::of(
            &self.subject.session(),
            (random()?, Some(self.subject.set_up())),
            ("transfer", SpanKind::Internal),
            (since, now),
        );
        span.attributes = self.subject.who();
        span.attributes.push(span::version(self.version));
        span.attributes.extend(counts.since(&before, ""));
        span.events = std::mem::take(&mut self.events);
        span.dropped_events_count = std::mem::take(&mut self.left_out);
        self.tell_denied(&denied_before, now, &mut span);
        if let Some((reason, failed)) = end {
            span.attributes.push(span::text("skans.end", reason));
            let all = counts.since(&Counts::default(), "total.");
            span.attributes.extend(all);
            span.status = failed.then(|| span::failed(reason)).flatten();
        }
        Ok(span)
    }

    /// Counts what was denied, and shows the kinds of which there were most.
    fn tell_denied(&self, before: &Denied, now: u64, span: &mut Span) {
        let new = self.denied.iter().map(|(kind, count)| {
            let before = before.get(kind).copied().unwrap_or_default();
            (kind, count.saturating_sub(before))
        });
        let mut new: Vec<_> = new.filter(|(_, count)| *count > 0).collect();
        for direction in ["sent", "received"] {
            let refused = new
                .iter()
                .filter(|((way, verdict, ..), _)| (*way, *verdict) == (direction, "deny"));
            let count = refused.map(|(_, count)| count).sum();
            let key = format!("skans.denied.{direction}");
            span.attributes.push(span::number(&key, count));
        }
        new.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let left_out = new.len().saturating_sub(MAX_DENIALS);
        span.dropped_events_count = span
            .dropped_events_count
            .saturating_add(u32::try_from(left_out).unwrap_or(u32::MAX));
        for ((direction, verdict, action, reason), count) in new.into_iter().take(MAX_DENIALS) {
            let attributes = vec![
                span::text("skans.direction", direction),
                span::text("skans.verdict", verdict),
                span::text("skans.action", action),
                span::text("skans.reason", reason),
                span::number("skans.count", count),
            ];
            span.events.push(span::event("denied", now, attributes));
        }
    }
}

impl Counts {
    /// What came after those before.
    fn since(&self, before: &Self, prefix: &str) -> Vec<KeyValue> {
        let number = |key: &str, now: u64, before: u64| {
            span::number(&format!("skans.{prefix}{key}"), now.saturating_sub(before))
        };
        let mut all = vec![
            number("bytes.sent", self.sent, before.sent),
            number("bytes.received", self.received, before.received),
        ];
        let pairs = [
            (
                ["messages.sent", "messages.received"],
                self.messages,
                before.messages,
            ),
            (["resumed", "reauthenticated"], self.moved, before.moved),
        ];
        for ([one, other], counts, before) in pairs {
            if let Some(counts) = counts {
                let before = before.unwrap_or_default();
                all.push(number(one, counts.0, before.0));
                all.push(number(other, counts.1, before.1));
            }
        }
        all
    }
}

impl Subject {
    fn session(&self) -> SessionId {
        match self {
            Self::Link(link) => link.correlation(),
            Self::Way(way) => way.session,
        }
    }

    /// The span under which its parts stand.
    fn set_up(&self) -> SpanId {
        match self {
            Self::Link(link) => span::set_up(&link.correlation(), link.direction),
            Self::Way(way) => way.id,
        }
    }

    fn who(&self) -> Vec<KeyValue> {
        match self {
            Self::Link(link) => super::link::who(link),
            Self::Way(way) => way.who.clone(),
        }
    }

    fn counts(&self) -> Counts {
        match self {
            Self::Link(link) => {
                let (sent, received) = (&link.traffic.sent, &link.traffic.received);
                Counts {
                    sent: sent.bytes.load(Relaxed),
                    received: received.bytes.load(Relaxed),
                    messages: link
                        .service
                        .is_none()
                        .then(|| (sent.messages(), received.messages())),
                    moved: Some(self.moved()),
                }
            }
            Self::Way(way) => {
                let [there, back] = &way.bytes;
                Counts {
                    sent: there.load(Relaxed),
                    received: back.load(Relaxed),
                    ..Counts::default()
                }
            }
        }
    }

    /// How often it was resumed, and how often it was re-authenticated. Each resumption is also a fresh connection.
    fn moved(&self) -> (u64, u64) {
        match self {
            Self::Link(link) => {
                let resumed = link.resumed.load(Relaxed);
                let fresh = link.takeovers.load(Relaxed);
                (resumed, fresh.saturating_sub(resumed))
            }
            Self::Way(_) => (0, 0),
        }
    }

    fn denied(&self) -> Denied {
        let Self::Link(link) = self else {
            return Denied::new();
        };
        let traffic = [
            ("sent", &link.traffic.sent),
            ("received", &link.traffic.received),
        ];
        let all = traffic.into_iter().flat_map(|(direction, counters)| {
            let all = counters.decisions.all();
            all.filter(|(verdict, ..)| *verdict != "permit").map(
                move |(verdict, action, reason, count)| {
                    ((direction, verdict, action, reason), count)
                },
            )
        });
        all.collect()
    }
}
