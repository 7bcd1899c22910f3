//! Cosignatures (C2SP tlog-cosignature, version 1): what a witness says of a checkpoint, and when.

use zeroize::Zeroizing;

use crate::error::Result;
use crate::note::{Algorithm, Signature, SigningKey, VerifyingKey};

#[cfg(test)]
mod tests;

/// The key of a witness. Another type than a log's, so that none signs as the other.
#[derive(Debug)]
pub struct Cosigner(SigningKey);

impl Cosigner {
    /// A new one of this name.
    ///
    /// # Errors
    /// Those of [`SigningKey::generate`].
    pub fn generate(name: &str) -> Result<Self> {
        Self::from_seed(name, &*crate::note::random_seed()?)
    }

    /// From the 32 bytes that it is made of.
    ///
    /// # Errors
    /// Those of [`SigningKey::from_seed`].
    pub fn from_seed(name: &str, seed: &[u8; 32]) -> Result<Self> {
        SigningKey::of(name, Algorithm::Cosignature, seed).map(Self)
    }

    /// Reads what [`Cosigner::to_skey`] writes.
    ///
    /// # Errors
    /// [`Error::Format`](crate::Error::Format), also if it is the key of a log.
    pub fn parse_skey(text: &str) -> Result<Self> {
        SigningKey::parse(text, Algorithm::Cosignature).map(Self)
    }

    /// The 32 bytes that it is made of: the secret.
    #[must_use]
    pub fn to_seed(&self) -> Zeroizing<[u8; 32]> {
        self.0.to_seed()
    }

    /// The secret with its name, as text.
    #[must_use]
    pub fn to_skey(&self) -> Zeroizing<String> {
        self.0.to_skey()
    }

    /// Its public half.
    #[must_use]
    pub const fn verifying_key(&self) -> &VerifyingKey {
        self.0.verifying_key()
    }

    /// Its public half as text.
    #[must_use]
    pub fn vkey(&self) -> String {
        self.0.vkey()
    }

    /// Says that, as of `time` (seconds since 1970), the tree of this checkpoint's text is the largest of its log that was seen, and
    /// consistent with all before. Whoever calls has seen to it that this is so.
    #[must_use]
    pub fn cosign(&self, text: &str, time: u64) -> Signature {
        self.0.sign_at(text, time)
    }
}

/// What is signed: a header that sets it apart from a note, the time, the text of the checkpoint.
pub(crate) fn message(text: &str, time: u64) -> String {
    format!("cosignature/v1\ntime {time}\n{text}")
}
