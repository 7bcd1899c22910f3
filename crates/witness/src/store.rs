//! What a witness remembers: of each log the checkpoint that it cosigned last, in a file of its own. It is on the disk before anybody
//! is told of it, and whoever decides holds it until then.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use skans_audit::cosignature::Cosigner;
use skans_audit::merkle;
use skans_audit::note::MAX_NOTE;
use skans_audit::witness::{Asked, Log, Refusal, Remembered};
use skans_host::files::{self, Access};

use crate::Error;

#[cfg(test)]
mod tests;

/// Checkpoints that are kept as evidence, of each log and each kind. One proves that it lied; more say how. A log that goes on asking must
/// not fill the disk. By kind, because anybody can show a checkpoint of the log with a proof that does not hold, and must not push out what
/// only the log can have made: two of one size.
const MAX_EVIDENCE: usize = 8;

/// A cosignature.
#[derive(Debug)]
pub(crate) struct Cosigned {
    /// Of which log.
    pub(crate) origin: String,
    /// The line of it.
    pub(crate) line: String,
}

/// Why there is no cosignature.
#[derive(Debug)]
pub(crate) enum No {
    /// It would not be true, or cannot be said.
    Refused(Refusal),
    /// It cannot be remembered.
    Disk(Error),
}

/// The memory of a witness.
pub(crate) struct Store {
    directory: PathBuf,
    cosigner: Cosigner,
    logs: Vec<Log>,
    /// Beside the logs. Locked from the decision until it is on the disk.
    last: Vec<Mutex<Option<Remembered>>>,
    /// Two processes would not know of each other's answers.
    _lock: File,
}

impl Store {
    /// Opens the directory, and reads what it holds of these logs.
    ///
    /// # Errors
    /// [`Error::File`], if it is not ours alone, another process uses it, or something in it was damaged or is another witness's: what is
    /// not known to be the last may not be built on.
    pub(crate) fn open(
        directory: &Path,
        cosigner: Cosigner,
        logs: Vec<Log>,
    ) -> Result<Self, Error> {
        files::private_directory(directory)?;
        let lock = files::lock(&directory.join("lock"), false)?;
        let mut last = Vec::with_capacity(logs.len());
        for log in &logs {
            last.push(Mutex::new(read(
                &file(directory, &log.origin),
                log,
                &cosigner,
            )?));
        }
        Ok(Self {
            directory: directory.to_owned(),
            cosigner,
            logs,
            last,
            _lock: lock,
        })
    }

    /// The logs that it knows.
    pub(crate) fn logs(&self) -> &[Log] {
        &self.logs
    }

    /// Who cosigns.
    pub(crate) fn cosigner(&self) -> &Cosigner {
        &self.cosigner
    }

    /// The size of what was cosigned last of each log.
    pub(crate) fn sizes(&self) -> impl Iterator<Item = (&str, Option<u64>)> {
        let last = self
            .last
            .iter()
            .map(|last| lock(last).as_ref().map(|last| last.size));
        self.logs.iter().map(|log| log.origin.as_str()).zip(last)
    }

    /// Decides and remembers. `time` is now, in seconds since 1970. Takes as long as the disk does.
    ///
    /// # Errors
    /// [`No`]: then nothing was cosigned, and what was remembered stays.
    pub(crate) fn cosign(&self, body: &[u8], time: u64) -> Result<Cosigned, No> {
        let asked = Asked::read(body, &self.logs).map_err(No::Refused)?;
        let place = self
            .logs
            .iter()
            .position(|log| log.origin == asked.log.origin);
        let unknown = || No::Refused(Refusal::UnknownLog(asked.checkpoint.origin.clone()));
        let last = place.and_then(|at| self.last.get(at)).ok_or_else(unknown)?;
        let mut last = lock(last);
        let cosigned = asked.decide(last.as_ref(), &self.cosigner, time);
        let cosigned = cosigned.map_err(|refusal| {
            if refusal.is_suspicious() {
                self.keep_evidence(&asked, refusal.label());
            }
            No::Refused(refusal)
        })?;
        let remember = cosigned.remember;
        let known = last
            .as_ref()
            .is_some_and(|last| (last.size, last.root) == (remember.size, remember.root));
        // Anybody may ask again for what a log asked for: that must not cost a write.
        if !known {
            let path = file(&self.directory, &asked.log.origin);
            files::write(&path, remember.note.as_bytes(), Access::PRIVATE)
                .map_err(|error| No::Disk(error.into()))?;
            *last = Some(remember);
        }
        Ok(Cosigned {
            origin: asked.log.origin.clone(),
            line: cosigned.answer,
        })
    }

    /// Keeps what a log signed and could not have, beside what was cosigned. Not being able to is no reason for another answer.
    fn keep_evidence(&self, asked: &Asked<'_>, kind: &str) {
        let path = file(&self.directory, &asked.log.origin);
        let note = asked.evidence();
        for number in 0..MAX_EVIDENCE {
            let path = path.with_extension(format!("{kind}-{number}"));
            match files::read_private(&path, MAX_NOTE as u64) {
                Ok(Some(there)) if *there == note.as_bytes() => return,
                Ok(None) => {
                    match files::write_new(&path, note.as_bytes()) {
                        Ok(()) => {
                            tracing::error!(origin = asked.log.origin, path = %path.display(), "evidence kept")
                        }
                        Err(error) => tracing::error!("evidence not kept: {error}"),
                    }
                    return;
                }
                _ => {}
            }
        }
    }
}

/// Each log has a name that a file may have: an origin has slashes.
fn file(directory: &Path, origin: &str) -> PathBuf {
    let hash = merkle::leaf(origin.as_bytes());
    let hex: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    directory.join(format!("{hex}.checkpoint"))
}

fn read(path: &Path, log: &Log, cosigner: &Cosigner) -> Result<Option<Remembered>, Error> {
    let Some(bytes) = files::read_private(path, MAX_NOTE as u64)? else {
        return Ok(None);
    };
    let read = || {
        let note = std::str::from_utf8(&bytes).map_err(|_| "not UTF-8".to_owned())?;
        Remembered::from_note(note, &log.origin, cosigner.verifying_key())
            .map_err(|error| error.to_string())
    };
    read().map(Some).map_err(|problem| {
        let wanted = "the checkpoint of this log that this witness cosigned last (a new key takes a new state directory)";
        Error::file(path, format!("{problem}; wanted {wanted}"))
    })
}

/// A holder that panicked has written it or not: what is in memory is what was there before.
fn lock(last: &Mutex<Option<Remembered>>) -> MutexGuard<'_, Option<Remembered>> {
    last.lock().unwrap_or_else(PoisonError::into_inner)
}
