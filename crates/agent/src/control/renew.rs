//! One turn of renewal: what is due is asked for, looked at, kept and put in use.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use skans_identity::credential::Credential;
use skans_identity::verify::Usage;

use super::issue::{self, BATCH, Wanted};
use super::{Control, Item, OWN, enrol};
use crate::Error;
use crate::agent::Agent;
use crate::config::Config;
use crate::lifecycle::{self, NAP, now};
use crate::renewal::{Chance, Schedule};
use crate::subjects::{self, Subject};

/// Renews what is due. Says how long to wait.
pub async fn turn(
    agent: &Arc<Agent>,
    control: &Control,
    config: &Config,
    schedule: &mut Schedule,
) -> Duration {
    let Ok(subjects) = subjects::of(config) else {
        return NAP; // Checked at start.
    };
    lifecycle::reconcile(agent, schedule, &subjects, now(), false);
    note_own(control, schedule);
    let enrolled = control
        .own()
        .is_some_and(|own| now().as_secs() <= own.identity().not_after);
    if enrolled {
        control.set_trouble(None);
        hasten(agent, control, schedule, &subjects);
        let due = schedule.due(now());
        for names in due.chunks(BATCH) {
            renew(agent, control, schedule, &subjects, names).await;
        }
    } else if schedule.due(now()).iter().any(|name| name == OWN) {
        match enrol::enrol(control, &agent.identities).await {
            Ok(own) => {
                let identity = own.identity();
                tracing::info!(id = %identity.id, not_after = identity.not_after, "enrolled");
                agent.lifecycle.renewals.count("ok");
                obtained(schedule, OWN, &own);
                control.set_trouble(None);
                return Duration::ZERO;
            }
            Err(error) => {
                agent.lifecycle.renewals.count(error.label());
                tracing::error!(retry = error.may_retry(), "not enrolled: {error}");
                control.set_trouble(Some(error.to_string()));
                schedule.failed(OWN, now(), Chance::draw());
            }
        }
        // Who cannot ask has nothing to wait for: a good certificate that was kept is enough to go on with.
        control.set_ready();
    }
    let next = if enrolled {
        schedule.next()
    } else {
        schedule.at(OWN)
    };
    next.map_or(NAP, |next| next.saturating_sub(now()))
}

/// The agent's own certificate stands in the schedule beside those of its nodes.
fn note_own(control: &Control, schedule: &mut Schedule) {
    match control.own() {
        None => schedule.missing(OWN, now()),
        Some(own) => {
            let identity = own.identity();
            let (since, end) = (
                Duration::from_secs(identity.not_before),
                Duration::from_secs(identity.not_after),
            );
            schedule.seen(OWN, &identity.serial, since, end, Chance::draw());
        }
    }
}

/// What an authority signed that is being replaced is renewed soon, what has a key that is to be given up at once.
fn hasten(agent: &Agent, control: &Control, schedule: &mut Schedule, subjects: &[Subject]) {
    let replaced = std::mem::take(&mut *control.replaced());
    let verifier = agent.identities.verifier();
    for (key, within) in replaced {
        let names = subjects.iter().map(|subject| subject.name.as_str());
        for name in names.chain([OWN]) {
            let held = if name == OWN {
                control.own().map(|own| (*own).clone())
            } else {
                agent.identities.credential(name)
            };
            let Some(credential) = held else { continue };
            if credential.identity().spki_sha256 == key {
                tracing::warn!(%name, "its key may be known to somebody else: it gets another");
                control.gives_up(agent, key);
                schedule.hasten(name, now(), Chance::draw(), Duration::ZERO);
                continue;
            }
            let found = verifier.evidence(credential.chain(), Usage::Server, UnixTime::now());
            // One that is not trusted any more has no time to lose either.
            if found.map_or(true, |found| found.signers.contains(&key)) {
                schedule.hasten(name, now(), Chance::draw(), within);
            }
        }
    }
}

async fn renew(
    agent: &Arc<Agent>,
    control: &Control,
    schedule: &mut Schedule,
    subjects: &[Subject],
    names: &[String],
) {
    let wanted: Vec<_> = names
        .iter()
        .filter_map(|name| {
            if name == OWN {
                return Some((OWN, Wanted::Own));
            }
            let subject = subjects.iter().find(|subject| subject.name == *name)?;
            Some((name.as_str(), Wanted::Node(subject)))
        })
        .collect();
    let asked: Vec<_> = wanted.iter().map(|(_, wanted)| *wanted).collect();
    let life = control
        .source
        .leaf_lifetime
        .map_or(0, |life| life.as_secs());
    let life = u32::try_from(life).unwrap_or_default();
    let answers = match issue::issue(
        &control.sessions,
        &agent.identities.verifier(),
        &asked,
        life,
    )
    .await
    {
        Ok(answers) => answers,
        Err(error) => {
            for (name, _) in &wanted {
                failed(agent, schedule, name, &error);
            }
            if error.label() == "unauthenticated" && control.check_evidence().is_ok() {
                enrol_again(agent, control, schedule).await;
            }
            return;
        }
    };
    for ((name, wanted), answer) in wanted.into_iter().zip(answers) {
        let before = match wanted {
            Wanted::Own => control.own().map(|own| own.identity().spki_sha256),
            Wanted::Node(_) => agent.identities.credential(name).map(key_of),
        };
        let taken = answer.and_then(|credential| {
            match wanted {
                Wanted::Own => control.set_own(credential.clone()),
                Wanted::Node(_) => {
                    // Before anybody is shown it.
                    let own = credential.identity();
                    control.own_links.holds(own, Instant::now());
                    agent
                        .identities
                        .install(None, [(name.to_owned(), credential.clone())])?;
                }
            }
            Ok(credential)
        });
        match taken {
            Err(error) => failed(agent, schedule, name, &error),
            Ok(credential) => {
                agent.lifecycle.renewals.count("ok");
                let not_after = credential.identity().not_after;
                tracing::info!(%name, not_after, "certificate renewed");
                if let Some(before) = before {
                    control.gave_up(agent, &before);
                }
                obtained(schedule, name, &credential);
                let item = if name == OWN {
                    Item::Agent
                } else {
                    Item::Node(name)
                };
                // In use already: a disk that is full costs a restart its certificate, not the cluster its links.
                if let Err(error) = control.keep_credential(item, &credential) {
                    tracing::error!(%name, "a renewed certificate could not be kept: {error}");
                }
            }
        }
    }
}

/// The control plane does not know this agent any more, and there is something new to enrol with.
async fn enrol_again(agent: &Agent, control: &Control, schedule: &mut Schedule) {
    match enrol::enrol(control, &agent.identities).await {
        Ok(own) => {
            tracing::info!(id = %own.identity().id, "enrolled again");
            obtained(schedule, OWN, &own);
        }
        Err(error) => tracing::error!(retry = error.may_retry(), "not enrolled again: {error}"),
    }
}

fn key_of(credential: Credential) -> [u8; 32] {
    credential.identity().spki_sha256
}

fn obtained(schedule: &mut Schedule, name: &str, credential: &Credential) {
    let identity = credential.identity();
    let end = Duration::from_secs(identity.not_after);
    schedule.obtained(name, &identity.serial, now(), end, Chance::draw());
}

fn failed(agent: &Agent, schedule: &mut Schedule, name: &str, error: &Error) {
    agent.lifecycle.renewals.count(error.label());
    tracing::warn!(%name, reason = error.label(), retry = error.may_retry(), "certificate not renewed, the one in use stays: {error}");
    schedule.failed(name, now(), Chance::draw());
}
