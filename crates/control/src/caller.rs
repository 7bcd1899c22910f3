//! Who calls: what a connection proved, and what of it still holds. What the caller may do is said in `roles`.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use skans_identity::id::Role;
use skans_identity::peer::PeerIdentity;
use skans_identity::verify::Evidence;

use crate::roles::Kind;
use crate::state::Home;

/// Who is at the other end of a connection. Cloning shares it.
#[derive(Clone, Debug)]
pub(crate) struct Caller(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    proof: Proof,
}

#[derive(Debug)]
enum Proof {
    /// No certificate.
    None { address: IpAddr },
    /// Verified by TLS.
    Certificate {
        evidence: Box<Evidence>,
        leaf: CertificateDer<'static>,
    },
    /// The user that opened the Unix socket.
    Socket { uid: u32 },
}

impl Caller {
    /// Somebody without a certificate.
    pub(crate) fn stranger(address: IpAddr) -> Self {
        Self::of(Kind::Stranger, Proof::None { address })
    }

    /// The owner, through the Unix socket.
    pub(crate) fn local(uid: u32) -> Self {
        Self::of(Kind::User, Proof::Socket { uid })
    }

    /// Whoever TLS verified. What it may be here depends on who signed: `/skans/agent/x` of another cluster under the same
    /// root is no agent of ours.
    pub(crate) fn certified(
        evidence: Evidence,
        leaf: CertificateDer<'static>,
        home: &Home,
    ) -> Self {
        let id = &evidence.peer.id;
        let at_home = *id.trust_domain() == home.trust_domain
            && evidence.cluster.as_deref() == Some(home.cluster.as_str());
        let kind = match id.role() {
            _ if !at_home => Kind::Foreign,
            Some(Role::User(_)) => Kind::User,
            Some(Role::Agent(_)) => Kind::Agent,
            Some(Role::Control(_)) => Kind::Control,
            Some(Role::Gateway(_)) => Kind::Gateway,
            Some(Role::Node { .. }) => Kind::Node,
            None => Kind::Foreign,
        };
        let evidence = Box::new(evidence);
        Self::of(kind, Proof::Certificate { evidence, leaf })
    }

    fn of(kind: Kind, proof: Proof) -> Self {
        Self(Arc::new(Inner { kind, proof }))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.0.kind
    }

    /// What its certificate proved.
    pub(crate) fn evidence(&self) -> Option<&Evidence> {
        match &self.0.proof {
            Proof::Certificate { evidence, .. } => Some(evidence),
            _ => None,
        }
    }

    pub(crate) fn identity(&self) -> Option<&PeerIdentity> {
        self.evidence().map(|evidence| &evidence.peer)
    }

    /// The leaf as it came.
    pub(crate) fn leaf(&self) -> Option<&CertificateDer<'static>> {
        match &self.0.proof {
            Proof::Certificate { leaf, .. } => Some(leaf),
            _ => None,
        }
    }

    /// Where somebody without a certificate is.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        match self.0.proof {
            Proof::None { address } => Some(address),
            _ => None,
        }
    }

    /// The name of an agent of ours.
    pub(crate) fn agent(&self) -> Option<&str> {
        match self.identity()?.id.role()? {
            Role::Agent(id) if self.0.kind == Kind::Agent => Some(id),
            _ => None,
        }
    }

    /// Whether it came through the Unix socket.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self.0.proof, Proof::Socket { .. })
    }
}

/// As events and messages name it.
impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.proof {
            Proof::Certificate { evidence, .. } => write!(f, "{}", evidence.peer.id),
            Proof::Socket { uid } => write!(f, "unix:{uid}"),
            Proof::None { address } => write!(f, "stranger:{address}"),
        }
    }
}

/// SHA-256.
pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes).as_ref());
    out
}
