//! Checkpoints (C2SP tlog-checkpoint): what a log says of itself, to be signed as a note.

use crate::error::{Error, Result, shown};
use crate::merkle::{Hash, empty};
use crate::note::{self, Note, SigningKey, VerifyingKey, check_name};
use crate::wire::{to_base64, to_hash, to_number};

#[cfg(test)]
mod tests;

/// The longest text in bytes. Three lines of ours have 600 at most; the rest is for what others extend theirs by.
pub const MAX_TEXT: usize = 4096;

/// The head of a tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checkpoint {
    /// Which log: a URL without its scheme. Ours also is the name of the key that signs.
    pub origin: String,
    /// Entries.
    pub size: u64,
    /// What stands above them.
    pub root: Hash,
    /// Lines that others add and we do not read. Ours have none: nobody checks what they say.
    pub extensions: Vec<String>,
}

impl Checkpoint {
    /// One without extensions.
    #[must_use]
    pub fn new(origin: impl Into<String>, size: u64, root: Hash) -> Self {
        Self {
            origin: origin.into(),
            size,
            root,
            extensions: Vec::new(),
        }
    }

    /// The root as the text has it.
    #[must_use]
    pub fn root_text(&self) -> String {
        to_base64(&self.root)
    }

    /// The text that is signed.
    #[must_use]
    pub fn encode_text(&self) -> String {
        let (origin, size, root) = (&self.origin, self.size, to_base64(&self.root));
        let mut text = format!("{origin}\n{size}\n{root}\n");
        for line in &self.extensions {
            text.push_str(line);
            text.push('\n');
        }
        text
    }

    /// Reads the text. Only what [`Checkpoint::encode_text`] writes is one, so that a tree has one writing.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn parse_text(text: &str) -> Result<Self> {
        let wrong = |found: &str, wanted| Error::format("checkpoint", shown(found), wanted);
        let lines = text.strip_suffix('\n').filter(|_| text.len() <= MAX_TEXT);
        let lines = lines.ok_or_else(|| {
            let wanted = "at most 4096 bytes, the last of which ends a line";
            wrong(text, wanted)
        })?;
        let mut lines = lines.split('\n');
        let mut next = || lines.next().unwrap_or_default();
        let (origin, size, root) = (next(), next(), next());
        check_name(origin)?;
        let size = to_number(size)
            .ok_or_else(|| wrong(size, "a size: a number below 2^63 without leading zeros"))?;
        let root = to_hash(root).ok_or_else(|| wrong(root, "a root: 32 bytes in base64"))?;
        if size == 0 && root != empty() {
            let found = to_base64(&root);
            return Err(wrong(&found, "the root of no entries for a size of 0"));
        }
        let extensions: Vec<String> = lines.map(str::to_owned).collect();
        if extensions.iter().any(String::is_empty) {
            return Err(wrong("", "no empty lines"));
        }
        Ok(Self {
            origin: origin.to_owned(),
            size,
            root,
            extensions,
        })
    }

    /// A note of it, signed.
    ///
    /// # Errors
    /// [`Error::Format`], if the origin is no name, or not that of the key: a log signs for itself alone.
    pub fn sign(&self, key: &SigningKey) -> Result<String> {
        let text = self.encode_text();
        if Self::parse_text(&text)? != *self {
            let wanted = "one that can be read again";
            return Err(Error::format("checkpoint", shown(&text), wanted));
        }
        self.check_origin(key.verifying_key())?;
        note::sign(&text, &[key])
    }

    /// Reads a note that this key signed. Signatures of others are passed over.
    ///
    /// # Errors
    /// Those of [`Note::parse`] and [`Note::verify`]; [`Error::Format`], if the text is no checkpoint, or its origin is not the name of
    /// the key.
    pub fn open(note: &[u8], key: &VerifyingKey) -> Result<Self> {
        let note = Note::parse(note)?;
        note.verify(&[key])?;
        let checkpoint = Self::parse_text(note.text())?;
        checkpoint.check_origin(key)?;
        Ok(checkpoint)
    }

    fn check_origin(&self, key: &VerifyingKey) -> Result<()> {
        if self.origin == key.name() {
            return Ok(());
        }
        let found = format!("{} signed by {}", shown(&self.origin), shown(key.name()));
        let wanted = "the key of that log";
        Err(Error::format("origin of a checkpoint", found, wanted))
    }
}
