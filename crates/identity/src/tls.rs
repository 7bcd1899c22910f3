//! TLS settings for links: 1.3 only, certificates on both sides, no resumption. What is said over them is not here.

#[cfg(test)]
pub(crate) mod tests;

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};
use rustls::server::{NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::SingleCertAndKey;
use rustls::version::TLS13;
use rustls::{ClientConfig, CommonState, HandshakeKind, ProtocolVersion, ServerConfig};
use rustls_pki_types::UnixTime;

use crate::credential::Credential;
use crate::error::{Error, shown};
use crate::peer::PeerIdentity;
use crate::refusal::Refusal;
use crate::verify::{Evidence, Usage, Verifier};

/// The application protocol of links (ALPN, RFC 7301). A new major version of the link protocol gets a new name.
pub const ALPN: &[u8] = b"skans/1";

/// That of gateways, which are asked for a way to a node and then carry a link's bytes as they are.
pub const GATEWAY_ALPN: &[u8] = b"skans-gateway/1";

/// Settings for dialling a gateway.
#[must_use]
pub fn to_gateway(client: &ClientConfig) -> Arc<ClientConfig> {
    let mut config = client.clone();
    config.alpn_protocols = vec![GATEWAY_ALPN.to_vec()];
    Arc::new(config)
}

/// Settings for accepting as a gateway.
#[must_use]
pub fn of_gateway(server: &ServerConfig) -> Arc<ServerConfig> {
    let mut config = server.clone();
    config.alpn_protocols = vec![GATEWAY_ALPN.to_vec()];
    Arc::new(config)
}

/// Which cryptography is offered, most preferred first.
///
/// - Suites: AES-128-GCM, then AES-256-GCM, then ChaCha20-Poly1305. All are sound; 128-bit AES does 10 rounds instead
///   of 14, and every byte between nodes passes through it. Go and `BoringSSL` put AES-128 first as well; rustls' own
///   order, OpenSSL's and OTP's put AES-256 first.
/// - Key exchange: X25519MLKEM768 (hybrid, against traffic recorded now and decrypted later), then X25519, then P-256
///   for peers under FIPS rules. Go, rustls and the large browsers prefer the same hybrid.
#[must_use]
pub fn provider() -> CryptoProvider {
    CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    }
}

/// Settings for dialling, with the credential of the local node. Cheap enough to make for each connection.
///
/// # Errors
/// None in practice: [`Error::Crypto`] if rustls finds the provider unfit.
pub fn client_config(
    credential: &Credential,
    verifier: Arc<Verifier>,
) -> Result<Arc<ClientConfig>, Error> {
    let mut config = ClientConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| Error::Crypto {
            doing: "set TLS 1.3 up",
        })?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(credential.certified_key())));
    // A resumed session carries the old identity without asking the verifier again. Reconnects are rare: pay for them.
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Settings for accepting. `resolver` picks the credential of the node that is dialled, see
/// [`Credentials`](crate::sni::Credentials). A client certificate is always required.
///
/// # Errors
/// None in practice: [`Error::Crypto`] if rustls finds the provider unfit.
pub fn server_config(
    resolver: Arc<dyn ResolvesServerCert>,
    verifier: Arc<Verifier>,
) -> Result<Arc<ServerConfig>, Error> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(|_| Error::Crypto {
            doing: "set TLS 1.3 up",
        })?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(resolver);
    // rustls keeps 256 sessions by default; a resumed one skips the verifier.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Who the peer of a finished handshake is, and all that is needed to judge it again while the link lives, by
/// [`Verifier::recheck`]. In place of [`established`], with the same rule: once on every connection, on both sides, before
/// the first byte is used. `usage` is what the *peer* did: [`Usage::Client`] if it dialled.
///
/// The chain is verified a second time, under the trust of this moment. So whoever registers a link first and then calls
/// this misses no entry of the deny set that came between handshake and registration.
///
/// # Errors
/// As [`established`] and [`Verifier::verify`].
pub fn evidence(
    connection: &CommonState,
    verifier: &Verifier,
    usage: Usage,
    now: UnixTime,
) -> Result<Evidence, Refusal> {
    established(connection)?;
    let chain = connection.peer_certificates().unwrap_or_default();
    verifier.evidence(chain, usage, now)
}

/// Who the peer of a finished handshake is. Call it once on every connection, on both sides, before the first byte is
/// used: a peer that offers no ALPN at all gets through the handshake, and is refused here.
///
/// # Errors
/// A [`Refusal`] if the connection is not a full TLS 1.3 handshake for [`ALPN`] with a peer certificate.
pub fn established(connection: &CommonState) -> Result<PeerIdentity, Refusal> {
    established_for(connection, ALPN)
}

/// The same for another protocol.
///
/// # Errors
/// As [`established`].
pub fn established_for(
    connection: &CommonState,
    protocol: &'static [u8],
) -> Result<PeerIdentity, Refusal> {
    match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => {}
        other => {
            return Err(Refusal::Version {
                found: format!("{other:?}"),
            });
        }
    }
    if !matches!(
        connection.handshake_kind(),
        Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
    ) {
        return Err(Refusal::Resumed);
    }
    match connection.alpn_protocol() {
        Some(found) if found == protocol => {}
        Some(other) => {
            return Err(Refusal::Protocol {
                found: shown(&String::from_utf8_lossy(other)),
            });
        }
        None => {
            return Err(Refusal::Protocol {
                found: "none".into(),
            });
        }
    }
    let leaf = connection
        .peer_certificates()
        .and_then(<[_]>::first)
        .ok_or(Refusal::NoCertificate)?;
    PeerIdentity::from_der(leaf)
}
