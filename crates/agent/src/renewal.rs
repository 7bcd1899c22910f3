//! When each certificate is renewed, and when a failed attempt is made again: a schedule without a clock, a source of
//! chance or a network of its own. Whoever drives it hands all three in.

use std::collections::BTreeMap;
use std::time::Duration;

/// A certificate is renewed once this part of its life is over: of an hour, fifty minutes remain in which nobody can
/// renew anything and nothing breaks. SPIRE and Istio renew at a half, Linkerd at 70 %.
const DUE: u32 = 6;
/// Renewals are spread over this part of a life, so that agents that started together do not ask together.
const SPREAD: u32 = 24;
/// The first wait after a failure; it doubles from there.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// The longest wait after a failure. A minute of an outage budget of fifty: soon enough after the control plane is
/// back, and ten thousand agents that ask once a minute are 170 requests a second.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A number from 0 to 1, drawn anew for each use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Chance(f64);

impl Chance {
    /// Takes what is in the range, and its nearer end otherwise.
    #[cfg(test)]
    #[must_use]
    pub const fn new(part: f64) -> Self {
        Self(part.clamp(0.0, 1.0))
    }

    /// From the system's random numbers; the middle if there are none.
    #[must_use]
    pub fn draw() -> Self {
        crate::random::<4>().map_or(Self(0.5), |bytes| {
            Self(f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX))
        })
    }

    /// This part of a time.
    #[must_use]
    pub fn of(self, most: Duration) -> Duration {
        most.mul_f64(self.0)
    }
}

/// The schedule. Times are since the Unix epoch.
#[derive(Debug, Default)]
pub struct Schedule(BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
struct Entry {
    serial: String,
    life: Duration,
    at: Duration,
    failures: u32,
}

impl Schedule {
    /// Somebody needs a certificate and has none: it is due at once.
    pub fn missing(&mut self, name: &str, now: Duration) {
        self.0.entry(name.to_owned()).or_insert(Entry {
            serial: String::new(),
            life: Duration::ZERO,
            at: now,
            failures: 0,
        });
    }

    /// A certificate with this serial number is in use. If it is another than before, it counts from now on.
    pub fn seen(
        &mut self,
        name: &str,
        serial: &str,
        since: Duration,
        end: Duration,
        chance: Chance,
    ) {
        if self.0.get(name).is_none_or(|entry| entry.serial != serial) {
            self.obtained(name, serial, since, end, chance);
        }
    }

    /// A certificate was obtained, at `since`, and ends at `end`.
    pub fn obtained(
        &mut self,
        name: &str,
        serial: &str,
        since: Duration,
        end: Duration,
        chance: Chance,
    ) {
        let life = end.saturating_sub(since);
        let at = since + life / DUE + chance.of(life / SPREAD);
        self.0.insert(
            name.to_owned(),
            Entry {
                serial: serial.to_owned(),
                life,
                at,
                failures: 0,
            },
        );
    }

    /// An attempt failed. The next wait is longer, up to a thirtieth of the certificate's life, a minute at most: a short
    /// life leaves little time. Half of it is chance, so that those who failed together do not come back together.
    pub fn failed(&mut self, name: &str, now: Duration, chance: Chance) {
        let Some(entry) = self.0.get_mut(name) else {
            return;
        };
        let most = match entry.life {
            Duration::ZERO => LONGEST_WAIT,
            life => (life / 30).clamp(FIRST_WAIT, LONGEST_WAIT),
        };
        let wait = FIRST_WAIT
            .saturating_mul(1 << entry.failures.min(16))
            .min(most);
        entry.at = now + wait / 2 + chance.of(wait / 2);
        entry.failures = entry.failures.saturating_add(1);
    }

    /// An authority is being replaced: renew this one soon, at some moment within this time. One that is due earlier stays
    /// so.
    pub fn hasten(&mut self, name: &str, now: Duration, chance: Chance, within: Duration) {
        if let Some(entry) = self.0.get_mut(name) {
            entry.at = entry.at.min(now + chance.of(within));
        }
    }

    /// Nobody needs it any more.
    pub fn forget(&mut self, wanted: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| wanted(name));
    }

    /// When something is due next; `None` if nothing is known.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        self.0.values().map(|entry| entry.at).min()
    }

    /// When this one is due.
    #[must_use]
    pub fn at(&self, name: &str) -> Option<Duration> {
        self.0.get(name).map(|entry| entry.at)
    }

    /// What is to be renewed now. Those that would be due a little later come along, so that the nodes of a host are
    /// renewed in one request; those that failed wait for their own time.
    #[must_use]
    pub fn due(&self, now: Duration) -> Vec<String> {
        if self.next().is_none_or(|next| next > now) {
            return Vec::new();
        }
        self.0
            .iter()
            .filter(|(_, entry)| {
                let early = if entry.failures == 0 {
                    entry.life / SPREAD
                } else {
                    Duration::ZERO
                };
                entry.at <= now + early
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests;
