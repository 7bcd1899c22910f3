//! A root in a directory: made, looked at, and asked to sign, on a machine that needs no network.
//!
//! What does not live here: anything of a running control plane. `skans ca init` and `skans ca sign` end here.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use serde::Serialize;
use skans_host::files;
use skans_identity::authority::Root;
use skans_identity::csr;
use skans_identity::id::TrustDomain;
use skans_identity::recovery::{Recovery, Signature, SignedRecovery};
use skans_identity::signer::SoftwareKey;

use crate::clock;
use crate::error::Error;
use crate::hex;

/// Largest certificate, key or request that is read, in bytes of PEM.
const MAX_FILE: u64 = 64 * 1024;

/// A root, as people want to see it.
#[derive(Clone, Debug, Serialize)]
pub struct RootView {
    /// The trust domain.
    pub trust_domain: String,
    /// SHA-256 of its `SubjectPublicKeyInfo`, in hex: what join tokens carry.
    pub spki_sha256: String,
    /// First and last second of its validity, Unix time.
    pub not_before: u64,
    /// See there.
    pub not_after: u64,
    /// The certificate.
    pub certificate: PathBuf,
    /// Where the key is: whoever has it is the trust domain.
    pub key: PathBuf,
}

/// Makes a root in a directory: `root.pem` and `root.key`, both 0600. What is there is never overwritten.
///
/// # Errors
/// [`Error::File`] if the directory is not ours alone or holds a root already; [`Error::Identity`].
pub fn init(directory: &Path, trust_domain: &str, lifetime: Duration) -> Result<RootView, Error> {
    let trust_domain = TrustDomain::parse(trust_domain)?;
    files::private_directory(directory)?;
    let root = Root::new(
        &trust_domain,
        SoftwareKey::generate()?,
        clock::now(),
        lifetime,
    )?;
    let pem = root.to_pem();
    // The key first: a certificate without its key would look like a root that is kept offline.
    files::write_new(&key(directory), pem.key.as_bytes())?;
    files::write_new(&certificate(directory), pem.certificate.as_bytes())?;
    Ok(view(directory, &root))
}

/// Reads a root with its key.
///
/// # Errors
/// [`Error::File`], [`Error::Identity`].
pub fn load(directory: &Path) -> Result<Root, Error> {
    let key = files::read_secret(&key(directory), MAX_FILE)?;
    let key = str::from_utf8(&key)
        .map_err(|_| Error::file(&self::key(directory), "found bytes, wanted PEM"))?;
    let certificate = files::read_text(&certificate(directory), MAX_FILE)?;
    Ok(Root::from_pem(&certificate, key)?)
}

/// Signs a request for an issuing certificate: PEM in, PEM out.
///
/// # Errors
/// [`Error::Invalid`] if the request is none, [`Error::Identity`] if it is refused, [`Error::File`].
pub fn sign(
    directory: &Path,
    request: &str,
    cluster: &str,
    lifetime: Duration,
) -> Result<String, Error> {
    let root = load(directory)?;
    let request =
        CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).map_err(|_| {
            Error::Invalid(
                "request: found something else, wanted one CERTIFICATE REQUEST block (PEM)"
                    .to_owned(),
            )
        })?;
    let key = csr::public_key(&request)?;
    let certificate = root.sign_issuer(cluster, &key, lifetime, clock::now())?;
    Ok(crate::pem::certificate(&certificate))
}

/// Signs a recovery statement, as the control plane asks for it: hex in, hex out. What is signed is looked at.
///
/// # Errors
/// [`Error::Invalid`] if it is none, or is about another trust domain; [`Error::File`].
pub fn sign_recovery(directory: &Path, statement: &str) -> Result<String, Error> {
    let root = load(directory)?;
    let bytes = hex::bytes(statement)
        .ok_or_else(|| Error::Invalid("statement: wanted hexadecimal digits".to_owned()))?;
    let statement = Recovery::decode(&bytes)?;
    if statement.trust_domain != *root.trust_domain() {
        return Err(Error::Invalid(format!(
            "statement: found one about {}, wanted one about {}",
            statement.trust_domain,
            root.trust_domain()
        )));
    }
    let signed = SignedRecovery {
        signatures: vec![Signature::by_root(&statement, &root)?],
        statement: bytes,
    };
    Ok(hex::of(&signed.encode()))
}

/// What is known of a root.
fn view(directory: &Path, root: &Root) -> RootView {
    RootView {
        trust_domain: root.trust_domain().to_string(),
        spki_sha256: hex::of(&root.spki_sha256()),
        not_before: root.not_before(),
        not_after: root.not_after(),
        certificate: certificate(directory),
        key: key(directory),
    }
}

/// The certificate alone.
///
/// # Errors
/// [`Error::File`].
pub fn read_certificate(path: &Path) -> Result<CertificateDer<'static>, Error> {
    let text = files::read_text(path, MAX_FILE)?;
    CertificateDer::from_pem_slice(text.as_bytes()).map_err(|_| {
        Error::file(
            path,
            "found something else, wanted one CERTIFICATE block (PEM)",
        )
    })
}

fn certificate(directory: &Path) -> PathBuf {
    directory.join("root.pem")
}

fn key(directory: &Path) -> PathBuf {
    directory.join("root.key")
}
