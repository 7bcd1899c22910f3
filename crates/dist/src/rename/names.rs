//! Which names become which. Where they stand in a stream is not known here.

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::name::NodeName;

/// The most names that are changed in one direction. A link between clusters has two; each is compared with every atom that
/// stands literally in a message.
pub const MAX_NAMES: usize = 16;

/// How the text of an atom is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    Utf8,
    /// A byte for each character, as of old.
    Latin1,
}

/// Which names become which in one direction of a connection; all at once, so that two may change places. Cloning is cheap.
///
/// A [`NodeName`] has 255 bytes at most: it stands wherever an atom may, also in a header whose lengths are bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    entries: Arc<[Entry]>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    from: NodeName,
    /// The same as nodes of old write it, if they can and it differs.
    latin1: Option<Vec<u8>>,
    to: NodeName,
}

impl Names {
    /// Each first name becomes the second one. A name that becomes itself is left alone.
    ///
    /// An atom that is one of the second names already is left alone as well: who chooses names sees to it that nobody means another
    /// node by them.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for more than [`MAX_NAMES`]; [`Error::Invalid`] if a name is to become two, or two names one, which
    /// nobody could tell apart afterwards.
    pub fn new(pairs: &[(NodeName, NodeName)]) -> Result<Self> {
        if pairs.len() > MAX_NAMES {
            return Err(Error::TooLarge {
                what: "names to change",
                found: pairs.len() as u64,
                limit: MAX_NAMES as u64,
            });
        }
        for (index, (from, to)) in pairs.iter().enumerate() {
            let before = || pairs.iter().take(index);
            if before().any(|(other, _)| other == from) {
                return Err(invalid("one is to become two"));
            }
            if before().any(|(_, other)| other == to) {
                return Err(invalid("two are to become one"));
            }
        }
        let entries = pairs.iter().filter(|(from, to)| from != to);
        Ok(Self {
            entries: entries
                .map(|(from, to)| Entry {
                    latin1: latin1(from.as_str()),
                    from: from.clone(),
                    to: to.clone(),
                })
                .collect(),
        })
    }

    /// What takes back in the other direction what this does.
    #[must_use]
    pub fn inverse(&self) -> Self {
        let entries = self.entries.iter().map(|entry| Entry {
            latin1: latin1(entry.to.as_str()),
            from: entry.to.clone(),
            to: entry.from.clone(),
        });
        Self {
            entries: entries.collect(),
        }
    }

    /// What the atom of this text becomes, if it is one of the names.
    pub(super) fn find(&self, text: &[u8], encoding: Encoding) -> Option<&str> {
        let is_it = |entry: &&Entry| match (encoding, &entry.latin1) {
            (Encoding::Latin1, Some(latin1)) => latin1 == text,
            (Encoding::Latin1, None) => text.is_ascii() && entry.from.as_str().as_bytes() == text,
            (Encoding::Utf8, _) => entry.from.as_str().as_bytes() == text,
        };
        self.entries
            .iter()
            .find(is_it)
            .map(|entry| entry.to.as_str())
    }
}

/// A byte for each character, if that differs from UTF-8 and suffices.
fn latin1(text: &str) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return None;
    }
    text.chars()
        .map(|character| u8::try_from(u32::from(character)).ok())
        .collect()
}

const fn invalid(reason: &'static str) -> Error {
    Error::Invalid {
        what: "names to change",
        reason,
    }
}
