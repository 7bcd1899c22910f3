//! A roll-out, step by step: the writer looks at what agents have told, says to itself what comes next, and does it in one
//! transaction. A replica that takes over goes on where the other one was.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use skans_policy::rollout::{Facts, Found, Next, Plan, Relation, Report, Stage, going_back, next};
use skans_store::rollouts::{self, Difference, Rollout};
use skans_store::writer::Epoch;
use skans_store::{Tx, bounds, certificates, policies};

use super::{end, of, plan, source, stage, word};
use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::policies::Checked;
use crate::state::Control;
use crate::writer::Urgency;

/// Between two looks while a roll-out is under way, and while none is. Agents tell every 10 s.
const BUSY: Duration = Duration::from_millis(500);
const IDLE: Duration = Duration::from_secs(5);
/// What agents call the resource of several differences that they tell as one.
const SEVERAL: &str = "*";
/// Who does what nobody asked for.
const BY_ITSELF: &str = "control";

/// How many agents have told of a stage, and how many decisions that counts for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Heard {
    pub(crate) agents: u64,
    pub(crate) decisions: u64,
    pub(crate) unlisted: u64,
}

impl Control {
    /// Does it, until the process stops.
    pub(crate) async fn roll_out(self: Arc<Self>) {
        loop {
            let busy = match self.look_at_rollout().await {
                Ok(busy) => busy,
                Err(error) => {
                    tracing::warn!("the roll-out is not followed, and is tried again: {error}");
                    false
                }
            };
            tokio::select! {
                () = tokio::time::sleep(if busy { BUSY } else { IDLE }) => {}
                () = self.rollouts.notified() => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    /// One step. Says whether a roll-out is under way.
    async fn look_at_rollout(&self) -> Result<bool, Error> {
        if self.writer().is_none() || self.store.read_only().is_some() {
            return Ok(false);
        }
        let looked = self.store.try_read(|tx| {
            let Some(row) = rollouts::under_way(tx)? else {
                return Ok(None);
            };
            let what = next(&plan(&row)?, &facts(tx, &row)?.0);
            Ok::<_, Error>(Some((row.n, what)))
        });
        let Some((n, what)) = looked.await? else {
            return Ok(false);
        };
        match what {
            Next::Wait => return Ok(true),
            Next::GoBack => {
                let why = "it denied what the set in force permits";
                match self.go_back(BY_ITSELF, n, why).await {
                    // A person has to write what is to be; asked again, it would fail again.
                    Err(Error::Conflict(problem) | Error::Invalid(problem)) => {
                        self.no_way_back(n, problem).await?;
                    }
                    outcome => drop(outcome?),
                }
            }
            Next::Advance | Next::Hold(_) => {
                let stepped = self.as_writer(Urgency::Ordinary, move |tx, writer, now| {
                    let row = of(tx, n)?;
                    // It may have changed meanwhile.
                    match next(&plan(&row)?, &facts(tx, &row)?.0) {
                        Next::Advance => take_on(tx, writer, &row, BY_ITSELF, now),
                        Next::Hold(why) => hold(tx, writer, &row, BY_ITSELF, why.as_str()),
                        Next::Wait | Next::GoBack => Ok(()),
                    }
                });
                stepped.await?;
            }
        }
        self.refresh().await?;
        Ok(true)
    }

    async fn no_way_back(&self, n: u64, problem: String) -> Result<(), Error> {
        self.as_writer(Urgency::Ordinary, move |tx, writer, _| {
            let row = Rollout {
                way_back: problem.chars().take(500).collect(),
                ..of(tx, n)?
            };
            hold(tx, writer, &row, BY_ITSELF, &row.way_back)
        })
        .await
    }

    /// Takes a candidate back, and gives the number of the set that came into force with that; none where it decided nowhere.
    ///
    /// # Errors
    /// [`Error::NotFound`] if it is not under way; [`Error::Conflict`] if no set can be made that forbids what both do, or if it has gone on
    /// meanwhile; those of the store.
    pub(super) async fn go_back(
        &self,
        actor: &str,
        n: u64,
        why: &'static str,
    ) -> Result<Option<u64>, Error> {
        let (active, candidate) = self.two(n).await?;
        let row = self.store.try_read(move |tx| of(tx, n)).await?;
        let actor = actor.to_owned();
        if stage(&row.stage) == Stage::DryRun {
            self.as_writer(Urgency::Ordinary, move |tx, writer, now| {
                let row = of(tx, n)?;
                if stage(&row.stage) != Stage::DryRun {
                    return Err(gone_on(n));
                }
                end(tx, writer, &row, "withdrawn", 0, now)?;
                policies::withdraw(tx, n)?;
                told(tx, Kind::RolloutEnded, &actor, &row, why)
            })
            .await?;
            return Ok(None);
        }
        let base = active.summary.n;
        let home = self.home.clone();
        let made = tokio::task::spawn_blocking(move || {
            let back = going_back(&source(&active)?, &source(&candidate)?).map_err(|problem| {
                Error::Conflict(format!(
                    "policy set {n} is not taken back by itself: {problem}. Push what is to be, and approve it"
                ))
            })?;
            Checked::made_of(&back.to_canonical(), &[], &home)
        });
        let checked = made
            .await
            .map_err(|error| Error::Internal(format!("a way back: {error}")))??;
        let back = self
            .as_writer(Urgency::Ordinary, move |tx, writer, now| {
                let row = of(tx, n)?;
                let same = policies::active(tx)?.is_some_and(|set| set.summary.n == base);
                // A person may have looked at what speaks against it meanwhile, and gone on.
                let by_itself = actor == BY_ITSELF;
                if by_itself && next(&plan(&row)?, &facts(tx, &row)?.0) != Next::GoBack {
                    return Ok(None);
                }
                if !same || !matches!(stage(&row.stage), Stage::Cohort(_)) {
                    return Err(gone_on(n));
                }
                told(tx, Kind::RolloutRolledBack, &actor, &row, why)?;
                let back = checked.propose_in_any_case(tx, writer, &actor, now)?;
                end(tx, writer, &row, "rolled-back", back, now)?;
                crate::policies::activate(tx, writer, back, &actor, now)?;
                Ok(Some(back))
            })
            .await?;
        let Some(back) = back else {
            return Ok(None);
        };
        tracing::error!(
            n,
            back,
            why,
            "a roll-out was taken back: what was in force is in force again, with the forbids of the candidate"
        );
        Ok(Some(back))
    }
}

fn gone_on(n: u64) -> Error {
    Error::Conflict(format!(
        "the roll-out of policy set {n} has gone on meanwhile, look again"
    ))
}

/// The next stage.
pub(super) fn take_on(
    tx: &mut Tx<'_>,
    writer: Epoch,
    row: &Rollout,
    actor: &str,
    now: u64,
) -> Result<(), Error> {
    let after = plan(row)?.after(stage(&row.stage));
    let next = Rollout {
        stage: word(after),
        held: String::new(),
        stage_began_ms: clock::milliseconds(),
        ..row.clone()
    };
    told(tx, Kind::RolloutAdvanced, actor, &next, "")?;
    if after == Stage::All {
        end(tx, writer, &next, "done", row.n, now)?;
        // Whoever approved it: the gate only says that nothing speaks against it.
        return crate::policies::activate(tx, writer, row.n, &row.started_by, now);
    }
    Ok(rollouts::change(tx, writer, &next)?)
}

/// Stands still, and pages.
pub(super) fn hold(
    tx: &mut Tx<'_>,
    writer: Epoch,
    row: &Rollout,
    actor: &str,
    why: &str,
) -> Result<(), Error> {
    let held = Rollout {
        held: why.to_owned(),
        ..row.clone()
    };
    rollouts::change(tx, writer, &held)?;
    tracing::error!(
        n = row.n,
        stage = row.stage,
        why,
        "a roll-out stands still until a person goes on with it or takes it back (skans policy status)"
    );
    told(tx, Kind::RolloutHeld, actor, &held, why)
}

/// As an event, with what speaks for it.
fn told(tx: &mut Tx<'_>, kind: Kind, actor: &str, row: &Rollout, why: &str) -> Result<(), Error> {
    let (facts, heard) = facts(tx, row)?;
    let details = json!({
        "relation": row.relation,
        "stage": row.stage,
        "why": why,
        "agents": heard.agents,
        "decisions": heard.decisions,
        "principals": facts.found.principals,
        "weight": facts.found.weight,
    });
    Ok(event::tell(tx, kind, actor, &row.n.to_string(), &details)?)
}

fn facts(tx: &mut Tx<'_>, row: &Rollout) -> Result<(Facts, Heard), Error> {
    let plan = plan(row)?;
    let differences = rollouts::differences(tx, row.id)?;
    let heard = heard_by(tx, row, &plan)?;
    let mut relations = Relation::ALL.into_iter();
    let relation = relations.find(|one| one.as_str() == row.relation);
    let facts = Facts {
        stage: stage(&row.stage),
        // What another release calls something else is not known to go one way.
        relation: relation.unwrap_or(Relation::Tighten),
        held: !row.held.is_empty(),
        emergency: row.emergency,
        way_back: row.way_back.is_empty(),
        age: Duration::from_millis(clock::milliseconds().saturating_sub(row.stage_began_ms)),
        agents: heard.agents,
        decisions: heard.decisions,
        found: found(tx, &differences, &row.stage, plan.trigger)?,
    };
    Ok((facts, heard))
}

/// What agents have told of the present stage. Where there are several, none of them speaks for more than a half of what a gate asks for.
pub(crate) fn heard_by(tx: &mut Tx<'_>, row: &Rollout, plan: &Plan) -> Result<Heard, Error> {
    let mut counts = Vec::new();
    let (mut after, mut unlisted) = (String::new(), 0_u64);
    loop {
        let page = rollouts::reports(tx, row.id, &row.stage, &after, bounds::MAX_PAGE)?;
        let Some(last) = page.last() else { break };
        after.clone_from(&last.agent);
        for report in &page {
            counts.push(report.decisions);
            unlisted = unlisted.saturating_add(report.unlisted);
        }
    }
    let most = match counts.len() {
        0 | 1 => u64::MAX,
        _ => plan.decisions.div_ceil(2),
    };
    let decisions = counts.iter().map(|count| (*count).min(most));
    Ok(Heard {
        agents: u64::try_from(counts.len()).unwrap_or(u64::MAX),
        decisions: decisions.fold(0, u64::saturating_add),
        unlisted,
    })
}

/// What of these speaks against a candidate: what it denies in this stage, the set in force permits, and nobody has accepted yet. Where agents
/// told only that there was more, nobody has seen what he would accept.
///
/// # Errors
/// Those of the store.
pub(crate) fn found(
    tx: &mut Tx<'_>,
    differences: &[Difference],
    stage: &str,
    trigger: u64,
) -> Result<Found, Error> {
    fn what(one: &Difference) -> (&str, &str, &str, &str) {
        (&one.principal, &one.target, &one.action, &one.resource)
    }
    let accepted = differences
        .iter()
        .filter(|one| one.accepted && one.resource != SEVERAL);
    let accepted: BTreeSet<_> = accepted.map(what).collect();
    let against = differences.iter().filter(|one| {
        one.stage == stage
            && one.active == "permit"
            && one.candidate == "deny"
            && !accepted.contains(&what(one))
    });
    let against: Vec<_> = against.collect();
    let weigh = |holders: &BTreeMap<&str, Vec<String>>| {
        let reports = against.iter().map(|one| Report {
            agent: &one.agent,
            principal: &one.principal,
            holders: holders.get(&*one.principal).map_or(&[], Vec::as_slice),
            count: one.times,
            forbidden: one.forbidden,
        });
        Found::weigh(reports, trigger)
    };
    let mut holders = BTreeMap::new();
    let found = weigh(&holders);
    if found.weight < trigger {
        return Ok(found);
    }
    // Enough to take it back, unless one host is behind it.
    let now = clock::seconds();
    for one in &against {
        if !holders.contains_key(&*one.principal) {
            let held = certificates::holders(tx, &one.principal, now)?;
            holders.insert(&*one.principal, held);
        }
    }
    Ok(weigh(&holders))
}
