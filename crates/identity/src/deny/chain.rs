//! The stream put together: entries without a gap, what is denied at the end of them, and snapshots of it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use rustls_pki_types::UnixTime;

use super::{Entry, MAX_ENTRY, Target};
use crate::error::Error;
use crate::head::VerifiedHead;
use crate::trust::DenySet;
use crate::wire::{Reader, put_bytes};

/// Most entries that deny at one time. Ours: some 20 MiB. Who has more to revoke than that replaces the issuer.
pub const MAX_DENIED: usize = 100_000;
/// How many of the last entries are kept to be handed on to others, who else ask the control plane. Ours: 2.5 MiB at most.
pub const MAX_RECENT: usize = 1024;

const MAGIC: &[u8; 4] = b"SKS1";

/// The deny stream as far as it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    seq: u64,
    hash: [u8; 32],
    /// What is denied, by entry: neither lifted nor forgotten.
    denied: BTreeMap<u64, Entry>,
    /// The last entries, each the successor of the one before it, the newest last.
    recent: VecDeque<Entry>,
}

/// What an entry changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// This is denied from now on.
    Denied(Target),
    /// This entry no longer denies it; another one may.
    Allowed(Target),
    /// The entry lifts one that is not held any more.
    Nothing,
}

/// Where a chain stands against a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// All entries are here, and they are those of the head.
    Complete,
    /// The entries from this number to that of the head are missing.
    Missing {
        /// The first one that is missing.
        from: u64,
        /// The last one.
        to: u64,
    },
    /// The chain holds more than the head knew: the head is an older one.
    Ahead,
    /// The same number with another hash: one of them is not the control plane's. Take a snapshot, and raise an alarm.
    Forked,
}

/// All that is denied as of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// The number of the last entry, 0 before the first.
    pub seq: u64,
    /// Its hash, zeros before the first.
    pub hash: [u8; 32],
    /// Encoded entries in ascending order, without those that were lifted or forgotten.
    pub entries: Vec<Vec<u8>>,
}

impl Chain {
    /// The number of the last entry; 0 before the first.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The hash of the last entry; zeros before the first.
    #[must_use]
    pub const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// What denies at present, in the order of the stream; entries that ran out may be among them.
    pub fn denied(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.denied.values()
    }

    /// Appends the next entry.
    ///
    /// # Errors
    /// [`Error::DenyGap`] if it is not the next one, [`Error::DenyFork`] if it does not build on the last one,
    /// [`Error::DenyFull`] if [`MAX_DENIED`] are in force and none of them can be forgotten. The chain then stays as it
    /// was.
    pub fn apply(&mut self, entry: Entry) -> Result<Applied, Error> {
        if self.seq.checked_add(1) != Some(entry.seq) {
            return Err(Error::DenyGap {
                have: self.seq,
                got: entry.seq,
            });
        }
        if entry.previous != self.hash {
            return Err(Error::DenyFork { seq: entry.seq });
        }
        let applied = match entry.target() {
            Target::Allow(seq) => match self.denied.remove(seq) {
                Some(lifted) => Applied::Allowed(lifted.order.target),
                None => Applied::Nothing,
            },
            target => {
                if self.denied.len() >= MAX_DENIED {
                    self.forget(entry.order.time);
                }
                if self.denied.len() >= MAX_DENIED {
                    return Err(Error::DenyFull { limit: MAX_DENIED });
                }
                let target = target.clone();
                self.denied.insert(entry.seq, entry.clone());
                Applied::Denied(target)
            }
        };
        (self.seq, self.hash) = (entry.seq, entry.hash());
        if self.recent.len() >= MAX_RECENT {
            self.recent.pop_front();
        }
        self.recent.push_back(entry);
        Ok(applied)
    }

    /// Drops what no longer matters at `now`, Unix time in seconds.
    pub fn forget(&mut self, now: u64) {
        self.denied.retain(|_, entry| entry.is_live(now));
    }

    /// What is denied at this time.
    #[must_use]
    pub fn deny_set(&self, now: UnixTime) -> DenySet {
        let mut set = DenySet::default();
        let now = now.as_secs();
        for entry in self.denied.values().filter(|entry| entry.is_live(now)) {
            set.insert(entry.target());
        }
        set
    }

    /// The entries after the one with this number, for somebody who has all up to it. `None` if they are not all here.
    #[must_use]
    pub fn since(&self, seq: u64) -> Option<impl ExactSizeIterator<Item = &Entry>> {
        let missing = usize::try_from(self.seq.checked_sub(seq)?).ok()?;
        let skipped = self.recent.len().checked_sub(missing)?;
        Some(self.recent.iter().skip(skipped))
    }

    /// Where it stands against a head.
    #[must_use]
    pub fn standing(&self, head: &VerifiedHead) -> Standing {
        let head = head.head();
        if head.deny_seq > self.seq {
            return Standing::Missing {
                from: self.seq + 1,
                to: head.deny_seq,
            };
        }
        let known = if head.deny_seq == self.seq {
            Some(self.hash)
        } else {
            // The entry after it says what its hash was.
            let next = self
                .recent
                .iter()
                .find(|next| next.seq == head.deny_seq + 1);
            next.map(|next| next.previous)
        };
        match known {
            Some(hash) if hash != head.deny_hash => Standing::Forked,
            _ if head.deny_seq == self.seq => Standing::Complete,
            _ => Standing::Ahead,
        }
    }

    /// All that is denied, to be sent or written down.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            seq: self.seq,
            hash: self.hash,
            entries: self.denied.values().map(Entry::encode).collect(),
        }
    }

    /// Takes a snapshot in. **It must come from the control plane itself, or from a file of one's own**: entries that are
    /// left out leave no trace. Then compare it with a head, by [`Chain::standing`].
    ///
    /// # Errors
    /// [`Error::Encoding`] or [`Error::Name`] if an entry cannot be read, if they are out of order or contradict number and
    /// hash of the last; [`Error::DenyFull`] if there are more than [`MAX_DENIED`].
    pub fn restore(
        seq: u64,
        hash: [u8; 32],
        entries: impl IntoIterator<Item = impl AsRef<[u8]>>,
    ) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Encoding {
            what: "deny snapshot",
            found,
            wanted,
        };
        let mut denied = BTreeMap::new();
        let mut before = (0, [0; 32]);
        for bytes in entries {
            if denied.len() >= MAX_DENIED {
                return Err(Error::DenyFull { limit: MAX_DENIED });
            }
            let entry = Entry::decode(bytes.as_ref())?;
            let (last, known) = before;
            if entry.seq <= last || entry.seq > seq {
                let found = format!("entry {} after {last}, of {seq}", entry.seq);
                return Err(bad(found, "ascending numbers up to the last"));
            }
            if matches!(entry.target(), Target::Allow(_)) {
                let found = format!("entry {} denies nothing", entry.seq);
                return Err(bad(found, "only entries that deny"));
            }
            if last + 1 == entry.seq && known != entry.previous {
                return Err(Error::DenyFork { seq: entry.seq });
            }
            before = (entry.seq, entry.hash());
            denied.insert(entry.seq, entry);
        }
        if before.0 == seq && before.1 != hash {
            return Err(Error::DenyFork { seq });
        }
        Ok(Self {
            seq,
            hash,
            denied,
            recent: VecDeque::new(),
        })
    }

    /// The snapshot as one piece, for a file.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(64 + self.denied.len() * 256);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.hash);
        let count = u32::try_from(self.denied.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for entry in self.denied.values() {
            put_bytes(&mut out, &entry.encode());
        }
        out
    }

    /// Reads what [`Chain::to_bytes`] wrote.
    ///
    /// # Errors
    /// As [`Chain::restore`], and [`Error::Encoding`] if the frame around the entries is broken.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("deny snapshot", bytes);
        reader.magic(MAGIC)?;
        let (seq, hash) = (reader.u64()?, reader.array()?);
        let count = usize::try_from(reader.u32()?).unwrap_or(usize::MAX);
        if count > MAX_DENIED {
            return Err(Error::DenyFull { limit: MAX_DENIED });
        }
        let mut entries = Vec::new();
        for _ in 0..count {
            entries.push(reader.bytes(MAX_ENTRY)?);
        }
        reader.end()?;
        Self::restore(seq, hash, entries)
    }
}
