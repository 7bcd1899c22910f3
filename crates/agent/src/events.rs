//! What happened, for whoever has to know: denials, connections that opened and closed, and policy sets that were refused, as OCSF events, one JSON object
//! a line; and, while something is tried out, what is asked for at all. Who is denied what is not decided here, and nothing of it is ever
//! forwarded.
//!
//! Repeated denials of one peer are one event with a count for each action and reason in a window of ten seconds, and a
//! peer has room for so many in a window: one that floods spends its own share, and nobody else's.

mod kept;
mod observed;
mod ocsf;
mod sets;
mod share;
mod spool;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde::Deserialize;
use skans_host::duration::deserialize as duration;

pub use kept::Kept;
pub use observed::{Observation, Observed};
pub use ocsf::{Connection, hex};
pub use share::{Burst, Denial, FAILED, Party, Share, Subject};
use spool::{Room, Spool};

use crate::Error;
use crate::control::Fork;

/// Where events go.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct EventsConfig {
    /// The file that they are added to, 0600; a reload opens it anew, for whoever rotates it. Standard output unless given:
    /// the log goes to standard error, so that a container's collector gets both and can tell them apart, and no disk
    /// fills up.
    pub file: Option<PathBuf>,
    /// How long denials of the same kind are counted before they are told. 10 s: one line that says 40,000 is read, 40,000
    /// lines are not; Cilium and Istio tell each by itself, and drop what is too much.
    #[serde(deserialize_with = "duration")]
    pub window: Duration,
    /// How many bytes of the disk events may take that the control plane does not have yet, beside what is older by a take-over or a crash of
    /// the machine. 64 MiB: some eighty thousand events, days of a quiet host and hours of a busy one. rsyslog's queues and Fluent Bit's
    /// buffers have no bound on the disk unless they are given one, and fill it.
    pub spool: u64,
    /// Whether new links are refused while events cannot be kept. Those of class `strict` always are. No: a full disk on one host must not end
    /// what runs there, and what was lost is counted. auditd can be told to halt the machine, and comes told not to.
    pub required: bool,
    /// Whether each different request between two nodes is told, permitted or not, as it is while the set in force is a dry run. Off:
    /// what an enforced set permits is known from the set, and who talks to whom about what is more than logs have to hold.
    pub observe: bool,
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            file: None,
            window: Duration::from_secs(10),
            spool: 64 * 1024 * 1024,
            required: false,
            observe: false,
        }
    }
}

/// What an honest peer is not refused in 10 s. A set that is too narrow for an application refuses what it asks for again and again: so
/// this alone says nothing, and is judged beside the rest.
const BURST: u64 = 100;

/// The events of one agent.
#[derive(Debug)]
pub struct Events {
    spool: Arc<Spool>,
    kept: Option<Arc<Kept>>,
    shares: Mutex<HashMap<Pair, Arc<Share>>>,
    observed: Mutex<HashMap<Pair, Arc<Observed>>>,
    observe: Arc<AtomicBool>,
    sets: sets::Sets,
    window: Duration,
}

/// The SPIFFE ID and name of the node here, and of its peer.
type Pair = (Party, Party);

impl Events {
    /// Opens what they go to; those of an agent of a control plane are kept in a directory until that has them.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be written. A directory that cannot is tried again.
    pub fn open(config: &EventsConfig, directory: Option<&Path>) -> Result<Self, Error> {
        let kept = directory.map(|directory| Arc::new(Kept::open(directory, config.spool)));
        Ok(Self {
            spool: Arc::new(Spool::open(config.file.as_deref(), kept.clone())?),
            kept,
            shares: Mutex::default(),
            observed: Mutex::default(),
            observe: Arc::new(AtomicBool::new(config.observe)),
            sets: sets::Sets::default(),
            window: config.window,
        })
    }

    /// Opens the file anew.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be written; the old one stays in use.
    pub fn reopen(&self, config: &EventsConfig) -> Result<(), Error> {
        self.spool.reopen(config.file.as_deref())?;
        if self.observe.swap(config.observe, Relaxed) != config.observe {
            // Links look again.
            self.all_observed()
                .values()
                .for_each(|pair| pair.turn_over());
        }
        Ok(())
    }

    /// The room that a peer of a node of this host has, over all its links.
    #[must_use]
    pub fn share(&self, local: &Party, peer: &Party) -> Arc<Share> {
        let mut shares = self.shares();
        let pair = (local.clone(), peer.clone());
        Arc::clone(shares.entry(pair).or_insert_with(|| {
            let spool = Arc::clone(&self.spool);
            let observed = self.observed(local, peer);
            Arc::new(Share::new(local.clone(), peer.clone(), spool, observed))
        }))
    }

    /// What goes between the two; of short-lived nodes, whatever they are called.
    fn observed(&self, local: &Party, peer: &Party) -> Arc<Observed> {
        let pair = (local.of_its_kind(), peer.of_its_kind());
        let mut all = self.all_observed();
        Arc::clone(all.entry(pair).or_insert_with_key(|(local, peer)| {
            let (spool, always) = (Arc::clone(&self.spool), Arc::clone(&self.observe));
            Arc::new(Observed::new(local, peer, spool, always))
        }))
    }

    /// A policy set was refused; `in_force` is epoch and number of the one that stays.
    pub fn refused_set(&self, error: &Error, in_force: (u64, u64)) {
        self.sets
            .refused(error.label(), error.to_string(), in_force);
    }

    /// The log of the control plane was rewritten.
    pub fn log_forked(&self, fork: &Fork) {
        self.spool.put(ocsf::log_forked(fork), Room::Reserved);
    }

    /// So many revocations are in force here from now on, up to an epoch and sequence, and have cut so many links.
    pub fn revoked(&self, count: u64, links: u64, position: (u64, u64)) {
        self.sets.revoked(count, links, position);
    }

    /// What the control plane does not have yet; `None` for an agent without one.
    #[must_use]
    pub const fn kept(&self) -> Option<&Arc<Kept>> {
        self.kept.as_ref()
    }

    /// Tells what was counted in windows that are over, or in all. Gives of whom very much was refused in one.
    pub fn tell(&self, all: bool) -> Vec<Burst> {
        let window = if all { Duration::ZERO } else { self.window };
        let shares: Vec<_> = self.shares().values().cloned().collect();
        let mut bursts = Vec::new();
        for share in shares {
            let refused = share.tell(window);
            if refused > self.burst() {
                bursts.push(share.burst(refused));
            }
        }
        for event in self.sets.take(window) {
            self.spool.put(event, Room::Reserved);
        }
        let observed: Vec<_> = self.all_observed().values().cloned().collect();
        observed.iter().for_each(|pair| pair.tell(all));
        drop(observed);
        // One that nobody holds and that has told everything is made anew when it is needed.
        self.shares()
            .retain(|_, share| Arc::strong_count(share) > 1 || !share.is_empty());
        self.all_observed()
            .retain(|_, pair| Arc::strong_count(pair) > 1 || !pair.is_empty());
        bursts
    }

    /// [`BURST`], in a window as it is configured. In a shorter one it has to come all the faster.
    fn burst(&self) -> u64 {
        let tens = self.window.as_secs() / 10;
        BURST.saturating_mul(tens.max(1))
    }

    /// Tells from time to time, for as long as the agent runs; and `of` whom very much was refused.
    pub async fn keep_telling(&self, of: impl Fn(&Burst)) {
        let mut often = tokio::time::interval(self.window / 10);
        loop {
            often.tick().await;
            self.tell(false).iter().for_each(&of);
        }
    }

    /// Tells the rest, and waits until it is written, within this time.
    pub fn finish(&self, within: Duration) {
        self.tell(true);
        self.spool.finish(within);
    }

    /// How many events were written, and how many were lost since nobody took them.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        self.spool.counts()
    }

    fn all_observed(&self) -> std::sync::MutexGuard<'_, HashMap<Pair, Arc<Observed>>> {
        self.observed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shares(&self) -> std::sync::MutexGuard<'_, HashMap<Pair, Arc<Share>>> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
