//! A set that is compared with the one that decides, and what it decides otherwise. It never decides, is not kept, and changes
//! nothing of what was seen: the one that decides comes as ever (`delivery`).

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::pki_types::UnixTime;
use skans_api::v1;
use skans_api::v1::rollout_report::{Difference, Verdict as Told};
use skans_identity::policy_set::{Origin, SignedSet};
#[cfg(test)]
use skans_policy::Version;
use skans_policy::{Decision, Engine, Request, Resource, Subject, Verdict};

use super::delivery::{plain, sound};
use super::{InForce, Policies, Standing};
use crate::Error;

/// Differences that are kept between two reports: what the contract allows in one.
const MOST: usize = 256;
/// Differences of one sender between two reports; the rest of them are one. Who invents names takes no more of the report.
const MOST_OF_ONE: usize = 16;
/// The resource of those that are one.
const SEVERAL: &str = "*";

/// A set to compare with.
pub struct Beside {
    engine: Arc<Engine>,
    /// The number of the candidate.
    n: u64,
    /// 0 where this is the candidate; else the number of the cohort in which it decides, and this is the set in force before.
    stage: u32,
    tally: Mutex<Tally>,
    keys: RandomState,
}

#[derive(Default)]
struct Tally {
    found: HashMap<u64, Difference>,
    unlisted: u64,
}

/// The candidate denies what the set in force permits: what a roll-out is stopped for.
fn is_denied(active: Told, candidate: Told) -> bool {
    active == Told::Permit && candidate != Told::Permit
}

impl Tally {
    /// Forgets another difference for one that the candidate denies, and counts it.
    fn makes_room(&mut self, active: Told, candidate: Told) -> bool {
        let others = self
            .found
            .iter()
            .filter(|(_, one)| !is_denied(one.active(), one.candidate()));
        let least = others.min_by_key(|(_, one)| one.count).map(|(key, _)| *key);
        let Some(key) = least.filter(|_| is_denied(active, candidate)) else {
            return false;
        };
        if let Some(one) = self.found.remove(&key) {
            self.unlisted = self.unlisted.saturating_add(one.count);
        }
        true
    }
}

impl std::fmt::Debug for Beside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Beside")
            .field("version", &self.engine.version())
            .field("n", &self.n)
            .field("stage", &self.stage)
            .finish_non_exhaustive()
    }
}

impl Beside {
    /// A set, ready to be asked.
    pub const fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Whether it is about the set in force: a candidate for its place, or what was there before.
    fn is_for(&self, in_force: &InForce) -> bool {
        let (own, other) = (self.engine.version(), in_force.version());
        in_force.standing == Standing::Signed
            && own.epoch == other.epoch
            && if self.stage == 0 {
                other.n < own.n
            } else {
                other.n == self.n && own.n < other.n
            }
    }

    /// Takes note of a question on which the two do not agree. `asked` says what each of them decides, the one that is in force on this agent
    /// first; it is asked only if the question is new.
    ///
    /// Takes a lock: for what is decided otherwise, not for a message that is like most.
    pub fn differs(
        &self,
        from: &Subject,
        to: &Subject,
        request: &Request<'_>,
        asked: impl FnOnce() -> (Decision, Decision),
    ) {
        let key = self
            .keys
            .hash_one((from, to, request.action, &request.resource));
        let mut tally = self.lock();
        if let Some(known) = tally.found.get_mut(&key) {
            known.count += 1;
            return;
        }
        let principal = from.id();
        let (decided, beside) = asked();
        let (active, candidate) = if self.stage == 0 {
            (decided, beside)
        } else {
            (beside, decided)
        };
        let forbidden = !candidate.policies.is_empty()
            && candidate.errors.is_empty()
            && candidate.verdict != Verdict::Permit;
        let (was, is) = (told(active.verdict), told(candidate.verdict));
        // What is like it: nobody hides what the candidate denies behind what it permits.
        let alike = |one: &Difference| (one.active(), one.candidate()) == (was, is);
        let own = tally.found.values();
        let own = own.filter(|one| one.principal == principal && alike(one));
        let (key, resource) = if own.count() < MOST_OF_ONE {
            (key, text(&request.resource))
        } else {
            let several = self.keys.hash_one((from, SEVERAL, was as i32, is as i32));
            (several, SEVERAL.to_owned())
        };
        if let Some(known) = tally.found.get_mut(&key) {
            known.count += 1;
            return;
        }
        if tally.found.len() >= MOST && !tally.makes_room(was, is) {
            tally.unlisted += 1;
            return;
        }
        let difference = Difference {
            principal,
            target: to.id(),
            action: request.action.as_str().to_owned(),
            resource,
            active: was.into(),
            candidate: is.into(),
            forbidden,
            count: 1,
        };
        tally.found.insert(key, difference);
    }

    fn lock(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was found since the last report. `permitted` is how many decisions of the set that decides were permits.
    pub fn report(&self, permitted: u64) -> v1::RolloutReport {
        let tally = std::mem::take(&mut *self.lock());
        let mut differences: Vec<_> = tally.found.into_values().collect();
        differences.sort_by_key(|one| std::cmp::Reverse(one.count));
        let counted = |told: Told, of: fn(&Difference) -> Told| {
            let these = differences.iter().filter(|one| of(one) == told);
            these.map(|one| one.count).sum::<u64>()
        };
        // What the set in force permits, whichever of the two decides here.
        let permitted = if self.stage == 0 {
            permitted
        } else {
            let more = counted(Told::Permit, Difference::active);
            let less = counted(Told::Permit, Difference::candidate);
            permitted.saturating_add(more).saturating_sub(less)
        };
        v1::RolloutReport {
            epoch: self.engine.version().epoch,
            n: self.n,
            stage: self.stage,
            permitted,
            differences,
            unlisted: tally.unlisted,
        }
    }

    /// Puts back what could not be told. What was found meanwhile is added.
    pub fn put_back(&self, report: v1::RolloutReport) {
        let mut tally = self.lock();
        tally.unlisted = tally.unlisted.saturating_add(report.unlisted);
        let lost: u64 = report.differences.iter().map(|one| one.count).sum();
        if !tally.found.is_empty() {
            tally.unlisted = tally.unlisted.saturating_add(lost);
            return;
        }
        for (key, one) in (0..).zip(report.differences) {
            tally.found.insert(key, one);
        }
    }
}

const fn told(verdict: Verdict) -> Told {
    match verdict {
        Verdict::Permit => Told::Permit,
        Verdict::Deny => Told::Deny,
        Verdict::WouldDeny => Told::WouldDeny,
    }
}

/// As policies write it.
fn text(resource: &Resource<'_>) -> String {
    match resource {
        Resource::Node => String::new(),
        Resource::Process(name) | Resource::Service(name) => (*name).to_owned(),
        Resource::Function {
            module,
            function,
            arity,
        } => format!("{module}:{function}/{arity}"),
    }
}

impl Policies {
    /// A set to compare with has come over the stream, or there is none any more. It is looked at where nobody waits for it.
    pub fn candidate_arrived(&self, candidate: v1::CandidateSet) {
        if let Some(own) = &self.signed {
            self.pending.fetch_add(1, Relaxed);
            own.candidate.send_replace(Some(Arc::new(candidate)));
        }
    }

    /// Takes a set to compare with. One that cannot be used is none: nothing depends on it. Blocks: it verifies and compiles.
    ///
    /// # Errors
    /// [`Error::Policy`]: why it is not taken.
    pub fn compare_with(&self, candidate: &v1::CandidateSet) -> Result<(), Error> {
        let taken = self.read_beside(candidate);
        let next = taken.as_ref().ok().and_then(Clone::clone);
        self.beside.store(next);
        self.changes.send_modify(|count| *count += 1);
        taken.map(drop)
    }

    fn read_beside(&self, candidate: &v1::CandidateSet) -> Result<Option<Arc<Beside>>, Error> {
        let Some(own) = self
            .signed
            .as_ref()
            .filter(|_| !candidate.signed.is_empty())
        else {
            return Ok(None);
        };
        let refused =
            |refusal: skans_identity::Refusal| Error::policy(refusal.to_string(), refusal.label());
        let verified = SignedSet::decode(&candidate.signed)
            .map_err(|error| Error::policy(error.to_string(), "encoding"))?;
        let schemas = super::delivery::schemas();
        let verified = verified
            .verify(
                &own.verifier,
                &own.audience,
                &schemas,
                Origin::Wire,
                UnixTime::now(),
            )
            .map_err(refused)?;
        let version = plain(verified.set().version);
        let of_it = if candidate.stage == 0 {
            version.n == candidate.n
        } else {
            version.n < candidate.n
        };
        if !of_it {
            return Err(Error::policy(
                format!(
                    "a set {version} to compare with, of candidate {}",
                    candidate.n
                ),
                "unexpected",
            ));
        }
        let known = self.beside.load_full();
        if let Some(known) = known.filter(|known| {
            known.engine.version() == version
                && (known.n, known.stage) == (candidate.n, candidate.stage)
        }) {
            // Signed anew: what was found goes on.
            return Ok(Some(known));
        }
        let (engine, _) = sound(&verified, version)?;
        tracing::info!(%version, candidate = candidate.n, cohort = candidate.stage, "a policy set is compared with the one that decides");
        Ok(Some(Arc::new(Beside::new(
            engine,
            candidate.n,
            candidate.stage,
        ))))
    }

    /// The set to compare with, if there is one that is about the set in force.
    #[must_use]
    pub fn beside(&self) -> Option<Arc<Beside>> {
        let beside = self.beside.load_full()?;
        beside.is_for(&self.current()).then_some(beside)
    }
}

impl Beside {
    fn new(engine: Arc<Engine>, n: u64, stage: u32) -> Self {
        Self {
            engine,
            n,
            stage,
            tally: Mutex::default(),
            keys: RandomState::new(),
        }
    }
}

#[cfg(test)]
impl Policies {
    /// With this set in force as the control plane's number 1, and this candidate 2 beside it; or in a cohort, the other way round.
    pub fn comparing(
        active: &skans_policy::Source,
        candidate: &skans_policy::Source,
        stage: u32,
    ) -> Self {
        let numbered = |source: &skans_policy::Source, n| skans_policy::Source {
            version: Version { epoch: 1, n },
            ..source.clone()
        };
        let (active, candidate) = (numbered(active, 1), numbered(candidate, 2));
        let (decides, other) = if stage == 0 {
            (active, candidate)
        } else {
            (candidate, active)
        };
        let this = Self::of(
            InForce {
                standing: Standing::Signed,
                ..Self::in_force(&decides)
            },
            None,
            super::Inner::default(),
        );
        let engine = Arc::new(Engine::compile(&other).unwrap());
        this.beside
            .store(Some(Arc::new(Beside::new(engine, 2, stage))));
        this
    }
}
