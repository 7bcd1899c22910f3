//! Why a message is refused, and how many were: fixed sets, counted without a look-up.

use std::sync::OnceLock;
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
    /// The two nodes have not agreed on this operation, and receivers do not look; or no node writes it in this form, and a receiver ends
    /// with it.
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
/// Refused by each reason, then passed in a dry run by each reason.
const COLUMNS: usize = 2 * REASONS;

type Row<const N: usize> = [AtomicU64; N];

/// What was decided in one direction of a link. One writer, many readers.
#[derive(Debug)]
pub struct Decisions {
    permitted: Row<ACTIONS>,
    /// Most links never have any, and it is ten times as large.
    refused: OnceLock<Box<[Row<COLUMNS>; ACTIONS]>>,
}

impl Default for Decisions {
    fn default() -> Self {
        Self {
            permitted: zeros(),
            refused: OnceLock::new(),
        }
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
        let refused = || self.refused.get_or_init(all_zero).get(row);
        let counter = match verdict {
            Verdict::Permit => self.permitted.get(row),
            Verdict::Deny => refused().and_then(|row| row.get(reason as usize)),
            Verdict::WouldDeny => refused().and_then(|row| row.get(REASONS + reason as usize)),
        };
        if let Some(counter) = counter {
            // A plain load and store: nobody else writes.
            counter.store(counter.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// All counts above zero: verdict, action, reason (empty where it is permitted), number.
    pub fn all(
        &self,
    ) -> impl Iterator<Item = (&'static str, &'static str, &'static str, u64)> + '_ {
        let name = |row: usize| {
            Action::ALL
                .get(row)
                .map_or("unknown", |action| action.as_str())
        };
        let permitted = self.permitted.iter().enumerate();
        let permitted =
            permitted.map(move |(row, counter)| (Verdict::Permit, name(row), "", counter));
        let refused = self.refused.get().into_iter().flat_map(|rows| rows.iter());
        let refused = refused.enumerate().flat_map(move |(row, counters)| {
            counters.iter().enumerate().map(move |(column, counter)| {
                let verdict = if column < REASONS {
                    Verdict::Deny
                } else {
                    Verdict::WouldDeny
                };
                let reason = Reason::ALL.get(column % REASONS).map_or("", |r| r.label());
                (verdict, name(row), reason, counter)
            })
        });
        permitted
            .chain(refused)
            .filter_map(|(verdict, action, reason, counter)| {
                let count = counter.load(Relaxed);
                (count > 0).then_some((verdict.as_str(), action, reason, count))
            })
    }

    /// Adds another's counts; several links may end at once.
    pub fn add(&self, other: &Self) {
        let add = |mine: &AtomicU64, theirs: &AtomicU64| {
            let count = theirs.load(Relaxed);
            if count > 0 {
                mine.fetch_add(count, Relaxed);
            }
        };
        for (mine, theirs) in self.permitted.iter().zip(&other.permitted) {
            add(mine, theirs);
        }
        if let Some(theirs) = other.refused.get() {
            let mine = self.refused.get_or_init(all_zero);
            for (mine, theirs) in mine.iter().flatten().zip(theirs.iter().flatten()) {
                add(mine, theirs);
            }
        }
    }
}

fn zeros<const N: usize>() -> Row<N> {
    std::array::from_fn(|_| AtomicU64::new(0))
}

fn all_zero() -> Box<[Row<COLUMNS>; ACTIONS]> {
    Box::new(std::array::from_fn(|_| zeros()))
}
