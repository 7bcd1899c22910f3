//! Signed notes (C2SP signed-note): a text, and below it the signatures of whoever stands by it. What the text means is not known
//! here.

mod key;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result, shown};
use crate::wire::{from_base64, to_base64};

pub use key::{Algorithm, SigningKey, VerifyingKey};
pub(crate) use key::{check_name, is_name, random_seed};

/// The longest note in bytes. Sixteen signatures, which each reader must take, are 80 KiB where they are post-quantum ones; Go's
/// bound is 1 MB.
pub const MAX_NOTE: usize = 128 * 1024;

/// The most signatures. The specification wants at least 16; Go takes 100.
pub const MAX_SIGNATURES: usize = 64;

/// The shortest signature: four bytes of the key's id, and something.
const MIN_SIGNATURE: usize = 5;

const DASH: &str = "\u{2014} ";

/// A signed text. Nothing of it is to be believed before [`Note::verify`].
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Note {
    text: String,
    signatures: Vec<Signature>,
}

/// One line below the text.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Signature {
    /// The name of the key.
    pub name: String,
    /// Its id.
    pub id: u32,
    /// What it made, behind the id.
    pub bytes: Vec<u8>,
}

impl Signature {
    /// The line, with its end.
    #[must_use]
    pub fn line(&self) -> String {
        let mut bytes = self.id.to_be_bytes().to_vec();
        bytes.extend(&self.bytes);
        format!("{DASH}{} {}\n", self.name, to_base64(&bytes))
    }

    fn parse(line: &str) -> Option<Self> {
        let (name, text) = line.strip_prefix(DASH)?.split_once(' ')?;
        let bytes = from_base64(text).filter(|bytes| bytes.len() >= MIN_SIGNATURE)?;
        let (id, bytes) = bytes.split_first_chunk::<4>()?;
        is_name(name).then(|| Self {
            name: name.to_owned(),
            id: u32::from_be_bytes(*id),
            bytes: bytes.to_vec(),
        })
    }
}

/// A signature that holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified<'a> {
    /// Whose it is.
    pub key: &'a VerifyingKey,
    /// When it was made, in seconds since 1970, as its maker says; `None` of those that do not say.
    pub time: Option<u64>,
}

impl Note {
    /// Reads one.
    ///
    /// # Errors
    /// [`Error::Format`], if it is longer than [`MAX_NOTE`], is not UTF-8, has control characters, no signature or more than
    /// [`MAX_SIGNATURES`].
    pub fn parse(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_NOTE {
            let found = format!("{} bytes", bytes.len());
            return Err(Error::format("note", found, "at most 131072"));
        }
        let note = std::str::from_utf8(bytes).map_err(|error| {
            let found = format!("something else from byte {} on", error.valid_up_to());
            Error::format("note", found, "UTF-8")
        })?;
        check_text(note)?;
        // The last empty line: the text may have others.
        let (text, lines) = note
            .rfind("\n\n")
            .and_then(|at| note.split_at_checked(at + 1))
            .ok_or_else(|| {
                Error::format("note", "no empty line", "text, an empty line, signatures")
            })?;
        let lines = lines.strip_prefix('\n').unwrap_or(lines);
        Ok(Self {
            text: text.to_owned(),
            signatures: signatures(lines)?,
        })
    }

    /// A text without signatures yet.
    ///
    /// # Errors
    /// [`Error::Format`], if it has no end of line at its end, or control characters.
    pub fn unsigned(text: &str) -> Result<Self> {
        check_text(text)?;
        if !text.ends_with('\n') || text.len() > MAX_NOTE {
            let wanted = "an end of line at its end, and at most 131072 bytes";
            return Err(Error::format("text of a note", shown(text), wanted));
        }
        Ok(Self {
            text: text.to_owned(),
            signatures: Vec::new(),
        })
    }

    /// What is signed, with its last end of line.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// All signatures, of unknown keys too.
    #[must_use]
    pub fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    /// Adds a signature below the others. One of the same key gives way: each key signs a text once.
    ///
    /// # Errors
    /// [`Error::Format`], if there are [`MAX_SIGNATURES`] already.
    pub fn add(&mut self, signature: Signature) -> Result<()> {
        self.signatures
            .retain(|other| (&other.name, other.id) != (&signature.name, signature.id));
        if self.signatures.len() >= MAX_SIGNATURES {
            return Err(too_many());
        }
        self.signatures.push(signature);
        Ok(())
    }

    /// The signatures of those of `keys` that signed, in the order of `keys`. Those of other keys say nothing, and of several by one
    /// key the first counts.
    ///
    /// # Errors
    /// [`Error::Forged`], if one of `keys` has a signature here that does not hold: then the rest is not believed either.
    /// [`Error::Unsigned`], if none of them signed.
    pub fn verify<'a>(&self, keys: &[&'a VerifyingKey]) -> Result<Vec<Verified<'a>>> {
        let mut verified = Vec::new();
        for key in keys {
            let signature = self
                .signatures
                .iter()
                .find(|one| one.id == key.id() && one.name == key.name());
            if let Some(signature) = signature {
                let time = key.check(&self.text, &signature.bytes)?;
                verified.push(Verified { key, time });
            }
        }
        if verified.is_empty() {
            let names: Vec<_> = keys.iter().map(|key| key.name()).collect();
            return Err(Error::Unsigned {
                what: "note",
                key: names.join(", "),
            });
        }
        Ok(verified)
    }

    /// The text, an empty line, and the signatures.
    #[must_use]
    pub fn encode(&self) -> String {
        let lines = self.signatures.iter().map(Signature::line);
        format!("{}\n{}", self.text, lines.collect::<String>())
    }
}

/// A text signed by these keys.
///
/// # Errors
/// [`Error::Format`], if it is no text for a note.
pub fn sign(text: &str, keys: &[&SigningKey]) -> Result<String> {
    let mut note = Note::unsigned(text)?;
    for key in keys {
        note.add(key.sign(text))?;
    }
    Ok(note.encode())
}

/// Signature lines, each with its end.
///
/// # Errors
/// [`Error::Format`], if there is none, or more than [`MAX_SIGNATURES`].
pub fn signatures(lines: &str) -> Result<Vec<Signature>> {
    let wanted = "\u{2014} <name> <base64>, and an end of line";
    let wrong = |found: &str| Error::format("signature of a note", shown(found), wanted);
    let lines = lines.strip_suffix('\n').ok_or_else(|| wrong(lines))?;
    let mut signatures = Vec::new();
    for line in lines.split('\n') {
        if signatures.len() >= MAX_SIGNATURES {
            return Err(too_many());
        }
        signatures.push(Signature::parse(line).ok_or_else(|| wrong(line))?);
    }
    Ok(signatures)
}

fn too_many() -> Error {
    Error::format("signatures of a note", "more than 64", "at most that")
}

fn check_text(text: &str) -> Result<()> {
    match text.chars().find(|c| *c < ' ' && *c != '\n') {
        Some(c) => {
            let found = c.escape_default().to_string();
            let wanted = "no control character but ends of lines";
            Err(Error::format("note", found, wanted))
        }
        None => Ok(()),
    }
}
