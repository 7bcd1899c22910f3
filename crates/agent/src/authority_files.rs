//! The embedded authority in its directory: made on first use, renewed when its issuer is due.
//! What stands there is recorded in `docs/decisions/0007-on-disk.md`.

use std::path::Path;

use rustls::pki_types::UnixTime;
use skans_host::files::{self, Access};
use skans_identity::authority::{Authority, AuthorityPem, Lifetimes};
use skans_identity::id::TrustDomain;

use crate::Error;

/// Largest file in bytes: a certificate and a key take two thousand.
const MAX_PEM: u64 = 64 * 1024;

/// Reads the authority in a directory, or makes one. A lock keeps agents that start together from
/// making two.
pub fn open(
    directory: &Path,
    trust_domain: &TrustDomain,
    cluster: &str,
) -> Result<Authority, Error> {
    files::directory(directory, 0o700)?;
    let lock = files::lock(&directory.join("lock"), true)?;
    let authority = if directory.join("issuer.pem").exists() {
        read_authority(directory, trust_domain, cluster)?
    } else {
        let authority =
            Authority::generate(trust_domain, cluster, UnixTime::now(), Lifetimes::default())
                .map_err(|error| Error::Internal(error.to_string()))?;
        write_authority(directory, &authority)?;
        authority
    };
    drop(lock);
    Ok(authority)
}

fn read_authority(
    directory: &Path,
    trust_domain: &TrustDomain,
    cluster: &str,
) -> Result<Authority, Error> {
    let secret = |name: &str| files::read_secret_text(&directory.join(name), MAX_PEM);
    let root_key = directory.join("root.key");
    let issuer = secret("issuer.pem")?;
    let mut authority = Authority::from_pem(&AuthorityPem {
        root_cert: secret("root.pem")?.to_string(),
        root_key: root_key.exists().then(|| secret("root.key")).transpose()?,
        issuer_cert: issuer.to_string(),
        issuer_key: issuer,
    })
    .map_err(|error| Error::file(directory, error.to_string()))?;
    if authority.trust_domain() != trust_domain || authority.cluster() != cluster {
        return Err(Error::file(
            directory,
            format!(
                "found the authority of {} in {}, wanted that of {cluster} in {trust_domain}",
                authority.cluster(),
                authority.trust_domain()
            ),
        ));
    }
    if authority.issuer_due(UnixTime::now()) {
        authority
            .renew_issuer(UnixTime::now(), Lifetimes::default().issuer)
            .map_err(|error| Error::file(directory, error.to_string()))?;
        write_issuer(directory, &authority.to_pem())?;
    }
    Ok(authority)
}

/// The issuer comes last: its presence says that all is there.
fn write_authority(directory: &Path, authority: &Authority) -> Result<(), Error> {
    let pem = authority.to_pem();
    write_private(&directory.join("root.pem"), &pem.root_cert)?;
    if let Some(key) = &pem.root_key {
        write_private(&directory.join("root.key"), key)?;
    }
    write_issuer(directory, &pem)
}

/// Certificate and key in one file, so that a crash between the two cannot leave a pair that does not fit.
fn write_issuer(directory: &Path, pem: &AuthorityPem) -> Result<(), Error> {
    let both = zeroize::Zeroizing::new(format!("{}{}", pem.issuer_cert, *pem.issuer_key));
    write_private(&directory.join("issuer.pem"), &both)
}

fn write_private(path: &Path, text: &str) -> Result<(), Error> {
    Ok(files::write(path, text.as_bytes(), Access::PRIVATE)?)
}
