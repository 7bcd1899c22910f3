//! What can go wrong in the store: who is to blame, whether to try again, and its metric label.

use std::path::{Path, PathBuf};

/// What a unit of work ends with.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act for it not to happen again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Blame {
    /// Whoever wrote the configuration or owns the files.
    Configuration,
    /// Whoever asked for something that cannot be done as things stand.
    Caller,
    /// The machine: its disk, its file system.
    Host,
    /// PostgreSQL, or the network to it.
    Database,
    /// This program.
    Store,
}

/// An error of the store.
///
/// It can be cloned, since one failed commit is the answer to every unit of work in it.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configuration cannot be used.
    #[error("{key}: {problem}")]
    Config {
        /// Which key.
        key: &'static str,
        /// What was found, what was wanted.
        problem: String,
    },
    /// A file cannot be used, or not safely.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What was found, and what was wanted.
        problem: String,
    },
    /// Another process has the database open.
    #[error("{}: another process holds it; one process at a time may use an SQLite store", path.display())]
    InUse {
        /// The lock file.
        path: PathBuf,
    },
    /// The database was made by a newer release, which no longer serves this one.
    #[error(
        "the database has schema {found}, made for releases that know schema {wanted} or later; this release knows {known}: upgrade it"
    )]
    NewerSchema {
        /// The schema of the database.
        found: u64,
        /// The oldest schema whose releases may still use it.
        wanted: u64,
        /// The newest schema that this release knows.
        known: u64,
    },
    /// What is stored cannot be right.
    #[error("the database is damaged: {0}; restore a backup")]
    Corrupt(String),
    /// Nothing may be changed now.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// Ordinary changes are not taken now.
    #[error("no change is taken: {0}")]
    Held(String),
    /// Another replica has become the writer since this was decided.
    #[error("fenced: decided in writer epoch {held}, and now it is {found}")]
    Fenced {
        /// The epoch in which it was decided.
        held: u64,
        /// The epoch of the present writer.
        found: u64,
    },
    /// There is no space left. Nothing of the unit of work was kept.
    #[error("no space left for {0}")]
    DiskFull(String),
    /// More waits than may wait.
    #[error("{limit} units of work wait already, which is the limit")]
    Busy {
        /// The bound.
        limit: usize,
    },
    /// PostgreSQL cannot be reached. Nothing was changed.
    #[error("PostgreSQL: {0}")]
    Unavailable(String),
    /// The connection was lost while PostgreSQL committed: the change was made, or it was not. Whoever asks again must
    /// be ready for both.
    #[error("PostgreSQL went away during the commit, which may have succeeded: {0}")]
    InDoubt(String),
    /// Others changed the same rows, again and again. Nothing was changed.
    #[error("gave up after {0} attempts: others changed the same rows")]
    Contention(u32),
    /// What is there already does not go together with this.
    #[error("{0}")]
    Conflict(String),
    /// It is not there.
    #[error("{what} {which:?} is not known")]
    NotFound {
        /// What kind of thing.
        what: &'static str,
        /// Its name.
        which: String,
    },
    /// A size or a count out of its bounds.
    #[error("{what}: found {found}, wanted {wanted}")]
    Bound {
        /// Which.
        what: &'static str,
        /// What was found.
        found: String,
        /// What is allowed.
        wanted: String,
    },
    /// The database said something else.
    #[error("database: {0}")]
    Database(String),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
    /// Something failed that nobody outside is to blame for.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    pub(crate) fn file(path: &Path, problem: impl Into<String>) -> Self {
        Self::File {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    pub(crate) fn config(key: &'static str, problem: impl Into<String>) -> Self {
        Self::Config {
            key,
            problem: problem.into(),
        }
    }

    /// Who has to act.
    #[must_use]
    pub const fn blame(&self) -> Blame {
        match self {
            Self::Config { .. }
            | Self::File { .. }
            | Self::InUse { .. }
            | Self::NewerSchema { .. }
            | Self::Held(_)
            | Self::ReadOnly(_) => Blame::Configuration,
            Self::Corrupt(_) | Self::DiskFull(_) => Blame::Host,
            Self::Unavailable(_) | Self::InDoubt(_) => Blame::Database,
            Self::Busy { .. }
            | Self::Conflict(_)
            | Self::Contention(_)
            | Self::Fenced { .. }
            | Self::NotFound { .. }
            | Self::Bound { .. } => Blame::Caller,
            Self::Closed | Self::Database(_) | Self::Internal(_) => Blame::Store,
        }
    }

    /// A stable word for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Bound { .. } => "bound",
            Self::Busy { .. } => "busy",
            Self::Closed => "closed",
            Self::Config { .. } => "config",
            Self::Conflict(_) => "conflict",
            Self::Contention(_) => "contention",
            Self::Corrupt(_) => "corrupt",
            Self::Database(_) => "database",
            Self::DiskFull(_) => "disk_full",
            Self::Fenced { .. } => "fenced",
            Self::File { .. } => "file",
            Self::Held(_) => "held",
            Self::InDoubt(_) => "in_doubt",
            Self::InUse { .. } => "in_use",
            Self::Internal(_) => "internal",
            Self::NewerSchema { .. } => "newer_schema",
            Self::NotFound { .. } => "not_found",
            Self::ReadOnly(_) => "read_only",
            Self::Unavailable(_) => "unavailable",
        }
    }

    /// Whether the same attempt may succeed later without anybody changing anything.
    #[must_use]
    pub const fn may_retry(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. }
                | Self::Contention(_)
                | Self::DiskFull(_)
                | Self::Fenced { .. }
                | Self::Held(_)
                | Self::InDoubt(_)
                | Self::Unavailable(_)
        )
    }
}
