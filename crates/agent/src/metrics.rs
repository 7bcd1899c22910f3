//! What the agent counts. Hot paths touch plain atomics of their own link; names and labels are
//! looked up only when somebody reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use skans_dist::control::Op;

use crate::enforce::Decisions;

/// Bytes and messages of one direction of a link. One writer, many readers.
#[derive(Debug)]
pub struct Counters {
    /// Bytes of the distribution stream, ticks and frame headers included.
    pub bytes: AtomicU64,
    /// Ticks.
    pub ticks: AtomicU64,
    operations: [AtomicU64; Op::COUNT],
    /// What was decided about its messages.
    pub decisions: Decisions,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            ticks: AtomicU64::new(0),
            operations: std::array::from_fn(|_| AtomicU64::new(0)),
            decisions: Decisions::default(),
        }
    }
}

impl Counters {
    /// Counts one message. A plain load and store: nobody else writes.
    pub fn message(&self, op: Op) {
        if let Some(counter) = self.operations.get(op.index()) {
            bump(counter, 1);
        }
    }

    /// Counts a tick.
    pub fn tick(&self) {
        bump(&self.ticks, 1);
    }

    /// Counts bytes.
    pub fn bytes(&self, count: usize) {
        bump(&self.bytes, count as u64);
    }

    /// Messages of all operations.
    #[must_use]
    pub fn messages(&self) -> u64 {
        self.operations.iter().map(|c| c.load(Relaxed)).sum()
    }

    /// Messages by operation, those with none left out.
    pub fn by_operation(&self) -> impl Iterator<Item = (Op, u64)> + '_ {
        Op::ALL
            .iter()
            .filter_map(|&op| Some((op, self.operations.get(op.index())?.load(Relaxed))))
            .filter(|(_, count)| *count > 0)
    }

    /// Adds another's counts; several links may end at once.
    pub fn add(&self, other: &Self) {
        self.bytes.fetch_add(other.bytes.load(Relaxed), Relaxed);
        self.ticks.fetch_add(other.ticks.load(Relaxed), Relaxed);
        for (mine, theirs) in self.operations.iter().zip(&other.operations) {
            mine.fetch_add(theirs.load(Relaxed), Relaxed);
        }
        self.decisions.add(&other.decisions);
    }
}

fn bump(counter: &AtomicU64, by: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
}

/// Both directions of a link: out of this host's node, and into it.
#[derive(Debug, Default)]
pub struct Traffic {
    /// From the local node to the peer.
    pub sent: Counters,
    /// From the peer to the local node.
    pub received: Counters,
}

impl Traffic {
    /// Adds another's counts.
    pub fn add(&self, other: &Self) {
        self.sent.add(&other.sent);
        self.received.add(&other.received);
    }
}
