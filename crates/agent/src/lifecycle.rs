//! Keeps the certificates of this host fresh: the embedded authority's leaves and those of the control plane are renewed,
//! files are read again when they change. One task on the administration's thread; links never wait for it. What is in use stands in `identities`, when
//! something is due in `renewal`.

mod authority;
mod files;
mod tally;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use tokio::sync::Notify;

pub use tally::Tally;

use crate::Error;
use crate::agent::Agent;
use crate::config::{Config, IdentitySource};
use crate::control;
use crate::identities::Identities;
use crate::renewal::{Chance, Schedule};
use crate::subjects::{self, Subject};

/// How long the task sleeps at most: a clock that was set, or a host that slept, is noticed after this time.
pub const NAP: Duration = Duration::from_secs(5);
/// How long it sleeps at least, whatever the numbers in a certificate say.
const BLINK: Duration = Duration::from_millis(200);

/// What the rest of the agent sees of it.
#[derive(Debug, Default)]
pub struct Lifecycle {
    /// Renewals by result.
    pub renewals: Tally,
    /// The configuration was read anew.
    pub reloaded: Notify,
}

/// Loads or makes the certificates of all subjects and puts them in use. On an error everything stays as it was.
///
/// # Errors
/// Files that cannot be used, names that do not fit a certificate, certificates that do not fit the configured names.
pub fn load(config: &Config, identities: &Identities) -> Result<(), Error> {
    let subjects = subjects::of(config)?;
    let all: Vec<_> = subjects.iter().collect();
    let (bundle, fresh) = match &config.identity {
        IdentitySource::Authority(source) => authority::issue(config, source, &all)?,
        IdentitySource::Files(source) => files::read(config, source, &all)?,
        // What is in use came over the network, and is renewed in its own time.
        IdentitySource::Control(_) | IdentitySource::WorkloadApi(_) => return Ok(()),
    };
    identities.install(Some(bundle), fresh)?;
    identities.retire(UnixTime::now(), |name| {
        subjects.iter().any(|subject| subject.name == name)
    })?;
    Ok(())
}

/// Keeps at it until the agent stops.
pub async fn keep(agent: Arc<Agent>) {
    let stopping = agent.stopping.clone();
    tokio::select! {
        () = turn_after_turn(&agent) => {}
        () = stopping.cancelled() => {}
    }
}

async fn turn_after_turn(agent: &Arc<Agent>) {
    let mut schedule = Schedule::default();
    let mut watched = files::Watched::default();
    loop {
        let settings = agent.settings();
        let nap = match &settings.config.identity {
            IdentitySource::Authority(source) => {
                authority::turn(agent, &settings.config, source, &mut schedule).await
            }
            IdentitySource::Files(source) => {
                files::turn(agent, &settings.config, source, &mut watched).await
            }
            IdentitySource::Control(_) => match &agent.control {
                Some(control) => {
                    control::turn(agent, control, &settings.config, &mut schedule).await
                }
                None => NAP, // It was opened at start, and the source cannot change since.
            },
            // They come by themselves.
            IdentitySource::WorkloadApi(_) => NAP,
        };
        retire(agent);
        tokio::select! {
            () = tokio::time::sleep(nap.clamp(BLINK, NAP)) => {}
            () = agent.lifecycle.reloaded.notified() => {}
        }
    }
}

/// Nothing that has run out is shown to anybody.
fn retire(agent: &Agent) {
    match agent.identities.retire(UnixTime::now(), |_| true) {
        Ok(gone) => {
            for name in gone {
                tracing::error!(%name, "its certificate has expired: no links for it until there is a new one");
            }
        }
        Err(error) => tracing::error!("cannot take expired certificates out of use: {error}"),
    }
}

/// Brings a schedule in line with what is in use. A certificate that is new here was obtained between now and its first
/// second, which lies before its issue: `made_now` says which of the two to count from.
pub fn reconcile(
    agent: &Agent,
    schedule: &mut Schedule,
    subjects: &[Subject],
    now: Duration,
    made_now: bool,
) {
    schedule.forget(|name| subjects.iter().any(|subject| subject.name == name));
    for subject in subjects {
        match agent.identities.credential(&subject.name) {
            None => schedule.missing(&subject.name, now),
            Some(credential) => {
                let identity = credential.identity();
                let since = if made_now {
                    now
                } else {
                    Duration::from_secs(identity.not_before)
                };
                let end = Duration::from_secs(identity.not_after);
                schedule.seen(&subject.name, &identity.serial, since, end, Chance::draw());
            }
        }
    }
}

/// Time since the Unix epoch.
#[must_use]
pub fn now() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// Which identity of this host cannot be used now, and why, if one cannot.
#[must_use]
pub fn missing(agent: &Agent) -> Option<String> {
    if let Some(control) = &agent.control {
        if let Some(trouble) = control.trouble() {
            return Some(format!("not enrolled: {trouble}"));
        }
        if !control.is_ready() {
            return Some("waiting to hear what was revoked".to_owned());
        }
    }
    let settings = agent.settings();
    let subjects = subjects::of(&settings.config).unwrap_or_default();
    let without = subjects
        .into_iter()
        .find(|subject| agent.identities.credential(&subject.name).is_none())?;
    Some(format!("no certificate for {}", without.name))
}

/// Seconds until the first of these certificates runs out: how long nothing may be renewed without harm. 0 once one has, also
/// when it was taken out of use for that.
#[must_use]
pub fn outage_budget(agent: &Agent) -> Option<u64> {
    let now = now().as_secs();
    let shown = agent.identities.shown();
    let control = agent.control.as_ref();
    if control.is_some()
        && subjects::of(&agent.settings().config)
            .unwrap_or_default()
            .iter()
            .any(|wanted| shown.iter().all(|held| held.node != wanted.name))
    {
        return Some(0);
    }
    let own = control.and_then(|control| control.own());
    shown
        .into_iter()
        .map(|shown| shown.not_after)
        .chain(own.map(|own| own.identity().not_after))
        .map(|end| end.saturating_sub(now))
        .min()
}

#[cfg(test)]
mod tests;
