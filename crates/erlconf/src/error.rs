//! The one error type of this crate. What to do about an error is decided by the caller, not here.

use crate::span::{LineIndex, Span};

/// Why a text was refused. Whoever wrote it is to blame, and reading it again will not help.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Something that may not stand here.
    #[error("found {found}, wanted {wanted}")]
    Unexpected {
        /// What was found, as it was written, cut after 40 characters.
        found: String,
        /// What may stand here.
        wanted: &'static str,
        /// Where it was found.
        span: Span,
    },
    /// Something that was opened is never closed.
    #[error("{what}: it is never closed, wanted {wanted}")]
    Unterminated {
        /// What was opened.
        what: &'static str,
        /// What would close it.
        wanted: &'static str,
        /// Where it begins.
        span: Span,
    },
    /// Something that has the right form, but a content that cannot be.
    #[error("{what}: {reason}")]
    Invalid {
        /// What it is.
        what: &'static str,
        /// What is wrong with it.
        reason: &'static str,
        /// Where it stands.
        span: Span,
    },
    /// A size above the bound of the caller.
    #[error("{what}: found {found}, wanted at most {limit}")]
    TooLarge {
        /// Whose size it is.
        what: &'static str,
        /// The size that was found.
        found: usize,
        /// The largest size that is accepted.
        limit: usize,
        /// Where the bound was passed.
        span: Span,
    },
}

impl Error {
    /// Where in the text.
    #[must_use]
    pub const fn span(&self) -> Span {
        match self {
            Self::Unexpected { span, .. }
            | Self::Unterminated { span, .. }
            | Self::Invalid { span, .. }
            | Self::TooLarge { span, .. } => *span,
        }
    }

    /// A short, stable name of the variant, for a metric label.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Unexpected { .. } => "unexpected",
            Self::Unterminated { .. } => "unterminated",
            Self::Invalid { .. } => "invalid",
            Self::TooLarge { .. } => "too_large",
        }
    }

    /// The message with its place in `text`, which must be the text that was parsed.
    ///
    /// ```
    /// let text = "{a,\n b c}.";
    /// let error = skans_erlconf::term::consult(text).unwrap_err();
    /// assert_eq!(error.in_text(text), "line 2, column 4: found c, wanted , or }");
    /// ```
    #[must_use]
    pub fn in_text(&self, text: &str) -> String {
        let place = LineIndex::new(text).position(text, self.span().start);
        format!("line {}, column {}: {self}", place.line, place.column)
    }

    pub(crate) fn unexpected(found: &str, wanted: &'static str, span: Span) -> Self {
        const MOST: usize = 40;
        let mut short: String = found.chars().take(MOST).collect();
        if short.len() < found.len() {
            short.push('…');
        }
        Self::Unexpected {
            found: short,
            wanted,
            span,
        }
    }

    pub(crate) const fn unterminated(what: &'static str, wanted: &'static str, span: Span) -> Self {
        Self::Unterminated { what, wanted, span }
    }

    pub(crate) const fn invalid(what: &'static str, reason: &'static str, span: Span) -> Self {
        Self::Invalid { what, reason, span }
    }

    pub(crate) const fn too_large(
        what: &'static str,
        found: usize,
        limit: usize,
        span: Span,
    ) -> Self {
        Self::TooLarge {
            what,
            found,
            limit,
            span,
        }
    }
}

/// The result of every fallible function of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
