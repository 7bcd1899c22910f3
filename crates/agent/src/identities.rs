//! The credentials of this host's nodes and the trust that peers are held against: loaded from
//! files, or made by the embedded authority.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ClientConfig;
use rustls::pki_types::{ServerName, UnixTime};
use skans_dist::NodeName;
use skans_identity::authority::Authority;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::credential::Credential;
use skans_identity::host::Host;
use skans_identity::id::{CLI, NodeId, TrustDomain};
use skans_identity::sni::{self, Credentials};
use skans_identity::tls;
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::Verifier;
use tokio_rustls::TlsAcceptor;

use crate::config::{CertificateFiles, Config, FilesSource, IdentitySource};
use crate::files;
use crate::settings::Settings;
use crate::setup::UNNAMED;
use crate::{Error, authority_files};

/// Largest PEM file in bytes: far above any chain or bundle, far below what would hurt.
const MAX_PEM: u64 = 256 * 1024;

/// What a node of this host dials with.
#[derive(Clone, Debug)]
pub struct CallerIdentity {
    /// TLS settings with the node's own leaf.
    pub client: Arc<ClientConfig>,
}

/// Credentials and trust. Replaced whole on reload.
pub struct Identities {
    trust: SharedTrust,
    verifier: Arc<Verifier>,
    served: Credentials,
    acceptor: TlsAcceptor,
    trust_domain: TrustDomain,
    by_name: ArcSwap<HashMap<String, Held>>,
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
    /// Last second of validity, Unix time.
    pub not_after: u64,
}

impl Identities {
    /// Loads or makes the credentials of all nodes of this host.
    ///
    /// # Errors
    /// Files that cannot be used, names that do not fit a certificate, certificates that do not fit
    /// the configured names.
    pub fn load(config: &Config) -> Result<Self, Error> {
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
        let identities = Self {
            trust,
            verifier,
            served,
            acceptor: TlsAcceptor::from(server),
            trust_domain,
            by_name: ArcSwap::default(),
        };
        identities.reload(config)?;
        Ok(identities)
    }

    /// Loads anew what the configuration names; on an error everything stays as it was.
    ///
    /// # Errors
    /// As [`Identities::load`].
    pub fn reload(&self, config: &Config) -> Result<(), Error> {
        let source = Source::open(config, &self.trust_domain)?;
        let mut held = HashMap::new();
        for (index, node) in config.nodes.iter().enumerate() {
            let name = node
                .node_name()
                .map_err(|why| Error::config("nodes", why))?;
            let workload = node.workload.as_deref().unwrap_or(name.alive());
            let key = format!("nodes[{index}]");
            let credential = source.credential(
                config,
                &self.trust_domain,
                &name,
                workload,
                name.alive(),
                node.certificate.as_ref(),
                &key,
            )?;
            held.insert(name.to_string(), self.hold(credential)?);
        }
        if let Some(host) = config.cli_host().filter(|_| config.cli.enabled) {
            let name = cli_name(&host)?;
            // With files, short-lived nodes connect only if they were given a certificate.
            if config.cli.certificate.is_some()
                || matches!(config.identity, IdentitySource::Authority(_))
            {
                let credential = source.credential(
                    config,
                    &self.trust_domain,
                    &name,
                    CLI,
                    CLI,
                    config.cli.certificate.as_ref(),
                    "cli",
                )?;
                held.insert(name.to_string(), self.hold(credential)?);
            }
        }
        let mut bundles = Bundles::default();
        bundles.insert(source.bundle()?).map_err(internal)?;
        self.trust.update(|trust| trust.bundles = bundles.clone());
        let served = held
            .iter()
            .map(|(name, entry)| (name.as_str(), &entry.credential));
        self.served
            .replace(&self.trust_domain, served)
            .map_err(internal)?;
        self.by_name.store(Arc::new(held));
        Ok(())
    }

    /// What a caller of this host dials with: its own leaf, or that of the short-lived nodes.
    ///
    /// # Errors
    /// [`Error::Config`] if there is none for it.
    pub fn for_caller(
        &self,
        caller: &NodeName,
        settings: &Settings,
    ) -> Result<CallerIdentity, Error> {
        let name = self.carrier(caller, settings);
        self.by_name
            .load()
            .get(&name)
            .map(|held| held.caller.clone())
            .ok_or_else(|| {
                Error::config(
                    "cli.certificate",
                    format!("found none, wanted one for {caller}"),
                )
            })
    }

    /// The name to ask an agent for, so that it shows the certificate of `target`.
    #[must_use]
    pub fn server_name(&self, target: &NodeName, settings: &Settings) -> ServerName<'static> {
        let name = self.carrier(target, settings);
        sni::server_name_for(&self.trust_domain, &name)
            // 32 hexadecimal digits are a DNS name; this name is served by nobody.
            .unwrap_or_else(|_| ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into()))
    }

    /// For inbound links.
    #[must_use]
    pub fn acceptor(&self) -> TlsAcceptor {
        self.acceptor.clone()
    }

    /// The certificates of this host.
    #[must_use]
    pub fn shown(&self) -> Vec<Shown> {
        let mut all: Vec<_> = self
            .by_name
            .load()
            .iter()
            .map(|(name, held)| Shown {
                node: name.clone(),
                id: held.credential.identity().id.to_string(),
                not_after: held.credential.identity().not_after,
            })
            .collect();
        all.sort_by(|a, b| a.node.cmp(&b.node));
        all
    }

    /// Under which name the certificate of a node goes: its own, or `cli` at its host.
    fn carrier(&self, name: &NodeName, settings: &Settings) -> String {
        if name.alive() == UNNAMED || settings.is_cli(name) {
            format!("{CLI}@{}", name.host())
        } else {
            name.to_string()
        }
    }

    fn hold(&self, credential: Credential) -> Result<Held, Error> {
        let client =
            tls::client_config(&credential, Arc::clone(&self.verifier)).map_err(internal)?;
        Ok(Held {
            credential,
            caller: CallerIdentity { client },
        })
    }
}

/// Where credentials come from, opened.
enum Source<'a> {
    Authority(Box<Authority>, Duration),
    Files(&'a Path, Bundle),
}

impl<'a> Source<'a> {
    fn open(config: &'a Config, trust_domain: &TrustDomain) -> Result<Self, Error> {
        match &config.identity {
            IdentitySource::Authority(source) => Ok(Self::Authority(
                Box::new(authority_files::open(
                    &source.directory,
                    trust_domain,
                    &config.cluster,
                )?),
                source.leaf_lifetime,
            )),
            IdentitySource::Files(FilesSource { bundle }) => {
                let text = files::read_text(bundle, MAX_PEM)?;
                let parsed = Bundle::from_pem(trust_domain.clone(), text.as_bytes())
                    .map_err(|error| Error::file(bundle, error.to_string()))?;
                Ok(Self::Files(bundle, parsed))
            }
        }
    }

    fn bundle(&self) -> Result<Bundle, Error> {
        match self {
            Self::Authority(authority, _) => authority.bundle().map_err(internal),
            Self::Files(_, bundle) => Ok(bundle.clone()),
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "two sources, each of which needs another half"
    )]
    fn credential(
        &self,
        config: &Config,
        trust_domain: &TrustDomain,
        name: &NodeName,
        workload: &str,
        node: &str,
        files: Option<&CertificateFiles>,
        key: &str,
    ) -> Result<Credential, Error> {
        match (self, files) {
            (Self::Authority(authority, lifetime), _) => {
                let bad = |error: skans_identity::Error| Error::config(key, error.to_string());
                let id = if node == CLI {
                    NodeId::cli(trust_domain, &config.cluster, &config.namespace, workload)
                } else {
                    NodeId::new(
                        trust_domain,
                        &config.cluster,
                        &config.namespace,
                        workload,
                        node,
                    )
                }
                .map_err(bad)?;
                let host = Host::parse(name.host()).map_err(bad)?;
                authority
                    .issue(id.id(), &host, *lifetime, UnixTime::now())
                    .map_err(bad)
            }
            (Self::Files(..), Some(files)) => {
                let credential = read_credential(files)?;
                check_fits(&credential, name, node, config, key)?;
                Ok(credential)
            }
            (Self::Files(bundle, _), None) => Err(Error::config(
                key,
                format!(
                    "found no certificate, wanted one beside {}",
                    bundle.display()
                ),
            )),
        }
    }
}

fn read_credential(files: &CertificateFiles) -> Result<Credential, Error> {
    let chain = files::read_text(&files.chain, MAX_PEM)?;
    let key = files::read_secret(&files.key, MAX_PEM)?;
    Credential::from_pem(chain.as_bytes(), key.as_bytes(), UnixTime::now()).map_err(|error| {
        let key = files.key.display();
        Error::file(&files.chain, format!("with the key {key}: {error}"))
    })
}

/// A certificate for another node than the one it is configured for would be refused by every peer:
/// better said here, at start.
fn check_fits(
    credential: &Credential,
    name: &NodeName,
    node: &str,
    config: &Config,
    key: &str,
) -> Result<(), Error> {
    let identity = credential.identity();
    let role = identity.id.role();
    let fits = matches!(role, Some(skans_identity::id::Role::Node { node: own, cluster, .. }) if own == node && cluster == config.cluster)
        && identity.id.trust_domain().as_str() == config.trust_domain
        && identity.host.as_ref().map(ToString::to_string).as_deref() == Some(name.host());
    if fits {
        return Ok(());
    }
    Err(Error::config(
        key,
        format!(
            "found a certificate for {} at {}, wanted spiffe://{}/cluster/{}/ns/.../sa/.../node/{node} at {}",
            identity.id,
            identity
                .host
                .as_ref()
                .map_or_else(|| "no host".to_owned(), ToString::to_string),
            config.trust_domain,
            config.cluster,
            name.host()
        ),
    ))
}

fn cli_name(host: &str) -> Result<NodeName, Error> {
    NodeName::from_parts(CLI, host).map_err(|error| Error::config("cli.host", error.to_string()))
}

fn internal(error: impl std::fmt::Display) -> Error {
    Error::Internal(error.to_string())
}
