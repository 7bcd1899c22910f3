//! What never goes back: the highest epoch and deny sequence that were seen. Its caller keeps it on disk.

#[cfg(test)]
mod tests;

use core::fmt;

use super::VerifiedHead;
use crate::error::Error;
use crate::recovery::VerifiedRecovery;
use crate::refusal::Refusal;
use crate::wire::Reader;

const MAGIC: &[u8; 4] = b"SKZ1";

/// An epoch and a number of the deny stream in it. Ordered: a higher epoch comes after all of a lower one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mark {
    /// Counts restores of the control plane, from 1.
    pub epoch: u64,
    /// The number of the last deny entry.
    pub deny_seq: u64,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({}, {})", self.epoch, self.deny_seq)
    }
}

/// The highest mark that was seen, with the hash of the deny stream there. Write it down, by [`Horizon::to_bytes`], before
/// anything is done that rests on a head: what a restart forgets can be played again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Horizon(Option<(Mark, Seen)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// A head with this hash of the deny stream.
    Head([u8; 32]),
    /// A recovery that opened the epoch: the first head in it is still to come.
    Opened,
}

/// What a head that was accepted means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The same epoch and deny sequence as before.
    Same,
    /// A higher one: write the horizon down.
    Forward,
}

impl Horizon {
    /// The highest mark that was seen.
    #[must_use]
    pub fn mark(&self) -> Option<Mark> {
        self.0.map(|(mark, _)| mark)
    }

    /// Takes a head, or refuses it. The first one ever is taken as it is.
    ///
    /// # Errors
    /// [`Refusal::RolledBack`] if it lies below, [`Refusal::Forked`] if it has the same mark and another stream,
    /// [`Refusal::NewEpoch`] if its epoch was not opened by a recovery. The horizon then stays.
    pub fn accept(&mut self, head: &VerifiedHead) -> Result<Step, Refusal> {
        let head = head.head();
        let found = head.mark();
        if let Some((remembered, seen)) = self.0 {
            if found.epoch > remembered.epoch {
                return Err(Refusal::NewEpoch { found, remembered });
            }
            if found < remembered {
                return Err(Refusal::RolledBack { found, remembered });
            }
            if found == remembered {
                match seen {
                    Seen::Head(hash) if hash != head.deny_hash => {
                        return Err(Refusal::Forked { found });
                    }
                    Seen::Head(_) => return Ok(Step::Same),
                    Seen::Opened => {}
                }
            }
        }
        self.0 = Some((found, Seen::Head(head.deny_hash)));
        Ok(Step::Forward)
    }

    /// Lets a control plane that was restored begin a new epoch. Its deny stream may be shorter than the one remembered, so
    /// the chain is to be taken as a snapshot afterwards.
    ///
    /// # Errors
    /// [`Refusal::RolledBack`] if its epoch is not above the one remembered: it was played again.
    pub fn recover(&mut self, recovery: &VerifiedRecovery) -> Result<(), Refusal> {
        let found = recovery.statement().mark();
        if let Some(remembered) = self.mark().filter(|mark| found.epoch <= mark.epoch) {
            return Err(Refusal::RolledBack { found, remembered });
        }
        self.0 = Some((found, Seen::Opened));
        Ok(())
    }

    /// For a file: 53 bytes, or 4 while nothing was seen.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        if let Some((mark, seen)) = self.0 {
            out.extend_from_slice(&mark.epoch.to_be_bytes());
            out.extend_from_slice(&mark.deny_seq.to_be_bytes());
            let (kind, hash) = match seen {
                Seen::Head(hash) => (1, hash),
                Seen::Opened => (2, [0; 32]),
            };
            out.push(kind);
            out.extend_from_slice(&hash);
        }
        out
    }

    /// Reads what [`Horizon::to_bytes`] wrote. A file that cannot be read is no reason to start with none: refuse to run.
    ///
    /// # Errors
    /// [`Error::Encoding`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("horizon", bytes);
        reader.magic(MAGIC)?;
        if bytes.len() == MAGIC.len() {
            return Ok(Self(None));
        }
        let mark = Mark {
            epoch: reader.u64()?,
            deny_seq: reader.u64()?,
        };
        let (kind, hash) = (reader.u8()?, reader.array::<32>()?);
        let seen = match kind {
            1 => Seen::Head(hash),
            2 if hash == [0; 32] => Seen::Opened,
            _ => return Err(reader.bad(format!("kind {kind}"), "kind 1, or kind 2 with zeros")),
        };
        reader.end()?;
        Ok(Self(Some((mark, seen))))
    }
}
