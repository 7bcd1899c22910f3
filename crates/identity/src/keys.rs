//! Which kinds of key we accept from others, and how a key is named by its hash. The keys of our own: `signer`.

#[cfg(test)]
mod tests;

use aws_lc_rs::digest::{SHA256, digest};
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION,
    OID_SIG_ED25519,
};
use x509_parser::public_key::PublicKey;
use x509_parser::x509::SubjectPublicKeyInfo;

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

/// Bytes from lower-case hex, and from nothing else: a key must have one spelling.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |b: u8| match b {
        b'0'..=b'9' => Some(b - b'0'),
        b'a'..=b'f' => Some(b - b'a' + 10),
        _ => None,
    };
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let byte = |&[high, low]: &[u8; 2]| Some(digit(high)? << 4 | digit(low)?);
    pairs.iter().map(byte).collect()
}
