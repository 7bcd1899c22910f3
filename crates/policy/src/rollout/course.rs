//! The course of a roll-out: what comes next, from what is known. Without a store, a clock or a network of its own; whoever drives
//! it hands all of that in.
//!
//! **What goes back by itself, and what never does.** Only a candidate that may permit as well as deny more goes back: one that
//! tightens denies on purpose, and taking it back would widen. Only what the set in force permits counts as good: it has an author and another
//! person who approved it. What is denied anyway, however often somebody asks, is no difference and counts nothing. One principal counts
//! for a tenth of what it takes at most, one agent for a half, and so do all the principals whose certificates one agent asked for: who holds one
//! node, or one host, can have a roll-out stopped, and not taken back. What one of the candidate's own forbids denies is no reason either: forbids stay when it is taken back, and would
//! reach all other agents with that.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::cohort::Cohorts;
use super::relation::Relation;

/// The longest time that a gate may ask for: as long as a set lives by default.
pub const MAX_TIME: Duration = Duration::from_secs(7 * 24 * 3600);
/// The smallest and the largest number of good decisions that are denied before a candidate goes back by itself: ten, since each principal counts
/// for a tenth.
pub const MIN_TRIGGER: u64 = 10;
/// See [`MIN_TRIGGER`].
pub const MAX_TRIGGER: u64 = 1_000_000;

/// How a candidate is rolled out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How long it is only compared with the set in force; zero for not at all.
    pub dry_run: Duration,
    /// Who gets it, one after the other, before all do.
    pub cohorts: Cohorts,
    /// How long each cohort has it before the next one gets it.
    pub time: Duration,
    /// How many decisions of what the set in force permits agents of a stage must have told of before the next one begins. What is denied
    /// anyway says nothing about a candidate, and anybody can have it denied as often as he likes.
    pub decisions: u64,
    /// How many good decisions a cohort denies before the candidate goes back by itself.
    pub trigger: u64,
}

impl Default for Plan {
    /// Ten minutes each: longer than what runs every few minutes takes to come round, short enough for a working day to see all of it. A tenth and
    /// a half: a mistake meets few first, and what is left after a half is little that is new. A thousand decisions: one in a hundred that breaks is
    /// missed by them once in twenty thousand times. A hundred that are denied, ten for each of ten principals: fewer could be one mishap told often.
    /// OPA and Istio have nothing of the kind.
    fn default() -> Self {
        Self {
            dry_run: Duration::from_secs(600),
            cohorts: "10%,50%".parse().unwrap_or_default(),
            time: Duration::from_secs(600),
            decisions: 1000,
            trigger: 100,
        }
    }
}

impl Plan {
    /// Says what is wrong with it.
    ///
    /// # Errors
    /// A sentence: what was found, what was wanted.
    pub fn check(&self) -> Result<(), String> {
        if self.dry_run > MAX_TIME || self.time > MAX_TIME {
            return Err(format!(
                "time: found {} s and {} s, wanted at most {} s",
                self.dry_run.as_secs(),
                self.time.as_secs(),
                MAX_TIME.as_secs()
            ));
        }
        if !(MIN_TRIGGER..=MAX_TRIGGER).contains(&self.trigger) {
            return Err(format!(
                "trigger: found {}, wanted {MIN_TRIGGER} to {MAX_TRIGGER}",
                self.trigger
            ));
        }
        if self.dry_run.is_zero() && self.cohorts.is_empty() {
            return Err("found neither a dry run nor a cohort, wanted one of them; to put a set in force at once: approve".to_owned());
        }
        Ok(())
    }

    /// Where it begins.
    #[must_use]
    pub const fn first(&self) -> Stage {
        if self.dry_run.is_zero() {
            Stage::Cohort(1)
        } else {
            Stage::DryRun
        }
    }

    /// What comes after a stage.
    #[must_use]
    pub fn after(&self, stage: Stage) -> Stage {
        let cohorts = u8::try_from(self.cohorts.len()).unwrap_or(u8::MAX);
        match stage {
            Stage::DryRun if cohorts > 0 => Stage::Cohort(1),
            Stage::Cohort(n) if n < cohorts => Stage::Cohort(n + 1),
            Stage::DryRun | Stage::Cohort(_) => Stage::All,
            over => over,
        }
    }
}

/// How far a roll-out is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The candidate decides nowhere. Agents say what it would decide.
    DryRun,
    /// It decides on the agents of so many cohorts, from 1.
    Cohort(u8),
    /// It is in force.
    All,
    /// It was taken back, or another set came into force.
    Over,
}

/// One agent's word about one principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report<'a> {
    /// Who says it.
    pub agent: &'a str,
    /// Who was, or would be, denied what the set in force permits.
    pub principal: &'a str,
    /// The agents that hold a certificate of that name.
    pub holders: &'a [String],
    /// How often.
    pub count: u64,
    /// By a forbid, and not for want of a permit.
    pub forbidden: bool,
}

/// What was found out in a stage.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Good decisions that are denied, each principal counted for a tenth of the trigger at most, each agent for a half, whether it tells of them or
    /// its nodes asked.
    pub weight: u64,
    /// How many principals that is about.
    pub principals: u64,
    /// Whether anything good is denied at all.
    pub any: bool,
    /// Whether one of the candidate's forbids denies something good.
    pub forbidden: bool,
}

impl Found {
    /// Weighs what agents say.
    #[must_use]
    pub fn weigh<'a>(reports: impl Iterator<Item = Report<'a>>, trigger: u64) -> Self {
        let (tenth, half) = (trigger / 10, trigger.div_ceil(2));
        let mut found = Self::default();
        let mut by_principal = BTreeMap::<&str, u64>::new();
        let mut by_agent = BTreeMap::<&str, BTreeMap<&str, u64>>::new();
        let mut held_by = BTreeMap::<&str, BTreeSet<&str>>::new();
        let mut principals = BTreeSet::new();
        for report in reports.filter(|report| report.count > 0) {
            found.any = true;
            principals.insert(report.principal);
            if report.forbidden {
                found.forbidden = true;
                continue;
            }
            let add = |sum: &mut u64| *sum = sum.saturating_add(report.count).min(tenth);
            add(by_principal.entry(report.principal).or_default());
            for holder in report.holders {
                held_by.entry(holder).or_default().insert(report.principal);
            }
            let told = by_agent.entry(report.agent).or_default();
            add(told.entry(report.principal).or_default());
        }
        found.principals = u64::try_from(principals.len()).unwrap_or(u64::MAX);
        let of_principals: u64 = by_principal.values().sum();
        let of_agents: u64 = by_agent
            .values()
            .map(|told| told.values().sum::<u64>().min(half))
            .sum();
        // Whoever holds one host may be behind all that its nodes asked.
        let without_one = held_by.values().map(|principals| {
            let held = principals.iter().filter_map(|name| by_principal.get(name));
            let held: u64 = held.sum();
            of_principals - held + held.min(half)
        });
        let of_holders = without_one.min().unwrap_or(of_principals);
        found.weight = of_principals.min(of_agents).min(of_holders);
        found
    }
}

/// What is known of a roll-out.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// How far it is.
    pub stage: Stage,
    /// What the candidate is to the set in force.
    pub relation: Relation,
    /// It stands still, by a person or by itself.
    pub held: bool,
    /// It was put in force because of an emergency: nothing about it happens by itself.
    pub emergency: bool,
    /// A set is known that forbids no less than both ([`super::going_back`]).
    pub way_back: bool,
    /// Since the stage began.
    pub age: Duration,
    /// How many agents of it have told of something, if it was nothing but that they decide.
    pub agents: u64,
    /// How many decisions they have told of, of what the set in force permits.
    pub decisions: u64,
    /// What they have told of.
    pub found: Found,
}

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing yet, or nothing more.
    Wait,
    /// The next stage.
    Advance,
    /// Stand still until a person says how to go on, and page one.
    Hold(Why),
    /// Take it back.
    GoBack,
}

/// Why it stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Something is denied that the set in force permits.
    Denied,
    /// No agent told of anything.
    Nobody,
}

impl Why {
    /// For people.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Denied => "it denies what the set in force permits",
            Self::Nobody => {
                "its time is over, and no agent has told of anything: none is in the cohort, or none knows roll-outs"
            }
        }
    }
}

/// What comes next.
#[must_use]
pub fn next(plan: &Plan, facts: &Facts) -> Next {
    let time = match facts.stage {
        Stage::All | Stage::Over => return Next::Wait,
        Stage::DryRun => plan.dry_run,
        Stage::Cohort(_) => plan.time,
    };
    if facts.emergency {
        return Next::Wait;
    }
    let goes_back = matches!(facts.stage, Stage::Cohort(_))
        && facts.relation == Relation::Mixed
        && facts.way_back
        && !facts.found.forbidden
        && facts.found.weight >= plan.trigger;
    if goes_back {
        return Next::GoBack;
    }
    if facts.held {
        return Next::Wait;
    }
    if facts.found.any {
        return Next::Hold(Why::Denied);
    }
    if facts.age < time {
        return Next::Wait;
    }
    if facts.agents == 0 {
        return Next::Hold(Why::Nobody);
    }
    if facts.decisions >= plan.decisions {
        return Next::Advance;
    }
    Next::Wait
}
