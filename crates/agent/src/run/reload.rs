//! A configuration that has changed, in a running agent.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use skans_host::logs;

use crate::agent::Agent;
use crate::config::{self, Config, IdentitySource};
use crate::settings::Settings;
use crate::{Error, lifecycle, setup};

/// Reads the configuration anew.
#[derive(Clone, Debug)]
pub struct Reload {
    path: PathBuf,
    turn: Arc<Mutex<()>>,
}

impl Reload {
    /// Reads this file.
    pub fn of(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            turn: Arc::default(),
        }
    }

    /// Puts a changed configuration in force. Links that still hold go on untouched; those that no
    /// longer do are ended.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one then stays in force, whole.
    pub(crate) fn now(&self, agent: &Arc<Agent>) -> Result<(), Error> {
        // A signal and the Unix socket may both ask: the file that was read last has to win.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let new = config::load(&self.path)?;
        let old = agent.settings();
        if let Some(key) = needs_restart(&old.config, &new) {
            return Err(Error::config(
                &self.path.display().to_string(),
                format!(
                    "{key}: found another value than at start, wanted the same: this key takes a restart"
                ),
            ));
        }
        // What can fail comes first, and changes nothing.
        logs::check(&new.log.level)?;
        let settings = Settings::new(new).map_err(|why| Error::config("configuration", why))?;
        let policy = agent.policies.reread(&settings.config)?;
        let doors = agent.doors.prepare(&settings.config, &agent.users)?;
        lifecycle::load(&settings.config, &agent.identities)?;
        agent.events.reopen(&settings.config.events)?;
        logs::switch(&settings.config.log.level)?;
        agent.settings.store(Arc::new(settings));
        agent.lifecycle.reloaded.notify_one();
        agent.doors.install(agent, doors);
        if let Some(policy) = policy {
            agent.policies.install(&agent.settings().config, policy);
        }
        decide_again(agent);
        tracing::info!("configuration reloaded");
        Ok(())
    }
}

/// The first key that changed and cannot change in a running agent.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let checks = [
        ("trustDomain", old.trust_domain != new.trust_domain),
        ("cluster", old.cluster != new.cluster),
        ("namespace", old.namespace != new.namespace),
        (
            "runtimeDirectory",
            old.runtime_directory != new.runtime_directory,
        ),
        ("workloadApi", old.workload_api != new.workload_api),
        (
            "identity",
            is_opened_once(old, new) && old.identity != new.identity,
        ),
        ("nodes", old.nodes != new.nodes),
        ("cli", old.cli != new.cli),
        (
            "gateway.name",
            old.gateway.as_ref().map(|gateway| &gateway.name)
                != new.gateway.as_ref().map(|gateway| &gateway.name),
        ),
        ("links.listen", old.links.listen != new.links.listen),
        (
            "links.maxPending",
            old.links.max_pending != new.links.max_pending,
        ),
        ("epmd", old.epmd != new.epmd),
        ("admin", old.admin != new.admin),
        ("log.format", old.log.format != new.log.format),
        ("events.window", old.events.window != new.events.window),
        ("events.spool", old.events.spool != new.events.spool),
        ("traces", old.traces != new.traces),
    ];
    checks
        .into_iter()
        .find(|(_, changed)| *changed)
        .map(|(key, _)| key)
}

/// What comes over a connection is opened once: its directory, its socket, its tasks.
fn is_opened_once(old: &Config, new: &Config) -> bool {
    [old, new].into_iter().any(|config| {
        matches!(
            config.identity,
            IdentitySource::Control(_) | IdentitySource::WorkloadApi(_)
        )
    })
}

/// Looks at every live link again when the roots have changed: what hangs on one that left ends.
pub async fn follow_roots(agent: Arc<Agent>) {
    let mut roots = agent.identities.roots();
    while roots.changed().await.is_ok() {
        decide_again(&agent);
    }
}

/// Looks at every live link with the settings and the trust of now, and ends those that no longer hold.
pub fn decide_again(agent: &Agent) {
    agent.judged.send_replace(());
    let settings = agent.settings();
    for link in agent.registry.snapshot() {
        if let Err(error) = setup::decide(agent, &link, &link.proof()) {
            let (local, peer) = link.names();
            tracing::warn!(link = link.id, %local, %peer, "no longer permitted: {error}");
            link.mute(error.to_close(), settings.config.links.silence);
        }
    }
}
