//! Why a message is refused, and how many were: fixed sets, counted without a look-up.

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use skans_policy::{Action, Verdict};

/// Why a message is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum Reason {
    /// Nothing in the set permits it, or something forbids it.
    Policy,
    /// There is no set yet.
    Missing,
    /// The set has run out.
    Expired,
    /// What it asks for could not be seen, or is asked of a process of OTP in a way that nobody knows.
    Unknown,
    /// The two nodes have not agreed on this operation; receivers do not look.
    NotNegotiated,
    /// A limit of this peer is reached.
    Limit,
}

impl Reason {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Policy,
        Self::Missing,
        Self::Expired,
        Self::Unknown,
        Self::NotNegotiated,
        Self::Limit,
    ];

    /// A stable word for metrics and events.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Missing => "no_policy",
            Self::Expired => "policy_expired",
            Self::Unknown => "unknown_request",
            Self::NotNegotiated => "not_negotiated",
            Self::Limit => "limit",
        }
    }
}

/// Actions, and one place for messages whose action is not known.
const ACTIONS: usize = Action::ALL.len() + 1;
const REASONS: usize = Reason::ALL.len();
/// Permitted, then refused by each reason, then passed in a dry run by each reason.
const COLUMNS: usize = 1 + 2 * REASONS;

/// What was decided in one direction of a link. One writer, many readers.
#[derive(Debug)]
pub struct Decisions([[AtomicU64; COLUMNS]; ACTIONS]);

impl Default for Decisions {
    fn default() -> Self {
        Self(std::array::from_fn(|_| {
            std::array::from_fn(|_| AtomicU64::new(0))
        }))
    }
}

impl Decisions {
    /// Counts one. `reason` is of no matter where it is permitted.
    pub fn count(&self, verdict: Verdict, action: Action, reason: Reason) {
        self.bump(action as usize, verdict, reason);
    }

    /// Counts a message whose action is not known.
    pub fn count_unknown(&self, verdict: Verdict, reason: Reason) {
        self.bump(ACTIONS - 1, verdict, reason);
    }

    fn bump(&self, row: usize, verdict: Verdict, reason: Reason) {
        let column = match verdict {
            Verdict::Permit => 0,
            Verdict::Deny => 1 + reason as usize,
            Verdict::WouldDeny => 1 + REASONS + reason as usize,
        };
        if let Some(counter) = self.0.get(row).and_then(|row| row.get(column)) {
            // A plain load and store: nobody else writes.
            counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// All counts above zero: verdict, action, reason (empty where it is permitted), number.
    pub fn all(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> + '_ {
        self.0.iter().enumerate().flat_map(|(row, counters)| {
            let action = Action::ALL
                .get(row)
                .map_or("unknown", |action| action.as_str());
            counters
                .iter()
                .enumerate()
                .filter_map(move |(column, counter)| {
                    let count = counter.load(Relaxed);
                    let reason = |place: usize| Reason::ALL.get(place).map_or("", |r| r.label());
                    let (verdict, reason) = match column {
                        0 => (Verdict::Permit, ""),
                        refused if refused <= REASONS => (Verdict::Deny, reason(refused - 1)),
                        dry => (Verdict::WouldDeny, reason(dry - 1 - REASONS)),
                    };
                    (count > 0).then_some((verdict.as_str(), action, reason, count))
                })
        })
    }

    /// Adds another's counts; several links may end at once.
    pub fn add(&self, other: &Self) {
        for (mine, theirs) in self.0.iter().flatten().zip(other.0.iter().flatten()) {
            let count = theirs.load(Relaxed);
            if count > 0 {
                mine.fetch_add(count, Relaxed);
            }
        }
    }
}
