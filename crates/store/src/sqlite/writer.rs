//! The one thread that writes: units of work that wait share a commit, and so an fsync. Nobody is answered before it.

use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::queue::{Queue, Waiting};
use crate::sqlite::Sqlite;
use crate::sqlite::files::Reserve;
use crate::tx::Engine;
use crate::unit::{Ran, Unit};

/// The most units in one commit. An fsync of 1 ms for 256 units is no longer what costs; a larger batch would only make
/// the first in it wait longer.
const BATCH: usize = 256;
/// How often the disk is asked whether it has space for the reserve again.
const REFILL: Duration = Duration::from_secs(1);

/// Serves until the queue is closed and empty.
pub(crate) fn serve(engine: Sqlite, reserve: Reserve, queue: &Queue) {
    let mut writer = Writer {
        engine,
        reserve,
        asked: Instant::now(),
    };
    while let Some(batch) = queue.take(BATCH) {
        writer.serve(batch);
    }
}

struct Writer {
    engine: Sqlite,
    reserve: Reserve,
    /// When the disk was last asked.
    asked: Instant,
}

impl Writer {
    fn serve(&mut self, batch: Vec<Waiting>) {
        let batch = if self.may_take_ordinary() {
            batch
        } else {
            let (urgent, ordinary) = batch.into_iter().partition(|waiting| waiting.urgent);
            fail(ordinary, &full());
            urgent
        };
        if batch.is_empty() {
            return;
        }
        let (batch, error) = match self.commit(batch) {
            Ok(()) => return,
            Err(failed) => failed,
        };
        if !matches!(error, Error::DiskFull(_)) {
            return fail(batch, &error);
        }
        tracing::error!(%error, "the disk is full; only revocations are taken until it is not");
        let (urgent, ordinary) = batch.into_iter().partition(|waiting| waiting.urgent);
        fail(ordinary, &error);
        self.commit_from_reserve(urgent);
    }

    /// What must go although the disk is full.
    fn commit_from_reserve(&mut self, urgent: Vec<Waiting>) {
        if urgent.is_empty() {
            return;
        }
        if !self.reserve.is_whole() {
            return fail(urgent, &full());
        }
        if let Err(error) = self.reserve.release() {
            return fail(urgent, &error);
        }
        self.asked = Instant::now();
        if let Err((urgent, error)) = self.commit(urgent) {
            fail(urgent, &error);
        }
    }

    /// Whether there is space for more than revocations: the reserve is whole, or can be made whole again.
    fn may_take_ordinary(&mut self) -> bool {
        if self.reserve.is_whole() {
            return true;
        }
        if self.asked.elapsed() < REFILL {
            return false;
        }
        self.asked = Instant::now();
        match self.reserve.fill() {
            Ok(()) if self.reserve.is_whole() => {
                tracing::info!("the disk has space again");
                // What the log was given is given back.
                if let Err(error) = self.engine.query("PRAGMA wal_checkpoint(TRUNCATE)", &[]) {
                    tracing::warn!(%error, "the log of the database keeps what it was given");
                }
                true
            }
            Ok(()) => false,
            Err(error) => {
                tracing::error!(%error, "the reserve cannot be made");
                false
            }
        }
    }

    /// Runs the units and commits them together. If that fails they come back, none of them kept and none answered, with
    /// the reason.
    fn commit(&mut self, batch: Vec<Waiting>) -> std::result::Result<(), (Vec<Waiting>, Error)> {
        let mut kept = Vec::with_capacity(batch.len());
        let mut declined: Vec<(Box<dyn Unit>, Option<Error>)> = Vec::new();
        let mut batch = batch.into_iter();
        let mut failed = self.engine.run("BEGIN IMMEDIATE").err();
        while failed.is_none() {
            let Some(mut waiting) = batch.next() else {
                break;
            };
            match self.run(&mut waiting) {
                Ok(Ran::Keep) => kept.push(waiting),
                Ok(Ran::Discard) => declined.push((waiting.unit, None)),
                Ok(Ran::Failed(error)) => declined.push((waiting.unit, Some(error))),
                Err(error) => {
                    kept.push(waiting);
                    failed = Some(error);
                }
            }
        }
        if failed.is_none() {
            failed = self.engine.run("COMMIT").err();
        }
        if failed.is_some() {
            if let Err(error) = self.engine.abandon() {
                tracing::error!(%error, "a transaction could not be rolled back");
            }
            kept.extend(batch);
        }
        // A no may rest on what another unit of the batch wrote, so it too is said only now.
        for (unit, error) in declined {
            match (error, &failed) {
                (None, None) => unit.answer(),
                (Some(error), None) => unit.refuse(error),
                (_, Some(error)) => unit.fail(error.clone()),
            }
        }
        match failed {
            Some(error) => Err((kept, error)),
            None => {
                for waiting in kept {
                    waiting.unit.answer();
                }
                Ok(())
            }
        }
    }

    /// Runs one unit in a savepoint of its own. An error says that the whole batch is lost.
    fn run(&mut self, waiting: &mut Waiting) -> Result<Ran> {
        self.engine.run("SAVEPOINT unit")?;
        let ran = waiting.unit.run(&mut self.engine);
        if let Ran::Failed(error) = &ran
            && (matches!(error, Error::DiskFull(_) | Error::Corrupt(_))
                || self.engine.connection.is_autocommit())
        {
            return Err(error.clone());
        }
        if !matches!(ran, Ran::Keep) {
            self.engine.run("ROLLBACK TO unit")?;
        }
        self.engine.run("RELEASE unit")?;
        Ok(ran)
    }
}

fn fail(units: Vec<Waiting>, error: &Error) {
    for waiting in units {
        waiting.unit.fail(error.clone());
    }
}

fn full() -> Error {
    Error::DiskFull("anything but revocations".into())
}
