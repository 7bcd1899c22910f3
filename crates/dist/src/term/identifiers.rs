//! The leaves that name something: atoms, pids, ports and references.

use core::fmt;
use std::borrow::Cow;

use crate::error::{Error, Result};

/// An atom.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Atom<'a> {
    /// Its text, up to 255 characters.
    Text(Cow<'a, str>),
    /// A reference to the atom cache that the reader could not resolve, having been given no atoms.
    Cached(u8),
}

impl<'a> Atom<'a> {
    /// The atom of this text, which is not checked for length.
    #[must_use]
    pub const fn new(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// The text; `None` for an unresolved reference to the atom cache.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Cached(_) => None,
        }
    }

    /// The same, independent of the input.
    #[must_use]
    pub fn into_owned(self) -> Atom<'static> {
        match self {
            Self::Text(text) => Atom::Text(Cow::Owned(text.into_owned())),
            Self::Cached(index) => Atom::Cached(index),
        }
    }
}

impl PartialEq<str> for Atom<'_> {
    fn eq(&self, other: &str) -> bool {
        self.text() == Some(other)
    }
}

impl PartialEq<&str> for Atom<'_> {
    fn eq(&self, other: &&str) -> bool {
        self.text() == Some(*other)
    }
}

impl fmt::Debug for Atom<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => write!(f, "'{}'", text.escape_debug()),
            Self::Cached(index) => write!(f, "'cached atom {index}'"),
        }
    }
}

/// A process.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Pid<'a> {
    /// The node that it runs on.
    pub node: Atom<'a>,
    /// Its number there.
    pub id: u32,
    /// The upper half of its number.
    pub serial: u32,
    /// Which incarnation of the node.
    pub creation: u32,
}

impl Pid<'_> {
    /// The same, independent of the input.
    #[must_use]
    pub fn into_owned(self) -> Pid<'static> {
        Pid {
            node: self.node.into_owned(),
            id: self.id,
            serial: self.serial,
            creation: self.creation,
        }
    }
}

/// A port.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Port<'a> {
    /// The node that it is open on.
    pub node: Atom<'a>,
    /// Its number there; above 28 bits only with [`crate::Flags::V4_NC`].
    pub id: u64,
    /// Which incarnation of the node.
    pub creation: u32,
}

/// The most words in a reference: three, and five with [`crate::Flags::V4_NC`].
pub const MAX_REFERENCE_WORDS: usize = 5;

/// A reference; also a process alias.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Reference<'a> {
    /// The node that made it.
    pub node: Atom<'a>,
    /// Which incarnation of the node.
    pub creation: u32,
    words: [u32; MAX_REFERENCE_WORDS],
    count: u8,
}

impl<'a> Reference<'a> {
    /// A reference of one to five words.
    ///
    /// # Errors
    /// [`Error::Invalid`] for any other number of words.
    pub fn new(node: Atom<'a>, creation: u32, words: &[u32]) -> Result<Self> {
        let mut kept = [0; MAX_REFERENCE_WORDS];
        let count = match (u8::try_from(words.len()), kept.get_mut(..words.len())) {
            (Ok(count), Some(place)) if count > 0 => {
                place.copy_from_slice(words);
                count
            }
            _ => {
                return Err(Error::Invalid {
                    what: "reference",
                    reason: "it must have one to five words",
                });
            }
        };
        Ok(Self {
            node,
            creation,
            words: kept,
            count,
        })
    }

    /// As most nodes make them.
    pub(super) const fn of_three(node: Atom<'a>, creation: u32, words: [u32; 3]) -> Self {
        let [first, second, third] = words;
        Self {
            node,
            creation,
            words: [first, second, third, 0, 0],
            count: 3,
        }
    }

    /// Its words, in the order of the wire.
    #[must_use]
    pub fn words(&self) -> &[u32] {
        self.words
            .get(..usize::from(self.count))
            .unwrap_or_default()
    }

    /// The same, independent of the input.
    #[must_use]
    pub fn into_owned(self) -> Reference<'static> {
        Reference {
            node: self.node.into_owned(),
            creation: self.creation,
            words: self.words,
            count: self.count,
        }
    }
}
