//! What can go wrong in the control plane: who is to blame, whether to try again, its metric label, and what a caller
//! is told.

use std::io;
use std::net::SocketAddr;
use std::path::Path;

use skans_host::error::{BadLevel, FileError};

/// Who has to act for it not to happen again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// Whoever wrote the configuration or owns the files.
    Configuration,
    /// Whoever called: an agent, a person, a stranger.
    Caller,
    /// The database, its disk or its server.
    Store,
    /// This program.
    Control,
}

/// An error of the control plane.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error("{origin}: {problem}")]
    Config {
        /// The file or variable.
        origin: String,
        /// Which key, what was found, what was wanted.
        problem: String,
    },
    /// A file cannot be used, or not safely.
    #[error(transparent)]
    File(#[from] FileError),
    /// The witness of this process cannot start.
    #[error("witness: {0}")]
    Witness(#[from] skans_witness::Error),
    /// A port cannot be opened.
    #[error("cannot listen on {address} for {purpose}: {source}")]
    Bind {
        /// What the port is for, and the key that sets it.
        purpose: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody has proved who they are, or what they proved holds no longer.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller is known, and may not do this.
    #[error("{caller} may not {action} in {scope}")]
    Denied {
        /// Who called.
        caller: String,
        /// The method.
        action: String,
        /// Where.
        scope: String,
    },
    /// The deny stream forbids it.
    #[error("{0}")]
    Revoked(String),
    /// A request that makes no sense: a field, what was found, what was wanted.
    #[error("{0}")]
    Invalid(String),
    /// What was asked for is not here.
    #[error("no {what} {name}")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name, as the caller gave it.
        name: String,
    },
    /// It cannot be done in the present state.
    #[error("{0}")]
    Conflict(String),
    /// Evidence that is not accepted: a token that was used, a key that does not fit. The text tells a stranger nothing.
    #[error("the evidence was refused: {0}")]
    Evidence(&'static str),
    /// More than the caller may ask for in this time.
    #[error("{0}: more than may be asked for at once; try again in a second")]
    TooMany(&'static str),
    /// The database.
    #[error("{0}")]
    Store(#[from] skans_store::Error),
    /// No authority can sign now.
    #[error("no authority can sign: {0}")]
    NoAuthority(String),
    /// What a control plane that was asked answered.
    #[error("{}", .0.detail)]
    Remote(crate::problem::Problem),
    /// A control plane that was asked and did not answer.
    #[error("{0}")]
    Unreachable(String),
    /// Names, keys and certificates.
    #[error("{0}")]
    Identity(#[from] skans_identity::Error),
    /// The log: a tile of it, its key, its checkpoint.
    #[error("{0}")]
    Audit(#[from] skans_audit::Error),
    /// Something failed that nobody outside is to blame for.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn config(origin: &str, problem: impl Into<String>) -> Self {
        Self::Config {
            origin: origin.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File(FileError::new(path, problem))
    }

    pub(crate) fn not_found(what: &'static str, name: impl Into<String>) -> Self {
        Self::NotFound {
            what,
            name: name.into(),
        }
    }

    /// A short, stable name, for metrics and for programs that call. Never holds anything that a caller chooses.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Config { .. } => "config",
            Self::File(_) => "file",
            Self::Witness(_) => "witness",
            Self::Bind { .. } => "bind",
            Self::Unauthenticated(_) => "unauthenticated",
            Self::Denied { .. } => "denied",
            Self::Revoked(_) => "revoked",
            Self::Invalid(_) => "invalid",
            Self::NotFound { .. } => "not_found",
            Self::Conflict(_) => "conflict",
            Self::Evidence(_) => "evidence",
            Self::TooMany(_) => "too_many",
            Self::Store(error) => error.label(),
            Self::NoAuthority(_) => "no_authority",
            Self::Remote(_) => "remote",
            Self::Unreachable(_) => "unreachable",
            Self::Identity(_) => "identity",
            Self::Audit(_) => "audit",
            Self::Internal(_) => "internal",
        }
    }

    /// Who has to act.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Config { .. } | Self::File(_) | Self::Witness(_) | Self::Bind { .. } => {
                Blame::Configuration
            }
            Self::Unauthenticated(_)
            | Self::Denied { .. }
            | Self::Revoked(_)
            | Self::Invalid(_)
            | Self::NotFound { .. }
            | Self::Conflict(_)
            | Self::Evidence(_)
            | Self::TooMany(_) => Blame::Caller,
            Self::Identity(error) => match error {
                skans_identity::Error::Crypto { .. } | skans_identity::Error::Authority { .. } => {
                    Blame::Control
                }
                _ => Blame::Caller,
            },
            Self::Store(error) => match error.blame() {
                skans_store::Blame::Configuration => Blame::Configuration,
                skans_store::Blame::Caller => Blame::Caller,
                _ => Blame::Store,
            },
            Self::NoAuthority(_) => Blame::Configuration,
            Self::Remote(_) => Blame::Caller,
            Self::Unreachable(_) | Self::Audit(_) | Self::Internal(_) => Blame::Control,
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        match self {
            Self::TooMany(_) | Self::Internal(_) | Self::Unreachable(_) => true,
            Self::Remote(problem) => problem.may_retry,
            Self::Identity(error) => error.is_transient(),
            Self::Audit(error) => error.is_transient(),
            Self::Store(error) => error.may_retry(),
            _ => false,
        }
    }
}

impl From<BadLevel> for Error {
    fn from(bad: BadLevel) -> Self {
        Self::config("log.level", bad.to_string())
    }
}
