//! The rounds: all opponents alive at once, each sample taken of one after the other, so that
//! whatever else the machine does hits none of them alone.

use std::time::Duration;

use crate::error::{Doing, Result};
use crate::limits;
use crate::opponents::{Opponent, Stage};
use crate::pair::{Pair, Shape};
use crate::quiet;
use crate::sample::{Effort, Row, Sample, Taken};

/// A sample into which more of others' work fell than this share of the machine is taken again.
const NOISY: f64 = 0.10;

/// What is to be done.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often everything is measured.
    pub rounds: usize,
    /// How much.
    pub effort: Effort,
    /// How long to wait for a quiet machine before each sample.
    pub patience: Duration,
    /// The name of the only samples that are taken; all unless given.
    pub only: Option<&'static str>,
    /// How often a sample is taken at most. The least disturbed one counts, whatever it says.
    pub tries: usize,
    /// The nodes that are started where many connections are measured.
    pub widest: Shape,
}

impl Plan {
    fn wants(&self, sample: Sample) -> bool {
        self.only.is_none_or(|name| name == sample.name())
            && sample
                .shape()
                .is_none_or(|shape| shape.a <= self.widest.a && shape.b <= self.widest.b)
    }
}

/// All that was measured.
#[derive(Debug, Default)]
pub struct Results {
    turns: Vec<Turn>,
    /// What the machine itself reached in each round; see [`limits::ROWS`].
    pub limits: Vec<[f64; 3]>,
    /// The share of the machine that others had, one for each sample.
    pub noise: Vec<f64>,
    /// How many samples were begun although the machine was not quiet.
    pub unquiet: usize,
    /// How many samples were taken again.
    pub repeated: usize,
}

/// A sample of all opponents in one round.
#[derive(Debug)]
struct Turn {
    sample: Sample,
    values: Vec<(Opponent, Vec<Option<f64>>)>,
}

impl Turn {
    fn value(&self, opponent: Opponent, row: usize) -> Option<f64> {
        let (_, values) = self.values.iter().find(|(other, _)| *other == opponent)?;
        *values.get(row)?
    }
}

impl Results {
    /// The rows of the tables: the sample, which of its values, and how to show it.
    pub fn rows() -> impl Iterator<Item = (Sample, usize, Row)> {
        Sample::ALL.into_iter().flat_map(|sample| {
            let rows = sample.rows().iter().copied().enumerate();
            rows.map(move |(at, row)| (sample, at, row))
        })
    }

    /// What an opponent reached in a row, one value for each round.
    pub fn values(&self, sample: Sample, row: usize, opponent: Opponent) -> Vec<f64> {
        self.turns(sample)
            .filter_map(|turn| turn.value(opponent, row))
            .collect()
    }

    /// The same, divided by what another reached in the same round.
    pub fn ratios(&self, sample: Sample, row: usize, opponent: Opponent, by: Opponent) -> Vec<f64> {
        self.turns(sample)
            .filter_map(|turn| Some(turn.value(opponent, row)? / turn.value(by, row)?))
            .collect()
    }

    fn turns(&self, sample: Sample) -> impl Iterator<Item = &Turn> {
        self.turns.iter().filter(move |turn| turn.sample == sample)
    }

    /// What an opponent took more than another in the same round.
    pub fn differences(
        &self,
        sample: Sample,
        row: usize,
        opponent: Opponent,
        less: Opponent,
    ) -> Vec<f64> {
        self.turns(sample)
            .filter_map(|turn| Some(turn.value(opponent, row)? - turn.value(less, row)?))
            .collect()
    }

    /// What the machine itself reached: one row of [`limits::ROWS`].
    pub fn limit(&self, row: usize) -> Vec<f64> {
        let of_round = |values: &[f64; 3]| values.get(row).copied();
        self.limits.iter().filter_map(of_round).collect()
    }

    /// Measures everything.
    pub async fn measure(plan: Plan, stage: &Stage) -> Result<Self> {
        let mut results = Self::default();
        for round in 0..plan.rounds {
            quiet::wait(plan.patience).await?;
            results.limits.push(limits::measure(plan.effort.load)?);
            for shape in [Shape::PAIR, plan.widest] {
                results.round(plan, stage, shape, round).await?;
            }
        }
        Ok(results)
    }

    /// The samples that are taken of so many nodes.
    async fn round(&mut self, plan: Plan, stage: &Stage, shape: Shape, round: usize) -> Result<()> {
        let is_wide = shape != Shape::PAIR;
        let samples: Vec<_> = Sample::ALL
            .into_iter()
            .filter(|sample| sample.shape().is_some() == is_wide && plan.wants(*sample))
            .collect();
        let mut pairs = Vec::new();
        for opponent in stage.opponents() {
            if !samples.is_empty() && (opponent.is_wide() || !is_wide) {
                pairs.push(Pair::start(opponent, stage, shape, round).await?);
            }
        }
        for (turn, sample) in samples.into_iter().enumerate() {
            // Nobody is always first, or always behind the same one.
            pairs.sort_by_key(|pair| pair.opponent as usize);
            let first = (round + turn) % pairs.len();
            pairs.rotate_left(first);
            let mut values = Vec::new();
            for pair in &mut pairs {
                values.push((pair.opponent, self.take(sample, pair, plan).await?));
            }
            eprintln!(
                "round {} of {}: {}",
                round + 1,
                plan.rounds,
                progress(sample, &values)
            );
            self.turns.push(Turn { sample, values });
        }
        Ok(())
    }

    /// One sample of one opponent, as little disturbed as can be had.
    async fn take(
        &mut self,
        sample: Sample,
        pair: &mut Pair,
        plan: Plan,
    ) -> Result<Vec<Option<f64>>> {
        let mut best: Option<Taken> = None;
        for attempt in 0..plan.tries {
            // Memory is read, not measured.
            if sample != Sample::Memory && !quiet::wait(plan.patience).await? {
                self.unquiet += 1;
            }
            self.repeated += usize::from(attempt > 0);
            let taken = sample
                .take(pair, plan.effort)
                .await
                .doing(pair.opponent.title())?;
            if best
                .as_ref()
                .is_none_or(|best| taken.used.others < best.used.others)
            {
                best = Some(taken);
            }
            let noise = best.as_ref().map_or(1.0, |best| best.used.others);
            if noise <= NOISY {
                break;
            }
        }
        let Some(best) = best else {
            return Ok(Vec::new());
        };
        if sample != Sample::Memory {
            self.noise.push(best.used.others);
        }
        Ok(best.values)
    }
}

/// A line for whoever waits.
fn progress(sample: Sample, values: &[(Opponent, Vec<Option<f64>>)]) -> String {
    let Some(row) = sample.rows().first() else {
        return String::new();
    };
    let mut values: Vec<_> = values.iter().collect();
    values.sort_by_key(|(opponent, _)| *opponent as usize);
    let digits = row.digits;
    let shown: Vec<_> = values
        .into_iter()
        .map(|(opponent, values)| {
            let first = values.first().copied().flatten().unwrap_or_default();
            format!("{} {first:.digits$}", opponent.title())
        })
        .collect();
    format!("{}: {}", row.title, shown.join(", "))
}
