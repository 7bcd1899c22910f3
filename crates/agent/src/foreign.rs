//! By which roots nodes of other clusters are judged here: those that the control plane believes, or, without one, those that the
//! links of a local policy set bring along. Only while a link of ours is in force; ours are never among them.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustls::pki_types::UnixTime;
use skans_identity::bundle::Bundle;
use skans_identity::federation::foreign::{Foreign, Overview};
use skans_identity::federation::link::Links;
use tokio::sync::watch;

use crate::Error;
use crate::agent::Agent;

/// How often it is looked whether a link is over, or what is believed too old.
const LOOK: Duration = Duration::from_secs(1);

/// What is believed of other domains.
#[derive(Debug, Default)]
pub struct Believed {
    of: Mutex<Foreign>,
    changes: watch::Sender<()>,
}

impl Believed {
    /// The control plane says what it believes, as it keeps it (docs/decisions/0019).
    ///
    /// # Errors
    /// [`Error::Unverifiable`] for what cannot be read. What was believed stays.
    pub fn take(&self, bytes: &[u8]) -> Result<(), Error> {
        let next = Foreign::from_bytes(bytes)
            .map_err(|error| Error::Unverifiable(format!("bundles of other domains: {error}")))?;
        *self.lock() = next;
        self.changes.send_replace(());
        Ok(())
    }

    /// Looks at it, by the links of now.
    pub fn look<T>(&self, links: &Links, seen: impl FnOnce(&[Overview<'_>]) -> T) -> T {
        seen(&self.lock().overview(links, UnixTime::now()))
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Foreign> {
        self.of.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts in force what is believed now, by the links of now. Says whether anything is otherwise than before.
///
/// # Errors
/// None in practice: [`Error::Internal`] for more domains than links have.
pub fn refresh(agent: &Agent) -> Result<bool, Error> {
    let now = UnixTime::now();
    let links = Arc::clone(&agent.policies.current().links);
    let mut believed = agent.believed.lock();
    if agent.control.is_none() {
        // Nobody fetches any: what people brought counts as long as they say so.
        *believed = Foreign::default();
        let trust = agent.identities.trust().load();
        let own = trust.bundles.get(agent.identities.trust_domain());
        if let Some(own) = own
            && let Err(refusal) = believed.follow(&links, own, now)
        {
            tracing::warn!("roots of another domain are not believed: {refusal}");
        }
    }
    let bundles: Vec<Bundle> = believed.in_force(&links, now).cloned().collect();
    drop(believed);
    agent.identities.install_foreign(bundles)
}

/// Follows links, bundles and time.
pub async fn follow(agent: Arc<Agent>) {
    let mut changes = agent.believed.changes.subscribe();
    let mut policies = agent.policies.changes();
    let mut before = 0;
    loop {
        let links = Arc::clone(&agent.policies.current().links);
        let count = links.in_force(UnixTime::now()).count();
        match refresh(&agent) {
            // The links that went over have to be looked at as well, whoever else is in the same domain.
            Ok(changed) if changed || count < before => crate::run::decide_again(&agent),
            Ok(_) => {}
            Err(error) => tracing::error!("roots of other domains: {error}"),
        }
        before = count;
        // Where there is none, only a change can bring one.
        let timer = async {
            match links.iter().next() {
                Some(_) => tokio::time::sleep(LOOK).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = changes.changed() => {}
            _ = policies.changed() => {}
            () = timer => {}
        }
    }
}
