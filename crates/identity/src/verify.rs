//! The verifier: from a certificate chain to an identity, for both ends of a handshake.
//!
//! Order: sizes, one URI name, SPIFFE ID, constraints, time, the bundle of the claimed trust domain and no other, path
//! (rustls-webpki), the cluster of the issuer, deny set. Which node name the peer may carry is asked afterwards, of the identity: the peer's name
//! is not known here.

mod seen;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, PeerIncompatible, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::{EndEntityCert, KeyUsage, VerifiedPath};

use crate::bundle::Bundle;
use crate::error::shown;
use crate::id::{Role, SpiffeId};
use crate::keys::sha256;
use crate::leaf;
use crate::peer::PeerIdentity;
use crate::refusal::Refusal;
use crate::template;
use crate::trust::{SharedTrust, Trust};
use seen::{Key, Seen};

/// Most certificates in a chain, the leaf included. Ours: leaf, issuing certificate, cluster CA, cross-certificate.
/// OTP's default depth is 10, webpki's own limit 6 intermediates.
pub const MAX_CHAIN: usize = 4;

/// What a verified chain said, as far as it is needed to judge its peer again without it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Who the peer is.
    pub peer: PeerIdentity,
    /// SHA-256 of the `SubjectPublicKeyInfo` of each CA above it, nearest first, the root last.
    pub signers: Vec<[u8; 32]>,
    /// The cluster that the nearest of them signs for, if it is an issuing certificate of Skans.
    pub cluster: Option<String>,
    /// The last second at which the leaf and all certificates between it and the root are valid, Unix time. Nothing that
    /// was opened with them may outlive it.
    pub not_after: u64,
}

/// What a certificate is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Usage {
    /// The peer opened the connection.
    Client,
    /// The peer accepted it.
    Server,
}

/// Verifies peers by [`SharedTrust`]. Plugs into rustls on both sides.
#[derive(Debug)]
pub struct Verifier {
    trust: SharedTrust,
    algorithms: WebPkiSupportedAlgorithms,
    seen: Seen,
}

impl Verifier {
    /// A verifier over this trust, which may change under it at any time.
    #[must_use]
    pub fn new(trust: SharedTrust) -> Arc<Self> {
        Arc::new(Self {
            trust,
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
            seen: Seen::default(),
        })
    }

    /// What it trusts.
    #[must_use]
    pub const fn trust(&self) -> &SharedTrust {
        &self.trust
    }

    /// Verifies a chain as of `now`.
    ///
    /// # Errors
    /// The first reason, in the order given above, why the peer is refused.
    pub fn verify(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<PeerIdentity, Refusal> {
        self.evidence(chain, usage, now).map(|found| found.peer)
    }

    /// Verifies a chain as of `now`, and returns what is needed to judge the peer again later, without its chain, by
    /// [`Verifier::recheck`].
    ///
    /// # Errors
    /// As [`Verifier::verify`].
    pub fn evidence(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<Evidence, Refusal> {
        match chain.split_first() {
            Some((end_entity, intermediates)) => {
                self.evidence_of(end_entity, intermediates, usage, now)
            }
            None => Err(Refusal::NoCertificate),
        }
    }

    /// Judges a peer again that was verified before: by the time, by the present bundle of its trust domain, by the present
    /// deny set. For live links: whenever trust changes, and at [`Evidence::not_after`].
    ///
    /// A root that left the bundle ends what hangs on it, also where another path would lead to a root that stayed: a new
    /// connection finds that path.
    ///
    /// # Errors
    /// Why the peer is now refused.
    pub fn recheck(&self, evidence: &Evidence, now: UnixTime) -> Result<(), Refusal> {
        let trust = self.trust.load();
        let peer = &evidence.peer;
        check_time(peer, now)?;
        if now.as_secs() > evidence.not_after {
            return Err(Refusal::Untrusted {
                id: peer.id.clone(),
                why: "an issuing certificate has expired".into(),
            });
        }
        let bundle = bundle_of(&trust, peer)?;
        let holds = |root| bundle.holds_at(root, now);
        if !evidence.signers.last().is_some_and(holds) {
            return Err(Refusal::Untrusted {
                id: peer.id.clone(),
                why: "its root is no longer trusted".into(),
            });
        }
        check_denied(&trust, evidence)
    }

    pub(crate) fn evidence_of(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<Evidence, Refusal> {
        check_sizes(intermediates)?;
        let key = Key::of(end_entity, intermediates, usage);
        if let Some(evidence) = self.seen.get(&key, now)
            && self.recheck(&evidence, now).is_ok()
        {
            return Ok(evidence);
        }
        // Never seen; or no longer good, and then the reason is found below.
        let evidence = self.evidence_by_signatures(end_entity, intermediates, usage, now)?;
        self.seen.insert(key, evidence.clone(), now);
        Ok(evidence)
    }

    fn evidence_by_signatures(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<Evidence, Refusal> {
        let trust = self.trust.load();
        let peer = PeerIdentity::from_der(end_entity)?;
        check_time(&peer, now)?;
        let bundle = bundle_of(&trust, &peer)?;
        let anchors = bundle.anchors_at(now);
        if anchors.is_empty() {
            return Err(Refusal::NoValidRoot {
                trust_domain: peer.id.trust_domain().clone(),
                total: bundle.len(),
            });
        }
        let certificate = EndEntityCert::try_from(end_entity)
            .map_err(|error| untrusted(&peer.id, usage, error))?;
        let eku = match usage {
            Usage::Client => KeyUsage::client_auth(),
            Usage::Server => KeyUsage::server_auth(),
        };
        let path = certificate
            .verify_for_usage(
                self.algorithms.all,
                &anchors,
                intermediates,
                now,
                eku,
                None,
                Some(&may_sign),
            )
            .map_err(|error| untrusted(&peer.id, usage, error))?;
        let (cluster, not_after) = above(&path, &peer)?;
        let evidence = Evidence {
            signers: signers(&path),
            peer,
            cluster,
            not_after,
        };
        check_cluster(&evidence)?;
        check_denied(&trust, &evidence)?;
        Ok(evidence)
    }
}

fn bundle_of<'t>(trust: &'t Trust, peer: &PeerIdentity) -> Result<&'t Bundle, Refusal> {
    let trust_domain = peer.id.trust_domain();
    trust
        .bundles
        .get(trust_domain)
        .ok_or_else(|| Refusal::UnknownTrustDomain {
            found: trust_domain.clone(),
        })
}

fn check_denied(trust: &Trust, evidence: &Evidence) -> Result<(), Refusal> {
    let Evidence { peer, signers, .. } = evidence;
    match trust.deny.denies(peer, signers) {
        Some(by) => Err(Refusal::Denied {
            id: peer.id.clone(),
            by,
        }),
        None => Ok(()),
    }
}

/// Clusters may share a root: then the issuing key of one must not make nodes of another.
fn check_cluster(evidence: &Evidence) -> Result<(), Refusal> {
    match (evidence.peer.id.role(), &evidence.cluster) {
        (Some(Role::Node { cluster, .. }), Some(issuer)) if cluster != issuer => {
            Err(Refusal::OtherCluster {
                id: evidence.peer.id.clone(),
                issuer: shown(issuer),
            })
        }
        _ => Ok(()),
    }
}

/// What the certificates between leaf and root say: for which cluster the nearest signs, and when the first of them all,
/// the leaf included, runs out.
fn above(path: &VerifiedPath<'_>, peer: &PeerIdentity) -> Result<(Option<String>, u64), Refusal> {
    let (mut cluster, mut not_after) = (None, peer.not_after);
    for (at, ca) in path.intermediate_certificates().enumerate() {
        let der = ca.der();
        let certificate = leaf::parse(&der)?;
        not_after = not_after.min(leaf::seconds(certificate.validity().not_after));
        if at == 0 {
            cluster = template::issuer_cluster(&certificate);
        }
    }
    Ok((cluster, not_after))
}

pub(crate) fn check_sizes(intermediates: &[CertificateDer<'_>]) -> Result<(), Refusal> {
    let found = intermediates.len() + 1;
    if found > MAX_CHAIN {
        return Err(Refusal::ChainTooLong {
            found,
            limit: MAX_CHAIN,
        });
    }
    match intermediates
        .iter()
        .map(|der| der.len())
        .find(|&size| size > leaf::MAX_CERTIFICATE)
    {
        Some(found) => Err(Refusal::TooLarge {
            found,
            limit: leaf::MAX_CERTIFICATE,
        }),
        None => Ok(()),
    }
}

fn check_time(peer: &PeerIdentity, now: UnixTime) -> Result<(), Refusal> {
    let now = now.as_secs();
    if now > peer.not_after {
        return Err(Refusal::Expired {
            id: peer.id.clone(),
            not_after: peer.not_after,
            now,
        });
    }
    if now < peer.not_before {
        return Err(Refusal::NotYetValid {
            id: peer.id.clone(),
            not_before: peer.not_before,
            now,
        });
    }
    Ok(())
}

/// webpki does not look at the key usage of intermediates: RFC 5280 6.1.4 (n) wants keyCertSign where there is one.
fn may_sign(path: &VerifiedPath<'_>) -> Result<(), webpki::Error> {
    for intermediate in path.intermediate_certificates() {
        let der = intermediate.der();
        let certificate = leaf::parse(&der).map_err(|_| webpki::Error::BadDer)?;
        let usage = certificate.key_usage().map_err(|_| webpki::Error::BadDer)?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(webpki::Error::EndEntityUsedAsCa);
        }
    }
    Ok(())
}

/// The key hashes of those who signed, nearest first, the root last.
fn signers(path: &VerifiedPath<'_>) -> Vec<[u8; 32]> {
    let intermediates = path
        .intermediate_certificates()
        .map(|ca| sha256(&ca.subject_public_key_info()));
    // An anchor keeps its key without the outer SEQUENCE: put it back, so that the hash is that of the certificate.
    let root = sha256(&sequence(&path.anchor().subject_public_key_info));
    intermediates.chain([root]).collect()
}

fn sequence(content: &[u8]) -> Vec<u8> {
    let mut out = vec![0x30];
    match u8::try_from(content.len()) {
        Ok(short) if short < 0x80 => out.push(short),
        _ => {
            let length = content.len().to_be_bytes();
            let length: Vec<u8> = length.into_iter().skip_while(|&b| b == 0).collect();
            out.push(0x80 | u8::try_from(length.len()).unwrap_or(0));
            out.extend(length);
        }
    }
    out.extend(content);
    out
}

fn untrusted(id: &SpiffeId, usage: Usage, error: webpki::Error) -> Refusal {
    use webpki::Error as E;
    let id = id.clone();
    match error {
        E::CaUsedAsEndEntity => Refusal::CaLeaf { id },
        E::RequiredEkuNotFoundContext(_) | E::EmptyEkuExtension => {
            let wanted = match usage {
                Usage::Client => "clientAuth",
                Usage::Server => "serverAuth",
            };
            Refusal::ExtendedKeyUsage { id, wanted }
        }
        E::UnknownIssuer => Refusal::Untrusted {
            id,
            why: "unknown issuer".into(),
        },
        E::CertExpired { .. } => Refusal::Untrusted {
            id,
            why: "an issuing certificate has expired".into(),
        },
        E::CertNotValidYet { .. } => Refusal::Untrusted {
            id,
            why: "an issuing certificate is not valid yet".into(),
        },
        E::UnsupportedCriticalExtension => Refusal::Untrusted {
            id,
            why: "a critical extension that is not understood".into(),
        },
        other => Refusal::Untrusted {
            id,
            why: other.to_string(),
        },
    }
}

pub(crate) const NO_TLS12: rustls::Error =
    rustls::Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered);

impl ClientCertVerifier for Verifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // None: hints would tell any stranger whom we trust, and every peer has one certificate anyway.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.evidence_of(end_entity, intermediates, Usage::Client, now)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(NO_TLS12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

impl ServerCertVerifier for Verifier {
    /// The server name is not compared: it is a hash that picks a credential (`sni`), while a SPIFFE ID says who
    /// answers. Whoever dials compares that with the node name, by [`PeerIdentity::may_carry`].
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.evidence_of(end_entity, intermediates, Usage::Server, now)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(NO_TLS12)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
