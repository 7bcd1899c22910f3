//! Who could not be reached time and again is not dialled for every attempt of a node: a circuit breaker for each peer that
//! fails, with back-off and jitter. For new links and the like; a session that looks for its connection dials as `resume` says.
//!
//! A peer is the address at which its agent is dialled. One that can be reached has no entry here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::Error;
use crate::keeper::chance;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failures in a row that open it. 3: one or two are a restart. Istio (`consecutive5xxErrors`) and Envoy
    /// (`consecutive_5xx`) take 5 and Linkerd 7, of requests that come by the thousand; here each is a process of a node that
    /// has waited for 3 s.
    pub failures: u32,
    /// Failures further apart than this are not in a row, and who has not failed for so long is forgotten. 60 s: what was
    /// before the last `net_ticktime` says little.
    pub memory: Duration,
    /// How long it stays open at first; twice as long after each trial that fails. gRPC and Linkerd begin with 1 s.
    pub least: Duration,
    /// How long it stays open at most. Linkerd takes 1 minute, gRPC 2, Envoy and Istio 5: they have other hosts to send to
    /// meanwhile. A node has one address, and should be back soon after its host is; a trial every few seconds hurts nobody.
    pub most: Duration,
    /// Peers that are remembered. A cluster has hundreds of hosts at most; beyond the bound, who failed longest ago is
    /// forgotten, and dialled as if nothing had been.
    pub peers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            failures: 3,
            memory: Duration::from_secs(60),
            least: Duration::from_millis(500),
            most: Duration::from_secs(5),
            peers: 1024,
        }
    }
}

/// The breakers of all peers. To be asked once for each attempt to connect, never for a message.
#[derive(Debug, Default)]
pub struct Breakers {
    limits: Limits,
    peers: Mutex<HashMap<Arc<str>, Breaker>>,
    trials: AtomicU64,
    opened: AtomicU64,
    closed: AtomicU64,
    refused: AtomicU64,
}

/// A peer as `skans status` shows it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Standing {
    /// Where its agent is dialled.
    pub peer: Arc<str>,
    /// `failing`: dialled as ever. `open`: refused at once. `half_open`: one attempt is under way, and decides.
    pub state: &'static str,
    /// How long ago the first of the failures was.
    pub since: Duration,
    /// How long attempts are still refused.
    pub retry_in: Duration,
    /// The label of the last failure.
    pub why: &'static str,
    /// Attempts refused since then.
    pub refused: u64,
}

impl Breakers {
    /// Asks whether `peer` may be dialled now. Whoever may says how it went.
    ///
    /// # Errors
    /// [`Error::CircuitOpen`], to be answered at once.
    pub fn admit(&self, peer: &str) -> Result<Trial<'_>, Error> {
        self.admit_at(peer, Instant::now())
    }

    fn admit_at(&self, peer: &str, now: Instant) -> Result<Trial<'_>, Error> {
        let number = self.trials.fetch_add(1, Relaxed);
        if let Some(breaker) = self.peers().get_mut(peer)
            && let Err(retry_in) = breaker.admit(number, now)
        {
            self.refused.fetch_add(1, Relaxed);
            return Err(Error::CircuitOpen {
                peer: peer.to_owned(),
                why: breaker.why,
                retry_in,
            });
        }
        Ok(Trial {
            breakers: self,
            peer: peer.into(),
            number,
            undecided: true,
        })
    }

    /// A sign of life of `peer`: it was reached, or has reached us.
    pub fn alive(&self, peer: &str) {
        let Some(breaker) = self.peers().remove(peer) else {
            return;
        };
        if !matches!(breaker.state, State::Closed { .. }) {
            self.closed.fetch_add(1, Relaxed);
            tracing::info!(peer, after = ?breaker.since.elapsed(), refused = breaker.refused, "the peer can be reached again");
        }
    }

    /// All that have failed and were not reached since.
    #[must_use]
    pub fn all(&self) -> Vec<Standing> {
        self.all_at(Instant::now())
    }

    fn all_at(&self, now: Instant) -> Vec<Standing> {
        let mut peers = self.peers();
        self.forget(&mut peers, now);
        let mut all: Vec<_> = peers
            .iter()
            .map(|(peer, b)| b.standing(peer, now))
            .collect();
        drop(peers);
        all.sort_by(|one, other| one.peer.cmp(&other.peer));
        all
    }

    /// How often breakers have opened and closed again, and how many attempts they have refused.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 3] {
        [
            ("opened", self.opened.load(Relaxed)),
            ("closed", self.closed.load(Relaxed)),
            ("refused", self.refused.load(Relaxed)),
        ]
    }

    fn failed(&self, trial: u64, peer: &Arc<str>, why: &'static str, now: Instant) {
        let mut peers = self.peers();
        if !peers.contains_key(peer) {
            self.make_room(&mut peers, now);
        }
        let breaker = peers
            .entry(Arc::clone(peer))
            .or_insert_with(|| Breaker::new(now));
        let opened = breaker.failed(trial, why, now, &self.limits);
        drop(peers);
        if opened {
            self.opened.fetch_add(1, Relaxed);
            tracing::warn!(%peer, reason = why, "the peer cannot be reached: attempts to connect to it are refused at once for a while");
        }
    }

    /// Who has not failed for long is forgotten; if there is nobody, who failed longest ago.
    fn make_room(&self, peers: &mut HashMap<Arc<str>, Breaker>, now: Instant) {
        if peers.len() < self.limits.peers {
            return;
        }
        self.forget(peers, now);
        if peers.len() < self.limits.peers {
            return;
        }
        let oldest = peers
            .iter()
            .min_by_key(|(_, breaker)| breaker.last)
            .map(|(peer, _)| Arc::clone(peer));
        if let Some(oldest) = oldest {
            peers.remove(&oldest);
        }
    }

    fn forget(&self, peers: &mut HashMap<Arc<str>, Breaker>, now: Instant) {
        peers.retain(|_, breaker| {
            matches!(breaker.state, State::HalfOpen { .. })
                || now.saturating_duration_since(breaker.last) <= self.limits.memory
        });
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<Arc<str>, Breaker>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// An attempt that was let through. One that is dropped undecided took too long, and has failed.
#[derive(Debug)]
#[must_use]
pub struct Trial<'a> {
    breakers: &'a Breakers,
    peer: Arc<str>,
    number: u64,
    undecided: bool,
}

impl Trial<'_> {
    /// How it went; the first word counts. A peer that refuses is there: only what says that nobody is counts against it.
    pub fn ended(&mut self, error: Option<&Error>) {
        self.ended_at(error, Instant::now());
    }

    fn ended_at(&mut self, error: Option<&Error>, now: Instant) {
        if !std::mem::take(&mut self.undecided) {
            return;
        }
        match error {
            Some(error) if error.is_outage() => {
                self.breakers
                    .failed(self.number, &self.peer, error.label(), now);
            }
            _ => self.breakers.alive(&self.peer),
        }
    }
}

impl Drop for Trial<'_> {
    fn drop(&mut self) {
        if self.undecided {
            self.breakers
                .failed(self.number, &self.peer, "timed_out", Instant::now());
        }
    }
}

/// Of one peer that has failed.
#[derive(Debug)]
struct Breaker {
    state: State,
    /// The first of the failures, and the last.
    since: Instant,
    last: Instant,
    why: &'static str,
    refused: u64,
}

#[derive(Debug)]
enum State {
    /// Not often enough to open.
    Closed { failures: u32 },
    /// Every attempt is refused until then; `pause` is how long that is, before jitter.
    Open { until: Instant, pause: Duration },
    /// The attempt with this number was let through, and decides.
    HalfOpen { trial: u64, pause: Duration },
}

impl Breaker {
    const fn new(now: Instant) -> Self {
        Self {
            state: State::Closed { failures: 0 },
            since: now,
            last: now,
            why: "",
            refused: 0,
        }
    }

    /// The error is how long to wait, more or less.
    fn admit(&mut self, trial: u64, now: Instant) -> Result<(), Duration> {
        let retry_in = match self.state {
            State::Closed { .. } => return Ok(()),
            State::Open { until, pause } if now >= until => {
                self.state = State::HalfOpen { trial, pause };
                return Ok(());
            }
            State::Open { until, .. } => until.saturating_duration_since(now),
            State::HalfOpen { pause, .. } => pause,
        };
        self.refused += 1;
        Err(retry_in)
    }

    /// Whether it has opened, having been closed.
    fn failed(&mut self, trial: u64, why: &'static str, now: Instant, limits: &Limits) -> bool {
        let mut opened = false;
        match self.state {
            State::Closed { mut failures } => {
                if now.saturating_duration_since(self.last) > limits.memory {
                    failures = 0;
                    self.since = now;
                }
                failures += 1;
                opened = failures >= limits.failures;
                self.state = if opened {
                    open(limits.least, now)
                } else {
                    State::Closed { failures }
                };
            }
            State::HalfOpen { trial: own, pause } if own == trial => {
                self.state = open((pause * 2).min(limits.most), now);
            }
            // It began before this one opened, and says nothing new.
            State::Open { .. } | State::HalfOpen { .. } => {}
        }
        (self.last, self.why) = (now, why);
        opened
    }

    fn standing(&self, peer: &Arc<str>, now: Instant) -> Standing {
        let (state, retry_in) = match self.state {
            State::Closed { .. } => ("failing", Duration::ZERO),
            State::Open { until, .. } => ("open", until.saturating_duration_since(now)),
            State::HalfOpen { .. } => ("half_open", Duration::ZERO),
        };
        Standing {
            peer: Arc::clone(peer),
            state,
            since: now.saturating_duration_since(self.since),
            retry_in,
            why: self.why,
            refused: self.refused,
        }
    }
}

/// For between half of `pause` and all of it: those who were cut off together do not come back together.
fn open(pause: Duration, now: Instant) -> State {
    State::Open {
        until: now + pause.mul_f64(0.5_f64.mul_add(chance(), 0.5)),
        pause,
    }
}

#[cfg(test)]
mod tests;
