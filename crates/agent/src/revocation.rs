//! What this agent knows of revocation: the newest head, the deny chain up to it, and how old that is. From the control
//! plane or from other agents, verified alike; kept on disk; in force in [`SharedTrust`] from the moment it is known.
//!
//! Everything here writes to the disk and verifies signatures: it runs on the administration's thread, to which links
//! hand over what they hear. What becomes of live links is said in `revoking`.

mod heads;
mod staging;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use skans_identity::deny::{Applied, Chain, Entry, Standing as Against, Target};
use skans_identity::head::{Audience, Head, Horizon, Mark, SignedHead, VerifiedHead};
use skans_identity::trust::SharedTrust;
use skans_identity::verify::Verifier;
use tokio::sync::watch;

use crate::Error;
use crate::control::{Item, State};
use crate::standing::{Age, Class, Moment, Standing};
pub use staging::{Staged, Staging};

/// Heads, entries, and the age of both.
pub struct Revocation {
    inner: Mutex<Inner>,
    state: Arc<State>,
    trust: SharedTrust,
    verifier: Arc<Verifier>,
    audience: Audience,
    started: Instant,
    /// The newest head whose entries are all here, as it is handed on.
    newest: watch::Sender<Option<Arc<[u8]>>>,
    /// Counts up with each change of what is denied.
    changes: watch::Sender<u64>,
    /// Makes live links that are touched stop forwarding.
    cut: OnceLock<Cut>,
}

/// Told what is denied from now on, once it is in force for new links.
type Cut = Box<dyn Fn(&[Target]) + Send + Sync>;

/// Who sent something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum From {
    /// The control plane, over a connection that it has proven itself on.
    Control,
    /// Another agent, which may be behind, or hostile.
    Peer,
}

struct Inner {
    chain: Chain,
    /// The epoch of the head that last bore the chain out. Below the horizon's while a new epoch begins.
    epoch: u64,
    horizon: Horizon,
    /// The horizon is not on the disk as it is here.
    unkept: bool,
    standing: Standing,
    head: Option<VerifiedHead>,
    /// Verified, and newer than what the chain holds.
    ahead: Option<VerifiedHead>,
    /// A snapshot of the control plane's, until a head says that it is the one.
    candidate: Option<Chain>,
}

impl std::fmt::Debug for Revocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Revocation").finish_non_exhaustive()
    }
}

impl Revocation {
    /// With what was kept.
    ///
    /// # Errors
    /// [`Error::File`] if the horizon or the chain cannot be read: an agent that forgets what was denied must not run.
    pub fn open(
        state: Arc<State>,
        trust: SharedTrust,
        verifier: Arc<Verifier>,
        audience: Audience,
        class: Class,
    ) -> Result<Self, Error> {
        let broken = |item, error: skans_identity::Error| {
            Error::file(
                &state.path(item),
                format!("{error}; enrol this agent anew (remove the directory)"),
            )
        };
        let horizon = match state.read(Item::Horizon)? {
            Some(bytes) => {
                Horizon::from_bytes(&bytes).map_err(|error| broken(Item::Horizon, error))?
            }
            None => Horizon::default(),
        };
        let chain = match state.read(Item::Denials)? {
            Some(bytes) => {
                Chain::from_bytes(&bytes).map_err(|error| broken(Item::Denials, error))?
            }
            None => Chain::default(),
        };
        let started = Instant::now();
        let kept = state.read(Item::Head)?;
        let signed = kept.and_then(|bytes| SignedHead::decode(&bytes).ok());
        let known = signed
            .as_ref()
            .and_then(|signed| Head::decode(&signed.head).ok());
        let time = known.as_ref().map(|head| Duration::from_secs(head.time));
        let epoch = known.map_or(0, |head| head.epoch);
        // One whose signer's certificate has run out since proves nothing to others, but still says how old it is.
        let head = signed
            .and_then(|signed| signed.verify(&verifier, &audience, UnixTime::now()).ok())
            .filter(|head| chain.standing(head) == Against::Complete);
        let newest = head.as_ref().map(|head| head.signed().encode().into());
        let now = Moment {
            wall: crate::lifecycle::now(),
            steady: Duration::ZERO,
        };
        let this = Self {
            inner: Mutex::new(Inner {
                chain,
                epoch,
                horizon,
                unkept: false,
                standing: Standing::new(class, time, now),
                head,
                ahead: None,
                candidate: None,
            }),
            state,
            trust,
            verifier,
            audience,
            started,
            newest: watch::Sender::new(newest),
            changes: watch::Sender::default(),
            cut: OnceLock::new(),
        };
        this.enforce(&this.lock(), &[]);
        Ok(this)
    }

    /// What counts more when the control plane is out of reach.
    pub fn set_class(&self, class: Class) {
        self.lock().standing.set_class(class);
    }

    /// What counts more when the control plane is out of reach.
    #[must_use]
    pub fn class(&self) -> Class {
        self.lock().standing.class()
    }

    /// Whether new links may be opened, whether live ones may go on, and how old the newest head is.
    #[must_use]
    pub fn verdict(&self) -> (bool, bool, Age) {
        let (now, standing) = (self.moment(), self.lock().standing);
        (standing.opens(now), standing.holds(now), standing.step(now))
    }

    /// How old the newest head is, and how long until that means something else.
    #[must_use]
    pub fn age(&self) -> (Duration, Option<Duration>) {
        let (now, standing) = (self.moment(), self.lock().standing);
        (standing.age(now), standing.next(now))
    }

    /// Epoch, deny sequence and hash of what is in force here.
    #[must_use]
    pub fn position(&self) -> (u64, u64, [u8; 32]) {
        let inner = self.lock();
        (inner.epoch, inner.chain.seq(), *inner.chain.hash())
    }

    /// The highest epoch and sequence ever accepted; a recovery statement opens an epoch before its first head is here.
    #[must_use]
    pub fn horizon(&self) -> Option<Mark> {
        self.lock().horizon.mark()
    }

    /// The newest head whose entries are all here; what is to be handed on to other agents.
    #[must_use]
    pub fn newest(&self) -> watch::Receiver<Option<Arc<[u8]>>> {
        self.newest.subscribe()
    }

    /// Changes whenever what is denied has changed.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// What is to happen to live links, from now on.
    pub fn on_denied(&self, cut: Cut) {
        // Set once, when the agent is put together.
        let _ = self.cut.set(cut);
    }

    /// Takes entries from the control plane itself: they are in force at once.
    ///
    /// # Errors
    /// [`Error::Unverifiable`] if they do not follow what is here: ask for a snapshot.
    pub fn delta(&self, entries: &[Vec<u8>]) -> Result<(), Error> {
        let entries = entries
            .iter()
            .map(|bytes| Entry::decode(bytes))
            .collect::<Result<Vec<_>, _>>()
            .map_err(unverifiable)?;
        let mut inner = self.lock();
        let Some(candidate) = &mut inner.candidate else {
            return self.append(&mut inner, entries);
        };
        for entry in entries {
            if entry.seq() > candidate.seq() {
                candidate.apply(entry).map_err(unverifiable)?;
            }
        }
        Ok(())
    }

    /// Takes a snapshot from the control plane itself. It takes the place of what is here once a head says that it is the
    /// one: a control plane that was restored from a backup has none that this agent would take.
    ///
    /// # Errors
    /// [`Error::Unverifiable`] if it cannot be read, or is older than what is here.
    pub fn snapshot(&self, seq: u64, hash: [u8; 32], entries: &[Vec<u8>]) -> Result<(), Error> {
        let chain = Chain::restore(seq, hash, entries).map_err(unverifiable)?;
        let mut inner = self.lock();
        if let Some(mark) = inner.horizon.mark().filter(|mark| seq < mark.deny_seq) {
            return Err(Error::Unverifiable(format!(
                "found a deny list up to {seq}, wanted one up to {} or later",
                mark.deny_seq
            )));
        }
        inner.candidate = Some(chain);
        Ok(())
    }

    /// Writes down what could not wait for the disk, or what the disk would not take. Every few seconds.
    ///
    /// # Errors
    /// [`Error::File`]: to be tried again.
    pub fn keep(&self) -> Result<(), Error> {
        self.keep_horizon(&mut self.lock())
    }

    /// Drops entries that no longer matter. Once in a while.
    pub fn forget(&self) {
        let mut inner = self.lock();
        let before = inner.chain.denied().len();
        inner.chain.forget(UnixTime::now().as_secs());
        if inner.chain.denied().len() != before {
            self.enforce(&inner, &[]);
        }
    }

    fn append(&self, inner: &mut Inner, entries: Vec<Entry>) -> Result<(), Error> {
        let before = inner.chain.seq();
        let mut denied = BTreeMap::new();
        let mut problem = None;
        for entry in entries {
            if entry.seq() <= inner.chain.seq() {
                continue; // Somebody else was faster.
            }
            let seq = entry.seq();
            // Lifted before it was ever in force here: nobody's links are to be cut for it.
            if let Target::Allow(lifted) = entry.target() {
                denied.remove(lifted);
            }
            match inner.chain.apply(entry) {
                Ok(applied) => {
                    log(seq, &applied);
                    if let Applied::Denied(target) = applied {
                        denied.insert(seq, target);
                    }
                }
                Err(error) => {
                    problem = Some(unverifiable(error));
                    break;
                }
            }
        }
        if inner.chain.seq() != before {
            let denied: Vec<_> = denied.into_values().collect();
            self.enforce(inner, &denied);
            self.keep_chain(inner)?;
        }
        self.keep_horizon(inner)?;
        if let Some(head) = inner.ahead.take() {
            self.place(inner, head)?;
        }
        problem.map_or(Ok(()), Err)
    }

    /// Puts in force what the chain says: for whoever connects from now on, then for those who are connected.
    fn enforce(&self, inner: &Inner, denied: &[Target]) {
        let deny = inner.chain.deny_set(UnixTime::now());
        self.trust.update(|trust| trust.deny = deny.clone());
        if let Some(cut) = self.cut.get().filter(|_| !denied.is_empty()) {
            cut(denied);
        }
        self.changes.send_modify(|count| *count += 1);
    }

    fn keep_chain(&self, inner: &Inner) -> Result<(), Error> {
        self.state.write(Item::Denials, &inner.chain.to_bytes())
    }

    fn keep_horizon(&self, inner: &mut Inner) -> Result<(), Error> {
        if inner.unkept {
            self.state.write(Item::Horizon, &inner.horizon.to_bytes())?;
            inner.unkept = false;
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment {
            wall: crate::lifecycle::now(),
            steady: self.started.elapsed(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn unverifiable(error: impl std::fmt::Display) -> Error {
    Error::Unverifiable(error.to_string())
}

fn log(seq: u64, applied: &Applied) {
    match applied {
        Applied::Denied(target) => {
            tracing::warn!(seq, kind = target.label(), what = %target.text(), "revoked");
        }
        Applied::Allowed(target) => {
            tracing::warn!(seq, kind = target.label(), what = %target.text(), "no longer revoked");
        }
        Applied::Nothing => tracing::info!(seq, "a revocation that was forgotten is lifted"),
    }
}

#[cfg(test)]
mod tests;
