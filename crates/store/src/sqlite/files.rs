//! The files beside an SQLite database: their modes, the lock, and the space in reserve. No SQL.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, FlockOperation, OFlags};
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

/// Space on the disk that is kept for revocations, in a file that holds nothing.
///
/// When the disk is full it is handed to the log of the database (the WAL): first given back to the file system, then taken
/// at once as blocks of the WAL beyond its end, where nobody else can have it. What stays free after that is for the index
/// of the log and for the database file.
pub(crate) struct Reserve {
    path: PathBuf,
    log: PathBuf,
    size: u64,
    held: bool,
}

impl Reserve {
    /// The reserve of a database, as it is found. Call [`Reserve::fill`] next.
    pub(crate) fn new(database: &Path, size: u64) -> Self {
        Self {
            path: beside(database, ".reserve"),
            log: beside(database, "-wal"),
            size,
            held: false,
        }
    }

    /// Whether all of it is there.
    pub(crate) const fn is_whole(&self) -> bool {
        self.held
    }

    /// Takes the space. A disk without so much is not an error: then [`Reserve::is_whole`] says no.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be used at all.
    pub(crate) fn fill(&mut self) -> Result<()> {
        if self.held {
            return Ok(());
        }
        if self.size == 0 {
            self.held = true;
            return Ok(());
        }
        let file = open_own(&self.path)?;
        match allocate(&file, self.size) {
            Ok(()) => {
                self.held = true;
                Ok(())
            }
            Err(error) if is_full(&error) => {
                // Half of it helps nobody, and somebody else may be waiting for it.
                let _ = file.set_len(0);
                Ok(())
            }
            Err(error) => Err(Error::file(
                &self.path,
                format!("cannot reserve {} bytes: {error}", self.size),
            )),
        }
    }

    /// Hands the space to the log of the database.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be emptied.
    pub(crate) fn release(&mut self) -> Result<()> {
        self.held = false;
        let file = open_own(&self.path)?;
        file.set_len(0)
            .map_err(|error| Error::file(&self.path, format!("cannot empty: {error}")))?;
        let for_the_log = self.size / 4 * 3;
        let taken = OpenOptions::new()
            .write(true)
            .custom_flags(nofollow())
            .open(&self.log)
            .and_then(|log| {
                let end = log.metadata()?.len();
                rustix::fs::fallocate(&log, FallocateFlags::KEEP_SIZE, 0, end + for_the_log)
                    .map_err(std::io::Error::from)
            });
        if let Err(error) = taken {
            // Then it is merely free, which is enough as long as nobody else takes it.
            tracing::warn!(%error, "the reserve could not be handed to the log of the database");
        }
        Ok(())
    }
}

/// Really takes the blocks: a file with a hole would reserve nothing.
fn allocate(file: &File, size: u64) -> std::io::Result<()> {
    match rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size) {
        Ok(()) => return file.sync_all(),
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
        Err(error) => return Err(error.into()),
    }
    // A file system that cannot allocate: what is written is there.
    let mut file = file;
    let block = [0x5a_u8; 64 * 1024];
    let mut left = size;
    while left > 0 {
        let now = left.min(64 * 1024);
        let now = usize::try_from(now).unwrap_or(block.len());
        file.write_all(block.get(..now).unwrap_or(&block))?;
        left = left.saturating_sub(now as u64);
    }
    file.sync_all()
}

fn is_full(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    )
}
