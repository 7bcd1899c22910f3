//! Gateways that answer and do not get through while others do: they are asked last for a while. One that does not answer at all is a
//! matter of its circuit (`breaker`).
//!
//! What counts is the comparison: a gateway has failed where another one then got through to the same node. If none does, the
//! node is what cannot be reached, and nobody is to blame.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[cfg(test)]
mod tests;

/// Failures in a row that make one an outlier. 3, as for circuits; Envoy and Istio take 5, of requests that come by the thousand.
const IN_A_ROW: u32 = 3;
/// For how long it is asked last; twice as long each time that it happens again. Envoy and Istio begin with 30 s as well.
const LEAST: Duration = Duration::from_secs(30);
/// The longest time; as Envoy's `max_ejection_time`.
const MOST: Duration = Duration::from_secs(300);
/// Gateways that are remembered. There are some for each link; beyond the bound all are forgotten, and asked in their order.
const REMEMBERED: usize = 1024;

/// How gateways have done lately.
#[derive(Debug, Default)]
pub struct Outliers {
    known: Mutex<HashMap<String, Known>>,
    ejected: AtomicU64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    failures: u32,
    /// How often it was asked last for a while, without having got through since.
    times: u32,
    until: Instant,
}

impl Outliers {
    /// The same gateways, in their order; those that are to be asked last, last. None is ever left out: the worst of them is better
    /// than none.
    #[must_use]
    pub fn last<'a>(&self, addresses: &'a [String], now: Instant) -> Vec<&'a String> {
        let known = self.known();
        let is_last = |address: &&String| known.get(*address).is_some_and(|one| one.until > now);
        let (last, first): (Vec<_>, Vec<_>) = addresses.iter().partition(is_last);
        [first, last].concat()
    }

    /// `by` got through where these did not.
    pub fn got_through(&self, by: &str, failed: &[&String], now: Instant) {
        let mut known = self.known();
        known.remove(by);
        for address in failed {
            if known.len() >= REMEMBERED {
                known.clear();
            }
            let one = known.entry((*address).clone()).or_insert(Known {
                failures: 0,
                times: 0,
                until: now,
            });
            one.failures += 1;
            if one.failures < IN_A_ROW {
                continue;
            }
            one.failures = 0;
            one.until = now + LEAST.saturating_mul(1 << one.times.min(8)).min(MOST);
            one.times = one.times.saturating_add(1);
            self.ejected.fetch_add(1, Relaxed);
            tracing::warn!(gateway = %address, "it did not get through where others did: it is asked last for a while");
        }
    }

    /// How often one was found.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.ejected.load(Relaxed)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
