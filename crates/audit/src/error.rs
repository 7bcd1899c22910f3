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
    /// The cryptographic library failed (no randomness, for one). Trying again may help.
    #[error("cryptography: cannot {doing}")]
    Crypto {
        /// What was being done.
        doing: &'static str,
    },
}

/// What comes of it.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// A short, stable name for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Format { .. } => "format",
            Self::Forged { .. } => "forged",
            Self::Unsigned { .. } => "unsigned",
            Self::Crypto { .. } => "crypto",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Crypto { .. })
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
