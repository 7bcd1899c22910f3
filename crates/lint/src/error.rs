//! The one error type of this crate. What is wrong with what was looked at is a finding, not an error.

use std::io;

/// Why something could not be looked at.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or directory that cannot be read. The one who asks is to blame, or the machine; another try may help.
    #[error("{path}: {source}")]
    Read {
        /// Which.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// Something above a bound.
    #[error("{path}: {what}: found {found}, wanted at most {limit}")]
    TooLarge {
        /// Where.
        path: String,
        /// Whose size it is.
        what: &'static str,
        /// What was found.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// A file that is no text.
    #[error("{path}: not UTF-8 at byte {at}")]
    NotText {
        /// Which.
        path: String,
        /// The first byte that is none.
        at: usize,
    },
    /// A rule that no experiment belongs to. The one who asks is to blame.
    #[error("{rule} cannot be proved by booting a node; these can: {provable}")]
    NoProof {
        /// Which.
        rule: &'static str,
        /// Those that can.
        provable: String,
    },
    /// A proof that could not be carried out. Another try may help, or another `erl`.
    #[error("no proof: {what}")]
    Proof {
        /// Why.
        what: String,
    },
    /// A rule that does not exist.
    #[error("no rule {found:?}; `skans lint --rules` lists them")]
    NoRule {
        /// What was asked for.
        found: String,
    },
}

impl Error {
    /// A short, stable name of the variant, for a metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Read { .. } => "read",
            Self::TooLarge { .. } => "too_large",
            Self::NotText { .. } => "not_text",
            Self::NoProof { .. } => "no_proof",
            Self::Proof { .. } => "proof",
            Self::NoRule { .. } => "no_rule",
        }
    }
}

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
