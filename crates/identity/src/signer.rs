//! Private keys that sign for us: the trait that hides where one is kept, and the one that is kept in memory.
//!
//! What a key may be used for is not said here. Keys of nodes and agents are software keys; keys of authorities may be
//! anything that signs.

#[cfg(test)]
mod tests;

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::keys::sha256;

/// Length of a public key in bytes: an uncompressed point on P-256 (SEC 1 2.3.3).
pub const POINT: usize = 65;

/// A private key that signs with ECDSA on P-256 and SHA-256, wherever it is kept: in memory, in a hardware module, at a
/// cloud provider. P-256 because all of those speak it. SPIRE and Linkerd make P-256 keys by default, Istio RSA-2048.
///
/// **Calls may block**, for as long as a network or a module takes: call from a thread that may wait, never from one that
/// drives others. Implementations bound that time themselves and log why they failed; what passes through a certificate
/// tells its caller only that signing did.
pub trait Signer: Send + Sync {
    /// The public key: an uncompressed point, `04 || x || y`. Always the same, and known without a call to anywhere.
    fn public_key(&self) -> &[u8; POINT];

    /// Signs a message (not its hash): an `ECDSA-Sig-Value` in DER (RFC 3279 2.2.3).
    ///
    /// # Errors
    /// [`Error::Crypto`] if the key cannot be reached or will not sign now.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error>;

    /// SHA-256 of the whole `SubjectPublicKeyInfo`: the name by which a key is denied.
    fn spki_sha256(&self) -> [u8; 32] {
        sha256(&Held(self).subject_public_key_info())
    }
}

impl<S: Signer + ?Sized> Signer for Arc<S> {
    fn public_key(&self) -> &[u8; POINT] {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        (**self).sign(message)
    }
}

impl<S: Signer + ?Sized> Signer for &S {
    fn public_key(&self) -> &[u8; POINT] {
        (**self).public_key()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        (**self).sign(message)
    }
}

/// A key in the memory of this process. Wiped when dropped, never shown.
pub struct SoftwareKey {
    pair: EcdsaKeyPair,
    point: [u8; POINT],
    pkcs8: Zeroizing<Vec<u8>>,
}

impl SoftwareKey {
    /// Makes a new key.
    ///
    /// # Errors
    /// [`Error::Crypto`] if there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        let failed = Error::Crypto {
            doing: "generate an ECDSA P-256 key",
        };
        let pair =
            EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).map_err(|_| failed.clone())?;
        let document = pair.to_pkcs8v1().map_err(|_| failed.clone())?;
        Self::of(pair, Zeroizing::new(document.as_ref().to_vec())).ok_or(failed)
    }

    /// Reads what [`SoftwareKey::pkcs8`] gave.
    ///
    /// # Errors
    /// [`Error::Authority`] if it is not an ECDSA P-256 key in PKCS #8 (RFC 5958, DER).
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, Error> {
        let wanted = "an ECDSA P-256 key in PKCS #8";
        EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der)
            .ok()
            .and_then(|pair| Self::of(pair, Zeroizing::new(der.to_vec())))
            .ok_or_else(|| {
                Error::authority(format!("key of {} bytes: not such", der.len()), wanted)
            })
    }

    fn of(pair: EcdsaKeyPair, pkcs8: Zeroizing<Vec<u8>>) -> Option<Self> {
        let point = pair.public_key().as_ref().try_into().ok()?;
        Some(Self { pair, point, pkcs8 })
    }

    /// The private key as PKCS #8 (DER). Whoever copies it wipes the copy: keep it only sealed, see [`crate::seal`].
    #[must_use]
    pub fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    /// The private key in the form that TLS takes.
    #[must_use]
    pub fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }
}

impl Signer for SoftwareKey {
    fn public_key(&self) -> &[u8; POINT] {
        &self.point
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.pair.sign(&SystemRandom::new(), message);
        let signature = signature.map_err(|_| Error::Crypto { doing: "sign" })?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SoftwareKey(not shown)")
    }
}

/// A signer in the form that rcgen takes.
pub(crate) struct Held<S>(pub(crate) S);

impl<S: Signer> PublicKeyData for Held<S> {
    fn der_bytes(&self) -> &[u8] {
        self.0.public_key()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl<S: Signer> SigningKey for Held<S> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self.0.sign(message);
        signature.map_err(|_| rcgen::Error::RemoteKeyError)
    }
}
