//! Node names, `alive@host`: what may stand in one, and its two halves. Who may carry one is not decided here.

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use crate::error::{Error, Result};

/// The longest node name, in bytes. Erlang's own bound is the one of an atom (255 characters).
pub const MAX_NAME: usize = 255;

/// A validated node name: `alive@host`, at most [`MAX_NAME`] bytes of UTF-8, exactly one `@`, neither half empty,
/// without control characters, white space and `/`.
///
/// Erlang lets a name hold nearly anything that an atom holds. What is excluded here has no use in a name, and would
/// let one name look like another in a log, or leave its place in a path or a URI. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeName {
    text: Arc<str>,
    at: u8,
}

impl NodeName {
    /// Reads a name from bytes, as they stand in a handshake.
    ///
    /// # Errors
    /// [`Error::NodeName`] if the bytes are not a node name; it says what was found and which rule is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        let text = checked_text(bytes)?;
        let Some((alive, host)) = text.split_once('@') else {
            return Err(refused(bytes, "must have the form alive@host"));
        };
        if host.contains('@') {
            return Err(refused(bytes, "must hold exactly one '@'"));
        }
        if alive.is_empty() {
            return Err(refused(bytes, "the part before '@' must not be empty"));
        }
        if host.is_empty() {
            return Err(refused(bytes, "the part after '@' must not be empty"));
        }
        let at = u8::try_from(alive.len()).map_err(|_| refused(bytes, TOO_LONG))?;
        Ok(Self {
            text: text.into(),
            at,
        })
    }

    /// Joins the two halves of a name.
    ///
    /// # Errors
    /// [`Error::NodeName`] if the result is not a node name.
    pub fn from_parts(alive: &str, host: &str) -> Result<Self> {
        Self::from_bytes(format!("{alive}@{host}").as_bytes())
    }

    /// The part before `@`; what a node registers under at epmd.
    #[must_use]
    pub fn alive(&self) -> &str {
        self.text.get(..usize::from(self.at)).unwrap_or_default()
    }

    /// The part after `@`.
    #[must_use]
    pub fn host(&self) -> &str {
        self.text
            .get(usize::from(self.at) + 1..)
            .unwrap_or_default()
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

const TOO_LONG: &str = "must be at most 255 bytes long";

/// The rules that hold for a whole name and for each half of it: length, encoding, characters.
pub(crate) fn checked_text(bytes: &[u8]) -> Result<&str> {
    if bytes.is_empty() {
        return Err(refused(bytes, "must not be empty"));
    }
    if bytes.len() > MAX_NAME {
        return Err(refused(bytes, TOO_LONG));
    }
    let Ok(text) = core::str::from_utf8(bytes) else {
        return Err(refused(bytes, "must be UTF-8"));
    };
    if text
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '/' || is_invisible(c))
    {
        return Err(refused(
            bytes,
            "must not hold control characters, white space or '/'",
        ));
    }
    Ok(text)
}

/// Format characters that change how the text around them is shown (Unicode categories Cf and the like).
const fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{200b}'..='\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    )
}

pub(crate) fn refused(found: &[u8], wanted: &'static str) -> Error {
    // Cut before the conversion: the input may be large, and the error will be logged.
    let head = found.get(..found.len().min(256)).unwrap_or_default();
    Error::NodeName {
        found: String::from_utf8_lossy(head).chars().take(64).collect(),
        wanted,
    }
}

impl FromStr for NodeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::from_bytes(text.as_bytes())
    }
}

impl TryFrom<&[u8]> for NodeName {
    type Error = Error;

    fn try_from(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes(bytes)
    }
}

impl TryFrom<&str> for NodeName {
    type Error = Error;

    fn try_from(text: &str) -> Result<Self> {
        Self::from_bytes(text.as_bytes())
    }
}

impl AsRef<str> for NodeName {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
