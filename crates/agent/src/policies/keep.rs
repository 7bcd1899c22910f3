//! What happens by itself: sets that have come are looked at, what has run out refuses everything, and a dry run ends.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use skans_api::v1::CandidateSet;
use skans_policy::Version;

use super::{Policies, Standing, nothing};
use crate::Error;
use crate::agent::Agent;
use crate::control::Control;
use crate::lifecycle;

/// The longest time between two looks at the clock, which may be set.
const NAP: Duration = Duration::from_secs(5);

/// How many days before its end a dry run is warned of, once a day.
const WARNED: u64 = 7;

/// A dry run that is under way.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct DryRun {
    /// When it ends, Unix time.
    ends: u64,
    /// How many days were left when it was last told of.
    told: u64,
}

impl DryRun {
    /// Looks at one that ends then. Gives how many days are left, if that is to be told now.
    pub(super) fn look(dry: &mut Option<Self>, ends: u64, now: u64) -> Option<u64> {
        let left = ends.saturating_sub(now).div_ceil(86_400);
        let before = dry.filter(|dry| dry.ends == ends).map(|dry| dry.told);
        let due = before.is_none_or(|told| left < told && left <= WARNED);
        let told = if due { Some(left) } else { before };
        *dry = told.map(|told| Self { ends, told });
        due.then_some(left)
    }
}

/// Does it until the agent stops.
pub async fn keep(agent: Arc<Agent>) {
    let stopping = agent.stopping.clone();
    tokio::select! {
        () = watch_clock(&agent.policies) => {}
        () = follow(&agent) => {}
        () = stopping.cancelled() => {}
    }
}

/// Takes what the control plane sends, one after the other, the newest at each time.
async fn follow(agent: &Arc<Agent>) {
    let (Some(control), Some(signed)) = (&agent.control, &agent.policies.signed) else {
        return std::future::pending().await;
    };
    let mut arrived = signed.arrived.subscribe();
    arrived.mark_changed();
    let mut candidate = signed.candidate.subscribe();
    candidate.mark_changed();
    let refused = agent.policies.lock().refused_at_start.take();
    if let Some(refused) = refused {
        tell(agent, &refused);
    }
    let mut newest = control.revocation.newest();
    loop {
        tokio::select! {
            changed = arrived.changed() => {
                if changed.is_err() {
                    return;
                }
                let waiting = agent.policies.pending.load(Relaxed);
                let next = arrived.borrow_and_update().clone();
                if let Some(bytes) = next {
                    take(agent, control, bytes).await;
                }
                agent.policies.pending.fetch_sub(waiting, Relaxed);
                // For those who wait for it, whatever became of it.
                agent.policies.changes.send_modify(|count| *count += 1);
            }
            changed = candidate.changed() => {
                if changed.is_err() {
                    return;
                }
                let waiting = agent.policies.pending.load(Relaxed);
                let next = candidate.borrow_and_update().clone();
                if let Some(next) = next {
                    compare(agent, next).await;
                }
                agent.policies.pending.fetch_sub(waiting, Relaxed);
                agent.policies.changes.send_modify(|count| *count += 1);
            }
            // Heads come from other agents, too.
            changed = newest.changed() => {
                if changed.is_err() {
                    return;
                }
                if let Err(error) = agent.policies.look_at(&control.revocation) {
                    tracing::error!("{error}");
                }
            }
        }
    }
}

async fn take(agent: &Arc<Agent>, control: &Arc<Control>, bytes: Arc<[u8]>) {
    let (policies, control) = (Arc::clone(&agent.policies), Arc::clone(control));
    // Thousands of policies take a while to compile.
    let work = move || policies.take(&bytes, &control.revocation);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(_)) => {}
        Ok(Err(refused)) => tell(agent, &refused),
        Err(error) => tracing::error!("a policy set was not looked at: {error}"),
    }
}

async fn compare(agent: &Arc<Agent>, candidate: Arc<CandidateSet>) {
    let policies = Arc::clone(&agent.policies);
    let work = move || policies.compare_with(&candidate);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => {}
        Ok(Err(refused)) => {
            tracing::warn!("a policy set is not compared with the one that decides: {refused}")
        }
        Err(error) => tracing::error!("a policy set was not looked at: {error}"),
    }
}

/// As an event, with the version that stays in force.
fn tell(agent: &Agent, refused: &Error) {
    let Version { epoch, n } = agent.policies.current().version();
    agent.events.refused_set(refused, (epoch, n));
}

async fn watch_clock(policies: &Policies) {
    let mut changes = policies.changes();
    let mut was_dry = None;
    loop {
        changes.borrow_and_update();
        let now = lifecycle::now();
        match policies.tick(now, &mut was_dry) {
            Ok(nap) => {
                tokio::select! {
                    () = tokio::time::sleep(nap.min(NAP)) => {}
                    changed = changes.changed() => if changed.is_err() { return },
                }
            }
            Err(error) => {
                tracing::error!("{error}");
                tokio::time::sleep(NAP).await;
            }
        }
    }
}

impl Policies {
    /// Does what is due now, and says how long until something is. `dry` is the dry run that was under way at the last look.
    ///
    /// # Errors
    /// [`Error::Policy`]: none in a build that passes its own tests.
    pub(super) fn tick(&self, now: Duration, dry: &mut Option<DryRun>) -> Result<Duration, Error> {
        let present = self.current();
        let (seconds, mut next) = (now.as_secs(), NAP);
        if let Some(expires) = present.expires
            && present.standing == Standing::Signed
        {
            if seconds > expires {
                let _inner = self.lock();
                // Another one may have come meanwhile.
                if Arc::ptr_eq(&self.current(), &present) {
                    tracing::error!(version = %present.version(), expires, "the policy set has expired: everything is refused until the control plane sends one");
                    self.put(nothing(present.version(), Standing::Expired)?);
                }
                return Ok(NAP);
            }
            next = Duration::from_secs(expires + 1)
                .saturating_sub(now)
                .min(next);
        }
        let ends = present.dry_until();
        if let Some(ends) = ends.filter(|&ends| seconds < ends) {
            if let Some(left) = DryRun::look(dry, ends, seconds) {
                tracing::warn!(version = %present.version(), days = left, "the policy set is a dry run: nothing is refused until it ends, and everything that is told as would_deny from then on");
            }
            next = Duration::from_secs(ends).saturating_sub(now).min(next);
        } else if dry.take().is_some() && ends.is_some() {
            tracing::warn!(version = %present.version(), "the dry run is over: the policy set is enforced");
            self.changes.send_modify(|count| *count += 1);
        }
        Ok(next)
    }
}
