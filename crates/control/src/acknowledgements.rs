//! What agents say that holds on them, by which authority they live and that they are there: gathered and written together, for
//! the writer to read, whichever replica that is. Ten thousand agents that acknowledge one entry are some transactions, not ten
//! thousand.
//!
//! The bound, for one replica: ten transactions a second of at most 500 agents each, an agent once in each. In ordinary times
//! an agent gives one sign of life a minute, and signs alone are gathered for 5 s: ten thousand agents are 2 transactions in
//! 5 s.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skans_store::agents::{self, Acknowledged};
use tokio::sync::watch;

use crate::clock;
use crate::error::Error;
use crate::state::Control;

/// How long an acknowledgement may wait for others. Short enough for somebody who watches `--wait`.
const GATHER: Duration = Duration::from_millis(100);
/// How long a mere sign of life may wait for others. What is decided by it looks at the last hour.
const SIGNS: Duration = Duration::from_secs(5);
/// Most that are written in one transaction, so that nobody waits long behind it.
const TOGETHER: usize = 500;

/// What has been said and is not written yet. An agent has one place: what it says later replaces what it said before.
#[derive(Debug)]
pub(crate) struct Acknowledgements {
    waiting: Mutex<HashMap<String, Said>>,
    /// Counts what was written, for those who wait for it.
    written: watch::Sender<u64>,
}

#[derive(Clone, Debug, Default)]
struct Said {
    what: Option<Acknowledged>,
    /// Epoch and number of the policy set.
    policy: Option<(u64, u64)>,
    sign: Option<Sign>,
}

impl Said {
    /// Whether somebody may watch for it.
    const fn is_waited_for(&self) -> bool {
        self.what.is_some() || self.policy.is_some()
    }
}

/// A sign of life.
#[derive(Clone, Debug)]
struct Sign {
    program_version: String,
    /// The key of the authority that signed the certificate that the agent came with.
    issuer: Option<[u8; 32]>,
}

impl Default for Acknowledgements {
    fn default() -> Self {
        Self {
            waiting: Mutex::default(),
            written: watch::Sender::new(0),
        }
    }
}

impl Acknowledgements {
    /// An agent says what holds on it.
    pub(crate) fn acknowledge(&self, agent: &str, what: Acknowledged) {
        self.with(agent, |said| said.what = Some(what));
    }

    /// An agent says which policy set decides on it.
    pub(crate) fn holds_policy(&self, agent: &str, policy: (u64, u64)) {
        self.with(agent, |said| said.policy = Some(policy));
    }

    /// An agent is there, with this program and a certificate of this authority.
    pub(crate) fn seen(&self, agent: &str, program_version: &str, issuer: Option<[u8; 32]>) {
        self.with(agent, |said| {
            said.sign = Some(Sign {
                program_version: program_version.to_owned(),
                issuer,
            });
        });
    }

    /// Changes whenever some were written.
    pub(crate) fn written(&self) -> watch::Receiver<u64> {
        self.written.subscribe()
    }

    fn with(&self, agent: &str, change: impl FnOnce(&mut Said)) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        change(waiting.entry(agent.to_owned()).or_default());
    }

    /// What is to be written now: what was acknowledged first, since somebody may wait for it; mere signs of life if they
    /// have waited long enough.
    fn take(&self, signs: bool) -> Vec<(String, Said)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |acknowledged: bool| {
            let those = waiting
                .iter()
                .filter(move |(_, said)| said.is_waited_for() == acknowledged);
            those.map(|(agent, _)| agent.clone())
        };
        let rest = if signs { TOGETHER } else { 0 };
        let some: Vec<String> = of(true)
            .chain(of(false).take(rest))
            .take(TOGETHER)
            .collect();
        some.into_iter()
            .filter_map(|agent| waiting.remove_entry(&agent))
            .collect()
    }

    /// Puts back what could not be written, behind what was said since.
    fn put_back(&self, some: Vec<(String, Said)>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for (agent, old) in some {
            let said = waiting.entry(agent).or_default();
            said.what = said.what.or(old.what);
            said.policy = said.policy.or(old.policy);
            said.sign = said.sign.take().or(old.sign);
        }
    }
}

impl Control {
    /// Writes what was gathered, until the process stops.
    pub(crate) async fn write_acknowledgements(self: Arc<Self>) {
        let mut signs = tokio::time::Instant::now() + SIGNS;
        loop {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = self.stopping.cancelled() => return,
            }
            let now = tokio::time::Instant::now();
            let some = self.acknowledgements.take(now >= signs);
            // As long as there is more than fits, they go on.
            if now >= signs && some.len() < TOGETHER {
                signs = now + SIGNS;
            }
            if some.is_empty() || self.store.read_only().is_some() {
                continue;
            }
            match self.write_some(some.clone()).await {
                Ok(()) => self
                    .acknowledgements
                    .written
                    .send_modify(|count| *count += 1),
                Err(error) => {
                    tracing::warn!("acknowledgements wait, since they cannot be written: {error}");
                    self.acknowledgements.put_back(some);
                }
            }
        }
    }

    async fn write_some(&self, some: Vec<(String, Said)>) -> Result<(), Error> {
        let now = clock::seconds();
        // A revocation counts as done when it is acknowledged, so this goes as it goes: also when the disk is full.
        self.store
            .write_urgent(move |tx| {
                for (agent, said) in &some {
                    let known = said.sign.as_ref().map_or(Ok(()), |sign| {
                        agents::seen(tx, agent, &sign.program_version, sign.issuer.as_ref(), now)
                    });
                    let known = known.and_then(|()| match &said.what {
                        Some(what) => agents::acknowledge(tx, agent, what, now),
                        None => Ok(()),
                    });
                    let known = known.and_then(|()| match said.policy {
                        Some(policy) => agents::holds_policy(tx, agent, policy),
                        None => Ok(()),
                    });
                    match known {
                        // An agent that was removed while it was connected.
                        Err(skans_store::Error::NotFound { .. }) => {}
                        other => other?,
                    }
                }
                Ok(())
            })
            .await
    }
}
