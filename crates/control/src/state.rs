//! What every part of a running control plane shares: who it is, its store, what it trusts, what it signs with.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use skans_audit::note::SigningKey;
use skans_identity::authority::Issuer;
use skans_identity::control_tls::Served;
use skans_identity::credential::Credential;
use skans_identity::id::{Role, TrustDomain};
use skans_identity::seal::SealingKey;
use skans_identity::verify::Verifier;
use skans_store::writer::Epoch;
use skans_store::{Store, grants};
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

use crate::acknowledgements::Acknowledgements;
use crate::caller::Caller;
use crate::clock;
use crate::config::Config;
use crate::error::Error;
use crate::federation::{Attempts, Told};
use crate::kubernetes::ApiServer;
use crate::metrics::Metrics;
use crate::news::News;
use crate::rates::Rates;
use crate::roles::{Held, Kind, RoleName, Roles};
use crate::rotation::Next;
use crate::scope::Scope;

/// For how long a grant of break-glass holds, in seconds.
const BREAK_GLASS: u64 = 3600;

/// For whom this control plane speaks.
#[derive(Clone, Debug)]
pub(crate) struct Home {
    pub(crate) trust_domain: TrustDomain,
    pub(crate) cluster: String,
    /// The cluster, as a scope.
    pub(crate) scope: Scope,
}

impl Home {
    /// Of a configuration that was checked.
    pub(crate) fn of(config: &Config) -> Result<Self, Error> {
        let trust_domain = TrustDomain::parse(&config.trust_domain)?;
        let scope = Scope::trust_domain(trust_domain.clone()).cluster(&config.cluster)?;
        Ok(Self {
            trust_domain,
            cluster: config.cluster.clone(),
            scope,
        })
    }
}

/// The stream that each agent listens to: its number, and what ends it.
pub(crate) type Streams = HashMap<String, (u64, CancellationToken)>;

/// A running control plane.
pub(crate) struct Control {
    pub(crate) config: Config,
    pub(crate) home: Home,
    /// Where agents reach it: what join tokens carry.
    pub(crate) addresses: Vec<String>,
    pub(crate) store: Store,
    pub(crate) roles: Roles,
    /// Verifies callers, by the bundle and the deny set as of the last refresh.
    pub(crate) verifier: Arc<Verifier>,
    /// What the API port shows, once there is something to show.
    pub(crate) served: OnceLock<Served>,
    /// The same, as heads are signed with it.
    pub(crate) own: ArcSwapOption<Credential>,
    /// The authority that signs leaves.
    pub(crate) issuer: ArcSwapOption<Issuer>,
    /// The one that is to follow, while a cohort lives on it.
    pub(crate) next: ArcSwapOption<Next>,
    /// What agents are to hear of.
    pub(crate) news: watch::Sender<Arc<News>>,
    /// One refresh at a time, so that news never goes back.
    pub(crate) refreshing: Mutex<()>,
    /// How fetching the bundles of other trust domains goes.
    pub(crate) attempts: Attempts,
    /// How telling them of ours goes, and what they were told of.
    pub(crate) pushes: Attempts,
    pub(crate) told: Told,
    pub(crate) acknowledgements: Acknowledgements,
    /// An incident was opened.
    pub(crate) incidents: tokio::sync::Notify,
    /// A roll-out has moved, or an agent has told something of it.
    pub(crate) rollouts: tokio::sync::Notify,
    pub(crate) sealing: SealingKey,
    /// The key of the log of an epoch, once it was opened.
    pub(crate) log_key: std::sync::Mutex<Option<(u64, Arc<SigningKey>)>>,
    pub(crate) metrics: Metrics,
    /// Requests of those without a certificate.
    pub(crate) strangers: Rates<IpAddr>,
    /// Enrolments from one address.
    pub(crate) enrolments: Rates<IpAddr>,
    /// Certificates that an identity asks for.
    pub(crate) issues: Rates<String>,
    /// Reports of one agent of what it saw.
    pub(crate) reports: Rates<String>,
    /// Events that one agent tells.
    pub(crate) told_events: Rates<String>,
    /// Events that all of them tell.
    pub(crate) all_told_events: Rates<()>,
    /// Requests of agents that tell, which are being written.
    pub(crate) intake: tokio::sync::Semaphore,
    /// How many streams of events each agent has.
    pub(crate) tellers: std::sync::Mutex<HashMap<String, usize>>,
    /// Refusals of one token that become events.
    pub(crate) told_tokens: Rates<[u8; 16]>,
    /// Refusals of one agent that become events.
    pub(crate) told_agents: Rates<String>,
    /// The highest epoch that an agent was seen with.
    pub(crate) highest_epoch: std::sync::Mutex<u64>,
    /// How many streams each agent has.
    pub(crate) streams: std::sync::Mutex<Streams>,
    /// The epoch in which this replica is the writer, if it thinks so.
    pub(crate) writer: std::sync::Mutex<Option<Epoch>>,
    /// Whom to ask about Kubernetes' tokens.
    pub(crate) api_server: Option<ApiServer>,
    pub(crate) stopping: CancellationToken,
}

impl Control {
    /// Whether what a connection proved still holds: its time, its root, and that nobody denies it.
    ///
    /// # Errors
    /// [`Error::Unauthenticated`], with the reason.
    pub(crate) fn still_holds(&self, caller: &Caller) -> Result<(), Error> {
        let Some(evidence) = caller.evidence() else {
            return Ok(());
        };
        self.verifier
            .recheck(evidence, clock::now())
            .map_err(|refusal| Error::Unauthenticated(refusal.to_string()))
    }

    /// Returns when it holds no longer.
    pub(crate) async fn until_invalid(&self, caller: &Caller) {
        let Some(evidence) = caller.evidence() else {
            return std::future::pending().await;
        };
        let mut news = self.news.subscribe();
        while self.still_holds(caller).is_ok() {
            let left = (evidence.not_after + 1).saturating_sub(clock::seconds());
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(left.max(1))) => {}
                changed = news.changed() => if changed.is_err() { return },
            }
        }
    }

    /// The roles of a person.
    ///
    /// # Errors
    /// Those of the store.
    pub(crate) async fn roles_of(&self, caller: &Caller) -> Result<Vec<Held>, Error> {
        if caller.kind() != Kind::User {
            return Ok(Vec::new());
        }
        if caller.is_local() {
            // Whoever opens the socket could as well open the database.
            return Ok(vec![Held {
                role: RoleName::Owner,
                scope: Scope::trust_domain(self.home.trust_domain.clone()),
            }]);
        }
        let Some(Role::User(user)) = caller.identity().and_then(|identity| identity.id.role())
        else {
            return Ok(Vec::new());
        };
        let user = user.to_owned();
        let now = clock::seconds();
        let grants = self.store.read(move |tx| grants::of(tx, &user)).await?;
        Ok(grants.iter().filter_map(|grant| held(grant, now)).collect())
    }

    /// The streams of all agents.
    pub(crate) fn streams(&self) -> MutexGuard<'_, Streams> {
        self.streams.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The epoch in which this replica is the writer, if it thinks so.
    pub(crate) fn writer(&self) -> Option<Epoch> {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the epoch in which this replica is the writer.
    pub(crate) fn set_writer(&self, epoch: Option<Epoch>) {
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = epoch;
    }

    /// The SHA-256 of the `SubjectPublicKeyInfo` of the root above the active authority: what join tokens carry.
    ///
    /// # Errors
    /// [`Error::NoAuthority`].
    pub(crate) fn root_hash(&self) -> Result<[u8; 32], Error> {
        let news = self.news.borrow().clone();
        let root = self.root_of(&news)?;
        let root = root.ok_or_else(|| {
            Error::NoAuthority("no root in the bundle vouches for the active one".to_owned())
        })?;
        Ok(crate::roots::facts(&root)?.spki)
    }

    /// Returns when there is a certificate to show.
    pub(crate) async fn until_it_has_a_certificate(&self) -> Served {
        let mut news = self.news.subscribe();
        loop {
            if let Some(served) = self.served.get() {
                return served.clone();
            }
            if news.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
    }

    /// The authority that signs leaves.
    ///
    /// # Errors
    /// [`Error::NoAuthority`].
    pub(crate) fn issuer(&self) -> Result<Arc<Issuer>, Error> {
        self.issuer
            .load_full()
            .ok_or_else(|| Error::NoAuthority("none is active (skans ca status)".to_owned()))
    }
}

/// A grant that holds now. What an older or newer release wrote and this one cannot read gives nothing.
pub(crate) fn held(grant: &grants::Grant, now: u64) -> Option<Held> {
    let role = RoleName::parse(&grant.role)?;
    if role == RoleName::BreakGlass && now >= grant.granted_at.saturating_add(BREAK_GLASS) {
        return None;
    }
    Some(Held {
        role,
        scope: grant.scope.parse().ok()?,
    })
}
