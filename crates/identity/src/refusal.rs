//! Why a peer is refused: one verdict for certificates, names and connections. Our own input is judged by `Error`.

use crate::error::Error;
use crate::head::Mark;
use crate::id::{SpiffeId, TrustDomain};
use crate::policy_set::Version;

/// Why a peer's certificate, or what it claims with it, is refused. The peer is to blame, except where said; trying
/// again helps only where [`Refusal::is_transient`] says so. Text that came from the peer is escaped and cut.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// The peer showed no certificate.
    #[error("no certificate shown; wanted a client certificate of a trusted domain")]
    NoCertificate,
    /// Not an X.509 certificate, or one that two careful readers would read differently.
    #[error("certificate cannot be read: {0}; wanted one X.509 v3 certificate in DER")]
    Encoding(&'static str),
    /// A certificate is too large.
    #[error("certificate of {found} bytes; wanted at most {limit}")]
    TooLarge {
        /// Bytes found.
        found: usize,
        /// Bytes allowed.
        limit: usize,
    },
    /// Too many certificates.
    #[error("chain of {found} certificates; wanted at most {limit}")]
    ChainTooLong {
        /// Certificates found, the leaf included.
        found: usize,
        /// Certificates allowed.
        limit: usize,
    },
    /// Not exactly one URI name. A name in the subject (CN) counts for nothing.
    #[error("certificate with {found} URI names; wanted exactly one, a SPIFFE ID")]
    UriNames {
        /// How many URI names there are.
        found: usize,
    },
    /// The URI name is not a SPIFFE ID of a workload.
    #[error("certificate without a usable SPIFFE ID: {0}")]
    SpiffeId(Error),
    /// More than one DNS name or IP address.
    #[error(
        "certificate with {found} DNS names and IP addresses; wanted at most one, the host of the node"
    )]
    HostNames {
        /// How many there are.
        found: usize,
    },
    /// The DNS name or IP address is not one of a host.
    #[error("certificate without a usable host name: {0}")]
    HostName(Error),
    /// A CA certificate stands where a leaf should.
    #[error("certificate of {id} is a CA certificate; wanted a leaf (CA:FALSE)")]
    CaLeaf {
        /// Who it claims to be.
        id: SpiffeId,
    },
    /// The key usages do not fit a leaf.
    #[error(
        "certificate of {id} {found}; wanted digitalSignature and neither keyCertSign nor cRLSign"
    )]
    KeyUsage {
        /// Who it claims to be.
        id: SpiffeId,
        /// What was found.
        found: &'static str,
    },
    /// The extended key usages do not allow what the certificate is used for.
    #[error("certificate of {id} may not be used as {wanted}; wanted that extended key usage")]
    ExtendedKeyUsage {
        /// Who it claims to be.
        id: SpiffeId,
        /// `clientAuth` or `serverAuth`.
        wanted: &'static str,
    },
    /// A key that is too weak, too costly, or of a kind that we do not use.
    #[error(
        "public key {found}; wanted ECDSA P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits"
    )]
    WeakKey {
        /// What was found.
        found: String,
    },
    /// Expired. Either the peer did not renew, or a clock is wrong.
    #[error("certificate of {id} expired at {not_after}, now is {now}; wanted a valid one")]
    Expired {
        /// Who it claims to be.
        id: SpiffeId,
        /// Last second of validity, Unix time.
        not_after: u64,
        /// Our time, Unix seconds.
        now: u64,
    },
    /// Not valid yet: most likely a clock is wrong.
    #[error(
        "certificate of {id} is valid from {not_before}, now is {now}; wanted a valid one (clocks?)"
    )]
    NotYetValid {
        /// Who it claims to be.
        id: SpiffeId,
        /// First second of validity, Unix time.
        not_before: u64,
        /// Our time, Unix seconds.
        now: u64,
    },
    /// We hold no bundle for the claimed trust domain.
    #[error("trust domain {found} is not trusted here; wanted one whose bundle is configured")]
    UnknownTrustDomain {
        /// The claimed trust domain.
        found: TrustDomain,
    },
    /// Our bundle for the trust domain holds no root that is valid now. Our configuration is to blame.
    #[error(
        "the bundle of trust domain {trust_domain} has no valid root left of {total}; wanted a fresh bundle"
    )]
    NoValidRoot {
        /// The trust domain.
        trust_domain: TrustDomain,
        /// How many roots it holds, none valid now.
        total: usize,
    },
    /// No chain to a root of the claimed trust domain.
    #[error("no chain from {id} to a root of its own trust domain: {why}")]
    Untrusted {
        /// Who it claims to be.
        id: SpiffeId,
        /// What the path builder says.
        why: String,
    },
    /// Denied by the deny set, although the certificate is in order.
    #[error("{id} is denied by {by}")]
    Denied {
        /// Who it is.
        id: SpiffeId,
        /// Which kind of entry: `spiffe id`, `node name`, `key`, `serial` or `issuer key`.
        by: &'static str,
    },
    /// The issuer signs for another cluster than the one that the identity is of.
    #[error("{id} is signed by the issuer of cluster {issuer}; wanted one of its own cluster")]
    OtherCluster {
        /// Who it claims to be.
        id: SpiffeId,
        /// The cluster that the issuer signs for, escaped.
        issuer: String,
    },
    /// The chain of a control plane does not end in the root that a join token names. Either the token is of another
    /// place, or somebody answers in its stead.
    #[error("{0}; wanted the self-signed root that the token names, sent along")]
    Root(String),
    /// The identity is not that of a control plane.
    #[error("{id} is not the identity of the control plane; wanted /skans/control/ID")]
    NotControl {
        /// Who it is.
        id: SpiffeId,
    },
    /// What the control plane is said to have signed is not that, or is not meant for us.
    #[error("{what}: {found}; wanted {wanted}")]
    Statement {
        /// What kind of statement it is.
        what: &'static str,
        /// What was found, escaped and cut.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A head that is older than one already seen. Either it came late, or somebody plays it again.
    #[error("head {found}, below {remembered} that was seen; wanted none that goes back")]
    RolledBack {
        /// Epoch and deny sequence of the head.
        found: Mark,
        /// The highest pair seen.
        remembered: Mark,
    },
    /// Two heads with the same numbers and different deny streams: the control plane was copied, or its key stolen.
    #[error("head {found} with another deny stream than the one seen; wanted one stream")]
    Forked {
        /// Epoch and deny sequence.
        found: Mark,
    },
    /// A head of an epoch that nobody announced: a control plane that was restored and not yet recovered.
    #[error(
        "head {found} of a new epoch, {remembered} was seen; wanted a recovery statement first"
    )]
    NewEpoch {
        /// Epoch and deny sequence of the head.
        found: Mark,
        /// The highest pair seen.
        remembered: Mark,
    },
    /// A policy set whose life is over.
    #[error(
        "policy set {version} expired at {not_after}, now is {now}; wanted one that was signed again"
    )]
    PolicyExpired {
        /// Which.
        version: Version,
        /// Its last second, Unix time.
        not_after: u64,
        /// Now.
        now: u64,
    },
    /// A policy set that was written for another schema. A newer control plane than we are, mostly: upgrade.
    #[error(
        "policy set {version} is written for another schema; wanted one that this release knows (upgrade)"
    )]
    PolicySchema {
        /// Which.
        version: Version,
    },
    /// A policy set that is older than one already seen. Either it came late, or somebody plays it again.
    #[error("policy set {found}, below {remembered} that was seen; wanted none that goes back")]
    PolicyRolledBack {
        /// Which.
        found: Version,
        /// The highest one seen.
        remembered: Version,
    },
    /// Two policy sets with one version: the control plane was copied, or its key stolen.
    #[error(
        "policy set {found} says something else than the one seen; wanted one content for one version"
    )]
    PolicyForked {
        /// Which.
        found: Version,
    },
    /// A policy set of an epoch that nobody announced: a control plane that was restored and not yet recovered.
    #[error("policy set {found} of a new epoch; wanted a recovery statement first")]
    PolicyEpoch {
        /// Which.
        found: Version,
    },
    /// The bundle of another domain cannot be taken. That domain, or whoever stands between, is to blame.
    #[error("bundle of {trust_domain}: {found}; wanted {wanted}")]
    ForeignBundle {
        /// Whose it is said to be.
        trust_domain: TrustDomain,
        /// What was found, escaped and cut.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A bundle of another domain that is older than one already seen. Somebody plays it again, or their control plane was
    /// set back.
    #[error(
        "bundle of {trust_domain} with sequence {found}, below {remembered} that was seen; wanted none that goes back"
    )]
    ForeignRolledBack {
        /// Whose it is.
        trust_domain: TrustDomain,
        /// Its sequence.
        found: u64,
        /// The highest one seen.
        remembered: u64,
    },
    /// Two bundles of another domain with one sequence: their control plane was copied, or somebody made one up.
    #[error(
        "bundle of {trust_domain} with sequence {found} says something else than the one seen; wanted one content for one sequence"
    )]
    ForeignForked {
        /// Whose it is.
        trust_domain: TrustDomain,
        /// Its sequence.
        found: u64,
    },
    /// A foreign identity wants something that the link between the clusters does not give it.
    #[error("{id} over link {link}; wanted {wanted}")]
    NotLinked {
        /// Who it is.
        id: SpiffeId,
        /// What we call the link.
        link: Box<str>,
        /// What the link wants.
        wanted: &'static str,
    },
    /// The identity is not that of a node.
    #[error("{id} is not the identity of a node; wanted /cluster/C/ns/N/sa/W/node/NAME")]
    NotANode {
        /// Who it is.
        id: SpiffeId,
    },
    /// The identity may not carry this node name.
    #[error("{id} may not carry the name {claimed}; wanted {wanted}")]
    NodeName {
        /// Who it is.
        id: SpiffeId,
        /// The name claimed or dialled, escaped.
        claimed: String,
        /// What it may carry.
        wanted: String,
    },
    /// The connection is not TLS 1.3.
    #[error("connection with {found}; wanted TLS 1.3")]
    Version {
        /// The version negotiated.
        found: String,
    },
    /// The connection does not speak our protocol.
    #[error("connection with application protocol {found}; wanted skans/1 (ALPN)")]
    Protocol {
        /// What was negotiated, escaped.
        found: String,
    },
    /// The handshake was a resumption: the certificate was not looked at again.
    #[error("resumed TLS session; wanted a full handshake, with certificates")]
    Resumed,
}

impl Refusal {
    /// A short, stable name for metrics. Never holds anything that a peer chooses.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::NoCertificate => "no_certificate",
            Self::Encoding(_) => "encoding",
            Self::TooLarge { .. } => "too_large",
            Self::ChainTooLong { .. } => "chain_too_long",
            Self::UriNames { .. } => "uri_names",
            Self::SpiffeId(_) => "spiffe_id",
            Self::HostNames { .. } => "host_names",
            Self::HostName(_) => "host_name",
            Self::CaLeaf { .. } => "ca_leaf",
            Self::KeyUsage { .. } => "key_usage",
            Self::ExtendedKeyUsage { .. } => "extended_key_usage",
            Self::WeakKey { .. } => "weak_key",
            Self::Expired { .. } => "expired",
            Self::NotYetValid { .. } => "not_yet_valid",
            Self::UnknownTrustDomain { .. } => "unknown_trust_domain",
            Self::NoValidRoot { .. } => "no_valid_root",
            Self::Untrusted { .. } => "untrusted",
            Self::Denied { .. } => "denied",
            Self::OtherCluster { .. } => "other_cluster",
            Self::Root(_) => "root",
            Self::NotControl { .. } => "not_control",
            Self::Statement { .. } => "statement",
            Self::RolledBack { .. } => "rolled_back",
            Self::Forked { .. } => "forked",
            Self::NewEpoch { .. } => "new_epoch",
            Self::PolicyExpired { .. } => "policy_expired",
            Self::PolicySchema { .. } => "policy_schema",
            Self::PolicyRolledBack { .. } => "policy_rolled_back",
            Self::PolicyForked { .. } => "policy_forked",
            Self::PolicyEpoch { .. } => "policy_epoch",
            Self::ForeignBundle { .. } => "foreign_bundle",
            Self::ForeignRolledBack { .. } => "foreign_rolled_back",
            Self::ForeignForked { .. } => "foreign_forked",
            Self::NotLinked { .. } => "not_linked",
            Self::NotANode { .. } => "not_a_node",
            Self::NodeName { .. } => "node_name",
            Self::Version { .. } => "tls_version",
            Self::Protocol { .. } => "protocol",
            Self::Resumed => "resumed",
        }
    }

    /// Whether the same peer may be accepted later without anybody reconfiguring it: it renews, or a clock is set.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Expired { .. } | Self::NotYetValid { .. } | Self::NoValidRoot { .. }
        )
    }

    /// The refusal inside a TLS error, if that is why the handshake failed.
    #[must_use]
    pub fn of(error: &rustls::Error) -> Option<&Self> {
        match error {
            rustls::Error::InvalidCertificate(rustls::CertificateError::Other(other)) => {
                other.0.downcast_ref()
            }
            _ => None,
        }
    }

    /// The refusal inside an I/O error, as asynchronous TLS streams wrap it.
    #[must_use]
    pub fn of_io(error: &std::io::Error) -> Option<&Self> {
        error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<rustls::Error>())
            .and_then(Self::of)
    }
}

impl From<Refusal> for rustls::Error {
    fn from(refusal: Refusal) -> Self {
        Self::InvalidCertificate(rustls::CertificateError::Other(rustls::OtherError(
            std::sync::Arc::new(refusal),
        )))
    }
}
