//! What never goes back: the highest version of a policy set that was seen, with what it said. Its caller keeps it on disk.

use super::{VerifiedSet, Version};
use crate::error::Error;
use crate::refusal::Refusal;
use crate::wire::Reader;

const MAGIC: &[u8; 4] = b"SKY1";

/// The highest version that was seen. Write it down, by [`Horizon::to_bytes`], before a set is put in force: what a restart
/// forgets can be played again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Horizon(Option<(Version, [u8; 32])>);

/// What a set that was accepted means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The same version and content: signed again, perhaps.
    Same,
    /// A higher one: write the horizon down.
    Forward,
}

impl Horizon {
    /// The highest version that was seen.
    #[must_use]
    pub fn version(&self) -> Option<Version> {
        self.0.map(|(version, _)| version)
    }

    /// Takes a set, or refuses it. The first one ever is taken as it is. `open` is the last epoch that is known to have begun,
    /// by a head or a recovery statement; `None` where nothing was heard yet.
    ///
    /// # Errors
    /// [`Refusal::PolicyRolledBack`] if it lies below, [`Refusal::PolicyForked`] if it has the same version and says something
    /// else, [`Refusal::PolicyEpoch`] if nothing has opened its epoch. The horizon then stays.
    pub fn accept(&mut self, set: &VerifiedSet, open: Option<u64>) -> Result<Step, Refusal> {
        let (found, hash) = (set.set().version, set.set().content_hash());
        let remembered = self.version();
        let known = open.max(remembered.map(|version| version.epoch));
        if known.is_some_and(|known| found.epoch > known) {
            return Err(Refusal::PolicyEpoch { found });
        }
        if let Some((remembered, seen)) = self.0 {
            if found < remembered {
                return Err(Refusal::PolicyRolledBack { found, remembered });
            }
            if found == remembered {
                if seen != hash {
                    return Err(Refusal::PolicyForked { found });
                }
                return Ok(Step::Same);
            }
        }
        self.0 = Some((found, hash));
        Ok(Step::Forward)
    }

    /// For a file: 52 bytes, or 4 while nothing was seen.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        if let Some((version, hash)) = self.0 {
            out.extend_from_slice(&version.epoch.to_be_bytes());
            out.extend_from_slice(&version.n.to_be_bytes());
            out.extend_from_slice(&hash);
        }
        out
    }

    /// Reads what [`Horizon::to_bytes`] wrote. A file that cannot be read is no reason to start with none: refuse to run.
    ///
    /// # Errors
    /// [`Error::Encoding`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new("policy horizon", bytes);
        reader.magic(MAGIC)?;
        if bytes.len() == MAGIC.len() {
            return Ok(Self(None));
        }
        let version = Version {
            epoch: reader.u64()?,
            n: reader.u64()?,
        };
        let hash = reader.array()?;
        reader.end()?;
        Ok(Self(Some((version, hash))))
    }
}
