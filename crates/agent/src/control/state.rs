//! What the agent keeps on disk, so that it comes back after a restart with the control plane away. Which file holds what
//! is recorded in `docs/decisions/0007-on-disk.md`; what the content means is not said here.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use aws_lc_rs::digest::{SHA256, digest};
use skans_host::files::{self, Access};
use zeroize::Zeroizing;

use crate::Error;

/// Largest file in bytes. The deny chain is the largest: this is some hundred thousand entries.
const MAX_FILE: u64 = 64 * 1024 * 1024;

/// One thing that is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Item<'a> {
    /// Where the control plane is, and which join token was used.
    Enrolment,
    /// The key that enrolment was, or will be, asked with: the answer may be lost, and the same key asks again.
    Pending,
    /// The agent's own certificates and key, PEM.
    Agent,
    /// Certificates and key of a node, PEM.
    Node(&'a str),
    /// The roots of the trust domain and their version.
    Bundle,
    /// The highest epoch and deny sequence ever accepted. Never goes back.
    Horizon,
    /// What is believed of other trust domains, as the control plane said last.
    Foreign,
    /// The newest signed head.
    Head,
    /// The deny chain.
    Denials,
    /// The last checkpoint of the control plane's log that was seen.
    Checkpoint,
    /// The newest signed policy set that was in force.
    Policy,
    /// The highest version of a policy set ever accepted. Never goes back.
    PolicyHorizon,
}

impl Item<'_> {
    fn path(self, directory: &Path) -> PathBuf {
        match self {
            Self::Enrolment => directory.join("enrolment.json"),
            Self::Pending => directory.join("pending.key"),
            Self::Agent => directory.join("agent.pem"),
            // By hash: whatever a name may hold one day, it steers no path.
            Self::Node(name) => {
                let hash = digest(&SHA256, name.as_bytes());
                let short = hash.as_ref().get(..16).unwrap_or_default();
                let hex: String = short.iter().map(|b| format!("{b:02x}")).collect();
                directory.join("nodes").join(format!("{hex}.pem"))
            }
            Self::Bundle => directory.join("bundle.json"),
            Self::Horizon => directory.join("horizon"),
            Self::Foreign => directory.join("foreign"),
            Self::Head => directory.join("head"),
            Self::Denials => directory.join("denials"),
            Self::Checkpoint => directory.join("checkpoint.json"),
            Self::Policy => directory.join("policy"),
            Self::PolicyHorizon => directory.join("policy-horizon"),
        }
    }
}

/// The state directory of one agent. Nobody else can use it while this is there.
#[derive(Debug)]
pub struct State {
    directory: PathBuf,
    lock: File,
    /// Counts up with each change of what is trusted, denied or used.
    changes: AtomicU64,
}

impl State {
    /// Opens the directory, or makes it.
    ///
    /// # Errors
    /// As [`State::open_with`].
    #[cfg(test)]
    pub fn open(directory: &Path) -> Result<Self, Error> {
        Self::open_with(directory, None)
    }

    /// Opens the directory, or makes it, with the lock of the agent that this one takes over from, if there is one.
    ///
    /// # Errors
    /// [`Error::File`] if it is another user's, if others may look into it, or if another agent uses it.
    pub fn open_with(directory: &Path, lock: Option<File>) -> Result<Self, Error> {
        files::private_directory(directory)?;
        files::private_directory(&directory.join("nodes"))?;
        let lock = match lock {
            // Locked already, by what both have open; by anything else it is not.
            Some(lock) => {
                lock.try_lock()
                    .map_err(|error| Error::file(directory, format!("its lock: {error}")))?;
                lock
            }
            None => files::lock(&directory.join("lock"), false)?,
        };
        Ok(Self {
            directory: directory.to_owned(),
            lock,
            changes: AtomicU64::new(0),
        })
    }

    /// The directory, and its lock for whoever takes over.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system gives no more descriptors.
    pub fn share(&self) -> Result<(&Path, File), Error> {
        let lock = self.lock.try_clone();
        lock.map(|lock| (self.directory.as_path(), lock))
            .map_err(|error| Error::Internal(format!("cannot hand over a lock: {error}")))
    }

    /// Changes whenever something is kept that whoever reads it should not miss. Heads come all the time, and again.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// What is kept; `None` if nothing is.
    ///
    /// # Errors
    /// [`Error::File`] if the file is not as it was written: whoever could change it could change what is trusted.
    pub fn read(&self, item: Item<'_>) -> Result<Option<Zeroizing<Vec<u8>>>, Error> {
        Ok(files::read_private(&self.path(item), MAX_FILE)?)
    }

    /// Keeps it, in the place of what was. On disk once this returns.
    ///
    /// # Errors
    /// [`Error::File`]; what was there stays.
    pub fn write(&self, item: Item<'_>, content: &[u8]) -> Result<(), Error> {
        if !matches!(
            item,
            Item::Head | Item::Horizon | Item::PolicyHorizon | Item::Checkpoint
        ) {
            self.changes.fetch_add(1, Relaxed);
        }
        Ok(files::write(&self.path(item), content, Access::PRIVATE)?)
    }

    /// Keeps it no longer.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn remove(&self, item: Item<'_>) -> Result<(), Error> {
        let path = self.path(item);
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::file(&path, format!("cannot remove: {error}")))
            }
            _ => Ok(()),
        }
    }

    /// Where events are that the control plane does not have yet.
    #[must_use]
    pub fn events(&self) -> PathBuf {
        self.directory.join("events")
    }

    /// Where an item stands, for messages.
    #[must_use]
    pub fn path(&self, item: Item<'_>) -> PathBuf {
        item.path(&self.directory)
    }
}

#[cfg(test)]
mod tests;
