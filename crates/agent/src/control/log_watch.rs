//! The agent as a witness of the control plane's log (docs/decisions/0023): it remembers the last checkpoint that it saw, across restarts, and has
//! it proved that each other one only adds to it. A log that was rewritten is told of, and links go on: who could rewrite it may not be
//! given a way to take the cluster down by it.
//!
//! Checkpoints come in heads, from the control plane or from other agents: so two agents that are shown different logs find out from
//! each other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use skans_api::v1::LogConsistencyRequest;
use skans_api::v1::agents_client::AgentsClient;
use skans_audit::checkpoint::Checkpoint;
use skans_audit::merkle::Hash;
use skans_audit::note::Note;
use skans_audit::proof;
use skans_identity::head::{Head, SignedHead};
use tonic::Code;

use super::session::MAX_MESSAGE;
use super::{Control, Item, State, read_json, write_json};
use crate::Error;
use crate::agent::Agent;

/// What is remembered, as it is kept on disk.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase", default)]
struct Kept {
    /// The epoch of the log, 0 for none.
    epoch: u64,
    /// The newest checkpoint that is known to go on from all before it, as it came; empty for none.
    checkpoint: String,
    /// The two that no log has both of, if there were such.
    fork: Option<Fork>,
}

/// Two checkpoints of one log, of which neither goes on from the other: proof that it was rewritten.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Fork {
    /// When it was found, Unix time.
    pub time: u64,
    /// What was remembered.
    pub remembered: String,
    /// What was shown.
    pub shown: String,
}

/// What this agent knows of the log.
#[derive(Debug)]
pub struct LogWatch(Mutex<Kept>);

/// A checkpoint, read: of which key it says it is, and what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Seen {
    key: u32,
    size: u64,
    root: Hash,
}

/// What is to be done about a checkpoint.
#[derive(Clone, Debug, Eq, PartialEq)]
enum Step {
    /// Nothing: it is known, or of a log that has ended.
    Known,
    /// It is the first of its log.
    Remember,
    /// It has to be proved that the first so many entries, with this root, are the beginning of the others.
    Prove {
        old: (u64, Hash),
        new: (u64, Hash),
        /// What is shown is the longer one.
        forward: bool,
    },
    /// No log has both.
    Forked,
}

impl Seen {
    /// Reads a checkpoint of the log of an epoch. Its signature is not verified: the head is signed, and says it.
    fn read(note: &str, origin: &str) -> Result<Self, Error> {
        let wrong =
            |problem: String| Error::Unverifiable(format!("checkpoint of the log: {problem}"));
        let note = Note::parse(note.as_bytes()).map_err(|error| wrong(error.to_string()))?;
        let read = Checkpoint::parse_text(note.text()).map_err(|error| wrong(error.to_string()))?;
        let signature = note.signatures().iter().find(|one| one.name == origin);
        match signature {
            Some(signature) if read.origin == origin => Ok(Self {
                key: signature.id,
                size: read.size,
                root: read.root,
            }),
            _ => Err(wrong(format!(
                "found one of {:?}, wanted {origin:?}, signed by it",
                skans_host::plain::show(&read.origin)
            ))),
        }
    }
}

/// Compares what is shown with what is remembered of the same log.
fn step(remembered: Option<&Seen>, shown: &Seen) -> Step {
    let Some(remembered) = remembered else {
        return Step::Remember;
    };
    if remembered.key != shown.key {
        return Step::Forked;
    }
    let (old, new) = ((remembered.size, remembered.root), (shown.size, shown.root));
    match old.0.cmp(&new.0) {
        std::cmp::Ordering::Equal if old.1 == new.1 => Step::Known,
        std::cmp::Ordering::Equal => Step::Forked,
        // What stands above nothing is the beginning of everything.
        std::cmp::Ordering::Less if old.0 == 0 => Step::Remember,
        std::cmp::Ordering::Greater if new.0 == 0 => Step::Known,
        std::cmp::Ordering::Less => Step::Prove {
            old,
            new,
            forward: true,
        },
        std::cmp::Ordering::Greater => Step::Prove {
            old: new,
            new: old,
            forward: false,
        },
    }
}

impl LogWatch {
    /// With what was kept.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read: an agent that forgets what it saw is no witness.
    pub fn open(state: &State) -> Result<Self, Error> {
        let kept = read_json(state, Item::Checkpoint)?.unwrap_or_default();
        Ok(Self(Mutex::new(kept)))
    }

    /// How many entries the log has that is known to go on from what was seen before.
    #[must_use]
    pub fn size(&self) -> u64 {
        let kept = self.lock();
        let lines = kept.checkpoint.lines().nth(1);
        lines.and_then(|size| size.parse().ok()).unwrap_or(0)
    }

    /// What proves that the log was rewritten, if it was.
    #[must_use]
    pub fn fork(&self) -> Option<Fork> {
        self.lock().fork.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, state: &State, kept: Kept) -> Result<(), Error> {
        // On disk first: what is forgotten by a restart was never witnessed.
        write_json(state, Item::Checkpoint, &kept)?;
        *self.lock() = kept;
        Ok(())
    }
}

/// Looks at the checkpoint in each newest head, until the agent stops.
pub async fn witness(agent: Arc<Agent>, control: Arc<Control>) {
    let mut newest = control.revocation.newest();
    newest.mark_changed();
    loop {
        tokio::select! {
            changed = newest.changed() => if changed.is_err() { return },
            () = agent.stopping.cancelled() => return,
        }
        let head = newest.borrow_and_update().clone();
        let head = head
            .and_then(|bytes| SignedHead::decode(&bytes).ok())
            .and_then(|signed| Head::decode(&signed.head).ok());
        // A control plane of a release before has no log.
        let Some(head) = head.filter(|head| !head.checkpoint.is_empty()) else {
            continue;
        };
        match control.look_at_log(&head).await {
            Ok(None) => {}
            Ok(Some(fork)) => {
                tracing::error!(
                    remembered = skans_host::plain::show(&fork.remembered),
                    shown = skans_host::plain::show(&fork.shown),
                    "the log of the control plane was rewritten: it no longer begins with what this agent saw of it"
                );
                agent.events.log_forked(&fork);
            }
            Err(error) => tracing::warn!("the control plane's log is not looked at: {error}"),
        }
    }
}

impl Control {
    /// Looks at the checkpoint of a head. Gives what proves that the log was rewritten, if that is new.
    async fn look_at_log(&self, head: &Head) -> Result<Option<Fork>, Error> {
        let origin = format!(
            "{}/cluster/{}/audit/{}",
            head.trust_domain, head.cluster, head.epoch
        );
        let shown = Seen::read(&head.checkpoint, &origin)?;
        let kept = self.log.lock().clone();
        if head.epoch < kept.epoch {
            return Ok(None);
        }
        let remembered = match head.epoch == kept.epoch {
            true => Some(Seen::read(&kept.checkpoint, &origin)?),
            false => None,
        };
        let goes_on = match step(remembered.as_ref(), &shown) {
            Step::Known => return Ok(None),
            Step::Remember => true,
            Step::Forked => false,
            Step::Prove { old, new, forward } => match self.prove(head.epoch, old, new).await? {
                true if !forward => return Ok(None),
                proved => proved,
            },
        };
        if goes_on {
            let kept = Kept {
                epoch: head.epoch,
                checkpoint: head.checkpoint.clone(),
                fork: kept.fork,
            };
            self.log.keep(&self.state, kept)?;
            return Ok(None);
        }
        // What was remembered stays: it is what whoever looks into it has to go by.
        let fork = Fork {
            time: UnixTime::now().as_secs(),
            remembered: kept.checkpoint.clone(),
            shown: head.checkpoint.clone(),
        };
        if kept.fork.is_some() {
            return Ok(None);
        }
        let kept = Kept {
            fork: Some(fork.clone()),
            ..kept
        };
        self.log.keep(&self.state, kept)?;
        Ok(Some(fork))
    }

    /// Asks the control plane to prove it. Whoever signed a checkpoint has the entries: a log that says it has fewer was cut.
    async fn prove(&self, epoch: u64, old: (u64, Hash), new: (u64, Hash)) -> Result<bool, Error> {
        let (channel, address) = self.sessions.channel().await?;
        let mut client = AgentsClient::new(channel).max_decoding_message_size(MAX_MESSAGE);
        let asked = LogConsistencyRequest {
            epoch,
            old_size: old.0,
            new_size: new.0,
        };
        let shown = match client.log_consistency(asked).await {
            Ok(shown) => shown.into_inner(),
            Err(status) if matches!(status.code(), Code::InvalidArgument | Code::NotFound) => {
                return Ok(false);
            }
            Err(status) => return Err(self.sessions.failed(&address, &status).await),
        };
        let hashes: Result<Vec<Hash>, _> = shown.hashes.into_iter().map(Hash::try_from).collect();
        Ok(hashes.is_ok_and(|hashes| proof::is_consistent(old, new, &hashes)))
    }
}

#[cfg(test)]
mod tests;
