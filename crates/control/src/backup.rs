//! Backups: everything as of one moment, in one file that is of use to nobody without the encryption key.
//!
//! What is in it and how it is read is the store's; here it is encrypted and opened. The format:
//! `"SKB1" id:16 { length:32 sealed }*`, each piece sealed by the encryption key under a label that holds the id, the number
//! of the piece and whether it is the last: none can be left out, moved, or brought in from another backup.

#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use skans_host::files;
use skans_identity::seal::{OVERHEAD, SealingKey};
pub use skans_store::Summary;
use skans_store::{SqliteConfig, Store};

use crate::config::{Config, Database};
use crate::error::Error;
use crate::{encryption_key, hex, setup};

const MAGIC: &[u8; 4] = b"SKB1";
/// Plain bytes in a piece. What can be sealed at once is a little more.
const PIECE: usize = 48 * 1024;

/// Seals what `from` gives, piece by piece, into `put`.
///
/// # Errors
/// [`Error::File`] if it cannot be read, and what `put` says.
pub(crate) fn seal(
    key: &SealingKey,
    from: &Path,
    mut put: impl FnMut(Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::file(from, format!("cannot read: {error}"));
    let mut file = File::open(from).map_err(failed)?;
    let mut id = [0; 16];
    aws_lc_rs::rand::fill(&mut id)
        .map_err(|_| Error::Internal("the system gave no random bytes".to_owned()))?;
    put([MAGIC.as_slice(), &id].concat())?;
    let mut present = piece(&mut file).map_err(failed)?;
    for number in 0_u64.. {
        let next = if present.len() == PIECE {
            piece(&mut file).map_err(failed)?
        } else {
            Vec::new()
        };
        let last = next.is_empty();
        let sealed = key.seal(&label(&id, number, last), &present)?;
        let length = u32::try_from(sealed.len())
            .map_err(|_| Error::Internal("a piece too large".to_owned()))?;
        put([length.to_be_bytes().as_slice(), &sealed].concat())?;
        if last {
            return Ok(());
        }
        present = next;
    }
    Ok(())
}

/// Opens a backup into a new file, 0600.
///
/// # Errors
/// [`Error::File`] if it is no backup, was changed or cut, or was made under another key.
pub(crate) fn open(key: &SealingKey, from: &Path, to: &Path) -> Result<(), Error> {
    let wrong = |found: &str| {
        Error::file(
            from,
            format!("found {found}, wanted a backup made by `skans backup create`"),
        )
    };
    let failed = |error: std::io::Error| Error::file(from, format!("cannot read: {error}"));
    let mut file = File::open(from).map_err(failed)?;
    let mut head = [0; 20];
    file.read_exact(&mut head)
        .map_err(|_| wrong("too few bytes"))?;
    let Some(id) = head.strip_prefix(MAGIC) else {
        return Err(wrong("another kind of file"));
    };
    let mut out = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(to)
        .map_err(|error| Error::file(to, format!("cannot create: {error}")))?;
    let mut over = false;
    for number in 0_u64.. {
        if over {
            if file.read(&mut [0]).map_err(failed)? == 0 {
                break;
            }
            return Err(wrong("bytes after its end"));
        }
        let mut length = [0; 4];
        file.read_exact(&mut length)
            .map_err(|_| wrong("no end: it was cut"))?;
        let length = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > PIECE + OVERHEAD {
            return Err(wrong("a piece that is too large"));
        }
        let mut sealed = vec![0; length];
        file.read_exact(&mut sealed)
            .map_err(|_| wrong("no end: it was cut"))?;
        let plain = match key.open(&label(id, number, false), &sealed) {
            Ok(plain) => plain,
            Err(_) => {
                over = true;
                key.open(&label(id, number, true), &sealed).map_err(|_| {
                    wrong("a piece that does not open (another encryption key, or it was changed)")
                })?
            }
        };
        out.write_all(&plain)
            .map_err(|error| Error::file(to, format!("cannot write: {error}")))?;
    }
    out.sync_all()
        .map_err(|error| Error::file(to, format!("cannot sync: {error}")))
}

/// Looks whether a backup is whole, and what is in it.
///
/// # Errors
/// As [`restore`].
pub async fn verify(config: &Config, backup: &Path) -> Result<Summary, Error> {
    let plain = Plain::of(config, backup)?;
    Ok(Store::verify_backup(&plain.0).await?)
}

/// Puts a backup where the configuration says that the store is. Nothing may be there. What was restored only gives
/// answers until `skans control recover --new-epoch`.
///
/// # Errors
/// [`Error::File`] if it is no backup, or made under another key; [`Error::Store`] if a store is there.
pub async fn restore(config: &Config, backup: &Path) -> Result<Summary, Error> {
    let plain = Plain::of(config, backup)?;
    Ok(match &config.database {
        Database::Sqlite => {
            Store::restore_sqlite(&plain.0, &SqliteConfig::new(config.sqlite())).await?
        }
        Database::Postgres(postgres) => {
            Store::restore_postgres(&plain.0, &setup::postgres_config(postgres)?).await?
        }
    })
}

/// An opened backup, for as long as it is looked at.
struct Plain(PathBuf);

impl Plain {
    fn of(config: &Config, backup: &Path) -> Result<Self, Error> {
        files::private_directory(&config.directory)?;
        let key = encryption_key::load(config)?;
        let plain = Self(temporary(config)?);
        open(&key, backup, &plain.0)?;
        Ok(plain)
    }
}

impl Drop for Plain {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// A name in our own directory that nobody has.
pub(crate) fn temporary(config: &Config) -> Result<PathBuf, Error> {
    let mut random = [0; 8];
    aws_lc_rs::rand::fill(&mut random)
        .map_err(|_| Error::Internal("the system gave no random bytes".to_owned()))?;
    Ok(config
        .directory
        .join(format!("backup-{}.new", hex::of(&random))))
}

fn label(id: &[u8], number: u64, last: bool) -> String {
    let end = if last { "last" } else { "more" };
    format!("backup {} {number} {end}", hex::of(id))
}

fn piece(file: &mut File) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(PIECE);
    file.take(PIECE as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}
