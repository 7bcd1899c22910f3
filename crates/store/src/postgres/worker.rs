//! A thread with one connection: it runs units of work, several in one transaction where several wait, and again if others changed
//! the same rows. How it keeps its connection is in the room beside.

use std::time::{Duration, Instant};

use super::engine::Postgres;
use super::keeper::Keeper;
use crate::error::{Error, Result};
use crate::queue::Queue;
use crate::unit::{Ran, Unit};

/// What the units of a thread may do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Mode {
    /// Change things. Serializable: each runs as if alone.
    Write,
    /// Read one consistent picture. Not serializable: that would make writers give way to readers.
    Read,
}

/// How often a unit is tried, its first time included. With the waits between that is about eight seconds: a revocation that meets
/// a crowd of enrolments on a slow disk gets through, and a caller that has no such patience hangs up earlier.
const ATTEMPTS: u32 = 64;
/// How long a unit is tried at the most: a server that takes connections and answers nothing could otherwise keep it for minutes.
const LONGEST: Duration = Duration::from_secs(20);
/// The most units in one transaction. They share its commit, as with SQLite; but the more there are, the sooner one of them meets
/// somebody else's and all run again.
const BATCH: usize = 32;

/// Serves until the queue is closed and empty. `threads` is how many do.
pub(super) fn serve(keeper: Keeper, queue: &Queue, mode: Mode, threads: usize) {
    let mut worker = Worker {
        keeper,
        queue,
        mode,
    };
    let limit = match mode {
        Mode::Write => BATCH,
        Mode::Read => 1,
    };
    while let Some(batch) = queue.take(limit, threads) {
        worker.serve(batch.into_iter().map(|waiting| waiting.unit).collect());
    }
}

struct Worker<'a> {
    keeper: Keeper,
    queue: &'a Queue,
    mode: Mode,
}

/// Units, and why none of them was kept though they may be when tried again.
type Again = (Vec<Box<dyn Unit>>, Error);

impl Worker<'_> {
    /// Runs units together, and alone if together they failed: then each meets as few others as can be.
    fn serve(&mut self, batch: Vec<Box<dyn Unit>>) {
        let Err((batch, error)) = self.attempt(batch) else {
            return;
        };
        let mut first = Some(error);
        for unit in batch {
            self.insist(unit, first.take());
        }
    }

    /// Tries a unit until it is answered, or was tried often enough. `error` is what it failed with before.
    fn insist(&mut self, unit: Box<dyn Unit>, mut error: Option<Error>) {
        let mut units = vec![unit];
        let start = Instant::now();
        for attempts in 1..=ATTEMPTS {
            if start.elapsed() >= LONGEST {
                break;
            }
            if matches!(error, Some(Error::Contention(_))) {
                // 2, 4, 8 … ms, at most 256, and each a little different, or the same two would meet again.
                let longest = Duration::from_millis(1 << attempts.min(8));
                let wait = self.keeper.dice.part_of(longest);
                self.queue.pause(wait);
            }
            match self.attempt(units) {
                Ok(()) => return,
                Err((back, again)) => {
                    units = back;
                    error = Some(again);
                }
            }
        }
        let error = match error {
            Some(Error::Contention(_)) | None => Error::Contention(ATTEMPTS),
            Some(lost) => lost,
        };
        for unit in units {
            unit.fail(error.clone());
        }
    }

    /// Runs units in one transaction.
    fn attempt(&mut self, mut units: Vec<Box<dyn Unit>>) -> std::result::Result<(), Again> {
        let mode = self.mode;
        let engine = match self.keeper.connected(self.queue) {
            Ok(engine) => engine,
            Err(error) => {
                for unit in units {
                    unit.fail(error.clone());
                }
                return Ok(());
            }
        };
        match transaction(engine, mode, &mut units) {
            Ok(ends) => {
                for (unit, end) in units.into_iter().zip(ends) {
                    match end {
                        End::Answer => unit.answer(),
                        End::Refuse(error) => unit.refuse(error),
                    }
                }
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::Contention(_)) {
                    // It is lost, or nobody knows what state it is in.
                    self.keeper.drop_connection(&error);
                }
                if matches!(error, Error::Contention(_) | Error::Unavailable(_)) {
                    return Err((units, error));
                }
                for unit in units {
                    unit.fail(error.clone());
                }
                Ok(())
            }
        }
    }
}

/// What a unit is told once its transaction is committed.
enum End {
    Answer,
    Refuse(Error),
}

/// Runs units in one transaction, each in a savepoint of its own if there are several. An error says that nothing of any was kept,
/// or with [`Error::InDoubt`] that nobody knows.
fn transaction(engine: &mut Postgres, mode: Mode, units: &mut [Box<dyn Unit>]) -> Result<Vec<End>> {
    engine.run(match mode {
        Mode::Write => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
        Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    })?;
    let done = match units {
        [unit] => alone(engine, mode, unit.as_mut()).map(|end| vec![end]),
        several => together(engine, mode, several),
    };
    // Whatever it was, the connection may be used again only outside of a transaction.
    done.inspect_err(|error| {
        if matches!(error, Error::Contention(_)) {
            let _ = engine.run("ROLLBACK");
        }
    })
}

fn alone(engine: &mut Postgres, mode: Mode, unit: &mut dyn Unit) -> Result<End> {
    match unit.run(engine) {
        Ran::Keep(events) => {
            crate::events::write(engine, &events)?;
            commit(engine, mode)?;
            Ok(End::Answer)
        }
        Ran::Discard => engine.run("ROLLBACK").map(|()| End::Answer),
        Ran::Failed(error) => {
            let error = lasting(error, mode)?;
            engine.run("ROLLBACK").map(|()| End::Refuse(error))
        }
    }
}

fn together(engine: &mut Postgres, mode: Mode, units: &mut [Box<dyn Unit>]) -> Result<Vec<End>> {
    let mut ends = Vec::with_capacity(units.len());
    let mut events = Vec::new();
    for unit in units {
        engine.run("SAVEPOINT unit")?;
        let end = match unit.run(engine) {
            Ran::Keep(told) => {
                events.extend(told);
                engine.run("RELEASE unit")?;
                ends.push(End::Answer);
                continue;
            }
            Ran::Discard => End::Answer,
            Ran::Failed(error) => End::Refuse(lasting(error, mode)?),
        };
        engine.run("ROLLBACK TO unit; RELEASE unit")?;
        ends.push(end);
    }
    crate::events::write(engine, &events)?;
    commit(engine, mode)?;
    Ok(ends)
}

fn commit(engine: &mut Postgres, mode: Mode) -> Result<()> {
    engine.run("COMMIT").map_err(|error| match error {
        // Of a read nothing can be in doubt.
        Error::Unavailable(text) if mode == Mode::Write => Error::InDoubt(text),
        other => other,
    })
}

/// An error that trying again does not change; one that it may change is the error of the whole transaction.
fn lasting(error: Error, mode: Mode) -> Result<Error> {
    match error {
        Error::Contention(_) | Error::Unavailable(_) => Err(error),
        // The server has become a standby: the other one is to be found. A unit that reads is itself to blame.
        Error::ReadOnly(text) if mode == Mode::Write => Err(Error::Unavailable(text)),
        _ => Ok(error),
    }
}
