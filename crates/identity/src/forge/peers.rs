//! Peers that trust anybody and speak whatever they are told. For tests only.

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::sign::SingleCertAndKey;
use rustls::{
    ClientConfig, DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{BROKEN, Forged};
use crate::error::Error;

/// What a hostile peer speaks.
#[derive(Debug, Clone)]
pub struct Speech {
    /// TLS versions.
    pub versions: Vec<&'static SupportedProtocolVersion>,
    /// Application protocols (ALPN).
    pub alpn: Vec<Vec<u8>>,
}

impl Default for Speech {
    fn default() -> Self {
        Self {
            versions: vec![&rustls::version::TLS13],
            alpn: vec![crate::tls::ALPN.to_vec()],
        }
    }
}

/// Settings of a client that trusts everybody and shows `forged`, or no certificate. It keeps tickets and resumes.
///
/// # Errors
/// If rustls does not take the settings.
pub fn client_config(forged: Option<&Forged>, speech: &Speech) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(any_provider()))
        .with_protocol_versions(&speech.versions)
        .map_err(|_| BROKEN)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    let mut config = match forged {
        Some(forged) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(forged.certified()?)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols.clone_from(&speech.alpn);
    config.enable_early_data = true;
    Ok(Arc::new(config))
}

/// Settings of a server that trusts everybody, asks for no certificate and shows `forged`. It hands tickets out.
///
/// # Errors
/// If rustls does not take the settings.
pub fn server_config(forged: &Forged, speech: &Speech) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(any_provider()))
        .with_protocol_versions(&speech.versions)
        .map_err(|_| BROKEN)?
        .with_client_cert_verifier(Arc::new(Anybody))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(forged.certified()?)));
    config.alpn_protocols.clone_from(&speech.alpn);
    Ok(Arc::new(config))
}

fn any_provider() -> CryptoProvider {
    rustls::crypto::aws_lc_rs::default_provider()
}

/// Trusts everybody.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        any_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl ClientCertVerifier for Anybody {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        any_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}
