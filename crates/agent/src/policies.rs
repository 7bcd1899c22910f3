//! Which policy set decides on this agent: the one of the control plane, that of a local directory, or the one that is built in;
//! how it came to be, until when it holds, and what holds when there is none. What is asked of it is asked elsewhere.
//!
//! What is not verified, does not compile, goes back or has run out never comes into force. Without anything in force
//! everything is refused.

mod beside;
mod delivery;
mod directory;
mod keep;
mod kept;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use skans_identity::federation::link::Links;
use skans_identity::head::Audience;
use skans_identity::policy_set::Horizon;
use skans_policy::{Engine, Mode, Source, Version};
use tokio::sync::watch;

use crate::Error;
use crate::config::Config;
use crate::lifecycle::Tally;

pub use beside::Beside;
pub use delivery::Signed;
pub use keep::keep;

/// Where the set that is in force comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// The one that is built in, `same-cluster-members`: nobody has said anything else.
    BuiltIn,
    /// A local directory.
    Directory,
    /// The control plane.
    Signed,
    /// The control plane's, and its life is over: everything is refused.
    Expired,
    /// The control plane names one, and it has not come, or cannot be used: everything is refused.
    Missing,
}

impl Standing {
    /// A stable word for it.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::BuiltIn => "built_in",
            Self::Directory => "directory",
            Self::Signed => "signed",
            Self::Expired => "expired",
            Self::Missing => "missing",
        }
    }

    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::BuiltIn,
        Self::Directory,
        Self::Signed,
        Self::Expired,
        Self::Missing,
    ];
}

/// What decides now. It never changes: a change is another one.
pub struct InForce {
    /// Decides. One that refuses everything where the standing says so.
    pub engine: Arc<Engine>,
    /// Where it comes from.
    pub standing: Standing,
    /// What its author calls it; for people.
    pub name: String,
    /// The last second in which it may be used, Unix time; `None` where nothing runs out.
    pub expires: Option<u64>,
    /// What it consents to of other clusters.
    pub links: Arc<Links>,
}

impl InForce {
    /// Its place in the order of the control plane's sets; zeros for others.
    #[must_use]
    pub fn version(&self) -> Version {
        self.engine.version()
    }

    /// When its dry run ends, if it is one: from then on a pair that is made anew refuses.
    #[must_use]
    pub fn dry_until(&self) -> Option<u64> {
        match self.engine.mode() {
            Mode::DryRun { until } => Some(until),
            Mode::Enforce => None,
        }
    }
}

impl std::fmt::Debug for InForce {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InForce")
            .field("version", &self.version())
            .field("standing", &self.standing)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The set in force, and how it changes.
pub struct Policies {
    current: ArcSwap<InForce>,
    /// What it is compared with.
    beside: ArcSwapOption<Beside>,
    /// Counts up whenever what is decided may be another: a new set, one that has expired, a dry run that has ended.
    changes: watch::Sender<u64>,
    /// What the control plane's sets need; `None` without one.
    signed: Option<delivery::Signed>,
    /// One change at a time. The highest version ever accepted is in it.
    inner: Mutex<Inner>,
    /// Sets that were refused, by reason.
    pub refused: Tally,
    /// Sets that came and were not looked at yet.
    pending: AtomicU64,
}

#[derive(Debug, Default)]
struct Inner {
    horizon: Horizon,
    directory: Option<PathBuf>,
    /// Why what was kept is not used, until it is told as an event.
    refused_at_start: Option<Error>,
}

impl std::fmt::Debug for Policies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Policies").field(&self.current()).finish()
    }
}

impl Policies {
    /// What decides now.
    #[must_use]
    pub fn current(&self) -> Arc<InForce> {
        self.current.load_full()
    }

    /// Changes whenever decisions may be others than before. Look at [`Policies::current`] after it has.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// At the start, without a control plane: the configured directory, or the set that is built in.
    ///
    /// # Errors
    /// [`Error::Policy`] or [`Error::File`] if the directory cannot be used: then the agent does not start.
    pub fn local(config: &Config) -> Result<Self, Error> {
        let directory = config.policy.directory.clone();
        let first = match &directory {
            Some(directory) => directory::load(directory, config)?,
            None => built_in(&config.trust_domain, &config.cluster)?,
        };
        let inner = Inner {
            directory,
            ..Inner::default()
        };
        Ok(Self::of(first, None, inner))
    }

    fn of(first: InForce, signed: Option<delivery::Signed>, inner: Inner) -> Self {
        Self {
            current: ArcSwap::from_pointee(first),
            beside: ArcSwapOption::empty(),
            changes: watch::Sender::default(),
            signed,
            inner: Mutex::new(inner),
            refused: Tally::default(),
            pending: AtomicU64::new(0),
        }
    }

    /// Reads the configured directory anew, and says what [`Policies::install`] is to put in force; `None` if there is nothing to
    /// read. What was in force stays.
    ///
    /// # Errors
    /// As [`Policies::local`].
    pub fn reread(&self, config: &Config) -> Result<Option<InForce>, Error> {
        if self.signed.is_some() {
            return Ok(None);
        }
        let next = match &config.policy.directory {
            Some(directory) => directory::load(directory, config)?,
            None if self.lock().directory.is_none() => return Ok(None),
            None => built_in(&config.trust_domain, &config.cluster)?,
        };
        Ok(Some(next))
    }

    /// Puts in force what [`Policies::reread`] has read.
    pub fn install(&self, config: &Config, next: InForce) {
        self.lock().directory.clone_from(&config.policy.directory);
        self.put(next);
    }

    fn put(&self, next: InForce) {
        tracing::info!(version = %next.version(), name = next.name, standing = next.standing.label(), "policy set in force");
        self.current.store(Arc::new(next));
        self.changes.send_modify(|count| *count += 1);
    }

    /// Returns once every set that came was looked at.
    pub async fn settled(&self) {
        let mut changes = self.changes();
        while self.pending.load(Relaxed) > 0 {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl Policies {
    /// With this set in force, for tests that are about something else.
    pub fn testing(source: &Source) -> Self {
        Self::of(Self::in_force(source), None, Inner::default())
    }

    /// With another one from now on.
    pub fn replace(&self, source: &Source) {
        self.put(Self::in_force(source));
    }

    fn in_force(source: &Source) -> InForce {
        InForce {
            engine: Arc::new(compile(source).unwrap()),
            standing: Standing::Directory,
            name: source.name.clone(),
            expires: None,
            links: Arc::default(),
        }
    }
}

/// The set that is built in, for a cluster.
fn built_in(trust_domain: &str, cluster: &str) -> Result<InForce, Error> {
    let source = Source::same_cluster_members(trust_domain, cluster);
    Ok(InForce {
        engine: Arc::new(compile(&source)?),
        standing: Standing::BuiltIn,
        name: source.name,
        expires: None,
        links: Arc::default(),
    })
}

/// What refuses everything.
fn nothing(version: Version, standing: Standing) -> Result<InForce, Error> {
    let source = Source::nothing(version);
    Ok(InForce {
        engine: Arc::new(compile(&source)?),
        standing,
        name: source.name,
        expires: None,
        links: Arc::default(),
    })
}

/// What a set says of other clusters; all of it must be right.
fn links(source: &Source, own: &Audience) -> Result<Arc<Links>, Error> {
    let links = Links::parse(own, &source.links.to_json());
    links
        .map(Arc::new)
        .map_err(|error| Error::policy(format!("links: {error}"), "links"))
}

fn compile(source: &Source) -> Result<Engine, Error> {
    Engine::compile(source).map_err(|problems| Error::Policy {
        problem: problems.to_string(),
        label: "compile",
    })
}
