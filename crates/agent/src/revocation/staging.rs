//! Deny entries from one agent to another: they count once they lead to a head that the control plane has signed.

use skans_identity::deny::Entry;

use super::{Inner, Revocation, unverifiable};
use crate::Error;

/// The longest gap that is taken from peers, in entries. Who lacks more asks the control plane for a snapshot; a link lets
/// no more through in one turn either.
const MAX_STAGED: usize = 4096;

/// Entries that a peer hands over, until they are known to lead to a signed head.
#[derive(Debug)]
pub struct Staging {
    next: u64,
    hash: [u8; 32],
    to: u64,
    entries: Vec<Entry>,
}

impl Staging {
    /// The number of the entry that is wanted next.
    #[must_use]
    pub const fn next(&self) -> u64 {
        self.next
    }
}

/// What comes of entries that a peer handed over.
#[derive(Debug)]
pub enum Staged {
    /// They fit so far; there are more to come.
    More,
    /// They lead to the head, and are in force.
    Done,
}

impl Revocation {
    /// Takes entries from a peer. They count once they lead to a signed head.
    ///
    /// # Errors
    /// [`Error::Unverifiable`] if they do not: the peer is at fault.
    pub fn stage<'a>(
        &self,
        staging: &mut Staging,
        entries: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Staged, Error> {
        let bad = Error::Unverifiable;
        let before = staging.next;
        for bytes in entries {
            let entry = Entry::decode(bytes).map_err(unverifiable)?;
            if entry.seq() != staging.next || *entry.previous() != staging.hash {
                return Err(bad(format!(
                    "deny entry {} does not follow the one before {}",
                    entry.seq(),
                    staging.next
                )));
            }
            if staging.entries.len() >= MAX_STAGED {
                return Err(bad(format!("more than {MAX_STAGED} deny entries at once")));
            }
            staging.next += 1;
            staging.hash = entry.hash();
            staging.entries.push(entry);
        }
        let mut inner = self.lock();
        let reached = [&inner.ahead, &inner.head]
            .into_iter()
            .flatten()
            .any(|head| {
                let head = head.head();
                head.deny_seq + 1 == staging.next && head.deny_hash == staging.hash
            });
        if reached {
            let entries = std::mem::take(&mut staging.entries);
            self.append(&mut inner, entries)?;
            return Ok(Staged::Done);
        }
        if staging.next > staging.to {
            return Err(bad(format!(
                "deny entries up to {} do not lead to the head they were sent for",
                staging.to
            )));
        }
        if staging.next == before {
            // It has them no longer; the control plane has.
            return Ok(Staged::Done);
        }
        Ok(Staged::More)
    }

    /// The entries from this number on, as far as they are here, for another agent.
    #[must_use]
    pub fn entries_from(&self, seq: u64) -> Vec<Vec<u8>> {
        let inner = self.lock();
        let Some(before) = seq.checked_sub(1) else {
            return Vec::new();
        };
        let entries = inner.chain.since(before);
        // More than this fits no frame.
        entries.map_or_else(Vec::new, |entries| {
            entries.take(512).map(Entry::encode).collect()
        })
    }
}

impl Inner {
    /// What is missing up to the newest verified head.
    pub(super) fn missing(&self) -> Option<Staging> {
        let head = self.ahead.as_ref()?.head();
        (head.deny_seq > self.chain.seq()).then(|| Staging {
            next: self.chain.seq() + 1,
            hash: *self.chain.hash(),
            to: head.deny_seq,
            entries: Vec::new(),
        })
    }
}
