//! What agents say that holds on them, gathered and written together: ten thousand agents that acknowledge one entry are
//! some transactions, not ten thousand.

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
    program_version: Option<String>,
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

    /// An agent is there, with this program.
    pub(crate) fn seen(&self, agent: &str, program_version: &str) {
        self.with(agent, |said| {
            said.program_version = Some(program_version.to_owned())
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

    fn take(&self) -> Vec<(String, Said)> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let some: Vec<String> = waiting.keys().take(TOGETHER).cloned().collect();
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
            said.program_version = said.program_version.take().or(old.program_version);
        }
    }
}

impl Control {
    /// Writes what was gathered, until the process stops.
    pub(crate) async fn write_acknowledgements(self: Arc<Self>) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(GATHER) => {}
                () = self.stopping.cancelled() => return,
            }
            let some = self.acknowledgements.take();
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
                    let known = said
                        .program_version
                        .as_ref()
                        .map_or(Ok(()), |version| agents::seen(tx, agent, version, now));
                    let known = known.and_then(|()| match &said.what {
                        Some(what) => agents::acknowledge(tx, agent, what, now),
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
