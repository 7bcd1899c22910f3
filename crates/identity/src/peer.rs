//! Who a peer is once its certificate is read, and which node names it may carry.

#[cfg(test)]
mod tests;

use rustls_pki_types::CertificateDer;

use crate::error::shown;
use crate::host::Host;
use crate::id::{CLI, Role, SpiffeId};
use crate::leaf;
use crate::node_name::NodeName;
use crate::pattern::NamePattern;
use crate::refusal::Refusal;

/// What is known of a peer from its leaf certificate. Only as true as the check that came before it: from
/// [`crate::tls::established`] it is verified, from [`PeerIdentity::from_der`] it is merely read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PeerIdentity {
    /// Its SPIFFE ID.
    pub id: SpiffeId,
    /// The one DNS name or IP address: the host part of its node name. Foreign identities may lack it.
    pub host: Option<Host>,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
    /// The serial number in lower-case hex, as it stands in the certificate.
    pub serial: String,
    /// The issuer's name, quoted and cut, for logs.
    pub issuer: String,
    /// SHA-256 of the whole `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
}

impl PeerIdentity {
    /// Reads a leaf certificate, without asking who vouches for it.
    ///
    /// # Errors
    /// A [`Refusal`] if it is not one certificate with exactly one URI name, a SPIFFE ID with a path, and at most one
    /// DNS name or IP address; or if it is a CA, may sign certificates, or has a weak key.
    pub fn from_der(der: &CertificateDer<'_>) -> Result<Self, Refusal> {
        let certificate = leaf::parse(der)?;
        let peer = leaf::identity(&certificate)?;
        leaf::check_constraints(&certificate, &peer.id)?;
        Ok(peer)
    }

    /// The node name that the certificate says, `cli@host` for the short-lived nodes of a host. `None` if it is not that of
    /// a node, or has no host.
    #[must_use]
    pub fn node_name(&self) -> Option<NodeName> {
        match self.id.role()? {
            Role::Node { node, .. } => NodeName::new(node, self.host.clone()?).ok(),
            _ => None,
        }
    }

    /// Whether this identity may carry the node name `alive@host`. Both halves are compared byte by byte.
    ///
    /// A CLI identity (`…/node/cli`) carries the names that fit one of `cli_patterns`, on its own host; see
    /// [`NamePattern::cli_defaults`].
    ///
    /// # Errors
    /// [`Refusal::NotANode`] or [`Refusal::NodeName`], which says what was claimed and what would be allowed.
    pub fn may_carry(
        &self,
        alive: &str,
        host: &str,
        cli_patterns: &[NamePattern],
    ) -> Result<(), Refusal> {
        let Some(Role::Node { node, .. }) = self.id.role() else {
            return Err(Refusal::NotANode {
                id: self.id.clone(),
            });
        };
        let own = self.host.as_ref().map(ToString::to_string);
        let name_fits = if node == CLI {
            cli_patterns.iter().any(|p| p.matches(alive))
        } else {
            node == alive
        };
        if name_fits && own.as_deref() == Some(host) {
            return Ok(());
        }
        let own = own.unwrap_or_else(|| "(no host name in the certificate)".into());
        let wanted = if node == CLI {
            format!("a short-lived CLI name at {own}")
        } else {
            format!("{node}@{own}")
        };
        Err(Refusal::NodeName {
            id: self.id.clone(),
            claimed: shown(&format!("{alive}@{host}")),
            wanted,
        })
    }
}
