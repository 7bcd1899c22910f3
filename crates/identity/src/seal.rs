//! Sealing of secrets at rest: AES-256-GCM under a key-encryption key, bound to a label that says what was sealed.
//!
//! Where the key-encryption key comes from and where sealed bytes are kept is not said here. A sealed secret is
//! `version:8 = 1  nonce:12  ciphertext  tag:16`; version and label are authenticated with it, so that nobody can move it to
//! another row or read it as another version.

#[cfg(test)]
mod tests;

use core::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use crate::error::Error;

const VERSION: u8 = 1;
const HEADER: usize = 1 + NONCE_LEN;

/// Largest secret in bytes. Ours: a private key takes 140.
pub const MAX_SECRET: usize = 64 * 1024;
/// What sealing adds to a secret, in bytes.
pub const OVERHEAD: usize = HEADER + 16;

/// A key-encryption key. Nonces are random: NIST SP 800-38D 8.3 allows 2^32 seals under one key, and an authority makes a
/// few a week. Wiped when dropped, never shown.
pub struct SealingKey(Zeroizing<[u8; 32]>);

impl SealingKey {
    /// Takes 32 random bytes.
    #[must_use]
    pub const fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// Draws a new key.
    ///
    /// # Errors
    /// [`Error::Crypto`] if there is no randomness.
    pub fn generate() -> Result<Self, Error> {
        let mut bytes = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *bytes).map_err(|_| Error::Crypto {
            doing: "draw a key-encryption key",
        })?;
        Ok(Self(bytes))
    }

    /// The key itself, for the file that it is kept in.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Seals a secret. `label` names what it is (`issuer 01ab…`, for one), and must be given again to open it.
    ///
    /// # Errors
    /// [`Error::Sealed`] if the secret is larger than [`MAX_SECRET`], [`Error::Crypto`] if there is no randomness.
    pub fn seal(&self, label: &str, secret: &[u8]) -> Result<Vec<u8>, Error> {
        if secret.len() > MAX_SECRET {
            return Err(Error::Sealed {
                found: format!("a secret of {} bytes", secret.len()),
                wanted: "at most 64 KiB",
            });
        }
        // Room for all of it at once: a vector that grew would leave a copy behind.
        let mut body = Zeroizing::new(Vec::with_capacity(secret.len() + OVERHEAD));
        body.extend_from_slice(secret);
        let nonce = self
            .cipher()?
            .seal_in_place_append_tag(Aad::from(additional(label)), &mut *body)
            .map_err(|_| Error::Crypto { doing: "seal" })?;
        let mut sealed = Vec::with_capacity(HEADER + body.len());
        sealed.push(VERSION);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&body);
        Ok(sealed)
    }

    /// Opens what [`SealingKey::seal`] made under the same key and label.
    ///
    /// # Errors
    /// [`Error::Sealed`] if it is of another version, too short or too long, or was sealed under another key or label, or
    /// changed since. Which of the last three, nobody can tell.
    pub fn open(&self, label: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let bad = |found: String, wanted| Err(Error::Sealed { found, wanted });
        if sealed.len() < OVERHEAD || sealed.len() > MAX_SECRET + OVERHEAD {
            return bad(format!("{} bytes", sealed.len()), "29 bytes to 64 KiB");
        }
        let Some((&version, rest)) = sealed.split_first() else {
            return bad("nothing".into(), "a sealed secret");
        };
        if version != VERSION {
            return bad(format!("version {version}"), "version 1");
        }
        let Some((nonce, body)) = rest.split_first_chunk::<NONCE_LEN>() else {
            return bad("no nonce".into(), "a sealed secret");
        };
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut body = Zeroizing::new(body.to_vec());
        let opened = self
            .cipher()?
            .open_in_place(nonce, Aad::from(additional(label)), &mut body)
            .map(|secret| secret.len());
        let Ok(length) = opened else {
            return bad(
                "a secret that does not open".into(),
                "one sealed under this key and label, unchanged",
            );
        };
        body.truncate(length);
        Ok(body)
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.0).map_err(|_| Error::Crypto {
            doing: "set the cipher up",
        })
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(not shown)")
    }
}

/// What is authenticated but not encrypted.
fn additional(label: &str) -> Vec<u8> {
    [b"skans-seal\0".as_slice(), &[VERSION], label.as_bytes()].concat()
}
