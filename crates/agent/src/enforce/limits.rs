//! How much a peer may send, whatever it may do: the size of messages, how many and how many bytes in a second, and how many
//! atoms it may make in a node. Who goes too fast is read more slowly; what can never be mended ends the link.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Deserialize;
use skans_dist::stream::MAX_FRAME;
use skans_handover::TableParts;

use super::key::Key;

/// Limits for each peer of each node of this host.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LimitsConfig {
    /// The longest message, in bytes: a frame, or all frames of a message in fragments, which the receiving node keeps until
    /// the last one is there. One that is longer ends the link, as soon as that is known. 1 GiB, since the node sets the memory
    /// aside as soon as it knows the length of a frame, and lets through what applications that work at all send. It is a
    /// limit of each message: a peer may have 4,096 under way. OTP has no limit; WhatsApp's filter has none either.
    pub message_bytes: u32,
    /// Messages in a second, on average over one second; 0 for no limit. Off: what is ordinary differs by a factor of ten
    /// thousand between applications, and who is slowed down without need looks like a network that is broken.
    pub messages_per_second: u32,
    /// Bytes in a second, likewise.
    pub bytes_per_second: u64,
    /// Different atoms that a peer may make in a node's life; one more ends the link, and the next ones as well, until the
    /// node is restarted. A node that has 1,048,576 of them (`+t`) ends by itself, and never forgets any: 100,000 are a
    /// tenth. An application knows some ten thousand, and both nodes of a cluster know them already. Counted are those
    /// that come through the atom cache, and all that stand in messages literally as far as these are looked at.
    pub new_atoms: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            message_bytes: MAX_FRAME,
            messages_per_second: 0,
            bytes_per_second: 0,
            new_atoms: 100_000,
        }
    }
}

/// So much in a second, with a second's worth saved up. Takes what is asked, and says how long to wait for it afterwards.
#[derive(Clone, Debug)]
pub struct Bucket {
    /// In a second; 0 for no limit.
    rate: u64,
    /// May be below zero: what was taken before it was there.
    tokens: f64,
    filled: Option<Instant>,
}

impl Bucket {
    pub const fn new(rate: u64) -> Self {
        Self {
            rate,
            tokens: 0.0,
            filled: None,
        }
    }

    /// Takes `count` away. No clock is looked at where there is no limit.
    pub fn take(&mut self, count: u64) {
        if self.rate > 0 {
            self.tokens -= real(count);
        }
    }

    /// How long nothing more may come.
    pub fn debt(&mut self, now: Instant) -> Duration {
        if self.rate == 0 {
            return Duration::ZERO;
        }
        let rate = real(self.rate);
        let since = self.filled.replace(now);
        let gained = since.map_or(rate, |since| {
            now.saturating_duration_since(since).as_secs_f64() * rate
        });
        self.tokens = (self.tokens + gained).min(rate);
        if self.tokens >= 0.0 {
            return Duration::ZERO;
        }
        // A node whose ticks come late is taken for dead: never longer than a second at once.
        Duration::from_secs_f64((-self.tokens / rate).min(1.0))
    }
}

/// A count as the nearest number with a fraction: 2^53 messages are more than any link carries.
#[expect(
    clippy::cast_precision_loss,
    reason = "off by a millionth where it is off at all"
)]
const fn real(count: u64) -> f64 {
    count as f64
}

/// The atoms that a peer has made in a node.
#[derive(Debug)]
pub struct Atoms {
    most: usize,
    key: Key,
    seen: Mutex<HashSet<u64>>,
}

impl Atoms {
    pub fn new(most: usize) -> Self {
        Self {
            most,
            key: Key::new(),
            seen: Mutex::default(),
        }
    }

    /// What another process has seen.
    pub fn thaw(most: usize, parts: &TableParts) -> Self {
        Self {
            most,
            key: Key::of(parts.key),
            // One more than may be: it stays as full as it was.
            seen: Mutex::new(parts.young.iter().copied().take(most + 1).collect()),
        }
    }

    /// What another process has to know.
    pub fn freeze(&self) -> TableParts {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        TableParts {
            key: self.key.bytes(),
            young: seen.iter().copied().collect(),
            old: Vec::new(),
        }
    }

    /// Takes note of atoms; `false` if there are too many.
    pub fn note<'a>(&self, atoms: impl Iterator<Item = &'a str>) -> bool {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        for atom in atoms {
            if seen.len() > self.most {
                return false;
            }
            seen.insert(self.key.of_text(atom));
        }
        seen.len() <= self.most
    }
}
