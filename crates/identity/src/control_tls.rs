//! TLS between the control plane and those who call it: 1.3 only, no resumption, a client certificate where there is
//! one. What is said over it, and who may say what, is not here. TLS of links: `tls`.

#[cfg(test)]
mod tests;

use core::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    ClientConfig, CommonState, DigitallySignedStruct, DistinguishedName, HandshakeKind,
    ProtocolVersion, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use crate::credential::Credential;
use crate::error::Error;
use crate::head::{Audience, check_control};
use crate::id::Role;
use crate::refusal::Refusal;
use crate::tls::provider;
use crate::verify::{Evidence, MAX_CHAIN, Usage, Verifier};

/// HTTP/2, which gRPC needs (ALPN, RFC 9113 3.2).
pub const HTTP2: &[u8] = b"h2";
/// HTTP/1.1, for people and tools (ALPN, RFC 7301 6).
pub const HTTP11: &[u8] = b"http/1.1";

const SETUP: Error = Error::Crypto {
    doing: "set TLS 1.3 up",
};

/// Settings of the control plane's API. A client certificate is asked for and, if one is shown, verified as on links; but
/// not demanded, since enrolment and the public bundle are for strangers. Who calls is told by [`caller`]: **every other
/// method refuses who has none.**
///
/// # Errors
/// None in practice: [`Error::Crypto`] if rustls finds the provider unfit.
pub fn server_config(served: Served, verifier: Arc<Verifier>) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| SETUP)?
        .with_client_cert_verifier(Arc::new(Asked(verifier)))
        .with_cert_resolver(Arc::new(served));
    // A resumed session carries the old identity without asking the verifier again.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![HTTP2.to_vec(), HTTP11.to_vec()];
    Ok(Arc::new(config))
}

/// Settings for calling a control plane. `verifier` is a [`ControlPlane`], or
/// [`FirstTrust`](crate::first_trust::FirstTrust) before there is a bundle; `credential` is the caller's own, if it has one.
/// Cheap enough to make for each connection, so that a renewed credential is used at once.
///
/// # Errors
/// None in practice: [`Error::Crypto`] if rustls finds the provider unfit.
pub fn client_config(
    verifier: Arc<dyn ServerCertVerifier>,
    credential: Option<&Credential>,
    protocol: &[u8],
) -> Result<Arc<ClientConfig>, Error> {
    let builder = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| SETUP)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match credential {
        Some(own) => {
            let own = SingleCertAndKey::from(own.certified_key());
            builder.with_client_cert_resolver(Arc::new(own))
        }
        None => builder.with_no_client_auth(),
    };
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}

/// Who calls, once the handshake is finished; `None` for a stranger. The chain is verified a second time, under the trust
/// of this moment; while a connection lives, ask [`Verifier::recheck`] before each call.
///
/// **Compare trust domain and [`Evidence::cluster`] with your own before you give anybody a role**: under a shared root,
/// another cluster may have an agent or a person of the same name.
///
/// # Errors
/// A [`Refusal`] if the connection is not a full TLS 1.3 handshake, or the caller is refused.
pub fn caller(
    connection: &CommonState,
    verifier: &Verifier,
    now: UnixTime,
) -> Result<Option<Evidence>, Refusal> {
    check_fresh(connection)?;
    match connection.peer_certificates() {
        None | Some([]) => Ok(None),
        Some(chain) => verifier.evidence(chain, Usage::Client, now).map(Some),
    }
}

/// A full handshake of TLS 1.3, so that the verifier was asked.
pub(crate) fn check_fresh(connection: &CommonState) -> Result<(), Refusal> {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {}
        other => {
            return Err(Refusal::Version {
                found: format!("{other:?}"),
            });
        }
    }
    match connection.handshake_kind() {
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest) => Ok(()),
        _ => Err(Refusal::Resumed),
    }
}

/// What the control plane shows: its leaf, its issuing certificate, and the root, which strangers need that hold no more
/// than its hash. Replaced when it renews. Cloning shares it.
#[derive(Clone)]
pub struct Served(Arc<ArcSwap<CertifiedKey>>);

impl Served {
    /// Shows this credential, with the root that is above it.
    ///
    /// # Errors
    /// As [`Served::replace`].
    pub fn new(credential: &Credential, root: &CertificateDer<'_>) -> Result<Self, Error> {
        Ok(Self(Arc::new(ArcSwap::from(shown(credential, root)?))))
    }

    /// Shows another from now on. Handshakes that run keep what they began with.
    ///
    /// # Errors
    /// [`Error::Credential`] if it is not one of `/skans/control/*`, or the chain is full before the root is in it.
    pub fn replace(&self, credential: &Credential, root: &CertificateDer<'_>) -> Result<(), Error> {
        self.0.store(shown(credential, root)?);
        Ok(())
    }
}

fn shown(credential: &Credential, root: &CertificateDer<'_>) -> Result<Arc<CertifiedKey>, Error> {
    let id = &credential.identity().id;
    if !matches!(id.role(), Some(Role::Control(_))) {
        return Err(Error::Credential {
            found: format!("a leaf of {id}"),
            wanted: "one of /skans/control/ID",
        });
    }
    let own = credential.certified_key();
    let mut chain = own.cert.clone();
    if !chain.contains(root) {
        chain.push(root.clone().into_owned());
    }
    if chain.len() > MAX_CHAIN {
        return Err(Error::Credential {
            found: format!("{} certificates with the root", chain.len()),
            wanted: "at most 4",
        });
    }
    Ok(Arc::new(CertifiedKey::new(chain, Arc::clone(&own.key))))
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl fmt::Debug for Served {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Served")
    }
}

/// Verifies that who answers is the control plane of one's own cluster, not just anybody who is trusted: a node's
/// certificate would do for a server's as well. Plugs into rustls.
#[derive(Debug)]
pub struct ControlPlane {
    verifier: Arc<Verifier>,
    audience: Audience,
}

impl ControlPlane {
    /// The control plane of this cluster, by the trust of `verifier`.
    #[must_use]
    pub fn new(verifier: Arc<Verifier>, audience: Audience) -> Arc<Self> {
        Arc::new(Self { verifier, audience })
    }

    /// Judges a chain.
    ///
    /// # Errors
    /// As [`Verifier::verify`], and [`Refusal::NotControl`] or [`Refusal::OtherCluster`].
    pub fn judge(&self, chain: &[CertificateDer<'_>], now: UnixTime) -> Result<Evidence, Refusal> {
        let control = self.verifier.evidence(chain, Usage::Server, now)?;
        check_control(&control, &self.audience)?;
        Ok(control)
    }
}

impl ServerCertVerifier for ControlPlane {
    /// The server name is not compared: the role in the SPIFFE ID says who answers.
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let control = self
            .verifier
            .evidence_of(end_entity, intermediates, Usage::Server, now)?;
        check_control(&control, &self.audience)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(&*self.verifier, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(&*self.verifier, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(&*self.verifier)
    }
}

/// The verifier of links, for callers that may come without a certificate.
#[derive(Debug)]
struct Asked(Arc<Verifier>);

impl ClientCertVerifier for Asked {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.0.verify_client_cert(end_entity, intermediates, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls12_signature(&*self.0, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ClientCertVerifier::verify_tls13_signature(&*self.0, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ClientCertVerifier::supported_verify_schemes(&*self.0)
    }
}
