//! Reading and writing files safely: modes, owners, links, and renaming into place.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{Gid, OFlags, Uid};
use zeroize::Zeroizing;

use crate::Error;

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// [`Error::File`] if it cannot be read, is too long, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let file =
        File::open(path).map_err(|error| Error::file(path, format!("cannot open: {error}")))?;
    read_open(file, path, limit)
}

/// Reads a secret: a regular file that nobody else can read or write.
///
/// Group may read it only if the group is ours, or if it is root's file and we are in its group: that is
/// how Kubernetes mounts a secret with an `fsGroup`. OpenSSH and PostgreSQL draw the line in the same
/// place.
///
/// # Errors
/// [`Error::File`] that says the mode found and the one wanted.
pub fn read_secret(path: &Path, limit: u64) -> Result<String, Error> {
    let file =
        File::open(path).map_err(|error| Error::file(path, format!("cannot open: {error}")))?;
    let meta = file
        .metadata()
        .map_err(|error| Error::file(path, format!("cannot stat: {error}")))?;
    if !meta.is_file() {
        return Err(Error::file(
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
        return Err(Error::file(
            path,
            format!(
                "found mode {mode:04o}, wanted at most {:04o}: a key that others can read is not a secret (chmod 600)",
                allowed & 0o660
            ),
        ));
    }
    let owner = meta.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Error::file(
            path,
            format!("found owner {owner}, wanted root or the agent's own user"),
        ));
    }
    read_open(file, path, limit)
}

fn is_our_group(owner: u32, group: u32, own: u32, others: &[u32]) -> bool {
    group == own || (owner == 0 && others.contains(&group))
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<String, Error> {
    let mut text = String::new();
    file.take(limit + 1)
        .read_to_string(&mut text)
        .map_err(|error| Error::file(path, format!("cannot read: {error}")))?;
    if text.len() as u64 > limit {
        return Err(Error::file(
            path,
            format!("found more than {limit} bytes, wanted at most that"),
        ));
    }
    Ok(text)
}

/// The content of a small file that [`write`] made with this access; `None` if it is not there, or if
/// anything about it is not as written. It may lie in a directory of another user, who could put
/// anything in its place: no link is followed, and nothing can make this wait or grow.
#[must_use]
pub fn read_own(path: &Path, access: Access, limit: u64) -> Option<String> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).ok()?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)
        .ok()?;
    let meta = file.metadata().ok()?;
    let owner = access
        .owner
        .unwrap_or_else(|| rustix::process::geteuid().as_raw());
    let as_written = meta.is_file() && meta.mode() & 0o7777 == access.mode && meta.uid() == owner;
    as_written.then(|| read_open(file, path, limit).ok())?
}

/// The content of a file that [`write`] made for this agent alone (0600); `None` if it is not there. No link is followed,
/// nothing can make this wait or grow.
///
/// # Errors
/// [`Error::File`] if it is another's, if others may read it, if it is no regular file or too long.
pub fn read_private(path: &Path, limit: u64) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
    let flags = i32::try_from((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits()).unwrap_or_default();
    let mut options = OpenOptions::new();
    let file = match options.read(true).custom_flags(flags).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::file(path, format!("cannot open: {error}"))),
    };
    let meta = file
        .metadata()
        .map_err(|error| Error::file(path, format!("cannot stat: {error}")))?;
    if !meta.is_file() {
        return Err(Error::file(
            path,
            "found something else, wanted a regular file",
        ));
    }
    check_private(path, &meta, 0o600)?;
    let mut content = Zeroizing::new(Vec::new());
    file.take(limit + 1)
        .read_to_end(&mut content)
        .map_err(|error| Error::file(path, format!("cannot read: {error}")))?;
    if content.len() as u64 > limit {
        return Err(Error::file(
            path,
            format!("found more than {limit} bytes, wanted at most that"),
        ));
    }
    Ok(Some(content))
}

/// Makes a directory that nobody else may enter (0700), or checks that what is there is one.
///
/// # Errors
/// [`Error::File`] that says whose it is, or which mode it has, and what was wanted.
pub fn private_directory(path: &Path) -> Result<(), Error> {
    directory(path, 0o700)?;
    let meta = fs::symlink_metadata(path)
        .map_err(|error| Error::file(path, format!("cannot stat: {error}")))?;
    check_private(path, &meta, 0o700)
}

fn check_private(path: &Path, meta: &fs::Metadata, wanted: u32) -> Result<(), Error> {
    let (owner, own) = (meta.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        return Err(Error::file(
            path,
            format!("found owner {owner}, wanted the agent's own user, {own}"),
        ));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Error::file(
            path,
            format!("found mode {mode:04o}, wanted {wanted:04o}: it holds keys (chmod {wanted:o})"),
        ));
    }
    Ok(())
}

/// Opens a file to be locked by one process at a time, and locks it.
///
/// # Errors
/// [`Error::File`] if it cannot be opened; with `wait` false, also if another process holds it.
pub fn lock(path: &Path, wait: bool) -> Result<File, Error> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let failed = |error: std::io::Error| Error::file(path, format!("cannot lock: {error}"));
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(path)
        .map_err(failed)?;
    if wait {
        file.lock().map_err(failed)?;
    } else if let Err(error) = file.try_lock() {
        return Err(match error {
            fs::TryLockError::WouldBlock => Error::file(
                path,
                "found it locked, wanted it free: another agent uses this directory",
            ),
            fs::TryLockError::Error(error) => failed(error),
        });
    }
    Ok(file)
}

/// Makes a directory with this mode (and its parents, 0755), or checks that what is there is a
/// directory of ours or root's that others cannot write to.
///
/// # Errors
/// [`Error::File`].
pub fn directory(path: &Path, mode: u32) -> Result<(), Error> {
    directory_of(path, mode, None)
}

/// Like [`directory`], for one that belongs to a user: it is given to that user, and may be theirs
/// already.
///
/// # Errors
/// [`Error::File`]; giving it to another user than the agent's own takes root.
pub fn directory_of(path: &Path, mode: u32, user: Option<u32>) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        // Whatever the umask is: nobody else may put anything there.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(|error| Error::file(parent, format!("cannot create: {error}")))?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            set_mode(path, mode)?;
            return give_directory(path, user);
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::file(path, format!("cannot create: {error}"))),
    }
    let meta = fs::symlink_metadata(path)
        .map_err(|error| Error::file(path, format!("cannot stat: {error}")))?;
    if !meta.is_dir() {
        return Err(Error::file(
            path,
            "found something else, wanted a directory",
        ));
    }
    let owner = meta.uid();
    let ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if !ours && user != Some(owner) {
        return Err(Error::file(
            path,
            format!("found owner {owner}, wanted root or the agent's own user"),
        ));
    }
    if meta.mode() & 0o022 != 0 {
        return Err(Error::file(
            path,
            format!(
                "found mode {:04o}, wanted one that others cannot write to",
                meta.mode() & 0o777
            ),
        ));
    }
    give_directory(path, user)
}

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// The user that it is given to, if not the agent's own.
    pub owner: Option<u32>,
}

/// Writes a file whole: into a new file beside it, which is then renamed into place, so that a
/// reader sees the old content or the new. No link is followed.
///
/// # Errors
/// [`Error::File`].
pub fn write(path: &Path, content: &[u8], access: Access) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(Error::file(&new, format!("cannot remove: {error}"))),
    }
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(nofollow)
        .open(&new)
        .map_err(|error| Error::file(&new, format!("cannot create: {error}")))?;
    let failed = |error: std::io::Error| Error::file(&new, format!("cannot write: {error}"));
    file.write_all(content).map_err(failed)?;
    if let Some(owner) = access.owner {
        give(&file, owner).map_err(failed)?;
    }
    file.set_permissions(fs::Permissions::from_mode(access.mode))
        .map_err(failed)?;
    file.sync_all().map_err(failed)?;
    fs::rename(&new, path)
        .map_err(|error| Error::file(path, format!("cannot rename into place: {error}")))?;
    // The new name is on disk only once the directory is.
    let parent = path.parent().unwrap_or(Path::new("/"));
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::file(parent, format!("cannot sync: {error}")))
}

fn give_directory(path: &Path, user: Option<u32>) -> Result<(), Error> {
    let Some(owner) = user else { return Ok(()) };
    let directory =
        File::open(path).map_err(|error| Error::file(path, format!("cannot open: {error}")))?;
    give(&directory, owner)
        .map_err(|error| Error::file(path, format!("cannot give to user {owner}: {error}")))
}

fn give(file: &File, owner: u32) -> std::io::Result<()> {
    if file.metadata()?.uid() != owner {
        rustix::fs::fchown(file, Some(Uid::from_raw(owner)), None::<Gid>)?;
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), Error> {
    // The umask took bits away that were asked for.
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|error| Error::file(path, format!("cannot set its mode: {error}")))
}

#[cfg(test)]
mod tests;
