//! Numbers and hashes as the texts of C2SP carry them: one writing each, so that what is read can be written again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::merkle::Hash;

/// Base64 with padding, RFC 4648 section 4.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    STANDARD.encode(bytes)
}

/// `None` also for bits that are left over and not zero: two texts would mean the same.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    STANDARD.decode(text).ok()
}

/// A hash in base64.
pub(crate) fn to_hash(text: &str) -> Option<Hash> {
    // Before anything is decoded: 32 bytes are 44 characters.
    (text.len() == 44)
        .then(|| from_base64(text))
        .flatten()?
        .try_into()
        .ok()
}

/// A number as ASCII digits without leading zeros, up to the most that a tree may have.
pub(crate) fn to_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.len() <= 19 && text.bytes().all(|b| b.is_ascii_digit());
    let plain = text == "0" || !text.starts_with('0');
    (digits && plain)
        .then(|| text.parse().ok())
        .flatten()
        .filter(|number| *number <= crate::merkle::MAX_SIZE)
}
