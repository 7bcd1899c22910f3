//! Where the key comes from that encrypts private keys in the store. How it encrypts is `skans_identity::seal`'s.

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use skans_host::files;
use skans_identity::seal::SealingKey;
use zeroize::Zeroizing;

use crate::config::{Config, EncryptionKey};
use crate::error::Error;
use crate::hex;

/// 64 hexadecimal digits and a line end; some room for what editors add.
const MAX_FILE: u64 = 128;

/// Reads the key.
///
/// # Errors
/// [`Error::File`] if it is missing, can be read by others, or is no key.
pub(crate) fn load(config: &Config) -> Result<SealingKey, Error> {
    read(&place(config)?)
}

/// Reads the key, or makes it where it is a file of ours that is not there yet.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn load_or_make(config: &Config) -> Result<SealingKey, Error> {
    let path = place(config)?;
    if !matches!(config.encryption_key, EncryptionKey::SystemdCredential(_)) && !path.exists() {
        let key = SealingKey::generate()?;
        files::write_new(&path, digits(key.as_bytes()).as_bytes())?;
    }
    read(&path)
}

fn place(config: &Config) -> Result<PathBuf, Error> {
    match &config.encryption_key {
        EncryptionKey::Default => Ok(config.directory.join("encryption.key")),
        EncryptionKey::File(path) => Ok(path.clone()),
        EncryptionKey::SystemdCredential(name) => {
            let directory = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or_else(|| {
                Error::config(
                    "encryptionKey.systemdCredential",
                    "found no $CREDENTIALS_DIRECTORY, wanted to be started by systemd with LoadCredentialEncrypted=",
                )
            })?;
            Ok(Path::new(&directory).join(name))
        }
    }
}

/// 32 bytes as they are (`head -c 32 /dev/urandom`), or as 64 hexadecimal digits.
fn read(path: &Path) -> Result<SealingKey, Error> {
    let bytes = files::read_secret(path, MAX_FILE)?;
    let mut key = Zeroizing::new([0; 32]);
    if let Ok(raw) = <&[u8; 32]>::try_from(bytes.as_slice()) {
        *key = *raw;
        return Ok(SealingKey::new(key));
    }
    let digits = bytes.trim_ascii();
    let wrong = || {
        Error::file(
            path,
            "found something else, wanted 32 bytes or 64 hexadecimal digits",
        )
    };
    if digits.len() != 64 {
        return Err(wrong());
    }
    for (byte, pair) in key.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else {
            return Err(wrong());
        };
        *byte = hex::digit(*high)
            .zip(hex::digit(*low))
            .map(|(high, low)| high << 4 | low)
            .ok_or_else(wrong)?;
    }
    Ok(SealingKey::new(key))
}

fn digits(key: &[u8; 32]) -> Zeroizing<String> {
    // Of its final size at once: a text that grows leaves copies behind.
    let mut text = Zeroizing::new(String::with_capacity(65));
    for byte in key {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(nibble)]));
        }
    }
    text.push('\n');
    text
}
