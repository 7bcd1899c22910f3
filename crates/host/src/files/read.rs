//! Reading: bounded, and with a look at whose file it is.

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

use rustix::fs::{Gid, OFlags};
use zeroize::Zeroizing;

use super::{Access, check_private};
use crate::error::FileError;

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// If it cannot be read, is too long, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, FileError> {
    let file = File::open(path).map_err(FileError::doing(path, "open"))?;
    String::from_utf8(read_open(file, path, limit)?).map_err(|_| not_text(path))
}

/// Reads a secret: a regular file that nobody else can read or write.
///
/// Group may read it only if the group is ours, or if it is root's file and we are in its group: that is how Kubernetes
/// mounts a secret with an `fsGroup`. OpenSSH and PostgreSQL draw the line in the same place.
///
/// # Errors
/// Says the mode found and the one wanted.
pub fn read_secret(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, FileError> {
    let file = File::open(path).map_err(FileError::doing(path, "open"))?;
    let meta = file.metadata().map_err(FileError::doing(path, "stat"))?;
    if !meta.is_file() {
        return Err(FileError::new(
            path,
            "found something else, wanted a regular file",
        ));
    }
    let mode = meta.mode() & 0o777;
    let groups = rustix::process::getgroups().unwrap_or_default();
    let groups: Vec<_> = groups.into_iter().map(Gid::as_raw).collect();
    let own = rustix::process::getegid().as_raw();
    let ours = is_our_group(meta.uid(), meta.gid(), own, &groups);
    let allowed = if ours { 0o740 } else { 0o700 };
    if mode & !allowed != 0 {
        let wanted = allowed & 0o660;
        return Err(FileError::new(
            path,
            format!(
                "found mode {mode:04o}, wanted at most {wanted:04o}: a key that others can read is not a secret (chmod 600)"
            ),
        ));
    }
    let owner = meta.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(FileError::new(
            path,
            format!("found owner {owner}, wanted root or this process's user"),
        ));
    }
    read_open(file, path, limit).map(Zeroizing::new)
}

/// Like [`read_secret`], for one that is text.
///
/// # Errors
/// As [`read_secret`]; also if it is not UTF-8.
pub fn read_secret_text(path: &Path, limit: u64) -> Result<Zeroizing<String>, FileError> {
    let bytes = read_secret(path, limit)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| not_text(path))?;
    Ok(Zeroizing::new(text.to_owned()))
}

/// The content of a small file that [`write`](super::write) made with this access; `None` if it is not there, or if
/// anything about it is not as written. It may lie in a directory of another user, who could put anything in its place:
/// no link is followed, and nothing can make this wait or grow.
#[must_use]
pub fn read_own(path: &Path, access: Access, limit: u64) -> Option<String> {
    let file = open_itself(path).ok()?;
    let meta = file.metadata().ok()?;
    let owner = access
        .owner
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let as_written = meta.is_file() && meta.mode() & 0o7777 == access.mode && meta.uid() == owner;
    as_written
        .then(|| read_open(file, path, limit).ok())?
        .and_then(|bytes| String::from_utf8(bytes).ok())
}

/// The content of a file that [`write`](super::write) made for this user alone (0600); `None` if it is not there. No link
/// is followed, nothing can make this wait or grow.
///
/// # Errors
/// If it is another's, if others may read it, if it is no regular file or too long.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, FileError> {
    let file = match open_itself(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(FileError::doing(path, "open")(error)),
    };
    let meta = file.metadata().map_err(FileError::doing(path, "stat"))?;
    if !meta.is_file() {
        return Err(FileError::new(
            path,
            "found something else, wanted a regular file",
        ));
    }
    check_private(path, &meta, 0o600)?;
    read_open(file, path, limit).map(|bytes| Some(Zeroizing::new(bytes)))
}

fn open_itself(path: &Path) -> std::io::Result<File> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

pub(super) fn is_our_group(owner: u32, group: u32, own: u32, others: &[u32]) -> bool {
    group == own || (owner == 0 && others.contains(&group))
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, FileError> {
    // Of its final size at once: a secret that grows in steps leaves copies behind.
    let size = file.metadata().map_or(0, |meta| meta.len()).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(FileError::doing(path, "read"))?;
    if bytes.len() as u64 > limit {
        return Err(FileError::new(
            path,
            format!("found more than {limit} bytes, wanted at most that"),
        ));
    }
    Ok(bytes)
}

fn not_text(path: &Path) -> FileError {
    FileError::new(path, "found bytes, wanted UTF-8 text")
}
