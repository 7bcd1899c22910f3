//! The agent's side of the control plane: enrolment, certificates, revocation. On the administration's thread; links never
//! wait for it. What it keeps is enough to come back with the control plane away.

mod dial;
mod enrol;
#[cfg(test)]
mod golden;
mod issue;
mod log_watch;
mod observed;
mod own_links;
mod rekey;
mod renew;
mod session;
mod state;
mod suspects;
mod tell;
mod watch;

use std::collections::BTreeSet;
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use serde::{Deserialize, Serialize};
use skans_identity::bundle::Bundle;
use skans_identity::control_tls::ControlPlane;
use skans_identity::credential::Credential;
use skans_identity::head::Audience;
use skans_identity::host::Host;
use skans_identity::id::TrustDomain;
use tokio::sync::{Notify, Semaphore};

pub use log_watch::{Fork, LogWatch, witness};
pub use observed::{Observed, Sighting};
pub use own_links::OwnLinks;
pub use renew::turn;
pub use state::{Item, State};
pub use suspects::Suspects;
pub use tell::keep_telling;
pub use watch::keep_watching;

use crate::Error;
use crate::config::{Config, ControlSource};
use crate::identities::Identities;
use crate::policies::{Policies, Signed};
use crate::revocation::Revocation;
use crate::subjects;
use session::Sessions;

/// Under which name the agent's own certificate stands in schedules and logs. No node is called so: it has no `@`.
pub const OWN: &str = "agent";

/// Where this agent is, and whose.
#[derive(Clone, Debug)]
pub struct Place {
    /// The trust domain that everything must be of.
    pub trust_domain: TrustDomain,
    /// The cluster.
    pub cluster: String,
    /// The host in the agent's own certificate.
    pub host: Host,
}

/// Everything that the tasks of this side share.
#[derive(Debug)]
pub struct Control {
    place: Place,
    source: ControlSource,
    state: Arc<State>,
    sessions: Sessions,
    /// Heads and deny entries.
    pub revocation: Arc<Revocation>,
    /// Certificates of peers, to be reported.
    pub observed: Observed,
    /// Peers that behave as if their key were somebody else's, to be told.
    pub suspects: Suspects,
    /// What was seen of the control plane's log.
    pub log: LogWatch,
    /// Which links were this agent's.
    pub own_links: OwnLinks,
    bundle_version: AtomicU64,
    /// The epoch that the version belongs to.
    bundle_epoch: AtomicU64,
    /// Authorities that are being replaced, and keys of our own that are: SHA-256, and over how long renewals are spread.
    replaced: Mutex<Vec<([u8; 32], Duration)>>,
    /// Keys of our own that are given up as soon as there are others.
    given_up: Mutex<BTreeSet<[u8; 32]>>,
    /// Messages by which links are about to move.
    moving: Arc<Semaphore>,
    /// The epoch, and the sequence in it, up to which nothing that is denied is forwarded here any more.
    pub acknowledged: tokio::sync::watch::Sender<(u64, u64)>,
    /// What was revoked meanwhile is known, or nobody can be asked.
    ready: AtomicBool,
    ready_now: Notify,
    /// Why this agent is not enrolled, for whoever asks.
    trouble: Mutex<Option<String>>,
}

/// What is kept about the enrolment.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Enrolment {
    /// Where the control plane is.
    addresses: Vec<String>,
    /// The id of the join token that was used, hex; empty without one.
    #[serde(default)]
    token: String,
    /// What counts more, as the control plane said last.
    #[serde(default)]
    class: crate::standing::Class,
}

/// The roots, as they are kept.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct KeptBundle {
    /// Versions begin anew in each; the first one where it was not kept.
    #[serde(default = "first_epoch")]
    epoch: u64,
    version: u64,
    pem: String,
}

const fn first_epoch() -> u64 {
    1
}

impl Control {
    /// Opens the state directory and puts in use what is there and still good.
    ///
    /// # Errors
    /// [`Error::File`] if the directory is not as it was left; [`Error::Config`] if this agent is not enrolled and has
    /// nothing to enrol with.
    pub fn open(
        config: &Config,
        source: &ControlSource,
        identities: &Identities,
        lock: Option<File>,
    ) -> Result<Self, Error> {
        let place = Place {
            trust_domain: identities.trust_domain().clone(),
            cluster: config.cluster.clone(),
            host: own_host(config, source)?,
        };
        let state = Arc::new(State::open_with(&source.state_directory, lock)?);
        let enrolment: Enrolment = read_json(&state, Item::Enrolment)?.unwrap_or_default();
        let audience = Audience {
            trust_domain: place.trust_domain.clone(),
            cluster: place.cluster.clone(),
        };
        let (bundle_epoch, bundle_version) = take_kept_bundle(&state, &place, identities)?;
        let revocation = Revocation::open(
            Arc::clone(&state),
            identities.trust().clone(),
            identities.verifier(),
            audience.clone(),
            enrolment.class.max(source.class),
        )?;
        let log = LogWatch::open(&state)?;
        let addresses = if source.addresses.is_empty() {
            enrolment.addresses
        } else {
            source.addresses.clone()
        };
        let this = Self {
            sessions: Sessions::new(
                ControlPlane::new(identities.verifier(), audience),
                addresses,
            ),
            place,
            source: source.clone(),
            state,
            revocation: Arc::new(revocation),
            observed: Observed::default(),
            suspects: Suspects::default(),
            log,
            own_links: OwnLinks::new(Instant::now()),
            bundle_version: AtomicU64::new(bundle_version),
            bundle_epoch: AtomicU64::new(bundle_epoch),
            replaced: Mutex::default(),
            given_up: Mutex::default(),
            moving: Arc::new(Semaphore::new(rekey::AT_ONCE)),
            acknowledged: tokio::sync::watch::Sender::default(),
            ready: AtomicBool::new(false),
            ready_now: Notify::new(),
            trouble: Mutex::default(),
        };
        this.take_kept(config, identities)?;
        if this.sessions.own().is_none() {
            this.check_evidence()?;
        }
        Ok(this)
    }

    /// Puts in use what was kept. What has run out or does not fit any more is left where it is, and is asked for anew.
    fn take_kept(&self, config: &Config, identities: &Identities) -> Result<(), Error> {
        if let Some(own) = self.read_credential(Item::Agent)? {
            match issue::check_agent(own.identity(), &self.place)
                .and_then(|()| identities.check(OWN, &own))
            {
                Ok(()) => self.set_own(own),
                Err(error) => tracing::warn!("the certificate that was kept is not used: {error}"),
            }
        }
        for subject in subjects::of(config)? {
            let Some(credential) = self.read_credential(Item::Node(&subject.name))? else {
                continue;
            };
            self.own_links.holds(credential.identity(), Instant::now());
            let taken = subject
                .check(&credential)
                .and_then(|()| identities.install(None, [(subject.name.clone(), credential)]));
            if let Err(error) = taken {
                tracing::warn!(name = %subject.name, "the certificate that was kept is not used: {error}");
            }
        }
        Ok(())
    }

    fn read_credential(&self, item: Item<'_>) -> Result<Option<Credential>, Error> {
        let Some(pem) = self.state.read(item)? else {
            return Ok(None);
        };
        match Credential::from_pem(&pem, &pem, UnixTime::now()) {
            Ok(credential) => Ok(Some(credential)),
            Err(error) => {
                let path = self.state.path(item);
                tracing::warn!(path = %path.display(), "what was kept is not used: {error}");
                Ok(None)
            }
        }
    }

    fn keep_credential(&self, item: Item<'_>, credential: &Credential) -> Result<(), Error> {
        let key = credential.key_pem();
        // Wiped when dropped, and large enough from the start not to leave a copy behind.
        let chain = credential.chain_pem();
        let mut both = zeroize::Zeroizing::new(String::with_capacity(chain.len() + key.len()));
        both.push_str(&chain);
        both.push_str(&key);
        self.state.write(item, both.as_bytes())
    }

    /// Puts a bundle of the control plane's in use and keeps it. One that is no newer changes nothing. `open` is the last
    /// epoch that may begin with it: whoever plays an old bundle again must not get through by calling it a later one.
    fn take_bundle(
        &self,
        identities: &Identities,
        bundle: &skans_api::v1::Bundle,
        open: Option<u64>,
    ) -> Result<Bundle, Error> {
        let unfit = |problem: String| Error::Unverifiable(format!("bundle: {problem}"));
        if bundle.trust_domain != self.place.trust_domain.as_str() {
            return Err(unfit(format!(
                "found one of {:?}, wanted one of {}",
                bundle.trust_domain, self.place.trust_domain
            )));
        }
        let roots: Vec<_> = bundle
            .roots
            .iter()
            .map(|root| root.as_slice().into())
            .collect();
        let parsed = Bundle::new(self.place.trust_domain.clone(), &roots)
            .map_err(|error| unfit(error.to_string()))?;
        let known = (
            self.bundle_epoch.load(Relaxed),
            self.bundle_version.load(Relaxed),
        );
        let epoch = match bundle.epoch {
            // From a release that did not say.
            0 => known.0,
            epoch => epoch,
        };
        let found = (epoch, bundle.version);
        if found < known {
            return Err(unfit(format!("found {found:?}, wanted {known:?} or later")));
        }
        if epoch > known.0 && open.is_some_and(|open| epoch > open) {
            return Err(unfit(format!(
                "found one of epoch {epoch}, which nothing has opened"
            )));
        }
        if found > known {
            let kept = KeptBundle {
                epoch,
                version: bundle.version,
                pem: parsed.to_pem(),
            };
            write_json(&self.state, Item::Bundle, &kept)?;
            identities.install(Some(parsed.clone()), [])?;
            self.bundle_epoch.store(epoch, Relaxed);
            self.bundle_version.store(bundle.version, Relaxed);
            tracing::info!(
                epoch,
                version = bundle.version,
                roots = parsed.len(),
                "trust bundle in use"
            );
        }
        Ok(parsed)
    }

    /// Policy sets, with what was kept of them.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read what was seen before.
    pub fn policies(&self, identities: &Identities) -> Result<Policies, Error> {
        let signed = Signed {
            state: Arc::clone(&self.state),
            verifier: identities.verifier(),
            audience: Audience {
                trust_domain: self.place.trust_domain.clone(),
                cluster: self.place.cluster.clone(),
            },
            arrived: tokio::sync::watch::Sender::default(),
            candidate: tokio::sync::watch::Sender::default(),
        };
        Policies::open(signed, &self.revocation)
    }

    /// What was kept of what is believed of other trust domains.
    ///
    /// # Errors
    /// [`Error::File`] if it cannot be read.
    pub fn kept_foreign(&self) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, Error> {
        self.state.read(Item::Foreign)
    }

    /// The agent's own certificate from now on.
    fn set_own(&self, credential: Credential) {
        self.own_links.holds(credential.identity(), Instant::now());
        self.sessions.set_own(credential);
    }

    /// The agent's own certificate.
    #[must_use]
    pub fn own(&self) -> Option<Arc<Credential>> {
        self.sessions.own()
    }

    /// Returns once it is known what was revoked while this agent was away, or that nobody can be asked.
    pub async fn ready(&self) {
        let notified = self.ready_now.notified();
        tokio::pin!(notified);
        notified.as_mut().enable();
        if !self.ready.load(Relaxed) {
            notified.await;
        }
    }

    /// Whether [`Control::ready`] has returned.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready.load(Relaxed)
    }

    /// Where it keeps things.
    #[must_use]
    pub fn state(&self) -> &State {
        &self.state
    }

    /// It is known what was revoked, or nobody can be asked.
    pub fn set_ready(&self) {
        self.ready.store(true, Relaxed);
        self.ready_now.notify_waiters();
    }

    /// Why this agent has no certificate, if it has none.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock();
        trouble.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }
}

/// Epoch and version of it.
fn take_kept_bundle(
    state: &State,
    place: &Place,
    identities: &Identities,
) -> Result<(u64, u64), Error> {
    let Some(kept) = read_json::<KeptBundle>(state, Item::Bundle)? else {
        return Ok((0, 0));
    };
    let bundle = Bundle::from_pem(place.trust_domain.clone(), kept.pem.as_bytes())
        .map_err(|error| Error::file(&state.path(Item::Bundle), error.to_string()))?;
    identities.install(Some(bundle), [])?;
    Ok((kept.epoch, kept.version))
}

/// The host that the agent's own certificate is for.
fn own_host(config: &Config, source: &ControlSource) -> Result<Host, Error> {
    let key = "identity.control.host";
    let name = match &source.host {
        Some(host) => host.clone(),
        None => config
            .cli_host()
            .or_else(|| Some(config.gateway.as_ref()?.node_name().ok()?.host().to_owned()))
            .ok_or_else(|| Error::config(key, "found none, wanted a host name"))?,
    };
    Host::parse(&name).map_err(|error| Error::config(key, error.to_string()))
}

fn read_json<T: serde::de::DeserializeOwned>(
    state: &State,
    item: Item<'_>,
) -> Result<Option<T>, Error> {
    let Some(bytes) = state.read(item)? else {
        return Ok(None);
    };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|error| Error::file(&state.path(item), error.to_string()))
}

fn write_json(state: &State, item: Item<'_>, content: &impl Serialize) -> Result<(), Error> {
    let bytes =
        serde_json::to_vec_pretty(content).map_err(|error| Error::Internal(error.to_string()))?;
    state.write(item, &bytes)
}
