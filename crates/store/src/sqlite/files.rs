//! The files beside an SQLite database: their modes and the lock. No SQL.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
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

/// The mark that one process uses the database: the kernel takes it away with the process. Its content says how far the database
/// had come, so that an older copy in its place is noticed.
pub(crate) struct Lock {
    path: PathBuf,
    file: File,
}

/// How far a database has come. Neither number ever goes back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Progress {
    /// The number of the last event.
    pub(crate) events: u64,
    /// The number of the last deny entry.
    pub(crate) deny: u64,
}

impl Lock {
    /// # Errors
    /// [`Error::InUse`] if another process has it, [`Error::File`].
    pub(crate) fn take(database: &Path) -> Result<Self> {
        let path = beside(database, ".lock");
        let file = open_own(&path)?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Self { path, file }),
            Err(Errno::WOULDBLOCK) => Err(Error::InUse { path }),
            Err(error) => Err(Error::file(&path, format!("cannot lock: {error}"))),
        }
    }
}

impl Lock {
    /// How far the database had come when it was last noted. A file that says nothing sensible says nothing.
    pub(crate) fn noted(&self) -> Progress {
        let mut content = [0; NOTE];
        let read = self.file.read_at(&mut content, 0).unwrap_or(0);
        let text = content
            .get(..read)
            .and_then(|content| std::str::from_utf8(content).ok())
            .unwrap_or_default();
        let mut numbers = text.split_whitespace().map(str::parse);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(events)), Some(Ok(deny))) => Progress { events, deny },
            _ => Progress::default(),
        }
    }

    /// Notes how far the database has come, after that is durable. Not synced: a note that is lost is one that says less.
    pub(crate) fn note(&self, progress: Progress) {
        let text = format!("{:20} {:20}\n", progress.events, progress.deny);
        if let Err(error) = self.file.write_all_at(text.as_bytes(), 0) {
            tracing::warn!(path = %self.path.display(), %error, "cannot note how far the database has come");
        }
    }
}

/// Given back by name rather than by closing: a process that was forked off meanwhile and has not yet become another program holds
/// the file open too, and with it the lock (flock(2)).
impl Drop for Lock {
    fn drop(&mut self) {
        let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
    }
}

/// How long a note is: always the same, so that one replaces the other.
const NOTE: usize = 42;
