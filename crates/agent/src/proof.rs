//! What a link was decided on: who is at the other end, who vouches for it, with which of our certificates it was
//! opened, and until when both hold.

use std::net::SocketAddr;
use std::sync::Arc;

use rustls::CommonState;
use rustls::pki_types::UnixTime;
use skans_identity::Refusal;
use skans_identity::peer::PeerIdentity;
use skans_identity::verify::{Evidence, Usage, Verifier};

use crate::Error;

/// What TLS agreed on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsFacts {
    /// `TLSv1.3`; nothing else is spoken.
    pub version: &'static str,
    /// The cipher suite, by its name in RFC 8446.
    pub suite: String,
    /// The key exchange group.
    pub group: String,
}

/// What one connection of a link has proven. Each takeover brings another.
#[derive(Clone, Debug)]
pub struct Proof {
    /// The peer's certificate, and who signed it.
    pub peer: Evidence,
    /// The same of the certificate that was shown to it.
    pub own: Arc<Evidence>,
    /// The address of the peer's agent.
    pub address: SocketAddr,
    /// What TLS agreed on.
    pub tls: TlsFacts,
}

impl Proof {
    /// Who the peer's certificate says it is.
    #[must_use]
    pub const fn identity(&self) -> &PeerIdentity {
        &self.peer.peer
    }

    /// The last second, Unix time, at which both certificates are valid.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.peer.not_after.min(self.own.not_after)
    }

    /// Whether another connection's peer is the same: identity and host, for nodes of one workload are called alike on
    /// all of them.
    #[must_use]
    pub fn is_same_peer(&self, other: &Self) -> bool {
        let (this, other) = (self.identity(), other.identity());
        this.id == other.id && this.host == other.host
    }
}

/// What the peer of a finished handshake has shown. Not compared with any name yet.
///
/// # Errors
/// [`Error::Tls`]: it is not who it may be.
pub fn evidence(
    state: &CommonState,
    verifier: &Verifier,
    usage: Usage,
    address: SocketAddr,
) -> Result<Evidence, Error> {
    skans_identity::tls::established(state).map_err(|refusal| refused(address, &refusal))?;
    // Once more: TLS keeps no note of who signed.
    let chain = state.peer_certificates().unwrap_or_default();
    verifier
        .evidence(chain, usage, UnixTime::now())
        .map_err(|refusal| refused(address, &refusal))
}

/// A refusal by the verifier.
pub fn refused(address: SocketAddr, refusal: &Refusal) -> Error {
    Error::Tls {
        address,
        problem: refusal.to_string(),
        label: refusal.label(),
    }
}

#[cfg(test)]
pub mod testing {
    //! Proofs for tests that are about something else.

    use skans_identity::host::Host;
    use skans_identity::id::SpiffeId;

    use super::*;

    /// Of `node` in `spiffe://test/cluster/<cluster>`, valid for ever, with a key of its own.
    pub fn evidence(cluster: &str, node: &str, host: Option<&str>) -> Evidence {
        let mut key = [0; 32];
        key.iter_mut()
            .zip(node.bytes())
            .for_each(|(to, from)| *to = from);
        Evidence {
            peer: PeerIdentity {
                id: SpiffeId::parse(&format!(
                    "spiffe://test/cluster/{cluster}/ns/default/sa/w/node/{node}"
                ))
                .unwrap(),
                host: host.map(|host| Host::parse(host).unwrap()),
                not_before: 0,
                not_after: u64::MAX,
                serial: "01".into(),
                issuer: String::new(),
                spki_sha256: key,
            },
            signers: vec![[0xaa; 32], [0xbb; 32]],
            cluster: Some(cluster.into()),
            not_after: u64::MAX,
        }
    }

    /// Of a link of `a` with such a node.
    pub fn proof(cluster: &str, node: &str, host: Option<&str>) -> Proof {
        Proof {
            peer: evidence(cluster, node, host),
            own: Arc::new(evidence(cluster, "a", Some("here"))),
            address: "127.0.0.1:1".parse().unwrap(),
            tls: TlsFacts {
                version: "TLSv1.3",
                suite: String::new(),
                group: String::new(),
            },
        }
    }
}
