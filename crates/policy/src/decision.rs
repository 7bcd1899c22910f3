//! What comes out: a verdict, and why.

/// What is to become of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// It passes.
    Permit,
    /// It does not.
    Deny,
    /// A set in dry-run refuses it: it passes, and is told.
    WouldDeny,
}

impl Verdict {
    /// Its name in events and as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Permit => "permit",
            Self::Deny => "deny",
            Self::WouldDeny => "would-deny",
        }
    }

    /// Whether the message passes.
    #[must_use]
    pub const fn passes(self) -> bool {
        matches!(self, Self::Permit | Self::WouldDeny)
    }
}

/// A verdict with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What is to become of the message.
    pub verdict: Verdict,
    /// The policies that decided, by `@id`: those that forbid, else those that permit. Empty if nothing permits it.
    pub policies: Vec<String>,
    /// What could not be evaluated: each is a denial.
    pub errors: Vec<String>,
}
