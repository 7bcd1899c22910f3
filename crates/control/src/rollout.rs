//! Roll-outs of policy sets: one at a time, begun and taken on by people who approve, held, ended or taken back by them or by itself
//! (docs/decisions/0025). What comes next is decided in `skans_policy::rollout`, done by the writer in `drive`; what agents tell is
//! taken in in `told`; forbids that wait for no stage are in `forbid`.

mod drive;
mod forbid;
mod told;

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use skans_policy::rollout::{Plan, Stage, going_back, relate};
use skans_policy::{Source, Version};
use skans_store::policies::{self, PolicySet, State};
use skans_store::rollouts::{self, Rollout};
use skans_store::writer::Epoch;
use skans_store::{Tx, bounds};

use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::By;
use crate::news::News;
use crate::policies::{Checked, Countersigned};
use crate::state::Control;
use crate::writer::Urgency;

pub(crate) use drive::{found, heard_by};

/// The roll-out that is under way, as agents hear of it.
#[derive(Debug)]
pub(crate) struct UnderWay {
    pub(crate) row: Rollout,
    pub(crate) plan: Plan,
    pub(crate) stage: Stage,
    pub(crate) candidate: Arc<Countersigned>,
}

impl UnderWay {
    /// The number of the cohort that the agent of a host is in, if the candidate decides there; else 0.
    pub(crate) fn cohort_of(&self, host: &str) -> u8 {
        match self.stage {
            Stage::Cohort(n) if self.plan.cohorts.has(usize::from(n), host) => n,
            _ => 0,
        }
    }
}

/// A plan, as the store has it.
#[derive(Debug, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Kept {
    dry_run: u64,
    cohorts: String,
    time: u64,
    decisions: u64,
    trigger: u64,
}

fn keep(plan: &Plan) -> String {
    let kept = Kept {
        dry_run: plan.dry_run.as_secs(),
        cohorts: plan.cohorts.to_string(),
        time: plan.time.as_secs(),
        decisions: plan.decisions,
        trigger: plan.trigger,
    };
    // Numbers and a text: nothing that JSON does not have.
    serde_json::to_string(&kept).unwrap_or_default()
}

/// What [`keep`] wrote.
///
/// # Errors
/// [`Error::Internal`] for anything else.
pub(crate) fn plan(row: &Rollout) -> Result<Plan, Error> {
    let wrong = |problem: String| Error::Internal(format!("roll-out {}: {problem}", row.id));
    let kept: Kept = serde_json::from_str(&row.plan).map_err(|error| wrong(error.to_string()))?;
    Ok(Plan {
        dry_run: Duration::from_secs(kept.dry_run),
        cohorts: kept.cohorts.parse().map_err(wrong)?,
        time: Duration::from_secs(kept.time),
        decisions: kept.decisions,
        trigger: kept.trigger,
    })
}

/// As the store has it.
fn word(stage: Stage) -> String {
    match stage {
        Stage::DryRun => "dry-run".to_owned(),
        Stage::Cohort(n) => format!("cohort-{n}"),
        Stage::All => "all".to_owned(),
        Stage::Over => "over".to_owned(),
    }
}

/// What [`word`] wrote; over for anything else, in which nothing happens.
pub(crate) fn stage(word: &str) -> Stage {
    match word {
        "dry-run" => Stage::DryRun,
        "all" => Stage::All,
        word => {
            let number = word.strip_prefix("cohort-");
            let number = number.and_then(|number| number.parse().ok());
            number.map_or(Stage::Over, Stage::Cohort)
        }
    }
}

fn source(set: &PolicySet) -> Result<Source, Error> {
    let content = String::from_utf8_lossy(&set.content);
    Source::from_canonical(&content, Version::default())
        .map_err(|problems| Error::Invalid(format!("policy set {}: {problems}", set.summary.n)))
}

/// What a candidate is to the set in force, why, and why it cannot be taken back by itself.
struct Looked {
    relation: &'static str,
    changes: String,
    way_back: String,
}

fn look(active: &PolicySet, candidate: &PolicySet) -> Result<Looked, Error> {
    let (active, candidate) = (source(active)?, source(candidate)?);
    let related =
        relate(&active, &candidate).map_err(|problems| Error::Invalid(problems.to_string()))?;
    let mut changes = String::new();
    for change in &related.changes {
        let line = change.to_string();
        if changes.len() + line.len() >= bounds::MAX_TEXT {
            changes += "…\n";
            break;
        }
        changes += &line;
        changes.push('\n');
    }
    let way_back = match going_back(&active, &candidate) {
        Ok(_) => String::new(),
        Err(why) => why.to_string().chars().take(500).collect(),
    };
    Ok(Looked {
        relation: related.relation.as_str(),
        changes,
        way_back,
    })
}

/// Takes it off the list of those that are under way.
fn end(
    tx: &mut Tx<'_>,
    writer: Epoch,
    row: &Rollout,
    outcome: &str,
    result: u64,
    now: u64,
) -> Result<(), Error> {
    let over = Rollout {
        outcome: outcome.to_owned(),
        result,
        // Numbers from 1: a clock that stands at 0 ends it as well.
        ended: now.max(1),
        ..row.clone()
    };
    Ok(rollouts::change(tx, writer, &over)?)
}

/// Before a set is put in force by hand: agents of a cohort have the candidate, and go back to no set below it.
///
/// # Errors
/// [`Error::Conflict`] if a roll-out is in the way; those of the store.
pub(crate) fn make_way(
    tx: &mut Tx<'_>,
    writer: Epoch,
    n: u64,
    actor: &str,
    now: u64,
) -> Result<(), Error> {
    let Some(row) = rollouts::under_way(tx)? else {
        return Ok(());
    };
    if n == row.n {
        return Err(Error::Conflict(format!(
            "policy set {n} is being rolled out: go on with that, or take it back"
        )));
    }
    if n < row.n && stage(&row.stage) != Stage::DryRun {
        return Err(Error::Conflict(format!(
            "policy set {} is in force on some agents, which go back to no set before it: take it back first, or push this one again",
            row.n
        )));
    }
    end(tx, writer, &row, "superseded", n, now)?;
    let details = json!({ "relation": row.relation, "stage": row.stage, "by": n });
    event::tell(tx, Kind::RolloutEnded, actor, &row.n.to_string(), &details)?;
    Ok(())
}

/// Before a set is taken back by hand.
///
/// # Errors
/// [`Error::Conflict`] if it is being rolled out; those of the store.
pub(crate) fn not_under_way(tx: &mut Tx<'_>, n: u64) -> Result<(), Error> {
    match rollouts::under_way(tx)? {
        Some(row) if row.n == n => Err(Error::Conflict(format!(
            "policy set {n} is being rolled out: take that back"
        ))),
        _ => Ok(()),
    }
}

/// The roll-out of a candidate that is under way.
fn of(tx: &mut Tx<'_>, n: u64) -> Result<Rollout, Error> {
    rollouts::under_way(tx)?
        .filter(|row| row.n == n)
        .ok_or_else(|| Error::not_found("roll-out of policy set", n.to_string()))
}

impl Control {
    /// Begins to roll out a proposed set.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a plan that makes no sense; [`Error::Conflict`] if `by` wrote the set, unless through the socket, if it is
    /// not proposed any more, or if another one is under way; those of the store.
    pub(crate) async fn start_rollout(
        &self,
        by: &By,
        local: bool,
        n: u64,
        plan: Plan,
    ) -> Result<(), Error> {
        plan.check().map_err(Error::Invalid)?;
        let (active, candidate) = self.two(n).await?;
        not_the_author(&candidate, by, local)?;
        let (home, base) = (self.home.clone(), active.summary.n);
        let looked = tokio::task::spawn_blocking(move || {
            // What was checked by another release may not compile here.
            Checked::new(&String::from_utf8_lossy(&candidate.content), &[], &home)?;
            look(&active, &candidate)
        });
        let looked = looked
            .await
            .map_err(|error| Error::Internal(format!("a roll-out: {error}")))??;
        let actor = by.actor.clone();
        self.as_writer(Urgency::Ordinary, move |tx, writer, now| {
            let set = policies::get(tx, n)?;
            let proposed = set.is_some_and(|set| set.summary.state == State::Proposed);
            let same = policies::active(tx)?.is_some_and(|set| set.summary.n == base);
            if !proposed || !same {
                return Err(Error::Conflict(format!(
                    "policy set {n}: it or the set in force was changed meanwhile, look again"
                )));
            }
            let stage = word(plan.first());
            let row = Rollout {
                id: n,
                n,
                base,
                stage: stage.clone(),
                held: String::new(),
                emergency: false,
                relation: looked.relation.to_owned(),
                changes: looked.changes.clone(),
                way_back: looked.way_back.clone(),
                plan: keep(&plan),
                started_by: actor.clone(),
                started: now,
                stage_began_ms: clock::milliseconds(),
                ended: 0,
                outcome: String::new(),
                result: 0,
            };
            rollouts::open(tx, writer, &row)?;
            let details = json!({ "relation": row.relation, "stage": stage, "base": base, "cohorts": plan.cohorts.to_string() });
            event::tell(tx, Kind::RolloutStarted, &actor, &n.to_string(), &details)?;
            Ok(())
        })
        .await?;
        self.rollout_moved().await
    }

    /// Goes on to the next stage, whatever a gate says: what was told until now was seen by a person. With `from` only from that one, since a
    /// gate, or somebody else, may have gone on while the person looked.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not under way; [`Error::Conflict`] if `by` wrote the set, unless through the socket, or if its stage is not
    /// `from`; those of the store.
    pub(crate) async fn advance_rollout(
        &self,
        by: &By,
        local: bool,
        n: u64,
        from: Option<String>,
    ) -> Result<(), Error> {
        let (_, candidate) = self.two(n).await?;
        not_the_author(&candidate, by, local)?;
        let actor = by.actor.clone();
        self.as_writer(Urgency::Ordinary, move |tx, writer, now| {
            let row = of(tx, n)?;
            if let Some(from) = from.as_ref().filter(|from| **from != row.stage) {
                return Err(Error::Conflict(format!(
                    "the roll-out of policy set {n}: found it in {}, wanted {from:?}: look again",
                    row.stage
                )));
            }
            rollouts::accept(tx, row.id)?;
            drive::take_on(tx, writer, &row, &actor, now)
        })
        .await?;
        self.rollout_moved().await
    }

    /// Stands still until a person goes on.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not under way; those of the store.
    pub(crate) async fn hold_rollout(&self, by: &By, n: u64) -> Result<(), Error> {
        let actor = by.actor.clone();
        self.as_writer(Urgency::Ordinary, move |tx, writer, _| {
            let row = of(tx, n)?;
            drive::hold(tx, writer, &row, &actor, &format!("held by {actor}"))
        })
        .await?;
        self.rollout_moved().await
    }

    /// Takes it back. Gives the number of the set that came into force with that, if one did.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not under way; [`Error::Conflict`] if no set can be made that forbids what both do; those of the store.
    pub(crate) async fn roll_back(&self, by: &By, n: u64) -> Result<Option<u64>, Error> {
        let back = self.go_back(&by.actor, n, "a person took it back").await?;
        self.rollout_moved().await?;
        Ok(back)
    }

    /// The set in force and another one.
    async fn two(&self, n: u64) -> Result<(PolicySet, PolicySet), Error> {
        let read = self
            .store
            .read(move |tx| Ok((policies::active(tx)?, policies::get(tx, n)?)));
        let (active, candidate) = read.await?;
        let candidate = candidate.ok_or_else(|| Error::not_found("policy set", n.to_string()))?;
        let active = active.ok_or_else(|| {
            Error::Conflict("no set is in force that a candidate could be compared with".to_owned())
        })?;
        Ok((active, candidate))
    }

    /// Everybody is told.
    async fn rollout_moved(&self) -> Result<(), Error> {
        self.rollouts.notify_one();
        self.refresh().await
    }

    /// What agents are to hear of a roll-out.
    ///
    /// # Errors
    /// [`Error::Identity`] if the candidate cannot be signed.
    pub(crate) fn follow_rollout(
        &self,
        news: &News,
        row: Option<Rollout>,
        read: Option<PolicySet>,
    ) -> Result<Option<Arc<UnderWay>>, Error> {
        let Some(row) = row else {
            return Ok(None);
        };
        let known = news.rollout.as_ref();
        let signed = known.map(|known| &known.candidate);
        let signed = signed.filter(|signed| signed.version().1 == row.n);
        let Some(candidate) = self.signed(news, signed, read)? else {
            return Ok(None);
        };
        if let Some(known) = known
            && known.row == row
            && Arc::ptr_eq(&known.candidate, &candidate)
        {
            return Ok(Some(Arc::clone(known)));
        }
        Ok(Some(Arc::new(UnderWay {
            plan: plan(&row)?,
            stage: stage(&row.stage),
            candidate,
            row,
        })))
    }
}

/// Whoever holds the socket holds the keys as well: a second person would be for show.
fn not_the_author(set: &PolicySet, by: &By, local: bool) -> Result<(), Error> {
    if set.summary.author == by.actor && !local {
        return Err(Error::Conflict(format!(
            "policy set {}: written by {}; wanted the approval of somebody else",
            set.summary.n, by.actor
        )));
    }
    Ok(())
}
