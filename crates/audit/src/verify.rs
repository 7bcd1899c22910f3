//! Whether a log is what it says: all of it, held against its checkpoint from the root down, entry by entry. What is believed is the
//! keys that are given, and nothing in the log.

#[cfg(test)]
mod tests;
mod times;
mod walk;

use crate::checkpoint::Checkpoint;
use crate::error::{Error, Result};
use crate::export::CHECKPOINT;
use crate::note::{Algorithm, MAX_NOTE, Note, VerifyingKey};
use crate::tile::{Kind, Tile};
use walk::Walk;

pub use times::{MAX_BACK, Times};

/// The most warnings that are kept; beyond, they are counted.
pub const MAX_WARNINGS: usize = 100;

/// The files of a log, wherever they are.
pub trait Files {
    /// The content of the file at this path of the log, of a longer one the first `limit` bytes; `None` if there is none.
    ///
    /// # Errors
    /// What keeps it from being read.
    fn read(&self, path: &str, limit: usize) -> std::result::Result<Option<Vec<u8>>, String>;

    /// The paths of all files that are there.
    ///
    /// # Errors
    /// What keeps them from being listed.
    fn list(&self) -> std::result::Result<Vec<String>, String>;
}

/// What is believed, and what is asked.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    /// The key of the log.
    pub key: &'a VerifyingKey,
    /// Keys of witnesses.
    pub witnesses: &'a [VerifyingKey],
    /// How many of them must have cosigned.
    pub quorum: usize,
    /// An older checkpoint of the same log, opened with its key ([`Checkpoint::open`]): what was logged then must be there still.
    pub against: Option<&'a Checkpoint>,
    /// Entries before this one may have been removed (retention): whole bundles of them may be missing. Their hashes may not.
    pub pruned_before: u64,
}

/// What was found of a log that is what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// Of what.
    pub checkpoint: Checkpoint,
    /// Who cosigned it, and when, in seconds since 1970.
    pub witnesses: Vec<(String, u64)>,
    /// Entries that are there, each of which is the one that was logged.
    pub entries: u64,
    /// Entries that were removed; of them the hashes are there.
    pub pruned: u64,
    /// The size of the older checkpoint, if there was one.
    pub against: Option<u64>,
    /// When, as the entries themselves say.
    pub times: Times,
    /// What is odd, and binds nobody.
    pub warnings: Vec<Warning>,
    /// Warnings beyond [`MAX_WARNINGS`].
    pub more_warnings: u64,
}

/// Something odd. The log is what it says all the same.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// An entry says that it is older than one before it, by more than clocks of one cluster differ.
    TimeWentBack {
        /// Its number.
        entry: u64,
        /// By how much, in milliseconds.
        by_ms: u64,
    },
    /// An entry says no time: it is no JSON object, or has no `time`.
    NoTime {
        /// Its number.
        entry: u64,
    },
    /// A file beside the log; it was not looked at.
    Unknown {
        /// Its path.
        path: String,
    },
}

impl std::fmt::Display for Warning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TimeWentBack { entry, by_ms } => {
                let seconds = by_ms / 1000;
                write!(
                    f,
                    "entry {entry}: its time is {seconds} s before that of an earlier one"
                )
            }
            Self::NoTime { entry } => write!(f, "entry {entry}: it says no time"),
            Self::Unknown { path } => {
                write!(
                    f,
                    "{}: no part of the log, not looked at",
                    crate::error::shown(path)
                )
            }
        }
    }
}

/// Looks at all of it. Stops at the first thing that is wrong, from the left: what comes behind may be wrong, too.
///
/// # Errors
/// What is wrong, and where. [`Error::is_unchecked`] tells what could not be looked at from what is wrong.
pub fn verify(files: &impl Files, wanted: &Wanted<'_>) -> Result<Report> {
    let bytes = files
        .read(CHECKPOINT, MAX_NOTE + 1)
        .map_err(unreadable(CHECKPOINT))?
        .ok_or_else(|| Error::Missing {
            path: CHECKPOINT.to_owned(),
        })?;
    check_kind(wanted.key, Algorithm::Ed25519)?;
    let checkpoint = Checkpoint::open(&bytes, wanted.key)?;
    let witnesses = cosigned(&Note::parse(&bytes)?, wanted)?;
    if let Some(older) = wanted.against
        && older.size > checkpoint.size
    {
        return Err(Error::Shorter {
            found: checkpoint.size,
            wanted: older.size,
        });
    }
    let mut walk = Walk::new(files, &checkpoint);
    walk.check_root()?;
    let mut warnings = Warnings::default();
    let mut times = Times::default();
    let mut pruned = 0;
    let mut number = 0;
    while let Some(tile) = Tile::in_tree(Kind::Entries, number, checkpoint.size) {
        let hashes = walk.leaves(number)?;
        match walk.entries(&tile, &hashes)? {
            Some(bundle) => {
                for (index, entry) in (tile.start()..).zip(tile.decode_bundle(&bundle)?) {
                    if let Some(warning) = times.look_at(index, entry) {
                        warnings.push(warning);
                    }
                }
            }
            None if tile.is_full() && tile.start() + 256 <= wanted.pruned_before => pruned += 256,
            None => {
                return Err(Error::MissingEntries {
                    path: tile.path(),
                    first: tile.start(),
                    last: tile.start() + u64::from(tile.width()) - 1,
                });
            }
        }
        number += 1;
    }
    if let Some(older) = wanted.against {
        walk.check_beginning(older)?;
    }
    let mut paths = files.list().map_err(unreadable("."))?;
    paths.sort();
    for path in paths {
        if !walk.check_listed(&path)? {
            warnings.push(Warning::Unknown { path });
        }
    }
    Ok(Report {
        witnesses,
        entries: checkpoint.size - pruned,
        pruned,
        against: wanted.against.map(|older| older.size),
        times,
        warnings: warnings.kept,
        more_warnings: warnings.more,
        checkpoint,
    })
}

#[derive(Default)]
struct Warnings {
    kept: Vec<Warning>,
    more: u64,
}

impl Warnings {
    fn push(&mut self, warning: Warning) {
        if self.kept.len() < MAX_WARNINGS {
            self.kept.push(warning);
        } else {
            self.more += 1;
        }
    }
}

/// Which witnesses cosigned. One that signed something else spoils it, however many others are right.
fn cosigned(note: &Note, wanted: &Wanted<'_>) -> Result<Vec<(String, u64)>> {
    let mut found = Vec::new();
    for (at, key) in wanted.witnesses.iter().enumerate() {
        check_kind(key, Algorithm::Cosignature)?;
        let before = wanted.witnesses.iter().take(at);
        if before.into_iter().any(|other| other.is_same_key(key)) {
            let wanted = "each key once: one witness is no quorum";
            return Err(Error::format(
                "witness",
                crate::error::shown(key.name()),
                wanted,
            ));
        }
        match note.verify(&[key]) {
            Ok(verified) => {
                let times = verified.iter().filter_map(|one| one.time);
                found.extend(times.map(|time| (key.name().to_owned(), time)));
            }
            Err(Error::Unsigned { .. }) => {}
            Err(error) => return Err(error),
        }
    }
    if found.len() < wanted.quorum {
        return Err(Error::Quorum {
            found: found.len(),
            wanted: wanted.quorum,
        });
    }
    Ok(found)
}

fn check_kind(key: &VerifyingKey, kind: Algorithm) -> Result<()> {
    if key.algorithm() == kind {
        return Ok(());
    }
    let wanted = match kind {
        Algorithm::Ed25519 => "one of a log (1)",
        Algorithm::Cosignature => "one of a witness (4)",
    };
    Err(Error::format(
        "key",
        crate::error::shown(key.name()),
        wanted,
    ))
}

fn unreadable(path: &str) -> impl Fn(String) -> Error {
    move |problem| Error::Unreadable {
        path: path.to_owned(),
        problem,
    }
}
