//! What can be wrong with a witness. All of it is its operator's to mend; whoever asks it is told by HTTP statuses.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use skans_host::error::{BadLevel, FileError};

/// Why a witness does not start, or cannot remember.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error("{origin}: {problem}")]
    Config {
        /// The file.
        origin: String,
        /// Which key, what was found, what was wanted.
        problem: String,
    },
    /// A file cannot be used, or not safely.
    #[error(transparent)]
    File(#[from] FileError),
    /// The level of the logs is none.
    #[error("log.level: {0}")]
    Level(#[from] BadLevel),
    /// A port cannot be opened.
    #[error("listen: cannot listen on {address}: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The system refuses something that every process needs.
    #[error("cannot {doing}: {source}")]
    System {
        /// What was tried.
        doing: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// The certificate that it should show cannot be used.
    #[error("tls: {found}; wanted {wanted}")]
    Tls {
        /// What is wrong.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A key, or a name for one, cannot be used.
    #[error("{0}")]
    Key(skans_audit::Error),
}

impl Error {
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File(FileError::new(path, problem))
    }

    /// A short, stable name for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::File(_) => "file",
            Self::Level(_) => "level",
            Self::Bind { .. } => "bind",
            Self::System { .. } => "system",
            Self::Tls { .. } => "tls",
            Self::Key(_) => "key",
        }
    }
}
