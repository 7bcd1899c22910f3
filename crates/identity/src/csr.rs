//! Certificate signing requests: proof that the sender holds the private key, and nothing else from it. Made here for
//! those who ask, read here for those who sign.
//!
//! Names, extensions, attributes: whatever else a request asks for is never even looked at. That is how a request
//! cannot widen what its certificate says.

#[cfg(test)]
mod tests;

use rcgen::{CertificateParams, DistinguishedName, PublicKeyData, SignatureAlgorithm};
use rustls_pki_types::SignatureVerificationAlgorithm;
use webpki::aws_lc_rs::{
    ECDSA_P256_SHA256, ECDSA_P256_SHA384, ECDSA_P384_SHA256, ECDSA_P384_SHA384,
};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::oid_registry::{OID_SIG_ECDSA_WITH_SHA256, OID_SIG_ECDSA_WITH_SHA384};
use x509_parser::prelude::FromDer as _;

use crate::error::Error;
use crate::keys::{KeyKind, sha256};
use crate::signer::{Held, Signer, SoftwareKey};

/// Largest request in bytes. Ours: one with a P-384 key and some extensions stays below 2 KiB.
pub const MAX_REQUEST: usize = 16 * 1024;

/// A public key whose holder has proved to hold the private key. There is no other way to one than [`public_key`] or
/// the key itself. Always an uncompressed point on P-256 or P-384, so that one key has one encoding,
/// and one hash to deny it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProvenKey {
    point: Vec<u8>,
    algorithm: &'static SignatureAlgorithm,
}

impl ProvenKey {
    /// SHA-256 of the whole `SubjectPublicKeyInfo`.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.subject_public_key_info())
    }

    /// The public key of a signer at hand: who can call it holds the private key.
    #[must_use]
    pub fn of(signer: &(impl Signer + ?Sized)) -> Self {
        Self {
            point: signer.public_key().to_vec(),
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
        }
    }
}

impl PublicKeyData for ProvenKey {
    fn der_bytes(&self) -> &[u8] {
        &self.point
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.algorithm
    }
}

/// Makes a fresh key and a request for it: one of each for every certificate, so that a key that leaked is of no use after
/// the next renewal.
///
/// # Errors
/// [`Error::Crypto`] if no key can be made.
pub fn fresh() -> Result<(SoftwareKey, Vec<u8>), Error> {
    let key = SoftwareKey::generate()?;
    let der = request(&key)?;
    Ok((key, der))
}

/// Makes a request for a key at hand (PKCS #10, DER). It asks for nothing: who signs decides what is signed.
///
/// # Errors
/// [`Error::Crypto`] if the key will not sign.
pub fn request(signer: &(impl Signer + ?Sized)) -> Result<Vec<u8>, Error> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&Held(signer));
    let request = request.map_err(|_| Error::Crypto {
        doing: "sign a request",
    })?;
    Ok(request.der().to_vec())
}

/// Checks a PKCS #10 request (RFC 2986, DER) and returns its public key.
///
/// # Errors
/// [`Error::Request`] if it is too large or malformed, if its key is not an ECDSA key on P-256 or P-384 (the choice of
/// the wall: RSA costs whoever verifies it, and others have no use here), or if its signature does not prove possession.
pub fn public_key(der: &[u8]) -> Result<ProvenKey, Error> {
    let bad = |found: String, wanted| Error::Request { found, wanted };
    if der.len() > MAX_REQUEST {
        return Err(bad(format!("{} bytes", der.len()), "at most 16 KiB"));
    }
    let request = match X509CertificationRequest::from_der(der) {
        Ok(([], request)) => request,
        Ok(_) => {
            return Err(bad(
                "bytes after its end".into(),
                "one PKCS #10 request in DER",
            ));
        }
        Err(_) => return Err(bad("malformed".into(), "one PKCS #10 request in DER")),
    };
    let wanted = "an ECDSA key on P-256 or P-384";
    let spki = &request.certification_request_info.subject_pki;
    let kind = KeyKind::of(spki).map_err(|found| bad(format!("public key {found}"), wanted))?;
    let hash = &request.signature_algorithm.algorithm;
    let (sha256, sha384) = (
        *hash == OID_SIG_ECDSA_WITH_SHA256,
        *hash == OID_SIG_ECDSA_WITH_SHA384,
    );
    let (algorithm, verify): (_, &dyn SignatureVerificationAlgorithm) = match kind {
        KeyKind::P256 if sha256 => (&rcgen::PKCS_ECDSA_P256_SHA256, ECDSA_P256_SHA256),
        KeyKind::P256 if sha384 => (&rcgen::PKCS_ECDSA_P256_SHA256, ECDSA_P256_SHA384),
        KeyKind::P384 if sha256 => (&rcgen::PKCS_ECDSA_P384_SHA384, ECDSA_P384_SHA256),
        KeyKind::P384 if sha384 => (&rcgen::PKCS_ECDSA_P384_SHA384, ECDSA_P384_SHA384),
        KeyKind::P256 | KeyKind::P384 => {
            return Err(bad(
                format!("signature of kind {hash}"),
                "ECDSA with SHA-256 or SHA-384",
            ));
        }
        KeyKind::Ed25519 => return Err(bad("an Ed25519 key".into(), wanted)),
        KeyKind::Rsa => return Err(bad("an RSA key".into(), wanted)),
    };
    let point: &[u8] = &spki.subject_public_key.data;
    if point.first() != Some(&4) {
        return Err(bad(
            "a compressed point".into(),
            "an uncompressed point (RFC 5480 2.2)",
        ));
    }
    verify
        .verify_signature(
            point,
            request.certification_request_info.raw,
            &request.signature_value.data,
        )
        .map_err(|_| {
            bad(
                "a signature that does not fit its key".into(),
                "proof of possession of the private key",
            )
        })?;
    Ok(ProvenKey {
        point: point.to_vec(),
        algorithm,
    })
}
