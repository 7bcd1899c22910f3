//! Key material: which kinds we accept, and the keys that we make ourselves. Nothing here decides who may hold one.

#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use rcgen::{PublicKeyData, SignatureAlgorithm, SigningKey};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;
use zeroize::Zeroizing;

use crate::error::Error;

/// The kinds of public key that a peer may have: what cert-manager, Vault and SPIRE hand out. RSA stops at 4096 bits,
/// because a peer chooses how much work its key makes for us.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KeyKind {
    P256,
    P384,
    Ed25519,
    Rsa,
}

impl KeyKind {
    /// The kind of a public key, or what it is instead.
    pub(crate) fn of(spki: &SubjectPublicKeyInfo<'_>) -> Result<Self, String> {
        let kind = &spki.algorithm.algorithm;
        if *kind == OID_SIG_ED25519 {
            return Ok(Self::Ed25519);
        }
        if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
            let curve = spki
                .algorithm
                .parameters
                .as_ref()
                .and_then(|any| any.as_oid().ok());
            return match curve {
                Some(curve) if curve == OID_EC_P256 => Ok(Self::P256),
                Some(curve) if curve == OID_NIST_EC_P384 => Ok(Self::P384),
                Some(curve) => Err(format!("ECDSA on curve {curve}")),
                None => Err("ECDSA without a named curve".into()),
            };
        }
        if *kind == OID_PKCS1_RSAENCRYPTION {
            let Ok(PublicKey::RSA(rsa)) = spki.parsed() else {
                return Err("RSA that cannot be read".into());
            };
            let bits = bits(rsa.modulus);
            return if (2048..=4096).contains(&bits) {
                Ok(Self::Rsa)
            } else {
                Err(format!("RSA of {bits} bits"))
            };
        }
        Err(format!("of kind {kind}"))
    }
}

/// The length of a big-endian number in bits, leading zeros not counted.
fn bits(number: &[u8]) -> usize {
    let zeros = number.iter().take_while(|&&b| b == 0).count();
    let rest = number.len() - zeros;
    let first = number.get(zeros).map_or(0, |b| b.leading_zeros());
    rest * 8 - usize::try_from(first).unwrap_or(0)
}

pub(crate) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut out = [0; 32];
    out.copy_from_slice(digest(&SHA256, bytes).as_ref());
    out
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    use core::fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, b| {
            let _ = write!(out, "{b:02x}");
            out
        })
}

/// A private key of ours: always ECDSA P-256, which every TLS stack and every HSM speaks. SPIRE and Linkerd make P-256
/// keys by default, Istio RSA-2048. Wiped when dropped, never shown.
pub(crate) struct OwnKey {
    pair: EcdsaKeyPair,
    pkcs8: Zeroizing<Vec<u8>>,
}

impl OwnKey {
    pub(crate) fn generate() -> Result<Self, Error> {
        let doing = "generate an ECDSA P-256 key";
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING)
            .map_err(|_| Error::Crypto { doing })?;
        let document = pair.to_pkcs8v1().map_err(|_| Error::Crypto { doing })?;
        Ok(Self {
            pair,
            pkcs8: Zeroizing::new(document.as_ref().to_vec()),
        })
    }

    pub(crate) fn from_pkcs8(der: &[u8]) -> Option<Self> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, der).ok()?;
        Some(Self {
            pair,
            pkcs8: Zeroizing::new(der.to_vec()),
        })
    }

    pub(crate) fn pkcs8(&self) -> &[u8] {
        &self.pkcs8
    }

    pub(crate) fn to_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.pkcs8.to_vec()))
    }

    pub(crate) fn spki_sha256(&self) -> [u8; 32] {
        sha256(&self.subject_public_key_info())
    }
}

impl PublicKeyData for OwnKey {
    fn der_bytes(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &rcgen::PKCS_ECDSA_P256_SHA256
    }
}

impl SigningKey for OwnKey {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        let signature = self
            .pair
            .sign(&SystemRandom::new(), message)
            .map_err(|_| rcgen::Error::RemoteKeyError)?;
        Ok(signature.as_ref().to_vec())
    }
}
