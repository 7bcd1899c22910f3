//! Units of work that wait for a thread of the store: bounded, and urgent ones first.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::error::{Error, Result};
use crate::unit::Unit;

/// The most ordinary units that may wait. At 2,000 a second that is two seconds of work: whoever waits longer has given up.
const MAX_WAITING: usize = 4096;
/// The most urgent units that may wait, beside the others, so that a flood of enrolments cannot keep a revocation out.
const MAX_URGENT: usize = 1024;

/// A unit that waits.
pub(crate) struct Waiting {
    pub(crate) unit: Box<dyn Unit>,
    /// May use the space that is kept in reserve.
    pub(crate) urgent: bool,
}

/// The queue.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    /// Apart from the other, so that whoever pauses takes nobody's wake-up.
    closing: Condvar,
}

#[derive(Default)]
struct State {
    urgent: VecDeque<Box<dyn Unit>>,
    ordinary: VecDeque<Box<dyn Unit>>,
    closed: bool,
}

impl Queue {
    /// Puts a unit in the queue.
    ///
    /// # Errors
    /// [`Error::Busy`] if it is full, [`Error::Closed`] if it takes no more. The unit is dropped, and with it its sender.
    pub(crate) fn push(&self, unit: Box<dyn Unit>, urgent: bool) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Closed);
        }
        let (lane, limit) = if urgent {
            (&mut state.urgent, MAX_URGENT)
        } else {
            (&mut state.ordinary, MAX_WAITING)
        };
        if lane.len() >= limit {
            return Err(Error::Busy { limit });
        }
        lane.push_back(unit);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for units and takes at most `limit`, urgent ones first, and no more than a fair share of what waits if so many threads
    /// take from here. `None` once it is closed and empty.
    pub(crate) fn take(&self, limit: usize, threads: usize) -> Option<Vec<Waiting>> {
        let mut state = self.lock();
        loop {
            let mut taken = Vec::new();
            let waiting = state.urgent.len() + state.ordinary.len();
            let limit = limit.min(waiting.div_ceil(threads.max(1)));
            while taken.len() < limit {
                if let Some(unit) = state.urgent.pop_front() {
                    taken.push(Waiting { unit, urgent: true });
                } else if let Some(unit) = state.ordinary.pop_front() {
                    taken.push(Waiting {
                        unit,
                        urgent: false,
                    });
                } else {
                    break;
                }
            }
            if !taken.is_empty() {
                return Some(taken);
            }
            if state.closed {
                return None;
            }
            state = self
                .changed
                .wait(state)
                .unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Takes no more units; what waits is still done.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
        self.closing.notify_all();
    }

    /// Waits, but no longer than until the queue is closed.
    pub(crate) fn pause(&self, time: Duration) {
        let until = Instant::now() + time;
        let mut state = self.lock();
        while !state.closed {
            let Some(rest) = until.checked_duration_since(Instant::now()) else {
                return;
            };
            state = self
                .closing
                .wait_timeout(state, rest)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// Whether it takes no more units.
    pub(crate) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// No code runs under the lock that could panic and leave it half-done.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
