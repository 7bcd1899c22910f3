//! What time it is. The rest of the crate takes it from here, and hands it on.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustls::pki_types::UnixTime;
use tokio::time::{Interval, MissedTickBehavior, interval};

/// Now. A clock before 1970 is at 1970: then nothing is valid yet.
pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(since_1970())
}

/// Now, in seconds since 1970.
pub(crate) fn seconds() -> u64 {
    since_1970().as_secs()
}

/// Now, in milliseconds since 1970.
pub(crate) fn milliseconds() -> u64 {
    u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX)
}

/// Now, in nanoseconds since 1970.
pub(crate) fn nanoseconds() -> u64 {
    u64::try_from(since_1970().as_nanos()).unwrap_or(u64::MAX)
}

/// Turns with a period between them. One that comes late moves those behind it: nothing is made up for by a burst.
pub(crate) fn turns(period: Duration) -> Interval {
    let mut turns = interval(period);
    turns.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turns
}

fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

/// How far the time of day may get away from what went by: clocks that are kept right are moved by milliseconds, and a leap second is one.
const DRIFT: Duration = Duration::from_secs(60);
/// For how long it must not, before it is believed: whoever is paged for a clock that jumped has put it right by then.
const SETTLED: Duration = Duration::from_secs(3600);

/// How far the time of day is to be believed, as far as one process can tell.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Belief {
    /// It has gone as it should for an hour.
    Settled,
    /// The process is young, and knows of nothing that is wrong.
    Young,
    /// It has jumped within an hour: what is done by it may be done in another time.
    Jumped,
}

/// Whether the time of day is to be believed: what has run out by a clock that jumped has not run out.
#[derive(Debug)]
pub(crate) struct Settling {
    /// When the time of day last was another than the one expected: what it was, and when that was.
    since: (Duration, Instant),
    /// That was a jump, and not when the process began.
    jumped: bool,
}

impl Settling {
    /// Begins to watch it.
    pub(crate) fn new() -> Self {
        Self {
            since: (since_1970(), Instant::now()),
            jumped: false,
        }
    }

    /// What time it is since 1970, and how far that is to be believed. Whoever takes it uses this, and does not look again.
    pub(crate) fn now(&mut self) -> (Duration, Belief) {
        let day = since_1970();
        (day, self.look(day, Instant::now()))
    }

    fn look(&mut self, day: Duration, now: Instant) -> Belief {
        let gone = now.saturating_duration_since(self.since.1);
        let expected = self.since.0.saturating_add(gone);
        if day.abs_diff(expected) > DRIFT {
            tracing::warn!(
                expected = expected.as_secs(),
                found = day.as_secs(),
                "the clock has jumped: nothing that has run out is forgotten for an hour"
            );
            *self = Self {
                since: (day, now),
                jumped: true,
            };
            return Belief::Jumped;
        }
        match gone >= SETTLED {
            true => Belief::Settled,
            false if self.jumped => Belief::Jumped,
            false => Belief::Young,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_believed_an_hour_after_it_last_jumped() {
        let (day, now) = (Duration::from_secs(1_800_000_000), Instant::now());
        let mut settling = Settling {
            since: (day, now),
            jumped: false,
        };
        let mut at = |gone: u64, jumped: i64| {
            let gone = Duration::from_secs(gone);
            let day = (day + gone).as_secs().saturating_add_signed(jumped);
            settling.look(Duration::from_secs(day), now + gone)
        };
        for (gone, jumped, belief) in [
            (0, 0, Belief::Young),
            (3599, 59, Belief::Young),
            (3600, 59, Belief::Settled),
            (4000, -60, Belief::Settled),
            // A year ahead, and back again.
            (4001, 31_536_000, Belief::Jumped),
            (7500, 31_536_000, Belief::Jumped),
            (7501, 0, Belief::Jumped),
            (11_100, 0, Belief::Jumped),
            (11_101, 0, Belief::Settled),
        ] {
            assert_eq!(at(gone, jumped), belief, "{gone} {jumped}");
        }
    }
}
