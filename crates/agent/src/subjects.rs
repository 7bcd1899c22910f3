//! Whose certificates this host needs: its nodes', and that of its short-lived ones. And whether a certificate fits.

use skans_dist::NodeName;
use skans_identity::credential::Credential;
use skans_identity::host::Host;
use skans_identity::id::{CLI, NodeId, Role, SpiffeId, TrustDomain};
use skans_identity::sni::GATEWAY;

use crate::Error;
use crate::config::{CertificateFiles, Config, Gateway, IdentitySource, Node};

/// One identity of this host.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The node name, or `cli@host`, or [`GATEWAY`].
    pub name: String,
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// The host part of the name.
    pub host: Host,
    /// The namespace in the ID.
    pub namespace: String,
    /// The workload in the ID.
    pub workload: String,
    /// The files that its certificate comes in, with `identity: files`.
    pub files: Option<CertificateFiles>,
    /// The configuration key that asks for it, for messages.
    pub key: String,
}

/// All of a configuration.
///
/// # Errors
/// [`Error::Config`] for names that do not fit a certificate.
pub fn of(config: &Config) -> Result<Vec<Subject>, Error> {
    let mut all = Vec::new();
    for (index, node) in config.nodes.iter().enumerate() {
        let key = format!("nodes[{index}]");
        let name = node.node_name().map_err(|why| Error::config(&key, why))?;
        let workload = node.workload();
        all.push(subject(
            config,
            &name,
            workload,
            name.alive(),
            node.certificate.as_ref(),
            key,
        )?);
    }
    if let Some(host) = config
        .cli_host()
        .filter(|_| config.cli.enabled && config.guards())
    {
        let name = NodeName::from_parts(CLI, &host)
            .map_err(|error| Error::config("cli.host", error.to_string()))?;
        // With files, short-lived nodes connect only if they were given a certificate.
        let files = config.cli.certificate.as_ref();
        if files.is_some() || !matches!(config.identity, IdentitySource::Files(_)) {
            // One registration covers a host: its tools are of the same workload as its nodes.
            let first = config.guarded().next();
            let workload = match &config.identity {
                IdentitySource::Control(_) => first.map_or(CLI, Node::workload),
                _ => CLI,
            };
            all.push(subject(
                config,
                &name,
                workload,
                CLI,
                files,
                "cli".to_owned(),
            )?);
        }
    }
    if let Some(gateway) = &config.gateway {
        all.push(of_gateway(config, gateway)?);
    }
    Ok(all)
}

fn of_gateway(config: &Config, gateway: &Gateway) -> Result<Subject, Error> {
    let key = "gateway.name";
    let bad = |error: skans_identity::Error| Error::config(key, error.to_string());
    let trust_domain = TrustDomain::parse(&config.trust_domain)
        .map_err(|error| Error::config("trustDomain", error.to_string()))?;
    let name = gateway.node_name().map_err(|why| Error::config(key, why))?;
    Ok(Subject {
        name: GATEWAY.to_owned(),
        id: SpiffeId::gateway(&trust_domain, name.alive()).map_err(bad)?,
        host: Host::parse(name.host()).map_err(bad)?,
        namespace: config.namespace.clone(),
        workload: GATEWAY.to_owned(),
        files: gateway.certificate.clone(),
        key: "gateway".to_owned(),
    })
}

fn subject(
    config: &Config,
    name: &NodeName,
    workload: &str,
    node: &str,
    files: Option<&CertificateFiles>,
    key: String,
) -> Result<Subject, Error> {
    let trust_domain = TrustDomain::parse(&config.trust_domain)
        .map_err(|error| Error::config("trustDomain", error.to_string()))?;
    let bad = |error: skans_identity::Error| Error::config(&key, error.to_string());
    let (cluster, namespace) = (&config.cluster, &config.namespace);
    let id = if node == CLI {
        NodeId::cli(&trust_domain, cluster, namespace, workload)
    } else {
        NodeId::new(&trust_domain, cluster, namespace, workload, node)
    }
    .map_err(bad)?;
    Ok(Subject {
        name: name.to_string(),
        id: id.id().clone(),
        host: Host::parse(name.host()).map_err(bad)?,
        namespace: namespace.clone(),
        workload: workload.to_owned(),
        files: files.cloned(),
        key,
    })
}

impl Subject {
    /// The last part of its ID, and its host: of a gateway, `id@host`.
    #[must_use]
    pub fn id_at_host(&self) -> String {
        let last = self.id.path().rsplit('/').next().unwrap_or_default();
        format!("{last}@{}", self.host)
    }

    /// Whether a certificate is for this subject. One for another node would be refused by every peer: better said here,
    /// before it is used. Namespace and workload are the issuer's to choose; no name depends on them.
    ///
    /// # Errors
    /// [`Error::Config`] with the key, what was found and what was wanted.
    pub fn check(&self, credential: &Credential) -> Result<(), Error> {
        let identity = credential.identity();
        let fits = match (identity.id.role(), self.id.role()) {
            (
                Some(Role::Node { cluster, node, .. }),
                Some(Role::Node {
                    cluster: own,
                    node: name,
                    ..
                }),
            ) => cluster == own && node == name,
            (Some(Role::Gateway(found)), Some(Role::Gateway(id))) => found == id,
            _ => false,
        } && identity.id.trust_domain() == self.id.trust_domain()
            && identity.host.as_ref() == Some(&self.host);
        if fits {
            return Ok(());
        }
        let found = identity
            .host
            .as_ref()
            .map_or_else(|| "no host".to_owned(), ToString::to_string);
        let wanted = match self.id.role() {
            Some(Role::Node { cluster, node, .. }) => format!(
                "spiffe://{}/cluster/{cluster}/ns/.../sa/.../node/{node}",
                self.id.trust_domain()
            ),
            _ => self.id.to_string(),
        };
        Err(Error::config(
            &self.key,
            format!(
                "found a certificate for {} at {found}, wanted {wanted} at {}",
                identity.id, self.host
            ),
        ))
    }
}
