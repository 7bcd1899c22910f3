//! No log, no change: where an event waits for its place in the log for long, or for that to be signed, nothing else is issued or changed. What
//! denies and forbids goes on, and is told of in events that wait with the others.
//!
//! An event is kept with its change, but until what is above it is signed, whoever has the database can change it unseen. So this must not last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use skans_store::log::{self, Log, WIDTH};
use skans_store::{Tx, events, meta};

use crate::clock;
use crate::state::Control;

/// Between two looks. Every replica looks for itself: whichever is the writer may be what is stuck.
const OFTEN: Duration = Duration::from_secs(2);

/// An event, and what has become of it so far.
struct Waiting {
    epoch: u64,
    /// Its number.
    seq: u64,
    /// The size of the log with which it had its place, once it has.
    size: Option<u64>,
    since: Instant,
}

/// What is looked at.
struct Look<'a> {
    log: &'a Log,
    /// The number of the newest event.
    last: u64,
    /// For how long the oldest one that is not signed for has waited, by the time of day. Counts at the first look alone.
    age: Duration,
}

/// The newest event of some look, until it is signed for: slow is stuck as well, if it is too slow.
#[derive(Default)]
struct Guard {
    waiting: Option<Waiting>,
    looked: bool,
}

impl Guard {
    /// For how long an event has waited.
    fn look(&mut self, look: &Look<'_>, now: Instant) -> Duration {
        let log = look.log;
        let waiting = self.waiting.take().filter(|one| one.epoch == log.epoch);
        if let Some(mut one) = waiting {
            if one.size.is_none() && log.last_seq >= one.seq {
                one.size = Some(log.size);
            }
            if one.size.is_none_or(|size| log.signed_size < size) {
                let waits = now.saturating_duration_since(one.since);
                self.waiting = Some(one);
                return waits;
            }
        }
        if look.last > log.last_seq || log.signed_size < log.size {
            // The process before this one may have waited for it as well.
            let before = if self.looked {
                Duration::ZERO
            } else {
                look.age
            };
            self.waiting = Some(Waiting {
                epoch: log.epoch,
                seq: look.last,
                size: None,
                since: now.checked_sub(before).unwrap_or(now),
            });
        }
        self.looked = true;
        let waiting = self.waiting.as_ref();
        waiting.map_or(Duration::ZERO, |one| {
            now.saturating_duration_since(one.since)
        })
    }
}

/// The log of an epoch that none was begun in: each event waits for it.
const fn none_yet(epoch: u64) -> Log {
    Log {
        epoch,
        after_seq: 0,
        last_seq: 0,
        size: 0,
        pruned: 0,
        sealed_key: Vec::new(),
        vkey: String::new(),
        signed_size: 0,
        checkpoint: String::new(),
        witnessed_size: 0,
        witnessed: String::new(),
        copied_size: 0,
    }
}

/// When the oldest event happened that nobody has signed for, in milliseconds since 1970, if it is still there.
fn oldest_unsigned(tx: &mut Tx<'_>, log: &Log) -> skans_store::Result<Option<u64>> {
    if log.signed_size == log.size {
        let waiting = log::unlogged(tx, log, 1)?;
        return Ok(waiting.first().map(|event| event.time_ms));
    }
    let (bundle, place) = (log.signed_size / WIDTH, log.signed_size % WIDTH);
    let entries = log::entries(tx, log, bundle)?;
    let entry = entries.get(usize::try_from(place).unwrap_or(usize::MAX));
    let event: Option<Value> = entry.and_then(|body| serde_json::from_str(body).ok());
    // What an agent told happened when the agent says; it came when we say.
    Ok(event.and_then(|event| {
        let came = event["metadata"]["logged_time"].as_u64();
        came.or_else(|| event["time"].as_u64())
    }))
}

/// What a look finds: the log, the newest event, and when the oldest that is not signed for happened, if that is asked for.
type Found = (Log, u64, Option<u64>);

fn find(tx: &mut Tx<'_>, first: bool) -> skans_store::Result<Found> {
    let epoch = meta::get(tx)?.map_or(0, |meta| meta.epoch);
    let last = events::last(tx)?;
    let Some(log) = log::get(tx, epoch)? else {
        return Ok((none_yet(epoch), last, None));
    };
    let told = if first {
        oldest_unsigned(tx, &log)?
    } else {
        None
    };
    Ok((log, last, told))
}

impl Control {
    /// Looks, until the process stops.
    pub(crate) async fn guard_log(self: Arc<Self>) {
        let mut turns = clock::turns(OFTEN);
        // The first look is when what a crash has left has its place.
        turns.reset();
        let patience = self.config.events.place_within;
        let mut guard = Guard::default();
        loop {
            tokio::select! {
                _ = turns.tick() => {}
                () = self.stopping.cancelled() => return,
            }
            let first = !guard.looked;
            // Without an answer nothing is known, and nothing changed.
            let Ok((log, last, told)) = self.store.read(move |tx| find(tx, first)).await else {
                continue;
            };
            let told = told.unwrap_or(u64::MAX);
            let look = Look {
                log: &log,
                last,
                age: Duration::from_millis(clock::milliseconds().saturating_sub(told)),
            };
            let stuck = guard.look(&look, Instant::now()) >= patience;
            if stuck == self.store.held().is_some() {
                continue;
            }
            if stuck {
                tracing::error!(
                    newest = last,
                    placed = log.last_seq,
                    signed = log.signed_size,
                    "the log stands still: no change is taken but what denies and forbids"
                );
                self.store.hold(Some(format!(
                    "an event has waited for its place in the log, or for its signature, for longer than events.placeWithin, {patience:?}"
                )));
            } else {
                tracing::info!("the log goes on, and changes are taken");
                self.store.hold(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(epoch: u64, last_seq: u64, size: u64, signed_size: u64) -> Log {
        Log {
            last_seq,
            size,
            signed_size,
            ..none_yet(epoch)
        }
    }

    /// The seconds that something has waited, after looks at (second, log, newest event).
    fn after(age: u64, looks: &[(u64, Log, u64)]) -> Vec<u64> {
        let (mut guard, now) = (Guard::default(), Instant::now() + Duration::from_secs(3600));
        let looks = looks.iter().map(|(second, log, last)| {
            let (last, age) = (*last, Duration::from_secs(age));
            let look = Look { log, last, age };
            guard
                .look(&look, now + Duration::from_secs(*second))
                .as_secs()
        });
        looks.collect()
    }

    #[test]
    fn an_event_waits_until_it_has_a_place_and_that_is_signed() {
        let looks = [
            (0, log(1, 5, 5, 5), 5),
            (2, log(1, 5, 5, 5), 6),
            (10, log(1, 5, 5, 5), 9),
            // It has its place, and nobody has signed.
            (20, log(1, 9, 9, 5), 9),
            (30, log(1, 12, 12, 8), 12),
            (32, log(1, 12, 12, 12), 12),
            (34, log(1, 12, 12, 12), 12),
        ];
        assert_eq!(after(0, &looks), [0, 0, 8, 18, 28, 0, 0]);
    }

    #[test]
    fn one_entry_now_and_then_is_stuck_as_well() {
        let looks: Vec<_> = (0..100)
            .map(|turn| (turn * 10, log(1, turn, turn, turn), 50 + turn * 10))
            .collect();
        let waits = after(0, &looks);
        assert!(waits.iter().any(|seconds| *seconds >= 300), "{waits:?}");
        // A log that is behind and catches up is not.
        let looks: Vec<_> = (0..100)
            .map(|turn| {
                (
                    turn * 10,
                    log(1, turn * 9, turn * 9, turn * 9),
                    20 + turn * 9,
                )
            })
            .collect();
        let waits = after(0, &looks);
        assert!(waits.iter().all(|seconds| *seconds <= 30), "{waits:?}");
    }

    #[test]
    fn what_waited_in_the_process_before_counts_and_another_log_begins_anew() {
        let looks = [(0, log(1, 5, 5, 5), 6), (2, log(1, 5, 5, 5), 6)];
        assert_eq!(after(400, &looks), [400, 402]);
        let looks = [
            (0, log(1, 5, 5, 5), 6),
            (2, log(2, 0, 0, 0), 7),
            (4, log(2, 7, 2, 2), 7),
        ];
        assert_eq!(after(0, &looks), [0, 0, 0]);
        // What has its place and no signature counts as well.
        let looks = [(0, log(1, 6, 6, 5), 6), (2, log(1, 6, 6, 6), 6)];
        assert_eq!(after(400, &looks), [400, 0]);
        // All is signed: how old the newest is means nothing.
        assert_eq!(after(400, &[(0, log(1, 5, 5, 5), 5)]), [0]);
    }
}
