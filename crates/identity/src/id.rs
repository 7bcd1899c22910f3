//! SPIFFE IDs: parsing them strictly, and the shape that Skans gives to them. What proves one stands in `verify`.

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use crate::error::Error;

/// Longest SPIFFE ID in bytes (SPIFFE-ID 2.3: implementations must support, and must not make longer than, 2048).
pub const MAX_ID: usize = 2048;
/// Longest trust domain in bytes (SPIFFE-ID 2.1).
pub const MAX_TRUST_DOMAIN: usize = 255;
/// Longest cluster, namespace or workload in bytes. Ours: a DNS label, as Kubernetes has it, and what fits into an
/// X.509 organisational unit (64, RFC 5280 appendix A.1).
pub const MAX_PART: usize = 63;
/// The node segment that stands for the short-lived CLI nodes of a host: no one node is called so.
pub const CLI: &str = "cli";

const SCHEME: &str = "spiffe://";

/// A trust domain: the authority whose keys vouch for an ID. Lower case only, never normalised. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TrustDomain(Arc<str>);

impl TrustDomain {
    /// Reads a trust domain: 1 to 255 of `a-z 0-9 . - _` (SPIFFE-ID 2.1).
    ///
    /// # Errors
    /// [`Error::Name`], with what was found and what was wanted.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |wanted| Err(Error::name("trust domain", text, wanted));
        if text.is_empty() {
            return bad("a name such as prod.example");
        }
        if text.len() > MAX_TRUST_DOMAIN {
            return bad("at most 255 bytes");
        }
        if !text
            .bytes()
            .all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_'))
        {
            return bad("only a-z, 0-9, '.', '-' and '_' (no upper case, no port, no scheme)");
        }
        Ok(Self(text.into()))
    }

    /// The name, without a scheme.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A SPIFFE ID, kept exactly as it was written. Two are equal if their bytes are. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpiffeId {
    uri: Arc<str>,
    trust_domain: TrustDomain,
}

/// What an ID stands for, as far as its shape tells. The parts borrow from the ID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role<'a> {
    /// `/cluster/<c>/ns/<namespace>/sa/<workload>/node/<name>`: an Erlang node, or with the name `cli` the short-lived
    /// CLI nodes of a host.
    Node {
        /// The cluster.
        cluster: &'a str,
        /// The namespace.
        namespace: &'a str,
        /// The workload: a `ServiceAccount` on Kubernetes, else the name of the registration.
        workload: &'a str,
        /// The part of the node name before `@`, or [`CLI`].
        node: &'a str,
    },
    /// `/skans/agent/<id>`.
    Agent(&'a str),
    /// `/skans/control/<id>`.
    Control(&'a str),
    /// `/skans/gateway/<id>`.
    Gateway(&'a str),
    /// `/skans/user/<id>`.
    User(&'a str),
}

impl SpiffeId {
    /// Reads an ID strictly (SPIFFE-ID 2): nothing is normalised, decoded or trimmed.
    ///
    /// # Errors
    /// [`Error::Name`], with what was found and what was wanted.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |wanted| Err(Error::name("SPIFFE ID", text, wanted));
        if text.len() > MAX_ID {
            return bad("at most 2048 bytes");
        }
        let Some(rest) = text.strip_prefix(SCHEME) else {
            return bad("an ID that starts with spiffe:// in lower case");
        };
        let (domain, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        let trust_domain = TrustDomain::parse(domain)?;
        if let Some(segments) = path.strip_prefix('/') {
            for segment in segments.split('/') {
                match segment {
                    "" => return bad("no empty path segment and no '/' at the end"),
                    "." | ".." => return bad("no '.' or '..' as a path segment"),
                    _ if !segment.bytes().all(is_path_byte) => {
                        return bad("only a-z, A-Z, 0-9, '.', '-' and '_' in path segments");
                    }
                    _ => {}
                }
            }
        }
        Ok(Self {
            uri: text.into(),
            trust_domain,
        })
    }

    /// The ID of one of our own parts: `/skans/<kind>/<id>`.
    ///
    /// # Errors
    /// [`Error::Name`] if `id` cannot be a path segment.
    pub fn control(trust_domain: &TrustDomain, id: &str) -> Result<Self, Error> {
        Self::reserved(trust_domain, "control", id)
    }

    /// The ID of an agent: `/skans/agent/<id>`.
    ///
    /// # Errors
    /// [`Error::Name`] if `id` cannot be a path segment.
    pub fn agent(trust_domain: &TrustDomain, id: &str) -> Result<Self, Error> {
        Self::reserved(trust_domain, "agent", id)
    }

    /// The ID of a gateway: `/skans/gateway/<id>`.
    ///
    /// # Errors
    /// [`Error::Name`] if `id` cannot be a path segment.
    pub fn gateway(trust_domain: &TrustDomain, id: &str) -> Result<Self, Error> {
        Self::reserved(trust_domain, "gateway", id)
    }

    /// The ID of a person: `/skans/user/<id>`.
    ///
    /// # Errors
    /// [`Error::Name`] if `id` cannot be a path segment.
    pub fn user(trust_domain: &TrustDomain, id: &str) -> Result<Self, Error> {
        Self::reserved(trust_domain, "user", id)
    }

    fn reserved(trust_domain: &TrustDomain, kind: &str, id: &str) -> Result<Self, Error> {
        segment("id", id, MAX_PART)?;
        Self::parse(&format!("{SCHEME}{trust_domain}/skans/{kind}/{id}"))
    }

    /// The ID of the trust domain itself, without a path: what stands in its CA certificates.
    #[must_use]
    pub fn of_trust_domain(trust_domain: &TrustDomain) -> Self {
        Self {
            uri: format!("{SCHEME}{trust_domain}").into(),
            trust_domain: trust_domain.clone(),
        }
    }

    /// The whole URI.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.uri
    }

    /// Whose keys must vouch for this ID.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The path with its leading `/`; empty for the ID of a trust domain.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri
            .get(SCHEME.len() + self.trust_domain.0.len()..)
            .unwrap_or_default()
    }

    /// What the shape of the path says; `None` for a foreign shape, which only policy can map to names.
    #[must_use]
    pub fn role(&self) -> Option<Role<'_>> {
        let mut parts = self.path().split('/').skip(1);
        let mut next = || parts.next();
        let role = match next()? {
            "cluster" => {
                let cluster = next()?;
                let namespace = (next()? == "ns").then(&mut next)??;
                let workload = (next()? == "sa").then(&mut next)??;
                let node = (next()? == "node").then(&mut next)??;
                Role::Node {
                    cluster,
                    namespace,
                    workload,
                    node,
                }
            }
            "skans" => match (next()?, next()?) {
                ("agent", id) => Role::Agent(id),
                ("control", id) => Role::Control(id),
                ("gateway", id) => Role::Gateway(id),
                ("user", id) => Role::User(id),
                _ => return None,
            },
            _ => return None,
        };
        next().is_none().then_some(role)
    }
}

/// The ID of an Erlang node, or of the CLI nodes of a host, built from its parts.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeId(SpiffeId);

impl NodeId {
    /// The ID of the node `node`: the part of its name before `@`.
    ///
    /// # Errors
    /// [`Error::Name`] says which part breaks which rule. `cli` is refused: it is not the name of one node.
    pub fn new(
        trust_domain: &TrustDomain,
        cluster: &str,
        namespace: &str,
        workload: &str,
        node: &str,
    ) -> Result<Self, Error> {
        check_alive(node)?;
        if node == CLI {
            return Err(Error::name(
                "node",
                node,
                "another name: 'cli' stands for the CLI nodes of a host",
            ));
        }
        Self::build(trust_domain, cluster, namespace, workload, node)
    }

    /// The ID that stands for the short-lived CLI nodes of a host.
    ///
    /// # Errors
    /// [`Error::Name`] says which part breaks which rule.
    pub fn cli(
        trust_domain: &TrustDomain,
        cluster: &str,
        namespace: &str,
        workload: &str,
    ) -> Result<Self, Error> {
        Self::build(trust_domain, cluster, namespace, workload, CLI)
    }

    fn build(
        td: &TrustDomain,
        cluster: &str,
        namespace: &str,
        workload: &str,
        node: &str,
    ) -> Result<Self, Error> {
        segment("cluster", cluster, MAX_PART)?;
        segment("namespace", namespace, MAX_PART)?;
        segment("workload", workload, MAX_PART)?;
        let uri =
            format!("{SCHEME}{td}/cluster/{cluster}/ns/{namespace}/sa/{workload}/node/{node}");
        Ok(Self(SpiffeId::parse(&uri)?))
    }

    /// The ID itself.
    #[must_use]
    pub const fn id(&self) -> &SpiffeId {
        &self.0
    }

    /// The cluster that the node belongs to.
    #[must_use]
    pub fn cluster(&self) -> &str {
        match self.0.role() {
            Some(Role::Node { cluster, .. }) => cluster,
            _ => "",
        }
    }
}

impl TryFrom<SpiffeId> for NodeId {
    type Error = Error;

    /// Takes an ID that has the shape of a node's.
    fn try_from(id: SpiffeId) -> Result<Self, Error> {
        let Some(Role::Node {
            cluster,
            namespace,
            workload,
            node,
        }) = id.role()
        else {
            return Err(Error::name(
                "SPIFFE ID",
                id.as_str(),
                "the ID of a node: /cluster/C/ns/N/sa/W/node/NAME",
            ));
        };
        check_alive(node)?;
        Self::build(id.trust_domain(), cluster, namespace, workload, node)
    }
}

/// Checks the part of a node name before `@`, as `net_kernel:valid_name_head/1` does: `[0-9A-Za-z_-]+`.
pub(crate) fn check_alive(text: &str) -> Result<(), Error> {
    let bad = |wanted| Err(Error::name("node", text, wanted));
    if text.is_empty() || text.len() > 200 {
        return bad("1 to 200 bytes: the part of the node name before '@'");
    }
    if !text
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-'))
    {
        return bad("only a-z, A-Z, 0-9, '_' and '-', as Erlang wants it before '@'");
    }
    Ok(())
}

/// Checks the name of a cluster: 1 to 63 bytes of a path segment.
pub(crate) fn check_cluster(text: &str) -> Result<(), Error> {
    segment("cluster", text, MAX_PART)
}

fn segment(what: &'static str, text: &str, most: usize) -> Result<(), Error> {
    if text.is_empty() || text.len() > most {
        return Err(Error::name(what, text, "1 to 63 bytes"));
    }
    if matches!(text, "." | "..") || !text.bytes().all(is_path_byte) {
        return Err(Error::name(
            what,
            text,
            "only a-z, A-Z, 0-9, '.', '-' and '_', and not '.' or '..'",
        ));
    }
    Ok(())
}

const fn is_path_byte(b: u8) -> bool {
    b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_')
}

impl FromStr for TrustDomain {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl FromStr for SpiffeId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.uri)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
