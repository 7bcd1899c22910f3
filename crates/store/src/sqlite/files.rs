//! The files beside an SQLite database: their modes and the lock. No SQL.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// The path of a file beside the database.
pub(crate) fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name: OsString = database.file_name().unwrap_or_default().to_owned();
    name.push(ending);
    database.with_file_name(name)
}

/// The path with its directory resolved: SQLite is told to follow no link, and would count those above the directory.
///
/// # Errors
/// [`Error::File`] if the directory is not there.
pub(crate) fn resolved(database: &Path) -> Result<PathBuf> {
    let name = database
        .file_name()
        .ok_or_else(|| Error::file(database, "found no file name, wanted one"))?;
    let parent = match database.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let parent = fs::canonicalize(parent)
        .map_err(|error| Error::file(parent, format!("cannot use the directory: {error}")))?;
    Ok(parent.join(name))
}

/// Opens a file of ours for writing, 0600, or makes it. No link is followed, and what others could have read or written is
/// refused.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn open_own(path: &Path) -> Result<File> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .custom_flags(nofollow())
        .open(path)
        .map_err(|error| Error::file(path, format!("cannot open: {error}")))?;
    check_own(path, &file)?;
    Ok(file)
}

/// Looks at an existing file of ours without opening it: closing another handle of a file ends SQLite's locks on it.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn check_path(path: &Path) -> Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(meta) => check_meta(path, &meta).map(|()| true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::file(path, format!("cannot stat: {error}"))),
    }
}

fn check_own(path: &Path, file: &File) -> Result<()> {
    let meta = file
        .metadata()
        .map_err(|error| Error::file(path, format!("cannot stat: {error}")))?;
    check_meta(path, &meta)
}

fn check_meta(path: &Path, meta: &fs::Metadata) -> Result<()> {
    if !meta.is_file() {
        return Err(Error::file(
            path,
            "found something else, wanted a regular file",
        ));
    }
    if meta.mode() & 0o077 != 0 {
        return Err(Error::file(
            path,
            format!(
                "found mode {:04o}, wanted 0600 (chmod 600)",
                meta.mode() & 0o7777
            ),
        ));
    }
    let own = rustix::process::geteuid().as_raw();
    if meta.uid() != own {
        return Err(Error::file(
            path,
            format!("found owner {}, wanted {own}", meta.uid()),
        ));
    }
    Ok(())
}

/// Makes the names in a directory durable.
///
/// # Errors
/// [`Error::File`].
pub(crate) fn sync_directory_of(path: &Path) -> Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    File::open(directory)
        .and_then(|file| file.sync_all())
        .map_err(|error| Error::file(directory, format!("cannot sync: {error}")))
}

fn nofollow() -> i32 {
    i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or_default()
}

/// The mark that one process uses the database. The kernel takes it away with the process.
pub(crate) struct Lock {
    _file: File,
}

impl Lock {
    /// # Errors
    /// [`Error::InUse`] if another process has it, [`Error::File`].
    pub(crate) fn take(database: &Path) -> Result<Self> {
        let path = beside(database, ".lock");
        let file = open_own(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { _file: file }),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse { path }),
            Err(error) => Err(Error::file(&path, format!("cannot lock: {error}"))),
        }
    }
}
