//! Which links were this agent's own, for when the control plane asks: a key that was seen on one that was not is somebody else's as
//! well. What is remembered says that something was ours; that it was not is said only of a time of which all is remembered.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};
use skans_api::v1;
use skans_api::v1::whose_answer::Answer;
use skans_identity::peer::PeerIdentity;
use skans_link::SessionId;

/// Connections that are remembered at most, live or not: each is noted anew with every connection of its link, so that a peer that
/// report of one is about what was noted just before. A peer with a certificate may open so many that it pushes out the others: then the
/// answer is that nothing is known, and it is heard of by the reports of its own.
const LINKS: usize = 32 * 1024;
/// Keys that are remembered at most. A node has some thirty a day.
const KEYS: usize = 8 * 1024;
/// For how long something is remembered: twice the life of a leaf by default. Reports come within seconds, unless the control plane is
/// away.
const AGE: Duration = Duration::from_secs(2 * 3600);
/// A key that is in use is noted again after this time at the latest, and not with each connection.
const AGAIN: Duration = Duration::from_secs(15 * 60);
/// How much earlier than it is said something may have been: what waits on the way is not in the seconds that are said, and those are
/// whole.
const SLACK: Duration = Duration::from_secs(10);
/// Answers a second. A control plane asks once for each certificate and address; one that asks without end gets no more than this.
const ANSWERS: u32 = 100;

/// The name of a session in what agents report: who has the session may ask to take it over, who has this may not.
#[must_use]
pub fn named(session: &SessionId) -> [u8; 32] {
    sha256(&[b"skans-session-v1\0", session])
}

/// Links that were this agent's own, and the keys that it had.
#[derive(Debug)]
pub struct OwnLinks(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// A session, and the identity of the node of ours that it was of: both ends may be here.
    links: Recent<[u8; 32], ()>,
    /// Whose a key is, or was.
    keys: Recent<[u8; 32], Arc<str>>,
    /// When the present second of answers began, and how many there were in it.
    answered: (Instant, u32),
}

impl OwnLinks {
    /// Knows nothing of what was before.
    #[must_use]
    pub fn new(now: Instant) -> Self {
        Self(Mutex::new(Inner {
            links: Recent::new(LINKS, Duration::ZERO, now),
            keys: Recent::new(KEYS, AGAIN, now),
            answered: (now, 0),
        }))
    }

    /// Another process was the agent up to now: of what it did only what is noted is known.
    pub fn begin(&self, now: Instant) {
        let mut inner = self.inner();
        inner.links.since = now;
        inner.keys.since = now;
    }

    /// A certificate is about to be put in use.
    pub fn holds(&self, own: &PeerIdentity, now: Instant) {
        self.inner().keys.hold(own, now);
    }

    /// A connection is about to be made with this certificate of ours, or was accepted with it. To be called before a peer can have
    /// seen it.
    pub fn note(&self, session: &SessionId, own: &PeerIdentity, now: Instant) {
        let link = of_identity(&named(session), own.id.as_str());
        let mut inner = self.inner();
        inner.keys.hold(own, now);
        inner.links.note(link, (), now);
    }

    /// The answer to a question; `None` to what is none, and to more of them than a control plane has reason to ask.
    #[must_use]
    pub fn answer(&self, whose: &v1::Whose, now: Instant) -> Option<v1::WhoseAnswer> {
        let session = <[u8; 32]>::try_from(whose.session_sha256.as_slice()).ok()?;
        let key = <[u8; 32]>::try_from(whose.spki_sha256.as_slice()).ok()?;
        let ago = Duration::from_secs(u64::from(whose.seconds_ago));
        let mut inner = self.inner();
        let (since, count) = &mut inner.answered;
        if now.saturating_duration_since(*since) >= Duration::from_secs(1) {
            (*since, *count) = (now, 0);
        }
        *count += 1;
        if *count > ANSWERS {
            return None;
        }
        let answer = inner.whose(&session, &key, now.checked_sub(ago + SLACK));
        Some(v1::WhoseAnswer {
            session_sha256: session.to_vec(),
            spki_sha256: key.to_vec(),
            answer: answer.into(),
        })
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// `at`: when it was seen at the earliest.
    fn whose(&self, session: &[u8; 32], key: &[u8; 32], at: Option<Instant>) -> Answer {
        let id = self.keys.get(key);
        if id.is_some_and(|id| self.links.get(&of_identity(session, id)).is_some()) {
            return Answer::Mine;
        }
        match at {
            Some(at) if at >= self.links.since.max(self.keys.since) => Answer::NotMine,
            _ => Answer::Unsure,
        }
    }
}

/// What was noted last, so much of it and for so long; and since when nothing of it is missing.
#[derive(Debug)]
struct Recent<K, V> {
    known: HashMap<K, (V, Instant)>,
    /// As it was noted. What was noted again stands here twice, and counts from the later time on.
    order: VecDeque<(K, Instant)>,
    since: Instant,
    most: usize,
    /// For how long after it was noted something may have been of use without being noted again.
    lasts: Duration,
}

impl<K: Clone + Eq + Hash, V> Recent<K, V> {
    fn new(most: usize, lasts: Duration, since: Instant) -> Self {
        Self {
            known: HashMap::new(),
            order: VecDeque::new(),
            since,
            most,
            lasts,
        }
    }

    fn note(&mut self, key: K, value: V, now: Instant) {
        self.known.insert(key.clone(), (value, now));
        self.order.push_back((key, now));
        while let Some((_, noted)) = self.order.front()
            && (self.order.len() > self.most || now.saturating_duration_since(*noted) > AGE)
            && let Some((key, noted)) = self.order.pop_front()
        {
            // Not if it was noted again since.
            if self.known.get(&key).is_some_and(|(_, last)| *last <= noted) {
                self.known.remove(&key);
                self.since = self.since.max(noted + self.lasts);
            }
        }
    }

    fn get(&self, key: &K) -> Option<&V> {
        self.known.get(key).map(|(value, _)| value)
    }
}

impl Recent<[u8; 32], Arc<str>> {
    fn hold(&mut self, own: &PeerIdentity, now: Instant) {
        let known = self.known.get(&own.spki_sha256);
        if known.is_some_and(|(_, noted)| now.saturating_duration_since(*noted) < AGAIN) {
            return;
        }
        self.note(own.spki_sha256, own.id.as_str().into(), now);
    }
}

fn of_identity(session: &[u8; 32], id: &str) -> [u8; 32] {
    sha256(&[session, id.as_bytes()])
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
