//! The one error type of this crate. What to do about an error is decided by the caller, not here.

/// Why bytes were refused. Whoever sent them is to blame, and sending them again will not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The input ended inside the element named by `what`.
    #[error("{what}: the input ends {missing} bytes too early")]
    Truncated {
        /// The element that was being read.
        what: &'static str,
        /// How many bytes are missing at least.
        missing: usize,
    },
    /// A length or count above the bound of this crate (or the one that the caller configured).
    #[error("{what}: {found} is above the limit of {limit}")]
    TooLarge {
        /// The element whose size is out of bounds.
        what: &'static str,
        /// The size that was announced or found.
        found: u64,
        /// The largest size that is accepted.
        limit: u64,
    },
    /// A tag, type or operation byte which is not one of those that may stand here.
    #[error("{what}: found {found}, wanted {wanted}")]
    Unexpected {
        /// The element that was being read.
        what: &'static str,
        /// The byte that was found.
        found: u8,
        /// What may stand here.
        wanted: &'static str,
    },
    /// A value that has the right form, but a content that cannot be.
    #[error("{what}: {reason}")]
    Invalid {
        /// The element that was being read.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Something that exists, but that no peer has reason to send.
    #[error("not accepted here: {what}")]
    Unsupported {
        /// What it is.
        what: &'static str,
    },
    /// Text that is not a node name (or not the part of one that may stand here).
    #[error("node name {found:?}: {wanted}")]
    NodeName {
        /// What was found, invalid bytes replaced, cut after 64 characters.
        found: String,
        /// The rule that it breaks.
        wanted: &'static str,
    },
    /// The handshake of OTP 22 and before (message tag `n`). OTP 25 and later speak the one with tag `N`.
    #[error(
        "the old handshake ('n', protocol version 5) is not supported: the peer must speak version 6 ('N', OTP 23 and later)"
    )]
    OldHandshake,
}

impl Error {
    /// A short, stable name of the variant, for a metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Truncated { .. } => "truncated",
            Self::TooLarge { .. } => "too_large",
            Self::Unexpected { .. } => "unexpected",
            Self::Invalid { .. } => "invalid",
            Self::Unsupported { .. } => "unsupported",
            Self::NodeName { .. } => "node_name",
            Self::OldHandshake => "old_handshake",
        }
    }
}

/// The result of every fallible function of this crate.
pub(crate) type Result<T> = core::result::Result<T, Error>;
