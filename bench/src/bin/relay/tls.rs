//! TLS for two relays: mutual, with the agents' own settings, so that only the relaying differs.

use std::fs;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls_pki_types::ServerName;
use skans_identity::UnixTime;
use skans_identity::bundle::{Bundle, Bundles};
use skans_identity::credential::Credential;
use skans_identity::id::TrustDomain;
use skans_identity::sni::{self, Credentials};
use skans_identity::tls;
use skans_identity::trust::{DenySet, SharedTrust, Trust};
use skans_identity::verify::Verifier;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// For the relay of `a`.
pub fn connector(directory: &Path) -> io::Result<TlsConnector> {
    let own = credential(directory, "a")?;
    let config = tls::client_config(&own, verifier(directory)?).map_err(io::Error::other)?;
    Ok(TlsConnector::from(config))
}

/// For the relay of `b`.
pub fn acceptor(directory: &Path) -> io::Result<TlsAcceptor> {
    let served = Credentials::default();
    served
        .insert(&domain()?, "b", &credential(directory, "b")?)
        .map_err(io::Error::other)?;
    let config =
        tls::server_config(Arc::new(served), verifier(directory)?).map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(config))
}

/// By which `b` is dialled.
pub fn server_name() -> io::Result<ServerName<'static>> {
    sni::server_name_for(&domain()?, "b").map_err(io::Error::other)
}

fn domain() -> io::Result<TrustDomain> {
    TrustDomain::parse("bench.test").map_err(io::Error::other)
}

fn credential(directory: &Path, alive: &str) -> io::Result<Credential> {
    let chain = fs::read(directory.join(format!("{alive}.pem")))?;
    let key = fs::read(directory.join(format!("{alive}.key")))?;
    Credential::from_pem(&chain, &key, UnixTime::now()).map_err(io::Error::other)
}

fn verifier(directory: &Path) -> io::Result<Arc<Verifier>> {
    let roots = fs::read(directory.join("roots.pem"))?;
    let mut bundles = Bundles::default();
    Bundle::from_pem(domain()?, &roots)
        .and_then(|bundle| bundles.insert(bundle))
        .map_err(io::Error::other)?;
    Ok(Verifier::new(SharedTrust::new(Trust {
        bundles,
        deny: DenySet::default(),
    })))
}
