//! No log, no change: where events get no place in the log for long, nothing else is issued or changed. What denies and forbids goes on, and
//! is told of in events that wait with the others.
//!
//! An event is kept with its change, but until it has its place, whoever has the database can change it unseen. So this must not last.

use std::sync::Arc;
use std::time::{Duration, Instant};

use skans_store::{events, log, meta};
use tokio::time::MissedTickBehavior;

use crate::state::Control;

/// Between two looks. Every replica looks for itself: whichever is the writer may be what is stuck.
const OFTEN: Duration = Duration::from_secs(2);

/// The number of the last event that has a place, and since when that is so while others wait.
#[derive(Default)]
struct Waiting(Option<(u64, Instant)>);

impl Waiting {
    /// For how long no event has got a place, of `last`, of which those up to `placed` have one.
    fn look(&mut self, placed: u64, last: u64, now: Instant) -> Duration {
        if last <= placed {
            self.0 = None;
            return Duration::ZERO;
        }
        match self.0 {
            Some((before, since)) if before == placed => now.saturating_duration_since(since),
            _ => {
                self.0 = Some((placed, now));
                Duration::ZERO
            }
        }
    }
}

impl Control {
    /// Looks, until the process stops.
    pub(crate) async fn guard_log(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(OFTEN);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let patience = self.config.events.place_within;
        let mut waiting = Waiting::default();
        loop {
            tokio::select! {
                _ = ticks.tick() => {}
                () = self.stopping.cancelled() => return,
            }
            let looked = self.store.read(|tx| {
                let epoch = meta::get(tx)?.map_or(0, |meta| meta.epoch);
                let placed = log::get(tx, epoch)?.map_or(0, |log| log.last_seq);
                Ok((placed, events::last(tx)?))
            });
            // Without an answer nothing is known, and nothing changed.
            let Ok((placed, last)) = looked.await else {
                continue;
            };
            let waits = waiting.look(placed, last, Instant::now());
            let stuck = waits >= patience;
            if stuck == self.store.held().is_some() {
                continue;
            }
            if stuck {
                let count = last.saturating_sub(placed);
                tracing::error!(
                    events = count,
                    "no event has got a place in the log for {waits:?}: no change is taken but what denies and forbids"
                );
                self.store.hold(Some(format!(
                    "{count} events have waited for their place in the log for longer than events.placeWithin, {patience:?}"
                )));
            } else {
                tracing::info!("events get their place in the log again, and changes are taken");
                self.store.hold(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_waits_while_something_does_and_nothing_moves() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        let mut look = |placed, last, seconds| {
            let waits = waiting.look(placed, last, now + Duration::from_secs(seconds));
            waits.as_secs()
        };
        assert_eq!(look(5, 5, 0), 0);
        assert_eq!(look(5, 5, 100), 0);
        assert_eq!(look(5, 6, 101), 0);
        assert_eq!(look(5, 9, 111), 10);
        // Slow is not stuck.
        assert_eq!(look(6, 20, 200), 0);
        assert_eq!(look(6, 20, 203), 3);
        assert_eq!(look(20, 20, 204), 0);
        assert_eq!(look(20, 21, 300), 0);
    }
}
