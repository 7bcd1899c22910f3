//! What may be wrong with our input: names, files, requests, life times, formats. A peer's certificate is judged by
//! [`Refusal`](crate::Refusal), not here.

/// Why something could not be read, made or signed. Every message says what was looked at, what was found there and
/// what was wanted. Found text is escaped and cut, so that it can be logged as it is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A name (SPIFFE ID, trust domain, node, host, pattern) breaks a rule. Configuration or the caller is to blame.
    #[error("{what}: found {found}, wanted {wanted}")]
    Name {
        /// What kind of name it is.
        what: &'static str,
        /// The name, escaped and cut.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A certificate chain or key that is to be used as our own cannot be. Configuration is to blame.
    #[error("credential: {found}; wanted {wanted}")]
    Credential {
        /// What was found, and where.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A trust bundle cannot be used. Configuration is to blame.
    #[error("trust bundle: {found}; wanted {wanted}")]
    Bundle {
        /// What was found, and where.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A certificate signing request is refused. Who sent it is to blame.
    #[error("certificate signing request: {found}; wanted {wanted}")]
    Request {
        /// What was found.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// The authority may not or cannot sign this. Its caller, or the state it was loaded from, is to blame.
    #[error("authority: {found}; wanted {wanted}")]
    Authority {
        /// What was found.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A sealed secret cannot be opened, or a secret cannot be sealed. Its keeper, or a wrong key-encryption key, is to
    /// blame.
    #[error("sealed secret: {found}; wanted {wanted}")]
    Sealed {
        /// What was found.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// Something that travels between parts of Skans (a deny entry, a head, a token) breaks a rule of its format. Whoever
    /// made it, or handed it on, is to blame.
    #[error("{what}: {found}; wanted {wanted}")]
    Encoding {
        /// What it is.
        what: &'static str,
        /// What was found, escaped and cut.
        found: String,
        /// The rule.
        wanted: &'static str,
    },
    /// A deny entry is not the next one. Nobody is to blame: the missing ones must be fetched first.
    #[error("deny entry {got} after entry {have}; wanted the next one")]
    DenyGap {
        /// The number of the last entry that was applied.
        have: u64,
        /// The number of this one.
        got: u64,
    },
    /// A deny entry builds on another stream than the one held. Whoever handed it on is to blame, or the control plane.
    #[error("deny entry {seq} builds on another entry than the one held; wanted the same stream")]
    DenyFork {
        /// Its number.
        seq: u64,
    },
    /// More is denied at one time than there is room for. The control plane is to blame.
    #[error("more than {limit} deny entries in force; wanted fewer (replace the issuer instead)")]
    DenyFull {
        /// How many there may be.
        limit: usize,
    },
    /// The cryptographic library failed (no randomness, for one). Trying again may help.
    #[error("cryptography: cannot {doing}")]
    Crypto {
        /// What was being done.
        doing: &'static str,
    },
}

impl Error {
    /// A short, stable name for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Name { .. } => "name",
            Self::Credential { .. } => "credential",
            Self::Bundle { .. } => "bundle",
            Self::Request { .. } => "request",
            Self::Authority { .. } => "authority",
            Self::Sealed { .. } => "sealed",
            Self::Encoding { .. } => "encoding",
            Self::DenyGap { .. } => "deny_gap",
            Self::DenyFork { .. } => "deny_fork",
            Self::DenyFull { .. } => "deny_full",
            Self::Crypto { .. } => "crypto",
        }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Crypto { .. } | Self::DenyGap { .. })
    }

    pub(crate) fn authority(found: impl Into<String>, wanted: &'static str) -> Self {
        Self::Authority {
            found: found.into(),
            wanted,
        }
    }

    pub(crate) fn name(what: &'static str, found: &str, wanted: &'static str) -> Self {
        Self::Name {
            what,
            found: shown(found),
            wanted,
        }
    }
}

/// Foreign text, made fit for a message: quoted, escaped, at most 96 characters of it.
pub(crate) fn shown(text: &str) -> String {
    const MOST: usize = 96;
    let mut cut: String = text.chars().take(MOST).collect();
    if cut.len() < text.len() {
        cut.push('…');
    }
    // escape_debug leaves printable non-ASCII alone, and some of that is invisible or turns the text around it.
    let mut out = String::from("\"");
    for c in cut.chars() {
        if c.is_ascii() || c == '…' {
            out.extend(c.escape_debug());
        } else {
            out.extend(c.escape_unicode());
        }
    }
    out.push('"');
    out
}
