//! Leaves of the embedded authority: made at start, and again before they run out.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::UnixTime;
use skans_identity::bundle::Bundle;
use skans_identity::credential::Credential;
use skans_identity::id::TrustDomain;

use super::{NAP, now, reconcile};
use crate::agent::Agent;
use crate::config::{AuthoritySource, Config};
use crate::renewal::{Chance, Schedule};
use crate::subjects::{self, Subject};
use crate::{Error, authority_files};

/// Makes a certificate for each subject, with a fresh key.
pub(super) fn issue(
    config: &Config,
    source: &AuthoritySource,
    subjects: &[&Subject],
) -> Result<(Bundle, Vec<(String, Credential)>), Error> {
    let trust_domain = TrustDomain::parse(&config.trust_domain)
        .map_err(|error| Error::config("trustDomain", error.to_string()))?;
    let authority = authority_files::open(&source.directory, &trust_domain, &config.cluster)?;
    let fresh = subjects
        .iter()
        .map(|subject| {
            authority
                .issue(
                    &subject.id,
                    &subject.host,
                    source.leaf_lifetime,
                    UnixTime::now(),
                )
                .map(|credential| (subject.name.clone(), credential))
                .map_err(|error| Error::config(&subject.key, error.to_string()))
        })
        .collect::<Result<_, _>>()?;
    let bundle = authority
        .bundle()
        .map_err(|error| Error::Internal(error.to_string()))?;
    Ok((bundle, fresh))
}

/// Renews what is due. Says how long to wait.
pub(super) async fn turn(
    agent: &Arc<Agent>,
    config: &Config,
    source: &AuthoritySource,
    schedule: &mut Schedule,
) -> Duration {
    let Ok(subjects) = subjects::of(config) else {
        return NAP; // Checked when it was loaded.
    };
    reconcile(agent, schedule, &subjects, now(), true);
    let due = schedule.due(now());
    if !due.is_empty() {
        let result = renew(agent, config, source, &subjects, &due).await;
        for name in &due {
            match &result {
                Ok(()) => {
                    agent.lifecycle.renewals.count("ok");
                    tracing::info!(%name, "certificate renewed");
                }
                Err(error) => {
                    agent.lifecycle.renewals.count(error.label());
                    tracing::warn!(%name, "certificate not renewed, the old one stays: {error}");
                    schedule.failed(name, now(), Chance::draw());
                }
            }
        }
        reconcile(agent, schedule, &subjects, now(), true);
    }
    schedule
        .next()
        .map_or(NAP, |next| next.saturating_sub(now()))
}

async fn renew(
    agent: &Arc<Agent>,
    config: &Config,
    source: &AuthoritySource,
    subjects: &[Subject],
    due: &[String],
) -> Result<(), Error> {
    let wanted: Vec<_> = subjects
        .iter()
        .filter(|subject| due.contains(&subject.name))
        .cloned()
        .collect();
    let (config, source) = (config.clone(), source.clone());
    // Another agent may hold the directory's lock.
    let issued = tokio::task::spawn_blocking(move || {
        let wanted: Vec<_> = wanted.iter().collect();
        issue(&config, &source, &wanted)
    });
    let (bundle, fresh) = issued
        .await
        .map_err(|error| Error::Internal(error.to_string()))??;
    agent.identities.install(Some(bundle), fresh)
}
