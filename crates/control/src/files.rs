//! Reading and writing files safely: modes, owners, links, and renaming into place.

#[cfg(test)]
mod tests;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _,
};
use std::path::Path;

use rustix::fs::OFlags;
use zeroize::Zeroizing;

use crate::error::Error;

/// Reads a text file of at most `limit` bytes.
///
/// # Errors
/// [`Error::File`] if it cannot be read, is too long, or is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> Result<String, Error> {
    let file =
        File::open(path).map_err(|error| Error::file(path, format!("cannot open: {error}")))?;
    let bytes = read_open(file, path, limit)?;
    String::from_utf8(bytes).map_err(|_| Error::file(path, "found bytes, wanted UTF-8 text"))
}

/// Reads a secret: a regular file that nobody else can read or write.
///
/// Group may read it only if the group is ours, or if it is root's file and we are in its group: that is how Kubernetes
/// mounts a secret with an `fsGroup`. OpenSSH and PostgreSQL draw the line in the same place.
///
/// # Errors
/// [`Error::File`] that says the mode found and the one wanted.
pub fn read_secret(path: &Path, limit: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
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
    let allowed = if is_our_group(meta.uid(), meta.gid()) {
        0o740
    } else {
        0o700
    };
    if mode & !allowed != 0 {
        let problem = format!(
            "found mode {mode:04o}, wanted at most {:04o}: a key that others can read is not a secret (chmod 600)",
            allowed & 0o660
        );
        return Err(Error::file(path, problem));
    }
    let owner = meta.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        return Err(Error::file(
            path,
            format!("found owner {owner}, wanted root or this user"),
        ));
    }
    read_open(file, path, limit).map(Zeroizing::new)
}

fn is_our_group(owner: u32, group: u32) -> bool {
    let others = rustix::process::getgroups().unwrap_or_default();
    group == rustix::process::getegid().as_raw()
        || (owner == 0 && others.iter().any(|one| one.as_raw() == group))
}

fn read_open(file: File, path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let most = usize::try_from(limit).unwrap_or(usize::MAX);
    // Of its final size at once: a secret that grows in steps leaves copies behind.
    let size = file.metadata().map_or(0, |meta| meta.len()).min(limit);
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0) + 1);
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| Error::file(path, format!("cannot read: {error}")))?;
    if bytes.len() > most {
        return Err(Error::file(
            path,
            format!("found more than {limit} bytes, wanted at most that"),
        ));
    }
    Ok(bytes)
}

/// Makes a directory with mode 0700 (and its parents, 0755), or checks that what is there is ours alone.
///
/// # Errors
/// [`Error::File`].
pub fn private_directory(path: &Path) -> Result<(), Error> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)
            .map_err(|error| Error::file(parent, format!("cannot create: {error}")))?;
    }
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return sync_parent(path),
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
    let (owner, mode) = (meta.uid(), meta.mode() & 0o777);
    if owner != rustix::process::geteuid().as_raw() {
        return Err(Error::file(
            path,
            format!("found owner {owner}, wanted this user"),
        ));
    }
    if mode & 0o077 != 0 {
        let problem = format!("found mode {mode:04o}, wanted 0700: it holds keys (chmod 700)");
        return Err(Error::file(path, problem));
    }
    Ok(())
}

/// Writes a file whole: into a new file beside it, which is then renamed into place, so that a reader sees the old
/// content or the new. No link is followed. It is on the disk when this returns.
///
/// # Errors
/// [`Error::File`].
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    match fs::remove_file(&new) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::file(&new, format!("cannot remove: {error}")));
        }
        _ => {}
    }
    let file = create(&new, mode)?;
    put(file, &new, content, mode)?;
    fs::rename(&new, path)
        .map_err(|error| Error::file(path, format!("cannot rename into place: {error}")))?;
    sync_parent(path)
}

/// Like [`write`], for a file that must not be there yet: a key is never overwritten.
///
/// # Errors
/// [`Error::File`], also if it is there.
pub fn write_new(path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let _ = fs::remove_file(&new);
    let file = create(&new, mode)?;
    put(file, &new, content, mode)?;
    // A link instead of a rename: it fails if something is there.
    let linked = fs::hard_link(&new, path);
    let _ = fs::remove_file(&new);
    linked.map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Error::file(path, "found it there already, wanted to write a new one")
        }
        _ => Error::file(path, format!("cannot link into place: {error}")),
    })?;
    sync_parent(path)
}

fn create(new: &Path, mode: u32) -> Result<File, Error> {
    let nofollow = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default();
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode & 0o600)
        .custom_flags(nofollow)
        .open(new)
        .map_err(|error| Error::file(new, format!("cannot create: {error}")))
}

fn put(mut file: File, path: &Path, content: &[u8], mode: u32) -> Result<(), Error> {
    let failed = |error: std::io::Error| Error::file(path, format!("cannot write: {error}"));
    file.write_all(content).map_err(failed)?;
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(failed)?;
    file.sync_all().map_err(failed)
}

/// A name is on the disk only when its directory is.
fn sync_parent(path: &Path) -> Result<(), Error> {
    let parent = match path.parent() {
        None => Path::new("/"),
        Some(here) if here.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(|error| Error::file(parent, format!("cannot sync: {error}")))
}

/// A new file, written bit by bit and renamed into place when it is whole. What is not finished goes away.
pub struct New {
    file: Option<File>,
    new: std::path::PathBuf,
    path: std::path::PathBuf,
}

impl New {
    /// Begins one that is not there yet.
    ///
    /// # Errors
    /// [`Error::File`], also if it is there.
    pub fn beside(path: &Path) -> Result<Self, Error> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(Error::file(
                path,
                "found it there already, wanted to write a new one",
            ));
        }
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        let new = path.with_file_name(name);
        let _ = fs::remove_file(&new);
        Ok(Self {
            file: Some(create(&new, 0o600)?),
            new,
            path: path.to_owned(),
        })
    }

    /// Appends some.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)
            .map_err(|error| Error::file(&self.new, format!("cannot write: {error}")))
    }

    /// It is whole.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn finish(mut self) -> Result<(), Error> {
        if let Some(file) = &self.file {
            file.sync_all()
                .map_err(|error| Error::file(&self.new, format!("cannot sync: {error}")))?;
        }
        fs::rename(&self.new, &self.path).map_err(|error| {
            Error::file(&self.path, format!("cannot rename into place: {error}"))
        })?;
        self.file = None;
        sync_parent(&self.path)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            let _ = fs::remove_file(&self.new);
        }
    }
}
