//! What may be wrong with a log, or with what is said of one.

/// What may be wrong. Every message says what was looked at, what was found there and what was wanted. Found text is escaped and
/// cut, so that it can be logged as it is.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something breaks a rule of its format: a note, a checkpoint, a key, a path, a bundle. Whoever made it is to blame.
    #[error("{what}: found {found}, wanted {wanted}")]
    Format {
        /// What it is, and where in it.
        what: &'static str,
        /// What was found, escaped and cut.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A note is signed by a key that it should be verified with, and the signature is of something else. Whoever handed it on is
    /// to blame.
    #[error("{what}: the signature of {key} is not of this text, wanted one that is")]
    Forged {
        /// What is signed.
        what: &'static str,
        /// The name of the key.
        key: String,
    },
    /// A note is signed by nobody that was asked for.
    #[error("{what}: found no signature of {key}, wanted one")]
    Unsigned {
        /// What should be signed.
        what: &'static str,
        /// The name of the key, or of several.
        key: String,
    },
    /// Fewer witnesses than wanted cosigned a checkpoint. Either they were not asked, or they refused: then it is another log than the
    /// one they know.
    #[error("checkpoint: found {found} cosignatures of the witnesses given, wanted {wanted}")]
    Quorum {
        /// How many did.
        found: usize,
        /// How many should have.
        wanted: usize,
    },
    /// A file of the log is not there. Whoever keeps the log is to blame.
    #[error("{path}: found nothing, wanted a part of the log")]
    Missing {
        /// Its path in the log.
        path: String,
    },
    /// Entries are not there, and nobody said that they were removed on purpose.
    #[error("{path}: found nothing, wanted entries {first} to {last}")]
    MissingEntries {
        /// The path of their bundle.
        path: String,
        /// The number of the first, from 0.
        first: u64,
        /// The number of the last.
        last: u64,
    },
    /// A file of the log cannot be read. The disk, or who may read it, is to blame; nothing is said of the log.
    #[error("{path}: {problem}")]
    Unreadable {
        /// Its path in the log.
        path: String,
        /// What happened.
        problem: String,
    },
    /// A file is where the log has none: beyond its checkpoint, or under no name of its own. Nothing binds what it says.
    #[error("{path}: found a file, wanted none: the log of {size} entries has no such part")]
    Stray {
        /// Its path.
        path: String,
        /// Entries of the log.
        size: u64,
    },
    /// An entry is not the one that was logged.
    #[error("entry {index} ({path}): found one whose hash is {found}, wanted {wanted}")]
    Entry {
        /// Its number, from 0.
        index: u64,
        /// The path of its bundle.
        path: String,
        /// The hash of what is there.
        found: String,
        /// The hash that the tiles bind.
        wanted: String,
    },
    /// A tile is not what the tiles above it say, or no tile at all.
    #[error("{path}: found {found}, wanted {wanted}")]
    Tile {
        /// Its path.
        path: String,
        /// What is there.
        found: String,
        /// What should be.
        wanted: String,
    },
    /// The tiles fit together, and lead to another root than the checkpoint has: one of both is of another log.
    #[error(
        "root of {size} entries: found {found} by the tiles, wanted {wanted} of the checkpoint"
    )]
    Root {
        /// Entries.
        size: u64,
        /// What the tiles lead to, in base64.
        found: String,
        /// What the checkpoint says, in base64.
        wanted: String,
    },
    /// The log is shorter than it was.
    #[error(
        "found {found} entries, wanted at least {wanted}: so many there were at the older checkpoint"
    )]
    Shorter {
        /// How many it has.
        found: u64,
        /// How many it had.
        wanted: u64,
    },
    /// The log is not the one that an older checkpoint is of: what was logged has been changed, and all of it signed anew.
    #[error(
        "root of the first {size} entries: found {found}, wanted {wanted} of the older checkpoint: the log was rewritten"
    )]
    Rewritten {
        /// Entries that it had then.
        size: u64,
        /// What the tiles lead to, in base64.
        found: String,
        /// What the older checkpoint says, in base64.
        wanted: String,
    },
    /// The cryptographic library failed (no randomness, for one). Trying again may help.
    #[error("cryptography: cannot {doing}")]
    Crypto {
        /// What was being done.
        doing: &'static str,
    },
}

/// What comes of it.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A short, stable name for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Format { .. } => "format",
            Self::Forged { .. } => "forged",
            Self::Unsigned { .. } => "unsigned",
            Self::Quorum { .. } => "quorum",
            Self::Missing { .. } => "missing",
            Self::MissingEntries { .. } => "missing_entries",
            Self::Unreadable { .. } => "unreadable",
            Self::Stray { .. } => "stray",
            Self::Entry { .. } => "entry",
            Self::Tile { .. } => "tile",
            Self::Root { .. } => "root",
            Self::Shorter { .. } => "shorter",
            Self::Rewritten { .. } => "rewritten",
            Self::Crypto { .. } => "crypto",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Crypto { .. } | Self::Unreadable { .. })
    }

    /// Whether nothing could be said of the log: what should be looked at could not be.
    #[must_use]
    pub const fn is_unchecked(&self) -> bool {
        matches!(self, Self::Crypto { .. } | Self::Unreadable { .. })
    }

    pub(crate) fn format(
        what: &'static str,
        found: impl Into<String>,
        wanted: &'static str,
    ) -> Self {
        Self::Format {
            what,
            found: found.into(),
            wanted,
        }
    }
}

/// Foreign text, made fit for a message: quoted, anything but printable ASCII escaped, at most 96 characters of it.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 96;
    let cut: String = text.chars().take(MOST).collect();
    let dots = if cut.len() < text.len() { "..." } else { "" };
    format!("\"{}\"{dots}", cut.escape_default())
}
