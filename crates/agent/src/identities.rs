//! The credentials in use on this host, and the trust that peers and our own credentials are held against. Swapped while
//! links run; where they come from and when is not said here (`lifecycle`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use skans_dist::NodeName;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::credential::Credential;
use skans_identity::id::{CLI, TrustDomain};
use skans_identity::sni::{self, Credentials};
use skans_identity::tls;
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::{Evidence, Usage, Verifier};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use crate::Error;
use crate::config::Config;
use crate::settings::Settings;
use crate::setup::UNNAMED;

/// What a node of this host dials with.
#[derive(Clone, Debug)]
pub struct CallerIdentity {
    /// TLS settings with the node's own leaf.
    pub client: Arc<ClientConfig>,
    /// What a peer finds in that leaf's chain.
    pub evidence: Arc<Evidence>,
}

/// The credentials in use at one moment. Taken before a handshake, it tells afterwards which one was shown at the latest.
pub struct InUse(Arc<HashMap<String, Held>>);

impl InUse {
    /// What a peer finds in the certificate that is shown for a node.
    #[must_use]
    pub fn shown_for(&self, node: &NodeName, settings: &Settings) -> Option<Arc<Evidence>> {
        let held = self.0.get(&carrier(node, settings))?;
        Some(Arc::clone(&held.caller.evidence))
    }
}

/// Credentials and trust.
pub struct Identities {
    trust: SharedTrust,
    verifier: Arc<Verifier>,
    served: Credentials,
    acceptor: TlsAcceptor,
    trust_domain: TrustDomain,
    by_name: ArcSwap<HashMap<String, Held>>,
    /// One who changes at a time.
    turn: Mutex<()>,
    /// Counts up with each change of credentials or roots.
    changes: watch::Sender<u64>,
    /// Counts up with each change of roots.
    roots: watch::Sender<u64>,
}

#[derive(Clone)]
struct Held {
    credential: Credential,
    caller: CallerIdentity,
}

impl std::fmt::Debug for Identities {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identities")
            .field("trust_domain", &self.trust_domain)
            .finish_non_exhaustive()
    }
}

/// A certificate of this host, as people want to see it.
#[derive(Clone, Debug)]
pub struct Shown {
    /// The node name, or `cli@host`.
    pub node: String,
    /// Its SPIFFE ID.
    pub id: String,
    /// Its serial number.
    pub serial: String,
    /// Last second of validity, Unix time.
    pub not_after: u64,
}

impl Identities {
    /// Nobody yet, and nobody is trusted.
    ///
    /// # Errors
    /// A trust domain that is none.
    pub fn new(config: &Config) -> Result<Self, Error> {
        let trust_domain = TrustDomain::parse(&config.trust_domain)
            .map_err(|error| Error::config("trustDomain", error.to_string()))?;
        let trust = SharedTrust::new(Trust {
            bundles: Bundles::default(),
            deny: DenySet::default(),
        });
        let verifier = Verifier::new(trust.clone());
        let served = Credentials::default();
        let server = tls::server_config(Arc::new(served.clone()), Arc::clone(&verifier))
            .map_err(internal)?;
        Ok(Self {
            trust,
            verifier,
            served,
            acceptor: TlsAcceptor::from(server),
            trust_domain,
            by_name: ArcSwap::default(),
            turn: Mutex::default(),
            changes: watch::Sender::default(),
            roots: watch::Sender::default(),
        })
    }

    /// Puts credentials in use, in the place of those of the same names, and a bundle in the place of the old one if there
    /// is a new. All of it or, on an error, nothing.
    ///
    /// # Errors
    /// [`Error::Credential`] if a credential would not be accepted by whoever holds the bundle: expired, denied, or signed
    /// by nobody in it.
    pub fn install(
        &self,
        bundle: Option<Bundle>,
        fresh: impl IntoIterator<Item = (String, Credential)>,
    ) -> Result<(), Error> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut trust = Trust::clone(&self.trust.load());
        if let Some(bundle) = &bundle {
            trust.bundles.insert(bundle.clone()).map_err(internal)?;
        }
        let judge = Verifier::new(SharedTrust::new(trust));
        let old = self.by_name.load_full();
        let mut held = HashMap::clone(&old);
        for (name, credential) in fresh {
            let evidence = Arc::new(judge_by(&judge, &name, &credential)?);
            let client =
                tls::client_config(&credential, Arc::clone(&self.verifier)).map_err(internal)?;
            let entry = Held {
                credential,
                caller: CallerIdentity { client, evidence },
            };
            held.insert(name, entry);
        }
        // Trust first: nobody is shown a certificate before this agent itself would take its like.
        let roots = |bundle: &Bundle| bundle.roots().cloned().collect::<Vec<_>>();
        let known = self.trust.load().bundles.get(&self.trust_domain).map(roots);
        if let Some(bundle) = bundle.filter(|bundle| known.as_ref() != Some(&roots(bundle))) {
            self.trust
                .update(|trust| drop(trust.bundles.insert(bundle.clone())));
            self.roots.send_modify(|count| *count += 1);
        }
        self.serve(held)
    }

    /// Judges nodes of other trust domains by these bundles from now on, and by no others. Says whether any is new, or gone.
    ///
    /// # Errors
    /// [`Error::Internal`] for more of them than there may be; then nothing changes.
    pub fn install_foreign(&self, bundles: Vec<Bundle>) -> Result<bool, Error> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let roots = |bundle: &Bundle| {
            let roots = bundle.roots().cloned().collect::<Vec<_>>();
            (bundle.trust_domain().clone(), roots)
        };
        let known: HashMap<_, _> = {
            let trust = self.trust.load();
            let known = trust.bundles.iter().map(roots);
            known
                .filter(|(domain, _)| *domain != self.trust_domain)
                .collect()
        };
        if known == bundles.iter().map(roots).collect() {
            return Ok(false);
        }
        let mut next = self.trust.load().bundles.clone();
        next.replace_others(&self.trust_domain, bundles)
            .map_err(internal)?;
        self.trust.update(|trust| trust.bundles.clone_from(&next));
        Ok(true)
    }

    /// Whether a credential would be accepted by whoever trusts as this agent does.
    ///
    /// # Errors
    /// [`Error::Credential`].
    pub fn check(&self, name: &str, credential: &Credential) -> Result<(), Error> {
        judge_by(&self.verifier, name, credential).map(drop)
    }

    /// Takes what has run out, or is nobody's any more, out of use. Says which names have no certificate now.
    ///
    /// # Errors
    /// None in practice.
    pub fn retire(
        &self,
        now: UnixTime,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<Vec<String>, Error> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let old = self.by_name.load_full();
        let (keep, gone): (HashMap<_, _>, HashMap<_, _>) =
            HashMap::clone(&old).into_iter().partition(|(name, held)| {
                wanted(name) && now.as_secs() <= held.credential.identity().not_after
            });
        if !gone.is_empty() {
            self.serve(keep)?;
        }
        Ok(gone.into_keys().collect())
    }

    fn serve(&self, held: HashMap<String, Held>) -> Result<(), Error> {
        let served = held
            .iter()
            .map(|(name, entry)| (name.as_str(), &entry.credential));
        self.served
            .replace(&self.trust_domain, served)
            .map_err(internal)?;
        self.by_name.store(Arc::new(held));
        self.changes.send_modify(|count| *count += 1);
        Ok(())
    }

    /// The credentials as they are now.
    #[must_use]
    pub fn in_use(&self) -> InUse {
        InUse(self.by_name.load_full())
    }

    /// The credential in use under a name.
    #[must_use]
    pub fn credential(&self, name: &str) -> Option<Credential> {
        let held = self.by_name.load();
        held.get(name).map(|held| held.credential.clone())
    }

    /// Whether one of the credentials in use has the key with this SHA-256.
    #[must_use]
    pub fn has_key(&self, key: &[u8; 32]) -> bool {
        let held = self.by_name.load();
        held.values()
            .any(|held| held.credential.identity().spki_sha256 == *key)
    }

    /// What a caller of this host dials with: its own leaf, or that of the short-lived nodes.
    ///
    /// # Errors
    /// [`Error::NoIdentity`] if there is none for it, or none that is valid now.
    pub fn for_caller(
        &self,
        caller: &NodeName,
        settings: &Settings,
    ) -> Result<CallerIdentity, Error> {
        self.held(&carrier(caller, settings))
    }

    /// What is dialled with under a name: a node's, that of short-lived nodes, or a gateway's.
    ///
    /// # Errors
    /// [`Error::NoIdentity`] if there is none, or none that is valid now.
    pub fn held(&self, name: &str) -> Result<CallerIdentity, Error> {
        let name = name.to_owned();
        let held = self.by_name.load();
        match held.get(&name) {
            Some(held) if UnixTime::now().as_secs() <= held.credential.identity().not_after => {
                Ok(held.caller.clone())
            }
            Some(_) => Err(Error::NoIdentity {
                name,
                why: "it has expired and could not be renewed",
            }),
            None => Err(Error::NoIdentity {
                name,
                why: "none was issued yet, or none is configured (cli.certificate)",
            }),
        }
    }

    /// The name to ask an agent of another trust domain for.
    ///
    /// # Errors
    /// None in practice.
    pub fn server_name_there(
        domain: &TrustDomain,
        node: &NodeName,
    ) -> Result<ServerName<'static>, Error> {
        sni::server_name_for(domain, node.as_str()).map_err(internal)
    }

    /// The name to ask a gateway of a trust domain for.
    ///
    /// # Errors
    /// None in practice.
    pub fn gateway_name(domain: &TrustDomain) -> Result<ServerName<'static>, Error> {
        sni::server_name_for(domain, sni::GATEWAY).map_err(internal)
    }

    /// The name to ask an agent for, so that it shows the certificate of `target`.
    #[must_use]
    pub fn server_name(&self, target: &NodeName, settings: &Settings) -> ServerName<'static> {
        let name = carrier(target, settings);
        sni::server_name_for(&self.trust_domain, &name)
            // 32 hexadecimal digits are a DNS name; this name is served by nobody.
            .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
    }

    /// For inbound links.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// What peers are verified by; it may change at any time.
    #[must_use]
    pub const fn trust(&self) -> &SharedTrust {
        &self.trust
    }

    /// The verifier over [`Identities::trust`].
    #[must_use]
    pub fn verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier)
    }

    /// The trust domain of this host's nodes.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// Changes with each change of credentials or roots.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Changes with each change of roots.
    #[must_use]
    pub fn roots(&self) -> watch::Receiver<u64> {
        self.roots.subscribe()
    }

    /// The certificates of this host.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<_> = self
            .by_name
            .load()
            .iter()
            .map(|(name, held)| {
                let identity = held.credential.identity();
                Shown {
                    node: name.clone(),
                    id: identity.id.to_string(),
                    serial: identity.serial.clone(),
                    not_after: identity.not_after,
                }
            })
            .collect();
        all.sort_by(|a, b| a.node.cmp(&b.node));
        all
    }
}

/// Under which name the certificate of a node goes: its own, or `cli` at its host.
fn carrier(name: &NodeName, settings: &Settings) -> String {
    if name.alive() == UNNAMED || settings.is_cli(name) {
        format!("{CLI}@{}", name.host())
    } else {
        name.to_string()
    }
}

fn judge_by(judge: &Verifier, name: &str, credential: &Credential) -> Result<Evidence, Error> {
    let verify = |usage| {
        judge
            .evidence(credential.chain(), usage, UnixTime::now())
            .map_err(|refusal| Error::Credential {
                name: name.to_owned(),
                problem: refusal.to_string(),
            })
    };
    verify(Usage::Server)?;
    verify(Usage::Client)
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}

#[cfg(test)]
mod tests;
