//! What a witness does (C2SP tlog-witness), without its port and its disk: reads what it is asked, holds it against what it cosigned
//! last, and says what must be on the disk before it answers.

mod request;
#[cfg(test)]
mod tests;

use crate::checkpoint::Checkpoint;
use crate::cosignature::Cosigner;
use crate::error::{Error, Result};
use crate::merkle::{Hash, empty};
use crate::note::{Algorithm, Note, Signature, VerifyingKey};
use crate::proof::is_consistent;

pub use request::{MAX_BODY, Request};

/// A log that is witnessed.
#[derive(Clone, Debug)]
pub struct Log {
    /// What its checkpoints call it.
    pub origin: String,
    /// Who signs them.
    pub key: VerifyingKey,
}

/// What was cosigned last of a log: all that a witness has to remember, and the proof of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remembered {
    /// Entries.
    pub size: u64,
    /// What stood above them.
    pub root: Hash,
    /// The checkpoint with the signature of its log and our own.
    pub note: String,
}

impl Remembered {
    /// From the note that was kept; our own signature says that it is whole, and ours.
    ///
    /// # Errors
    /// [`Error::Format`], [`Error::Forged`], [`Error::Unsigned`]: it was damaged, belongs to another witness or another log.
    pub fn from_note(note: &str, origin: &str, key: &VerifyingKey) -> Result<Self> {
        let parsed = Note::parse(note.as_bytes())?;
        parsed.verify(&[key])?;
        let checkpoint = Checkpoint::parse_text(parsed.text())?;
        if checkpoint.origin != origin {
            let found = crate::error::shown(&checkpoint.origin);
            let wanted = "the one that it is kept for";
            return Err(Error::format("origin of a checkpoint", found, wanted));
        }
        Ok(Self {
            size: checkpoint.size,
            root: checkpoint.root,
            note: note.to_owned(),
        })
    }
}

/// What is asked is right: `remember` is to be on the disk before `answer` is given.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Cosigned {
    /// What takes the place of what was remembered.
    pub remember: Remembered,
    /// The line with the cosignature.
    pub answer: String,
}

/// Why a witness does not cosign.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It makes no sense.
    #[error("{0}")]
    Malformed(#[from] Error),
    /// The old checkpoint is the larger one.
    #[error("old size: found {old}, wanted at most the {size} of the checkpoint")]
    Backwards {
        /// What the request says.
        old: u64,
        /// Of the checkpoint.
        size: u64,
    },
    /// A log that is not witnessed here.
    #[error("origin {}: found no such log here", crate::error::shown(.0))]
    UnknownLog(String),
    /// The log did not sign it.
    #[error("{0}")]
    NotTheLog(Error),
    /// Another checkpoint was cosigned last; whoever asks has to start from that one.
    #[error("old size: found {found}, wanted {wanted}: of that size is what was cosigned last")]
    NotTheLast {
        /// What the request says.
        found: u64,
        /// What is remembered.
        wanted: u64,
    },
    /// The log signed two trees of one size. One of both is a lie.
    #[error(
        "root of {size} entries: found another than the one that was cosigned: the log was forked"
    )]
    Forked {
        /// Of both.
        size: u64,
    },
    /// It is not shown that what was cosigned is the beginning of it.
    #[error(
        "consistency from {old} to {size} entries: found a proof that does not hold: the log was rewritten, or the proof is of another"
    )]
    Inconsistent {
        /// What is remembered.
        old: u64,
        /// Of the checkpoint.
        size: u64,
    },
}

impl Refusal {
    /// The HTTP status that tlog-witness gives it.
    #[must_use]
    pub const fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) | Self::Backwards { .. } => 400,
            Self::NotTheLog(_) => 403,
            Self::UnknownLog(_) => 404,
            Self::NotTheLast { .. } | Self::Forked { .. } => 409,
            Self::Inconsistent { .. } => 422,
        }
    }

    /// The size that was cosigned last, which the answer says where it is another than the one asked with.
    #[must_use]
    pub const fn last_size(&self) -> Option<u64> {
        match self {
            Self::NotTheLast { wanted, .. } => Some(*wanted),
            Self::Forked { size } => Some(*size),
            _ => None,
        }
    }

    /// Whether the log itself signed what cannot be true together with what was cosigned, or could not show that it is: somebody has to
    /// look.
    #[must_use]
    pub const fn is_suspicious(&self) -> bool {
        matches!(self, Self::Forked { .. } | Self::Inconsistent { .. })
    }

    /// A short, stable name for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Backwards { .. } => "backwards",
            Self::UnknownLog(_) => "unknown_log",
            Self::NotTheLog(_) => "not_the_log",
            Self::NotTheLast { .. } => "not_the_last",
            Self::Forked { .. } => "forked",
            Self::Inconsistent { .. } => "inconsistent",
        }
    }
}

/// A request of a log that is witnessed, signed by that log.
#[derive(Debug)]
pub struct Asked<'a> {
    /// Which log.
    pub log: &'a Log,
    /// What it says of itself.
    pub checkpoint: Checkpoint,
    request: Request,
}

impl<'a> Asked<'a> {
    /// Reads the body of a request and finds out whose it is. Nothing is remembered or held against anything yet.
    ///
    /// # Errors
    /// [`Refusal::Malformed`], [`Refusal::UnknownLog`], [`Refusal::NotTheLog`], [`Refusal::Backwards`].
    pub fn read(body: &[u8], logs: &'a [Log]) -> Result<Self, Refusal> {
        let request = Request::parse(body)?;
        let checkpoint = Checkpoint::parse_text(request.note.text())?;
        let log = logs
            .iter()
            .find(|log| log.origin == checkpoint.origin)
            .ok_or_else(|| Refusal::UnknownLog(checkpoint.origin.clone()))?;
        if log.key.algorithm() != Algorithm::Ed25519 {
            let key = log.key.name().to_owned();
            let what = "checkpoint";
            return Err(Refusal::NotTheLog(Error::Unsigned { what, key }));
        }
        request
            .note
            .verify(&[&log.key])
            .map_err(Refusal::NotTheLog)?;
        if request.old > checkpoint.size {
            return Err(Refusal::Backwards {
                old: request.old,
                size: checkpoint.size,
            });
        }
        Ok(Self {
            log,
            checkpoint,
            request,
        })
    }

    /// The checkpoint as its log signed it: what to keep if it is refused as suspicious.
    #[must_use]
    pub fn evidence(&self) -> String {
        self.request.note.encode()
    }

    /// Holds it against what was cosigned last, `None` if nothing was: then it is taken as it is, for there is nothing to hold it
    /// against. Between this and writing down what it gives, nothing else of the same log may be decided.
    ///
    /// # Errors
    /// [`Refusal::NotTheLast`], [`Refusal::Forked`], [`Refusal::Inconsistent`]; [`Refusal::Malformed`], if there is no room for a
    /// signature more.
    pub fn decide(
        &self,
        last: Option<&Remembered>,
        cosigner: &Cosigner,
        time: u64,
    ) -> Result<Cosigned, Refusal> {
        let (old, old_root) = last.map_or_else(|| (0, empty()), |last| (last.size, last.root));
        let (size, root) = (self.checkpoint.size, self.checkpoint.root);
        if self.request.old != old {
            return Err(Refusal::NotTheLast {
                found: self.request.old,
                wanted: old,
            });
        }
        if old == size && old_root != root {
            return Err(Refusal::Forked { size });
        }
        if !is_consistent((old, old_root), (size, root), &self.request.proof) {
            return Err(Refusal::Inconsistent { old, size });
        }
        let signature = cosigner.cosign(self.request.note.text(), time);
        let answer = signature.line();
        Ok(Cosigned {
            remember: Remembered {
                size,
                root,
                note: self.kept(signature)?,
            },
            answer,
        })
    }

    /// With the signature of its log and ours. What others signed is their word, and would only take room.
    fn kept(&self, own: Signature) -> Result<String, Refusal> {
        let key = &self.log.key;
        let mut note = Note::unsigned(self.request.note.text())?;
        let of_log = |one: &&Signature| one.id == key.id() && one.name == key.name();
        if let Some(signature) = self.request.note.signatures().iter().find(of_log) {
            note.add(signature.clone())?;
        }
        note.add(own)?;
        Ok(note.encode())
    }
}
