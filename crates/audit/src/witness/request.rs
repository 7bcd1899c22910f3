//! What a witness is asked: the body of `add-checkpoint`.

use crate::error::{Error, Result, shown};
use crate::merkle::Hash;
use crate::note::{MAX_NOTE, Note};
use crate::proof::MAX_PROOF;
use crate::wire::{to_base64, to_hash, to_number};

/// The longest body in bytes: the line of the old size (23 at most), 63 lines of 45 bytes, an empty one, a note.
pub const MAX_BODY: usize = 32 + MAX_PROOF * 45 + MAX_NOTE;

/// A request to cosign.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    /// The size that the witness cosigned last, as far as the log knows; 0 for none.
    pub old: u64,
    /// That the tree of that size is the beginning of the new one.
    pub proof: Vec<Hash>,
    /// The new checkpoint, signed.
    pub note: Note,
}

impl Request {
    /// Reads a body. Who signed it is not looked at.
    ///
    /// # Errors
    /// [`Error::Format`].
    pub fn parse(body: &[u8]) -> Result<Self> {
        let wrong = |found: &str, wanted| Error::format("add-checkpoint", shown(found), wanted);
        if body.len() > MAX_BODY {
            let found = format!("{} bytes", body.len());
            return Err(Error::format("add-checkpoint", found, "fewer"));
        }
        let (head, note) = split(body).ok_or_else(|| wrong("", "an empty line before the note"))?;
        let head = std::str::from_utf8(head).map_err(|_| wrong("", "UTF-8"))?;
        let mut lines = head.split_terminator('\n');
        let first = lines.next().unwrap_or_default();
        let old = first
            .strip_prefix("old ")
            .and_then(to_number)
            .ok_or_else(|| wrong(first, "old <size>"))?;
        let mut proof = Vec::new();
        for line in lines {
            if proof.len() >= MAX_PROOF {
                return Err(wrong(line, "at most 63 lines of a proof"));
            }
            proof.push(to_hash(line).ok_or_else(|| wrong(line, "32 bytes in base64"))?);
        }
        Ok(Self {
            old,
            proof,
            note: Note::parse(note)?,
        })
    }

    /// The body.
    #[must_use]
    pub fn encode(&self) -> String {
        let mut body = format!("old {}\n", self.old);
        for hash in &self.proof {
            body.push_str(&to_base64(hash));
            body.push('\n');
        }
        body.push('\n');
        body.push_str(&self.note.encode());
        body
    }
}

/// The lines before the first empty one, with their ends, and what is behind it.
fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = body.windows(2).position(|two| two == b"\n\n")?;
    let (head, rest) = body.split_at_checked(at + 1)?;
    Some((head, rest.get(1..)?))
}
