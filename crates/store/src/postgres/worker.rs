//! A thread with one connection: it runs units of work, again if others changed the same rows, and connects anew when the
//! connection is lost.

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

/// Serves until the queue is closed and empty.
pub(super) fn serve(target: Target, queue: &Queue, mode: Mode) {
    let mut worker = Worker {
        target,
        queue,
        mode,
        engine: None,
        down: None,
        dice: Dice::new(),
    };
    while let Some(waiting) = queue.take(1) {
        for waiting in waiting {
            worker.serve(waiting.unit);
        }
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

/// How one attempt ended.
enum Attempt {
    /// The unit has its answer.
    Answer,
    /// It failed, and would fail again.
    Refuse(Error),
    /// Whether it was kept is unknown.
    InDoubt(Error),
    /// Nothing was kept, and it may succeed when tried again.
    Again(Error),
}

impl Worker<'_> {
    fn serve(&mut self, mut unit: Box<dyn Unit>) {
        let mut attempts = 0;
        loop {
            attempts += 1;
            let attempt = match self.connected() {
                Ok(engine) => attempt(engine, unit.as_mut()),
                Err(error) => return unit.fail(error),
            };
            match attempt {
                Attempt::Answer => return unit.answer(),
                Attempt::Refuse(error) => return unit.refuse(error),
                Attempt::InDoubt(error) => {
                    self.engine = None;
                    return unit.fail(error);
                }
                Attempt::Again(error) => {
                    let lost = matches!(error, Error::Unavailable(_));
                    if lost {
                        self.engine = None;
                    }
                    if attempts >= ATTEMPTS {
                        return unit.fail(if lost {
                            error
                        } else {
                            Error::Contention(attempts)
                        });
                    }
                    if !lost {
                        // 1, 2, 4 … ms, at most 256, and each a little different, or the same two would meet again.
                        let longest = Duration::from_millis(1 << attempts.min(8));
                        let wait = self.dice.part_of(longest);
                        self.queue.pause(wait);
                    }
                }
            }
        }
    }

    /// The connection, made anew if it was lost.
    fn connected(&mut self) -> Result<(&mut Postgres, Mode)> {
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
        let mode = self.mode;
        match &mut self.engine {
            Some(engine) => Ok((engine, mode)),
            None => Err(Error::Internal("a connection got lost".into())),
        }
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

fn attempt((engine, mode): (&mut Postgres, Mode), unit: &mut dyn Unit) -> Attempt {
    let begin = match mode {
        Mode::Write => "BEGIN ISOLATION LEVEL SERIALIZABLE READ WRITE",
        Mode::Read => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
    };
    if let Err(error) = engine.run(begin) {
        return failed(error, mode);
    }
    match unit.run(engine) {
        Ran::Keep => match engine.run("COMMIT") {
            Ok(()) => Attempt::Answer,
            Err(error @ Error::Contention(_)) => Attempt::Again(error),
            // Nothing was changed, whatever the server did.
            Err(error) if mode == Mode::Read => failed(error, mode),
            Err(Error::Unavailable(text)) => Attempt::InDoubt(Error::InDoubt(text)),
            Err(error) => Attempt::Refuse(error),
        },
        Ran::Discard => match engine.run("ROLLBACK") {
            Ok(()) | Err(_) => Attempt::Answer,
        },
        Ran::Failed(error) => match engine.run("ROLLBACK") {
            Ok(()) => failed(error, mode),
            Err(Error::Unavailable(text)) => Attempt::Again(Error::Unavailable(text)),
            Err(other) => Attempt::Refuse(other),
        },
    }
}

fn failed(error: Error, mode: Mode) -> Attempt {
    match error {
        Error::Contention(_) | Error::Unavailable(_) => Attempt::Again(error),
        // The server has become a standby: the other one is to be found. A unit that reads is itself to blame.
        Error::ReadOnly(text) if mode == Mode::Write => Attempt::Again(Error::Unavailable(text)),
        _ => Attempt::Refuse(error),
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
