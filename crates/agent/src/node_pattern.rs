//! Patterns over whole node names, `alive@host`, as configurations use them.

use skans_dist::NodeName;
use skans_identity::pattern::glob_fits;

/// Longest pattern in bytes: two wildcards more than the longest name.
const MAX: usize = 257;

/// `alive@host`, each half with `*` for any run of characters and `?` for any one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NodePattern {
    text: String,
    at: usize,
}

impl NodePattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What was found and what was wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wanted = || format!("found {text:?}, wanted alive@host, such as *@host-b or b@*");
        let at = text.find('@').ok_or_else(wanted)?;
        let (alive, host) = (
            text.get(..at).unwrap_or_default(),
            text.get(at + 1..).unwrap_or_default(),
        );
        let plain = |half: &str| {
            !half.is_empty()
                && !half.contains(['@', '/'])
                && half.chars().all(|c| !c.is_control() && !c.is_whitespace())
        };
        if text.len() > MAX || !plain(alive) || !plain(host) {
            return Err(wanted());
        }
        Ok(Self {
            text: text.to_owned(),
            at,
        })
    }

    /// Whether a name fits.
    #[must_use]
    pub fn matches(&self, name: &NodeName) -> bool {
        let (alive, host) = self.text.split_at(self.at);
        glob_fits(alive, name.alive()) && glob_fits(host.get(1..).unwrap_or_default(), name.host())
    }

    /// Whether it fits one name only.
    #[must_use]
    pub fn is_literal(&self) -> bool {
        !self.text.contains(['*', '?'])
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}
