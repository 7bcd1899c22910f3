//! What this agent knows of revocation: the newest head, the deny chain up to it, and how old that is. From the control
//! plane or from other agents, verified alike; kept on disk; in force in [`SharedTrust`] from the moment it is known.
//!
//! Everything here writes to the disk and verifies signatures: it runs on the administration's thread, to which links
//! hand over what they hear. What becomes of live links is said in `revoking`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use skans_identity::deny::{Applied, Chain, Entry, Standing as Against, Target};
use skans_identity::head::{Audience, Head, Horizon, Mark, SignedHead, VerifiedHead};
use skans_identity::recovery::{Recovery, SignedRecovery};
use skans_identity::trust::SharedTrust;
use skans_identity::verify::Verifier;
use tokio::sync::watch;

use crate::Error;
use crate::control::{Item, State};
use crate::standing::{Age, Class, Moment, Standing};

/// The longest gap that is taken from peers, in entries. Who lacks more asks the control plane for a snapshot; a link lets
/// no more through in one turn either.
const MAX_STAGED: usize = 4096;

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

/// Entries that a peer hands over, until they are known to lead to a signed head.
#[derive(Debug)]
pub struct Staging {
    next: u64,
    hash: [u8; 32],
    to: u64,
    entries: Vec<Entry>,
}

impl Staging {
    /// The number of the entry that is wanted next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }
}

/// What comes of entries that a peer handed over.
#[derive(Debug)]
pub enum Staged {
    /// They fit so far; there are more to come.
    More,
    /// They lead to the head, and are in force.
    Done,
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

    /// Takes a head, whoever sent it. If entries up to it are missing, says which.
    ///
    /// # Errors
    /// [`Error::Unverifiable`] if it is not one of our control plane, or tells of another stream than the one known; from
    /// the control plane also if it goes back. Whoever sent it is at fault, or the control plane was copied.
    pub fn hear(&self, bytes: &[u8], from: From) -> Result<Option<Staging>, Error> {
        if self.newest.borrow().as_deref() == Some(bytes) {
            return Ok(None);
        }
        let signed = SignedHead::decode(bytes).map_err(unverifiable)?;
        let claimed = Head::decode(&signed.head).map_err(unverifiable)?;
        let mut inner = self.lock();
        // Not worth a signature check: an older one proves nothing, for or against an agent that hands it on.
        let newest = inner.ahead.as_ref().or(inner.head.as_ref());
        let older = newest.is_some_and(|known| {
            (claimed.mark(), claimed.time) <= (known.head().mark(), known.head().time)
        });
        let below = inner
            .horizon
            .mark()
            .is_some_and(|mark| claimed.mark() < mark);
        if from == From::Peer && (older || below) {
            return Ok(inner.missing());
        }
        let head = signed
            .verify(&self.verifier, &self.audience, UnixTime::now())
            .map_err(unverifiable)?;
        let before = inner.horizon;
        let lacks = matches!(inner.chain.standing(&head), Against::Missing { .. });
        if let Err(refusal) = inner.horizon.accept(&head) {
            // Ours has signed it: whatever is wrong with the control plane, it is not this peer's fault.
            if from == From::Peer {
                tracing::error!(
                    "a peer knows another control plane than this agent does: {refusal}"
                );
                return Ok(inner.missing());
            }
            return Err(unverifiable(refusal));
        }
        inner.unkept |= inner.horizon != before;
        // Before anything rests on it. But entries that a peer has come first: a disk may take its time, and who was revoked
        // talks meanwhile.
        if from == From::Control || !lacks {
            self.keep_horizon(&mut inner)?;
        }
        if from == From::Control && inner.candidate.is_some() {
            self.confirm(&mut inner, &head)?;
        }
        self.place(&mut inner, head)?;
        Ok(inner.missing())
    }

    /// Takes a statement that the control plane was restored from a backup and begins a new epoch. What was denied stays so
    /// until a snapshot of the new epoch is here.
    ///
    /// It must be signed by a root of the bundle; people cannot, since who is an owner is known to nobody here.
    ///
    /// # Errors
    /// [`Error::Unverifiable`]; one of an epoch that is known already is none.
    pub fn recover(&self, signed: &[u8]) -> Result<(), Error> {
        let signed = SignedRecovery::decode(signed).map_err(unverifiable)?;
        let claimed = Recovery::decode(&signed.statement).map_err(unverifiable)?;
        let mut inner = self.lock();
        if inner
            .horizon
            .mark()
            .is_some_and(|mark| claimed.epoch <= mark.epoch)
        {
            return Ok(());
        }
        let recovery = signed
            .verify(&self.verifier, &self.audience, UnixTime::now())
            .map_err(unverifiable)?;
        let mut horizon = inner.horizon;
        horizon.recover(&recovery).map_err(unverifiable)?;
        self.state.write(Item::Horizon, &horizon.to_bytes())?;
        inner.horizon = horizon;
        inner.ahead = None;
        tracing::warn!(
            epoch = claimed.epoch,
            "the control plane was restored from a backup: a new epoch begins"
        );
        Ok(())
    }

    /// The control plane's snapshot takes the place of the chain if a head of its own bears it out.
    fn confirm(&self, inner: &mut Inner, head: &VerifiedHead) -> Result<(), Error> {
        let Some(chain) = inner.candidate.take() else {
            return Ok(());
        };
        match chain.standing(head) {
            Against::Complete => {
                let targets: Vec<_> = chain.denied().map(|entry| entry.target().clone()).collect();
                let (seq, denied) = (chain.seq(), targets.len());
                inner.chain = chain;
                self.enforce(inner, &targets);
                self.keep_chain(inner)?;
                tracing::info!(seq, denied, "deny list taken from the control plane");
                Ok(())
            }
            Against::Missing { .. } | Against::Ahead => {
                inner.candidate = Some(chain);
                Ok(())
            }
            Against::Forked => Err(forked(head)),
        }
    }

    /// A verified head counts once its entries are here; until then it says which are missing.
    fn place(&self, inner: &mut Inner, head: VerifiedHead) -> Result<(), Error> {
        match inner.chain.standing(&head) {
            Against::Complete | Against::Ahead => {
                // Seconds are coarse: two heads may have one time.
                let at = |head: &VerifiedHead| (head.head().mark(), head.head().time);
                if inner
                    .head
                    .as_ref()
                    .is_some_and(|known| at(&head) <= at(known))
                {
                    return Ok(());
                }
                let bytes = head.signed().encode();
                inner
                    .standing
                    .hear(Duration::from_secs(head.head().time), self.moment());
                self.newest.send_replace(Some(bytes.as_slice().into()));
                if inner.epoch != head.head().epoch {
                    inner.epoch = head.head().epoch;
                    self.changes.send_modify(|count| *count += 1);
                }
                inner.head = Some(head);
                inner.ahead = None;
                self.state.write(Item::Head, &bytes)
            }
            Against::Missing { .. } => {
                inner.ahead = Some(head);
                Ok(())
            }
            Against::Forked => Err(forked(&head)),
        }
    }

    /// Takes entries from a peer. They count once they lead to a signed head.
    ///
    /// # Errors
    /// [`Error::Unverifiable`] if they do not: the peer is at fault.
    pub fn stage<'a>(
        &self,
        staging: &mut Staging,
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Staged, Error> {
        let bad = Error::Unverifiable;
        let before = staging.next;
        for bytes in entries {
            let entry = Entry::decode(bytes).map_err(unverifiable)?;
            if entry.seq() != staging.next || *entry.previous() != staging.hash {
                return Err(bad(format!(
                    "deny entry {} does not follow the one before {}",
                    entry.seq(),
                    staging.next
                )));
            }
            if staging.entries.len() >= MAX_STAGED {
                return Err(bad(format!("more than {MAX_STAGED} deny entries at once")));
            }
            staging.next += 1;
            staging.hash = entry.hash();
            staging.entries.push(entry);
        }
        let mut inner = self.lock();
        let reached = [&inner.ahead, &inner.head]
            .into_iter()
            .flatten()
            .any(|head| {
                let head = head.head();
                head.deny_seq + 1 == staging.next && head.deny_hash == staging.hash
            });
        if reached {
            let entries = std::mem::take(&mut staging.entries);
            self.append(&mut inner, entries)?;
            return Ok(Staged::Done);
        }
        if staging.next > staging.to {
            return Err(bad(format!(
                "deny entries up to {} do not lead to the head they were sent for",
                staging.to
            )));
        }
        if staging.next == before {
            // It has them no longer; the control plane has.
            return Ok(Staged::Done);
        }
        Ok(Staged::More)
    }

    /// The entries from this number on, as far as they are here, for another agent.
    #[must_use]
    pub fn entries_from(&self, seq: u64) -> Vec<Vec<u8>> {
        let inner = self.lock();
        let Some(before) = seq.checked_sub(1) else {
            return Vec::new();
        };
        let entries = inner.chain.since(before);
        // More than this fits no frame.
        entries.map_or_else(Vec::new, |entries| {
            entries.take(512).map(Entry::encode).collect()
        })
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

impl Inner {
    /// What is missing up to the newest verified head.
    fn missing(&self) -> Option<Staging> {
        let head = self.ahead.as_ref()?.head();
        (head.deny_seq > self.chain.seq()).then(|| Staging {
            next: self.chain.seq() + 1,
            hash: *self.chain.hash(),
            to: head.deny_seq,
            entries: Vec::new(),
        })
    }
}

fn unverifiable(error: impl std::fmt::Display) -> Error {
    Error::Unverifiable(error.to_string())
}

fn forked(head: &VerifiedHead) -> Error {
    Error::Unverifiable(format!(
        "head {} tells of another deny stream than the one known here",
        head.head().mark()
    ))
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
