//! A thread with one connection: it runs units of work, several in one transaction where several wait, again if others changed
//! the same rows, and connects anew when the connection is lost.

use std::time::{Duration, Instant};

use super::engine::Postgres;
use super::link::Target;
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

/// How often a unit is tried, its first time included. With the waits between that is about two seconds.
const ATTEMPTS: u32 = 16;
/// How long units wait for a connection that was lost. After that they fail at once until there is one: who asked may have
/// another replica to go to, or tells an operator.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest wait between two attempts to connect.
const LONGEST: Duration = Duration::from_secs(2);

/// The most units in one transaction. They share its commit, as with SQLite; but the more there are, the sooner one of them meets
/// somebody else's and all run again.
const BATCH: usize = 32;

/// Serves until the queue is closed and empty. `threads` is how many do.
pub(super) fn serve(target: Target, queue: &Queue, mode: Mode, threads: usize) {
    let mut worker = Worker {
        target,
        queue,
        mode,
        engine: None,
        down: None,
        dice: Dice::new(),
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
    target: Target,
    queue: &'a Queue,
    mode: Mode,
    engine: Option<Postgres>,
    down: Option<Down>,
    dice: Dice,
}

/// Since when there is no connection.
struct Down {
    since: Instant,
    attempts: u32,
    next: Instant,
    error: Error,
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
        for attempts in 1..=ATTEMPTS {
            if matches!(error, Some(Error::Contention(_))) {
                // 2, 4, 8 … ms, at most 256, and each a little different, or the same two would meet again.
                let longest = Duration::from_millis(1 << attempts.min(8));
                let wait = self.dice.part_of(longest);
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
        let engine = match self.connected() {
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
                    self.engine = None;
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

    /// The connection, made anew if it was lost.
    fn connected(&mut self) -> Result<&mut Postgres> {
        if self.engine.as_ref().is_some_and(Postgres::is_lost) {
            self.engine = None;
        }
        while self.engine.is_none() {
            if let Some(down) = &self.down
                && Instant::now() < down.next
            {
                if down.since.elapsed() >= PATIENCE || self.queue.is_closed() {
                    return Err(down.error.clone());
                }
                let rest = down.next.saturating_duration_since(Instant::now());
                self.queue.pause(rest);
                continue;
            }
            match self.target.connect() {
                Ok(engine) => {
                    if self.down.take().is_some() {
                        tracing::info!("PostgreSQL is there again");
                    }
                    self.engine = Some(engine);
                }
                Err(error) => self.note_down(error)?,
            }
        }
        self.engine
            .as_mut()
            .ok_or_else(|| Error::Internal("a connection got lost".into()))
    }

    fn note_down(&mut self, error: Error) -> Result<()> {
        let now = Instant::now();
        let (since, attempts) = match &self.down {
            Some(down) => (down.since, down.attempts.saturating_add(1)),
            None => {
                tracing::error!(%error, "PostgreSQL cannot be reached");
                (now, 1)
            }
        };
        // 50, 100, 200 … ms, and no two replicas at once.
        let longest = Duration::from_millis(50 << attempts.min(6)).min(LONGEST);
        self.down = Some(Down {
            since,
            attempts,
            next: now + longest / 2 + self.dice.part_of(longest / 2),
            error: error.clone(),
        });
        if since.elapsed() >= PATIENCE {
            return Err(error);
        }
        Ok(())
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

/// Numbers that differ between threads and replicas. Nothing depends on who can guess them.
struct Dice(u64);

impl Dice {
    fn new() -> Self {
        use std::hash::{BuildHasher, Hasher};
        Self(
            std::collections::hash_map::RandomState::new()
                .build_hasher()
                .finish()
                | 1,
        )
    }

    /// A time between nothing and this.
    fn part_of(&mut self, longest: Duration) -> Duration {
        // Xorshift (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let part = u32::try_from(self.0 >> 48).unwrap_or_default();
        longest.mul_f64(f64::from(part) / f64::from(u32::from(u16::MAX)))
    }
}
