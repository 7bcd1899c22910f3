//! Another process takes the place of this agent, and no node notices (docs/decisions/0017): what listens, who is registered and
//! each link go over, with their sockets. Here is what both sides share; the old one is in `giving`, the new one in `taking`.
//! How everything is made to stand still is in `brake`.

pub mod channel;
mod giving;
pub mod link;
mod taking;

use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use skans_handover::{Door, Use};

use crate::Error;

pub use giving::serve;
pub use taking::Inheritance;

/// How long one process waits for the next word of the other, where nothing stands still.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long everything may stand still. It takes milliseconds; a machine that has no time for it should not lose its links, and
/// its nodes wait as for any slow peer. Below the twelfth of a tick time after which peers ask for a sign of life.
const STILL: Duration = Duration::from_secs(5);

/// What is counted, in the life of an agent over all of its processes.
#[derive(Debug, Default)]
pub struct Handovers {
    /// Processes before this one, back to the last ordinary start.
    pub before: AtomicU64,
    /// When this process took over, Unix time; 0 if it did not.
    pub since: AtomicU64,
    /// Who asked and was refused, before anything stood still.
    pub refused: AtomicU64,
    /// Attempts that failed, after which this process went on.
    pub failed: AtomicU64,
}

/// What this process has open that outlives it.
#[derive(Debug, Default)]
pub struct Openings(Vec<(Door, OwnedFd)>);

impl Openings {
    /// Keeps another descriptor of a socket.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system gives no more.
    pub fn keep(
        &mut self,
        what: Use,
        configured: impl ToString,
        socket: impl AsFd,
    ) -> Result<(), Error> {
        self.0.push((
            Door {
                what,
                configured: configured.to_string(),
            },
            again(socket)?,
        ));
        Ok(())
    }
}

/// Another descriptor of the same.
///
/// # Errors
/// [`Error::Internal`] if the system gives no more.
pub fn again(socket: impl AsFd) -> Result<OwnedFd, Error> {
    let twin = socket.as_fd().try_clone_to_owned();
    twin.map_err(|error| Error::Internal(format!("cannot hand over a socket: {error}")))
}

/// Where an agent listens for whoever is to take its place.
#[must_use]
pub fn socket(runtime_directory: &Path) -> PathBuf {
    runtime_directory.join("handover.sock")
}

fn failed(problem: &str) -> Error {
    Error::Internal(format!("handover: {problem}"))
}
