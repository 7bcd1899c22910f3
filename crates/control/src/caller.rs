//! Who calls: what a connection proved, and what of it still holds. What the caller may do is said in `roles`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use skans_identity::id::{Role, TrustDomain};
use skans_identity::peer::PeerIdentity;
use x509_parser::prelude::FromDer as _;

use crate::roles::Kind;

/// Who is at the other end of a connection. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    /// Verified by TLS.
    identity: Option<PeerIdentity>,
    /// The leaf, as it came.
    leaf: Option<CertificateDer<'static>>,
    /// SHA-256 of the `SubjectPublicKeyInfo` of the certificate that signed the leaf.
    issuer: Option<[u8; 32]>,
    /// The user that opened the Unix socket.
    uid: Option<u32>,
    address: Option<IpAddr>,
}

impl Caller {
    /// Somebody without a certificate.
    pub(crate) fn stranger(address: IpAddr) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::Stranger,
            identity: None,
            leaf: None,
            issuer: None,
            uid: None,
            address: Some(address),
        }))
    }

    /// The owner, through the Unix socket.
    pub(crate) fn local(uid: u32) -> Self {
        Self(Arc::new(Inner {
            kind: Kind::User,
            identity: None,
            leaf: None,
            issuer: None,
            uid: Some(uid),
            address: None,
        }))
    }

    /// Whoever TLS verified. What it may be here depends on who signed: `/skans/agent/x` of another cluster under the same
    /// root is a stranger's word.
    pub(crate) fn certified(
        chain: &[CertificateDer<'_>],
        identity: PeerIdentity,
        home: (&TrustDomain, &str),
        address: IpAddr,
    ) -> Self {
        let signer = signer(chain);
        let at_home = *identity.id.trust_domain() == *home.0
            && signer.as_ref().is_some_and(|signer| signer.cluster == home.1);
        let kind = match identity.id.role() {
            _ if !at_home => Kind::Foreign,
            Some(Role::User(_)) => Kind::User,
            Some(Role::Agent(_)) => Kind::Agent,
            Some(Role::Control(_)) => Kind::Control,
            Some(Role::Gateway(_)) => Kind::Gateway,
            Some(Role::Node { .. }) => Kind::Node,
            None => Kind::Foreign,
        };
        Self(Arc::new(Inner {
            kind,
            identity: Some(identity),
            leaf: chain.first().map(|leaf| leaf.clone().into_owned()),
            issuer: signer.map(|signer| signer.spki_sha256),
            uid: None,
            address: Some(address),
        }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    pub(crate) fn identity(&self) -> Option<&PeerIdentity> {
        self.0.identity.as_ref()
    }

    pub(crate) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        self.0.leaf.as_ref()
    }

    pub(crate) fn issuer(&self) -> Option<[u8; 32]> {
        self.0.issuer
    }

    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.0.address
    }

    /// Whether it came through the Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        self.0.uid.is_some()
    }
}

/// As events and messages name it.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Inner { identity: Some(identity), .. } => write!(f, "{}", identity.id),
            Inner { uid: Some(uid), .. } => write!(f, "unix:{uid}"),
            Inner { address: Some(address), .. } => write!(f, "stranger:{address}"),
            _ => f.write_str("stranger"),
        }
    }
}

struct Issuer {
    cluster: String,
    spki_sha256: [u8; 32],
}

/// The certificate that signed the leaf. In a chain of exactly two it can be no other than the second; our own leaves
/// come with no more than that.
fn signer(chain: &[CertificateDer<'_>]) -> Option<Issuer> {
    let [_, issuer] = chain else { return None };
    let (_, certificate) = x509_parser::certificate::X509Certificate::from_der(issuer).ok()?;
    let mut units = certificate.subject().iter_organizational_unit();
    let cluster = units.next()?.as_str().ok()?.to_owned();
    if units.next().is_some() {
        return None;
    }
    Some(Issuer {
        cluster,
        spki_sha256: sha256(certificate.public_key().raw),
    })
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
