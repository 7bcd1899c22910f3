//! Space on the disk that is kept for revocations. No SQL.
//!
//! It is in the log of the database (the WAL) itself: blocks beyond what is written there, which the file system has given to that
//! file and to nobody else. Ordinary work is refused before it would use them. So when the disk is full a revocation needs nothing
//! from it. A file that is deleted then would not do: its space would be taken by whoever filled the disk.
//!
//! File systems that never write in place (btrfs, ZFS) need new blocks all the same; there the reserve is no promise.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::files::{beside, open_own};
use crate::error::{Error, Result};

/// What the log has before its first page, and a page in it with what stands before that, in bytes
/// (<https://www.sqlite.org/fileformat2.html#walformat>). SQLite's pages have 4096 bytes unless it is told otherwise.
const LOG_HEADER: u64 = 32;
const LOG_PAGE: u64 = 24 + 4096;
/// How much is allocated at once beyond the reserve, so that it is not done for each commit.
const STEP: u64 = 4 * 1024 * 1024;
/// How often a full disk is asked whether it has space again.
const ASK: Duration = Duration::from_secs(1);

/// The reserve of a database that is open.
pub(crate) struct Reserve {
    log: File,
    log_path: PathBuf,
    /// How many bytes of the log are to be free for revocations.
    size: u64,
    /// How many bytes of the log are written.
    written: u64,
    /// How many bytes of the log the file system has given.
    allocated: u64,
    /// Since when the disk is known to be full.
    full: Option<Instant>,
}

impl Reserve {
    /// Takes the space. A disk without so much is not an error: then [`Reserve::allows_more`] says no.
    ///
    /// # Errors
    /// [`Error::File`] if the log cannot be used at all.
    pub(crate) fn new(database: &Path, size: u64) -> Result<Self> {
        let log_path = beside(database, "-wal");
        // SQLite holds no lock on this file, so another handle does no harm.
        let log = open_own(&log_path)?;
        let written = log
            .metadata()
            .map_err(|error| Error::file(&log_path, format!("cannot stat: {error}")))?
            .len();
        let mut reserve = Self {
            log,
            log_path,
            size,
            written,
            allocated: 0,
            full: None,
        };
        reserve.look()?;
        if reserve.full.is_some() {
            tracing::error!(
                path = %reserve.log_path.display(),
                wanted = size,
                "the disk has not enough space for the reserve: only revocations are taken until it has"
            );
        }
        Ok(reserve)
    }

    /// Notes how much of the log is written.
    pub(crate) fn note_pages(&mut self, pages: u64) {
        self.written = LOG_HEADER + pages * LOG_PAGE;
    }

    /// Whether there is space for more than revocations. A full disk is asked again once a second.
    pub(crate) fn allows_more(&mut self) -> bool {
        match self.full {
            Some(since) if since.elapsed() < ASK => return false,
            None if self.allocated >= self.written + self.size => return true,
            _ => {}
        }
        let was_full = self.full.is_some();
        if let Err(error) = self.look() {
            tracing::error!(%error, "the reserve cannot be made");
            self.full = Some(Instant::now());
        }
        match (was_full, self.full.is_some()) {
            (false, true) => {
                tracing::error!("the disk is full: only revocations are taken until it is not");
            }
            (true, false) => tracing::info!("the disk has space again"),
            _ => {}
        }
        self.full.is_none()
    }

    /// A commit found the disk full.
    pub(crate) fn note_full(&mut self) {
        self.full = Some(Instant::now());
    }

    fn look(&mut self) -> Result<()> {
        let wanted = self.written + self.size;
        let got = self.allocate(wanted + STEP)? || self.allocate(wanted)?;
        self.full = (!got).then(Instant::now);
        Ok(())
    }

    /// Gives whether the log has so many bytes now.
    fn allocate(&mut self, bytes: u64) -> Result<bool> {
        if self.size == 0 || self.allocated >= bytes {
            return Ok(true);
        }
        match rustix::fs::fallocate(&self.log, FallocateFlags::KEEP_SIZE, 0, bytes) {
            Ok(()) => {
                self.allocated = bytes;
                Ok(true)
            }
            Err(Errno::NOSPC | Errno::DQUOT) => Ok(false),
            Err(Errno::OPNOTSUPP | Errno::NOSYS) => {
                tracing::warn!(
                    path = %self.log_path.display(),
                    "this file system cannot allocate: nothing is kept for revocations when it is full"
                );
                self.size = 0;
                Ok(true)
            }
            Err(error) => Err(Error::file(
                &self.log_path,
                format!("cannot allocate {bytes} bytes: {error}"),
            )),
        }
    }
}
