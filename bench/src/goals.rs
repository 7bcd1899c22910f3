//! What the data plane must show, beside what was found.

use std::fmt::Write as _;

use crate::opponents::Opponent;
use crate::rounds::Results;
use crate::sample::Sample;
use crate::stats::{median, spread};

/// How a figure is made of one round.
#[derive(Clone, Copy)]
enum Figure {
    /// What Skans reached, divided by what the other did.
    Ratio,
    /// What Skans adds to plain TCP, divided by what the other adds.
    Added,
}

/// A bound.
#[derive(Clone, Copy)]
enum Bound {
    Least(f64),
    Most(f64),
}

struct Goal {
    title: &'static str,
    sample: Sample,
    /// Which value of the sample.
    row: usize,
    figure: Figure,
    other: Opponent,
    bound: Bound,
}

const GOALS: [Goal; 18] = {
    const fn goal(
        title: &'static str,
        (sample, row): (Sample, usize),
        other: Opponent,
        bound: Bound,
    ) -> Goal {
        Goal {
            title,
            sample,
            row,
            figure: Figure::Ratio,
            other,
            bound,
        }
    }
    const fn added(other: Opponent, row: usize, title: &'static str) -> Goal {
        Goal {
            figure: Figure::Added,
            ..goal(title, (Sample::Calls, row), other, Bound::Most(0.8))
        }
    }
    use Bound::{Least, Most};
    use Opponent::{Haproxy, Relays, Stunnel, Tls, TunedTls, Unjudged};
    const SMALL: (Sample, usize) = (Sample::Messages(64, 32), 0);
    const BULK: (Sample, usize) = (Sample::Bulk1M, 0);
    [
        goal("bytes/s at 1 MiB", BULK, TunedTls, Least(1.15)),
        goal("bytes/s at 1 MiB", BULK, Tls, Least(10.0)),
        goal("bytes/s at 1 MiB", BULK, Relays, Least(0.7)),
        goal("bytes/s at 1 MiB", BULK, Stunnel, Least(1.2)),
        goal("bytes/s at 1 MiB", BULK, Haproxy, Least(1.2)),
        goal("messages/s, 64 B, 32 senders", SMALL, TunedTls, Least(1.8)),
        goal("call p50", (Sample::Calls, 0), TunedTls, Most(1.25)),
        goal("call p99", (Sample::Calls, 1), TunedTls, Most(1.25)),
        added(Stunnel, 0, "added to call p50"),
        added(Haproxy, 0, "added to call p50"),
        goal(
            "calls/s, 64 callers",
            (Sample::Callers, 0),
            Relays,
            Least(0.9),
        ),
        goal(
            "connection set-up p50",
            (Sample::SetUp, 0),
            TunedTls,
            Most(0.5),
        ),
        goal("CPU per GB", (Sample::Bulk1M, 1), TunedTls, Most(1.1)),
        goal(
            "sender's peak memory",
            (Sample::Memory, 0),
            TunedTls,
            Most(0.25),
        ),
        goal("bytes/s at 1 MiB", BULK, Unjudged, Least(0.95)),
        goal("messages/s, 64 B, 32 senders", SMALL, Unjudged, Least(0.95)),
        goal("call p50", (Sample::Calls, 0), Unjudged, Most(1.05)),
        goal("call p99", (Sample::Calls, 1), Unjudged, Most(1.05)),
    ]
};

impl Goal {
    fn found(&self, results: &Results) -> Vec<f64> {
        let Self {
            sample, row, other, ..
        } = *self;
        match self.figure {
            Figure::Ratio => results.ratios(sample, row, Opponent::Skans, other),
            Figure::Added => {
                let added = |opponent| results.differences(sample, row, opponent, Opponent::Tcp);
                let ours = added(Opponent::Skans).into_iter();
                ours.zip(added(other))
                    .map(|(ours, theirs)| ours / theirs)
                    .collect()
            }
        }
    }
}

impl Bound {
    fn is_met(self, found: f64) -> bool {
        match self {
            Self::Least(bound) => found >= bound,
            Self::Most(bound) => found <= bound,
        }
    }
}

/// The table; empty if none of it was measured.
pub fn table(results: &Results) -> String {
    let mut text = String::new();
    for goal in &GOALS {
        let found = goal.found(results);
        let Some(middle) = median(&found) else {
            continue;
        };
        let wanted = match goal.bound {
            Bound::Least(bound) => format!("at least {bound}"),
            Bound::Most(bound) => format!("at most {bound}"),
        };
        let met = if goal.bound.is_met(middle) {
            "yes"
        } else {
            "**no**"
        };
        let _ = writeln!(
            text,
            "| {} | {} | {wanted} | {} | {met} |",
            goal.title,
            goal.other.title(),
            spread(&found, 2)
        );
    }
    if text.is_empty() {
        return text;
    }
    format!(
        "| figure of Skans | as a multiple of that of | wanted | found | met |\n|---|---|---|---|---|\n{text}"
    )
}
