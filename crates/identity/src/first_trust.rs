//! The first connection: all that is known of the control plane is the hash of its root's key, from a join token.
//!
//! The control plane **must send its root along**, after its issuing certificate: only the certificate tells what the
//! hash names. See [`crate::control_tls::Served`], which does. There is no trust on first use, and no way around it.

#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature};
use rustls::{CommonState, DigitallySignedStruct, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;

use crate::bundle::{Bundle, Bundles};
use crate::control_tls;
use crate::head::{Audience, check_control};
use crate::id::Role;
use crate::keys::sha256;
use crate::leaf;
use crate::peer::PeerIdentity;
use crate::refusal::Refusal;
use crate::trust::{SharedTrust, Trust};
use crate::verify::{Evidence, MAX_CHAIN, NO_TLS12, Usage, Verifier, check_sizes};

/// Accepts a control plane by the hash of its root's key, and nobody else. Plugs into rustls.
#[derive(Debug)]
pub struct FirstTrust {
    root_spki_sha256: [u8; 32],
    cluster: Option<String>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What a first connection taught, all of it verified.
#[derive(Debug, Clone)]
pub struct Introduced {
    /// Who answered.
    pub control: Evidence,
    /// The root of its trust domain, to verify everybody by from now on.
    pub bundle: Bundle,
}

impl FirstTrust {
    /// Trusts the root with this SHA-256 of its `SubjectPublicKeyInfo`. If the cluster is known, the control plane must be
    /// that cluster's: clusters may share a root.
    #[must_use]
    pub fn new(root_spki_sha256: [u8; 32], cluster: Option<&str>) -> Arc<Self> {
        Arc::new(Self {
            root_spki_sha256,
            cluster: cluster.map(Into::into),
            algorithms: rustls::crypto::aws_lc_rs::default_provider()
                .signature_verification_algorithms,
        })
    }

    /// Judges a chain: among the certificates after the first there must be one with the key that is trusted, which is a CA
    /// certificate, signed itself, and is of the trust domain that the leaf is of; the leaf must be `/skans/control/*` and
    /// verify under it.
    ///
    /// # Errors
    /// Why it is refused: [`Refusal::Root`], [`Refusal::NotControl`], or as [`Verifier::verify`].
    pub fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Introduced, Refusal> {
        let Some((end_entity, above)) = chain.split_first() else {
            return Err(Refusal::NoCertificate);
        };
        check_sizes(above)?;
        let peer = PeerIdentity::from_der(end_entity)?;
        if !matches!(peer.id.role(), Some(Role::Control(_))) {
            return Err(Refusal::NotControl { id: peer.id });
        }
        let trust_domain = peer.id.trust_domain();
        let root = self.root(above)?;
        self.check_root(root)?;
        let bundle = Bundle::new(trust_domain.clone(), core::slice::from_ref(root))
            .map_err(|error| Refusal::Root(error.to_string()))?;
        let verifier = Verifier::new(SharedTrust::new(Trust {
            bundles: Bundles::from(bundle.clone()),
            ..Trust::default()
        }));
        let control = verifier.evidence(chain, Usage::Server, now)?;
        let cluster = self.cluster.clone().or_else(|| control.cluster.clone());
        let audience = Audience {
            trust_domain: trust_domain.clone(),
            cluster: cluster.unwrap_or_default(),
        };
        check_control(&control, &audience)?;
        Ok(Introduced { control, bundle })
    }

    /// Who answered, once the handshake is finished: call it before the first byte is used.
    ///
    /// # Errors
    /// A [`Refusal`] if the connection is not a full TLS 1.3 handshake, or as [`FirstTrust::judge`].
    pub fn introduced(
        &self,
        connection: &CommonState,
        now: UnixTime,
    ) -> Result<Introduced, Refusal> {
        control_tls::check_fresh(connection)?;
        self.judge(connection.peer_certificates().unwrap_or_default(), now)
    }

    fn root<'c, 'd>(
        &self,
        above: &'c [CertificateDer<'d>],
    ) -> Result<&'c CertificateDer<'d>, Refusal> {
        for der in above.iter().take(MAX_CHAIN) {
            if sha256(leaf::parse(der)?.public_key().raw) == self.root_spki_sha256 {
                return Ok(der);
            }
        }
        Err(Refusal::Root(format!(
            "{} certificates above the leaf, none with the key that the token names",
            above.len()
        )))
    }

    /// A key alone is not a certificate: anybody can put a key that is not his into one, with names and times of his own.
    fn check_root(&self, der: &CertificateDer<'_>) -> Result<(), Refusal> {
        let certificate = leaf::parse(der)?;
        if certificate.issuer().as_raw() != certificate.subject().as_raw()
            || !self.signed_itself(der, &certificate)
        {
            let found = "a certificate with the right key that another key signed";
            return Err(Refusal::Root(found.into()));
        }
        Ok(())
    }

    fn signed_itself(&self, der: &CertificateDer<'_>, certificate: &X509Certificate<'_>) -> bool {
        let Ok(key) = EndEntityCert::try_from(der) else {
            return false;
        };
        let message = certificate.tbs_certificate.as_ref();
        let signature = &certificate.signature_value.data;
        // Those of another kind of key fail without looking at the signature.
        let mut algorithms = self.algorithms.all.iter();
        algorithms.any(|algorithm| key.verify_signature(*algorithm, message, signature).is_ok())
    }
}

impl ServerCertVerifier for FirstTrust {
    /// The server name is not compared: the role in the SPIFFE ID says who answers.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        check_sizes(intermediates)?;
        let chain: Vec<_> = core::iter::once(end_entity)
            .chain(intermediates)
            .cloned()
            .collect();
        self.judge(&chain, now)?;
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
