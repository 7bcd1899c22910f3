//! Keeps a connection: makes it anew when it was lost, and says when there is none to be had. No unit of work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::engine::Postgres;
use super::link::Target;
use crate::error::{Error, Result};
use crate::queue::Queue;

/// How long units wait for a connection that was lost. After that they fail at once until there is one: who asked may have
/// another replica to go to, or tells an operator.
const PATIENCE: Duration = Duration::from_secs(5);
/// The longest wait between two attempts to connect.
const LONGEST: Duration = Duration::from_secs(2);

/// Since when the server is away, as all threads of a store know it.
#[derive(Clone, Default)]
pub(super) struct Away(Arc<Mutex<Option<Instant>>>);

impl Away {
    /// Notes that it is away, and gives since when.
    fn note(&self, error: &Error) -> Instant {
        *self.lock().get_or_insert_with(|| {
            tracing::error!(%error, "PostgreSQL is away");
            Instant::now()
        })
    }

    fn over(&self) {
        if self.lock().take().is_some() {
            tracing::info!("PostgreSQL is there");
        }
    }

    fn is_long(&self) -> bool {
        self.lock().is_some_and(|since| since.elapsed() >= PATIENCE)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One thread's connection.
pub(super) struct Keeper {
    target: Target,
    engine: Option<Postgres>,
    away: Away,
    /// What the last attempt failed with, how many failed, and when the next one is due.
    failed: Option<(Error, u32, Instant)>,
    pub(super) dice: Dice,
}

impl Keeper {
    pub(super) fn new(target: Target, away: Away) -> Self {
        Self {
            target,
            engine: None,
            away,
            failed: None,
            dice: Dice::new(),
        }
    }

    /// The connection, made anew if it was lost.
    ///
    /// # Errors
    /// Why there is none, once the server was away for long.
    pub(super) fn connected(&mut self, queue: &Queue) -> Result<&mut Postgres> {
        if self.engine.as_ref().is_some_and(Postgres::is_lost) {
            self.engine = None;
        }
        while self.engine.is_none() {
            if let Some((error, _, next)) = &self.failed
                && let Some(rest) = next.checked_duration_since(Instant::now())
            {
                if self.away.is_long() || queue.is_closed() {
                    return Err(error.clone());
                }
                queue.pause(rest);
            }
            self.connect()?;
        }
        self.engine
            .as_mut()
            .ok_or_else(|| Error::Internal("a connection got lost".into()))
    }

    /// The connection is of no use any more, for this reason.
    pub(super) fn drop_connection(&mut self, error: &Error) {
        self.engine = None;
        if matches!(error, Error::Unavailable(_) | Error::InDoubt(_)) {
            self.away.note(error);
        }
    }

    /// One attempt. Fails only if the server was away for long.
    fn connect(&mut self) -> Result<()> {
        let error = match self.target.connect() {
            Ok(engine) => {
                self.engine = Some(engine);
                self.failed = None;
                self.away.over();
                return Ok(());
            }
            Err(error) => error,
        };
        self.away.note(&error);
        let attempts = self
            .failed
            .as_ref()
            .map_or(1, |(_, attempts, _)| attempts.saturating_add(1));
        // 100, 200, 400 … ms, and no two replicas at once.
        let longest = Duration::from_millis(50 << attempts.min(6)).min(LONGEST);
        let next = Instant::now() + longest / 2 + self.dice.part_of(longest / 2);
        self.failed = Some((error.clone(), attempts, next));
        if self.away.is_long() {
            return Err(error);
        }
        Ok(())
    }
}

/// Numbers that differ between threads and replicas. Nothing depends on who can guess them.
pub(super) struct Dice(u64);

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
    pub(super) fn part_of(&mut self, longest: Duration) -> Duration {
        // Xorshift (Marsaglia 2003).
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        let part = u32::try_from(self.0 >> 48).unwrap_or_default();
        longest.mul_f64(f64::from(part) / f64::from(u32::from(u16::MAX)))
    }
}
