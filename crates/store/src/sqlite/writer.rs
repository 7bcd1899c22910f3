//! The one thread that writes: units of work that wait share a commit, and so an fsync. Nobody is answered before it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::error::{Error, Result};
use crate::events;
use crate::queue::{Queue, Waiting};
use crate::sqlite::files::Lock;
use crate::sqlite::reserve::Reserve;
use crate::sqlite::{Sqlite, progress, said};
use crate::tx::Engine;
use crate::unit::{Ran, Unit};

/// The most units in one commit. An fsync of 1 ms for 256 units is no longer what costs; a larger batch would only make
/// the first in it wait longer.
const BATCH: usize = 256;
/// From how many pages on the log is written back into the database file. SQLite has 1000 for programs that have no better
/// moment for it; here it happens between two commits, and each time costs two fsyncs.
const WRITE_BACK: u64 = 4000;

/// How often is noted how far the database has come: what an older copy may lack unnoticed.
const NOTE: Duration = Duration::from_secs(1);

/// How many pages the log has after each commit.
pub(crate) struct Pages(Arc<AtomicU64>);

/// Lets SQLite tell how many pages the log has, and write it back no more by itself.
pub(crate) fn count_pages(connection: &mut Connection) -> Result<Pages> {
    let pages = Arc::new(AtomicU64::new(0));
    let told = pages.clone();
    connection
        .wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages: i32| {
            told.store(u64::try_from(pages).unwrap_or(0), Ordering::Relaxed);
            Ok(())
        }))
        .map_err(said)?;
    Ok(Pages(pages))
}

/// Serves until the queue is closed and empty.
pub(crate) fn serve(engine: Sqlite, pages: Pages, reserve: Reserve, lock: &Lock, queue: &Queue) {
    let mut writer = Writer {
        engine,
        pages,
        reserve,
    };
    let mut noted = Instant::now();
    while let Some(batch) = queue.take(BATCH, 1) {
        writer.serve(batch);
        writer.write_back(WRITE_BACK);
        if noted.elapsed() >= NOTE {
            writer.note(lock);
            noted = Instant::now();
        }
    }
    writer.write_back(1);
    writer.note(lock);
}

struct Writer {
    engine: Sqlite,
    pages: Pages,
    reserve: Reserve,
}

impl Writer {
    fn serve(&mut self, batch: Vec<Waiting>) {
        let batch = if self.reserve.allows_more() {
            batch
        } else {
            let (urgent, ordinary) = batch.into_iter().partition(|waiting| waiting.urgent);
            fail(
                ordinary,
                &Error::DiskFull("anything but revocations".into()),
            );
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
        tracing::error!(%error, "a commit found the disk full");
        self.reserve.note_full();
        let (urgent, ordinary) = batch.into_iter().partition(|waiting| waiting.urgent);
        fail(ordinary, &error);
        // Once more what must go, without the rest.
        if !urgent.is_empty()
            && let Err((urgent, error)) = self.commit(urgent)
        {
            fail(urgent, &error);
        }
    }

    /// Notes beside the database how far it has come.
    fn note(&mut self, lock: &Lock) {
        match progress(&mut self.engine) {
            Ok(progress) => lock.note(progress),
            Err(error) => tracing::warn!(%error, "cannot see how far the database has come"),
        }
    }

    /// Writes the log back into the database file if it has so many pages. If that fails, as it does on a full disk, the log
    /// grows on, and nothing is lost.
    fn write_back(&mut self, from: u64) {
        let pages = self.pages.0.load(Ordering::Relaxed);
        self.reserve.note_pages(pages);
        if pages >= from
            && let Err(error) = self.engine.query("PRAGMA wal_checkpoint(PASSIVE)", &[])
        {
            tracing::warn!(%error, "the log of the database could not be written back");
        }
    }

    /// Runs the units and commits them together. If that fails they come back, none of them kept and none answered, with
    /// the reason.
    fn commit(&mut self, batch: Vec<Waiting>) -> std::result::Result<(), (Vec<Waiting>, Error)> {
        let mut kept = Vec::with_capacity(batch.len());
        let mut declined: Vec<(Box<dyn Unit>, Option<Error>)> = Vec::new();
        let mut events = Vec::new();
        let mut batch = batch.into_iter();
        let mut failed = self.engine.run("BEGIN IMMEDIATE").err();
        while failed.is_none() {
            let Some(mut waiting) = batch.next() else {
                break;
            };
            match self.run(&mut waiting) {
                Ok(Ran::Keep(told)) => {
                    events.extend(told);
                    kept.push(waiting);
                }
                Ok(Ran::Discard) => declined.push((waiting.unit, None)),
                Ok(Ran::Failed(error)) => declined.push((waiting.unit, Some(error))),
                Err(error) => {
                    kept.push(waiting);
                    failed = Some(error);
                }
            }
        }
        if failed.is_none() {
            failed = events::write(&mut self.engine, &events)
                .and_then(|()| self.engine.run("COMMIT"))
                .err();
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
        if !matches!(ran, Ran::Keep(_)) {
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
