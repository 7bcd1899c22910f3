//! The certificate of a witness, read from files and read again: who asks verifies it as it likes. Nobody is asked for one: what a log
//! says is signed by its own key.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use skans_host::files;
use skans_identity::tls::provider;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::config::Tls;

/// Largest file in bytes: a chain of public authorities has 8 KiB.
const MAX_PEM: u64 = 96 * 1024;
/// Most certificates of a chain.
const MAX_CHAIN: usize = 8;
/// Between two looks at the files. Certificates are renewed days before they end.
const AGAIN: Duration = Duration::from_secs(60);

/// What is shown.
#[derive(Debug)]
pub(crate) struct Shown(ArcSwap<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.load_full())
    }
}

impl Shown {
    /// Reads the files.
    ///
    /// # Errors
    /// [`Error::File`], [`Error::Tls`].
    pub(crate) fn open(tls: &Tls) -> Result<Arc<Self>, Error> {
        Ok(Arc::new(Self(ArcSwap::from_pointee(read(tls)?))))
    }

    /// TLS 1.3 with it, without resumption, as everywhere else here.
    ///
    /// # Errors
    /// None in practice: [`Error::Tls`].
    pub(crate) fn settings(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(|error| wrong(error.to_string(), "TLS 1.3"))?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// Looks at the files again until the process stops. What cannot be used is told, and the old one stays.
    pub(crate) async fn renew(self: Arc<Self>, tls: Tls, stopping: CancellationToken) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = stopping.cancelled() => return,
            }
            match read(&tls) {
                Ok(key) => {
                    if key.cert != self.0.load().cert {
                        tracing::info!("another certificate is shown from now on");
                        self.0.store(Arc::new(key));
                    }
                }
                Err(error) => tracing::warn!("the certificate stays as it is: {error}"),
            }
        }
    }
}

fn read(tls: &Tls) -> Result<CertifiedKey, Error> {
    let wanted = "1 to 8 CERTIFICATE blocks, leaf first";
    let chain = files::read_text(&tls.certificate, MAX_PEM)?;
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| wrong("certificate: not PEM".into(), wanted))?;
    if chain.is_empty() || chain.len() > MAX_CHAIN {
        return Err(wrong(
            format!("certificate: {} certificates", chain.len()),
            wanted,
        ));
    }
    let key = files::read_secret(&tls.key, MAX_PEM)?;
    let key = PrivateKeyDer::from_pem_slice(&key)
        .map_err(|_| wrong("key: not PEM".into(), "one unencrypted private key"))?;
    let provider: CryptoProvider = provider();
    let key = CertifiedKey::from_der(chain, key, &provider)
        .map_err(|error| wrong(format!("key: {error}"), "the key of the first certificate"))?;
    key.keys_match()
        .map_err(|error| wrong(format!("key: {error}"), "the key of the first certificate"))?;
    Ok(key)
}

fn wrong(found: String, wanted: &'static str) -> Error {
    Error::Tls { found, wanted }
}
