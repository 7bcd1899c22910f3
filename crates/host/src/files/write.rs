//! Writing: whole or not at all, under the name only when it is on the disk, and never through a link.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Gid, OFlags, Uid};

use crate::error::FileError;

/// Who may read a file that is written.
#[derive(Clone, Copy, Debug)]
pub struct Access {
    /// Permission bits.
    pub mode: u32,
    /// The user that it is given to, if not this process's own.
    pub owner: Option<u32>,
}

impl Access {
    /// For this process's user alone.
    pub const PRIVATE: Self = Self {
        mode: 0o600,
        owner: None,
    };
}

/// Writes a file whole: into a new file beside it, which is then renamed into place, so that a reader sees the old
/// content or the new. No link is followed. It is on the disk when this returns.
///
/// # Errors
/// Says which step failed.
pub fn write(path: &Path, content: &[u8], access: Access) -> Result<(), FileError> {
    let new = put(path, content, access)?;
    fs::rename(&new, path).map_err(FileError::doing(path, "rename into place"))?;
    sync_parent(path)
}

/// Like [`write()`], for this user alone and for a file that must not be there yet: a key is never overwritten.
///
/// # Errors
/// As [`write()`], also if it is there.
pub fn write_new(path: &Path, content: &[u8]) -> Result<(), FileError> {
    let new = put(path, content, Access::PRIVATE)?;
    // A link instead of a rename: it fails if something is there.
    let linked = fs::hard_link(&new, path);
    let _ = fs::remove_file(&new);
    linked.map_err(|error| match error.kind() {
        ErrorKind::AlreadyExists => there_already(path),
        _ => FileError::doing(path, "link into place")(error),
    })?;
    sync_parent(path)
}

/// A new file, written bit by bit and renamed into place when it is whole. What is not finished goes away.
#[derive(Debug)]
pub struct New {
    file: Option<File>,
    new: PathBuf,
    path: PathBuf,
}

impl New {
    /// Begins one that is not there yet, for this user alone.
    ///
    /// # Errors
    /// If it is there, or cannot be made.
    pub fn beside(path: &Path) -> Result<Self, FileError> {
        if fs::symlink_metadata(path).is_ok() {
            return Err(there_already(path));
        }
        let new = beside(path);
        Ok(Self {
            file: Some(create(&new)?),
            new,
            path: path.to_owned(),
        })
    }

    /// Appends some.
    ///
    /// # Errors
    /// If the disk takes no more.
    pub fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        file.write_all(bytes)
            .map_err(FileError::doing(&self.new, "write"))
    }

    /// It is whole.
    ///
    /// # Errors
    /// If it cannot be made to last; then it is gone.
    pub fn finish(mut self) -> Result<(), FileError> {
        if let Some(file) = &self.file {
            file.sync_all()
                .map_err(FileError::doing(&self.new, "sync"))?;
        }
        fs::rename(&self.new, &self.path)
            .map_err(FileError::doing(&self.path, "rename into place"))?;
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

/// Opens a file to be locked by one process at a time, and locks it.
///
/// # Errors
/// If it cannot be opened; with `wait` false, also if another process holds it.
pub fn lock(path: &Path, wait: bool) -> Result<File, FileError> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(path)
        .map_err(FileError::doing(path, "lock"))?;
    if wait {
        file.lock().map_err(FileError::doing(path, "lock"))?;
    } else if let Err(error) = file.try_lock() {
        return Err(match error {
            fs::TryLockError::WouldBlock => FileError::new(
                path,
                "found it locked, wanted it free: another process uses this directory",
            ),
            fs::TryLockError::Error(error) => FileError::doing(path, "lock")(error),
        });
    }
    Ok(file)
}

/// The whole content, in a new file beside the one that it is for.
fn put(path: &Path, content: &[u8], access: Access) -> Result<PathBuf, FileError> {
    let new = beside(path);
    let mut file = create(&new)?;
    file.write_all(content)
        .and_then(|()| access.owner.map_or(Ok(()), |owner| give(&file, owner)))
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(access.mode)))
        .and_then(|()| file.sync_all())
        .map_err(|error| {
            let _ = fs::remove_file(&new);
            FileError::doing(&new, "write")(error)
        })?;
    Ok(new)
}

/// Readable by this user alone until it is whole.
fn create(new: &Path) -> Result<File, FileError> {
    match fs::remove_file(new) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            return Err(FileError::doing(new, "remove")(error));
        }
        _ => {}
    }
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(no_follow())
        .open(new)
        .map_err(FileError::doing(new, "create"))
}

fn beside(path: &Path) -> PathBuf {
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    path.with_file_name(name)
}

fn no_follow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

fn there_already(path: &Path) -> FileError {
    FileError::new(path, "found it there already, wanted to write a new one")
}

/// A name is on the disk only when its directory is.
pub(super) fn sync_parent(path: &Path) -> Result<(), FileError> {
    let parent = match path.parent() {
        None => Path::new("/"),
        Some(here) if here.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
    };
    File::open(parent)
        .and_then(|directory| directory.sync_all())
        .map_err(FileError::doing(parent, "sync"))
}

pub(super) fn give(file: &File, owner: u32) -> std::io::Result<()> {
    if file.metadata()?.uid() != owner {
        rustix::fs::fchown(file, Some(Uid::from_raw(owner)), None::<Gid>)?;
    }
    Ok(())
}
