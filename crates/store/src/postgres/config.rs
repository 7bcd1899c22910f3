//! Where PostgreSQL is, and how it is reached: never in plain text over a network.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio_postgres::config::{Host, SslMode, TargetSessionAttrs};

use crate::error::{Error, Result};

/// Where a PostgreSQL store is, and how many connections it takes there.
#[derive(Clone)]
pub struct PostgresConfig {
    /// A connection string as libpq takes it: `postgresql://user:password@host/database` or `host=… user=… dbname=…`. It may
    /// hold a password, so it is never shown.
    pub url: String,
    /// PEM certificates of the authorities that may vouch for the server. Demanded unless the server is on this machine. TLS 1.3
    /// only, as everywhere here.
    pub ca_file: Option<PathBuf>,
    /// How many units of work may change something at once, each on a connection of its own.
    pub writers: usize,
    /// How many units of work may read at once, each on a connection of its own.
    pub readers: usize,
}

impl PostgresConfig {
    /// A database with defaults: eight connections that write, four that read. PostgreSQL has 100 by default, which is room for
    /// eight replicas.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca_file: None,
            writers: 8,
            readers: 4,
        }
    }
}

impl std::fmt::Debug for PostgresConfig {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PostgresConfig")
            .field("ca_file", &self.ca_file)
            .field("writers", &self.writers)
            .field("readers", &self.readers)
            .finish_non_exhaustive()
    }
}

/// The most connections of one kind.
const MAX_CONNECTIONS: usize = 64;
/// The largest file of authorities, in bytes. The Mozilla list has 200 KiB.
const MAX_CA_FILE: u64 = 1024 * 1024;
/// How long one address may take to answer a connect.
const CONNECT: Duration = Duration::from_secs(5);
/// How long what was sent may stay unacknowledged before the connection counts as lost.
const UNACKNOWLEDGED: Duration = Duration::from_secs(10);

/// The configuration, checked.
pub(super) struct Checked {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: Option<Arc<rustls::ClientConfig>>,
}

/// Checks a configuration.
///
/// # Errors
/// [`Error::Config`] and [`Error::File`]; neither shows the connection string.
pub(super) fn check(given: &PostgresConfig) -> Result<Checked> {
    for (key, found) in [("writers", given.writers), ("readers", given.readers)] {
        if found == 0 || found > MAX_CONNECTIONS {
            return Err(Error::Bound {
                what: key,
                found: found.to_string(),
                wanted: format!("1 to {MAX_CONNECTIONS}"),
            });
        }
    }
    let mut config = tokio_postgres::Config::from_str(&given.url).map_err(|error| {
        // The parser names keys, and never repeats a password.
        Error::config("url", format!("{error}"))
    })?;
    if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
        return Err(Error::config("url", "found no host, wanted one"));
    }
    let tls = given.ca_file.as_ref().map(roots).transpose()?.map(client);
    let tls = tls.transpose()?;
    if !is_local(&config) {
        if config.get_ssl_mode() == SslMode::Disable {
            return Err(Error::config(
                "url",
                "found sslmode=disable for a server on another machine: it is never reached in plain text",
            ));
        }
        if tls.is_none() {
            return Err(Error::config(
                "caFile",
                "found none, wanted the authorities that may vouch for a server on another machine",
            ));
        }
        config.ssl_mode(SslMode::Require);
    } else if tls.is_none() {
        if config.get_ssl_mode() == SslMode::Require {
            return Err(Error::config(
                "caFile",
                "found none, wanted the authorities that may vouch for the server, since sslmode=require",
            ));
        }
        config.ssl_mode(SslMode::Disable);
    }
    config
        .application_name("skans")
        .connect_timeout(CONNECT)
        .tcp_user_timeout(UNACKNOWLEDGED)
        .keepalives_idle(UNACKNOWLEDGED)
        .keepalives_interval(Duration::from_secs(2))
        .keepalives_retries(3)
        // Of several hosts, the one that takes writes.
        .target_session_attrs(TargetSessionAttrs::ReadWrite);
    Ok(Checked { config, tls })
}

/// Whether every way to the server stays on this machine.
fn is_local(config: &tokio_postgres::Config) -> bool {
    // If there are addresses, they are what is connected to, whatever the names say.
    if !config.get_hostaddrs().is_empty() {
        return config.get_hostaddrs().iter().all(IpAddr::is_loopback);
    }
    config.get_hosts().iter().all(|host| match host {
        Host::Unix(_) => true,
        // RFC 6761, section 6.3: it is this machine.
        Host::Tcp(name) if name.eq_ignore_ascii_case("localhost") => true,
        Host::Tcp(name) => name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback()),
    })
}

fn roots(path: &PathBuf) -> Result<RootCertStore> {
    let size = std::fs::metadata(path)
        .map_err(|error| Error::file(path, format!("cannot stat: {error}")))?
        .len();
    if size > MAX_CA_FILE {
        return Err(Error::file(
            path,
            format!("found {size} bytes, wanted at most {MAX_CA_FILE}"),
        ));
    }
    let mut roots = RootCertStore::empty();
    let found = CertificateDer::pem_file_iter(path)
        .map_err(|error| Error::file(path, format!("cannot read: {error}")))?;
    for certificate in found {
        let certificate =
            certificate.map_err(|error| Error::file(path, format!("is no PEM: {error}")))?;
        roots.add(certificate).map_err(|error| {
            Error::file(path, format!("holds an unusable certificate: {error}"))
        })?;
    }
    if roots.is_empty() {
        return Err(Error::file(path, "found no certificate, wanted one"));
    }
    Ok(roots)
}

fn client(roots: RootCertStore) -> Result<Arc<rustls::ClientConfig>> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|error| Error::Internal(format!("TLS cannot be set up: {error}")))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // A resumed session skips the verifier.
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests;
