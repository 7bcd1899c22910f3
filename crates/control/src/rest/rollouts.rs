//! Roll-outs of policy sets: begin, go on, hold, take back, look; and forbids that wait for none.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::body::Bytes;
use axum::extract::Path;
use axum::extract::rejection::BytesRejection;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use skans_policy::rollout::Plan;
use skans_store::rollouts;
use utoipa::ToSchema;

use crate::caller::sha256;
use crate::error::Error;
use crate::gate::Permit;
use crate::problem::Problem;
use crate::rollout::{found, heard_by, plan};

/// Differences in one view: those that were told of most often.
const SHOWN: usize = 1000;

/// How a set is to be rolled out. What is left out is as in `skans policy rollout --help`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRollout {
    /// Who gets it before all do, one cohort after the other: shares such as `10%`, or hosts such as `host-a+host-b`, with commas between
    /// them; at most eight. Empty for none. `10%,50%` unless given.
    pub cohorts: Option<String>,
    /// For how many seconds it is only compared; 0 for not at all. 600 unless given, a week at most.
    pub dry_run: Option<u64>,
    /// For how many seconds each cohort has it. 600 unless given, a week at most.
    pub time: Option<u64>,
    /// How many decisions of what the set in force permits agents of a stage tell of before it goes on. 1000 unless given.
    pub decisions: Option<u64>,
    /// How many good decisions that a cohort denies take it back: 10 to 1,000,000, 100 unless given. One principal counts for a tenth at most.
    pub trigger: Option<u64>,
}

impl NewRollout {
    fn read(&self) -> Result<Plan, Error> {
        let usual = Plan::default();
        let seconds = |given: Option<u64>, usual| given.map_or(usual, Duration::from_secs);
        Ok(Plan {
            dry_run: seconds(self.dry_run, usual.dry_run),
            cohorts: match &self.cohorts {
                Some(text) => text.parse().map_err(Error::Invalid)?,
                None => usual.cohorts,
            },
            time: seconds(self.time, usual.time),
            decisions: self.decisions.unwrap_or(usual.decisions),
            trigger: self.trigger.unwrap_or(usual.trigger),
        })
    }
}

/// Which step is meant.
#[derive(Clone, Debug, Default, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// The stage that was looked at: if the roll-out is in another one by now, nothing happens. It goes on from wherever it is unless given.
    pub from: Option<String>,
}

/// A roll-out.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Rollout {
    /// The number of the candidate.
    pub n: u64,
    /// The number of the set in force that it is compared with.
    pub base: u64,
    /// `dry-run`, `cohort-1` and so on, `all`.
    pub stage: String,
    /// Why it stands still; empty if it does not.
    pub held: String,
    /// What the candidate is to the set in force: `same`, `relax`, `tighten` or `mixed`.
    pub relation: String,
    /// Why.
    pub changes: Vec<String>,
    /// Why it cannot be taken back by itself; empty if it can.
    pub way_back: String,
    /// Who gets it, one cohort after the other.
    pub cohorts: String,
    /// For how many seconds it is only compared.
    pub dry_run: u64,
    /// For how many seconds each cohort has it.
    pub time: u64,
    /// How many decisions agents of a stage tell of before it goes on.
    pub wanted: u64,
    /// How many good decisions that a cohort denies take it back.
    pub trigger: u64,
    /// Who started it.
    pub started_by: String,
    /// When, Unix time.
    pub started: u64,
    /// When its stage began, in milliseconds since 1970.
    pub stage_began_ms: u64,
    /// When it ended, Unix time; 0 for not yet.
    pub ended: u64,
    /// `done`, `rolled-back`, `withdrawn`, `superseded`; empty before it ended.
    pub outcome: String,
    /// The number of the set that came into force with its end; 0 for none.
    pub result: u64,
    /// How many agents have told of this stage.
    pub agents: u64,
    /// How many decisions they have told of, of what the set in force permits. Of several agents, each counts for a half of `wanted` at most.
    pub decisions: u64,
    /// Good decisions that are denied, each principal counted for a tenth of the trigger at most, each agent for a half.
    pub weight: u64,
    /// How many principals that is about.
    pub principals: u64,
    /// Differences that are not kept one by one.
    pub unlisted: u64,
    /// What the candidate decides otherwise, in all stages: what is told of most often first, 1000 at most.
    pub differences: Vec<Difference>,
}

/// Something that a candidate decides otherwise.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Difference {
    /// In which stage.
    pub stage: String,
    /// Who asks.
    pub principal: String,
    /// Whom.
    pub target: String,
    /// For what.
    pub action: String,
    /// Of what; empty for the node itself, `*` for several.
    pub resource: String,
    /// What the set in force says: `permit`, `deny` or `would-deny`.
    pub active: String,
    /// What the candidate says.
    pub candidate: String,
    /// The candidate denies it by a forbid.
    pub forbidden: bool,
    /// A person has seen it and went on.
    pub accepted: bool,
    /// How often.
    pub count: u64,
    /// How many agents have told of it.
    pub agents: u64,
}

/// Forbids, in Cedar.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewForbid {
    /// Forbids, each with an `@id`; at most 32 KiB.
    pub policies: String,
    /// Why: a sentence, at most 512 bytes.
    pub reason: String,
}

/// What was forbidden.
#[derive(Clone, Debug, Deserialize, Serialize, ToSchema)]
pub struct Forbidden {
    /// The number of the set that is in force with it.
    pub n: u64,
    /// How many nodes with a valid certificate it could touch, by the widest of its scopes.
    pub nodes: u64,
    /// How many there are.
    pub of: u64,
}

/// The roll-out that is under way, or the last one, and what the candidate decides otherwise
#[utoipa::path(get, path = "/v1/rollout", responses((status = 200, body = Rollout), (status = "default", body = Problem)))]
pub(crate) async fn show(permit: Permit) -> Result<Json<Rollout>, Error> {
    permit.within_home()?;
    view(&permit).await.map(Json)
}

/// Begins to roll out a proposed set. Not for whoever wrote it
#[utoipa::path(post, path = "/v1/policies/{n}/rollout", params(("n" = u64, Path)), request_body = NewRollout, responses((status = 201, body = Rollout), (status = "default", body = Problem)))]
pub(crate) async fn start(
    permit: Permit,
    Path(text): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<(StatusCode, Json<Rollout>), Error> {
    let by = permit.within_home()?;
    let wanted: NewRollout = super::body(bytes)?;
    let (n, local) = (super::policies::number(&text)?, permit.caller.is_local());
    let control = &permit.control;
    control.start_rollout(&by, local, n, wanted.read()?).await?;
    Ok((StatusCode::CREATED, Json(view(&permit).await?)))
}

/// Goes on to the next stage whatever its gate says: what was told of until now is accepted. Not for whoever wrote the set
#[utoipa::path(post, path = "/v1/policies/{n}/advance", params(("n" = u64, Path)), request_body = Step, responses((status = 200, body = Rollout), (status = "default", body = Problem)))]
pub(crate) async fn advance(
    permit: Permit,
    Path(text): Path<String>,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Json<Rollout>, Error> {
    let by = permit.within_home()?;
    let step: Step = super::body(bytes)?;
    let (n, local) = (super::policies::number(&text)?, permit.caller.is_local());
    let control = &permit.control;
    control.advance_rollout(&by, local, n, step.from).await?;
    view(&permit).await.map(Json)
}

/// Stands still until somebody goes on with it or takes it back
#[utoipa::path(post, path = "/v1/policies/{n}/hold", params(("n" = u64, Path)), responses((status = 200, body = Rollout), (status = "default", body = Problem)))]
pub(crate) async fn hold(permit: Permit, Path(text): Path<String>) -> Result<Json<Rollout>, Error> {
    let by = permit.within_home()?;
    let n = super::policies::number(&text)?;
    permit.control.hold_rollout(&by, n).await?;
    view(&permit).await.map(Json)
}

/// Takes it back: what was in force is in force again under a new number, with every forbid of the candidate
#[utoipa::path(post, path = "/v1/policies/{n}/rollback", params(("n" = u64, Path)), responses((status = 200, body = Rollout), (status = "default", body = Problem)))]
pub(crate) async fn roll_back(
    permit: Permit,
    Path(text): Path<String>,
) -> Result<Json<Rollout>, Error> {
    let by = permit.within_home()?;
    let n = super::policies::number(&text)?;
    permit.control.roll_back(&by, n).await?;
    view(&permit).await.map(Json)
}

/// Adds forbids to the set in force, at once. Two people, if they could touch more than a tenth of the nodes
#[utoipa::path(post, path = "/v1/policies/forbid", request_body = NewForbid, responses((status = 201, body = Forbidden), (status = 202, description = "A second person has to ask for the same."), (status = "default", body = Problem)))]
pub(crate) async fn forbid(
    permit: Permit,
    bytes: Result<Bytes, BytesRejection>,
) -> Result<Response, Error> {
    let mut by = permit.within_home()?;
    let wanted: NewForbid = super::body(bytes)?;
    if wanted.reason.len() > 512 || wanted.reason.contains(char::is_control) {
        return Err(Error::Invalid(
            "reason: wanted a sentence of at most 512 bytes".to_owned(),
        ));
    }
    let control = &permit.control;
    let touched = control.touched(&wanted.policies).await?;
    if touched.is_much() {
        let object = format!(
            "a forbid for {} of {} nodes, sha256 {}",
            touched.nodes,
            touched.of,
            crate::hex::of(&sha256(wanted.policies.as_bytes()))
        );
        let wide = permit.as_special("wide");
        let scope = &control.home.scope;
        let exact = wanted.policies.as_bytes();
        let Some(both) = wide.with_a_second(scope, &object, exact).await? else {
            return Ok(StatusCode::ACCEPTED.into_response());
        };
        by = both;
    }
    let n = control.forbid(by, wanted.policies, wanted.reason).await?;
    let count = |count| u64::try_from(count).unwrap_or(u64::MAX);
    let forbidden = Forbidden {
        n,
        nodes: count(touched.nodes),
        of: count(touched.of),
    };
    Ok((StatusCode::CREATED, Json(forbidden)).into_response())
}

async fn view(permit: &Permit) -> Result<Rollout, Error> {
    let read = permit.control.store.try_read(|tx| {
        let Some(row) = rollouts::latest(tx)? else {
            return Ok(None);
        };
        let plan = plan(&row)?;
        let heard = heard_by(tx, &row, &plan)?;
        let differences = rollouts::differences(tx, row.id)?;
        let found = found(tx, &differences, &row.stage, plan.trigger)?;
        Ok::<_, Error>(Some((row, plan, heard, differences, found)))
    });
    let Some((row, plan, heard, all, found)) = read.await? else {
        return Err(Error::not_found("roll-out", String::new()));
    };
    Ok(Rollout {
        differences: added_up(all),
        n: row.n,
        base: row.base,
        stage: row.stage,
        held: row.held,
        relation: row.relation,
        changes: row.changes.lines().map(str::to_owned).collect(),
        way_back: row.way_back,
        cohorts: plan.cohorts.to_string(),
        dry_run: plan.dry_run.as_secs(),
        time: plan.time.as_secs(),
        wanted: plan.decisions,
        trigger: plan.trigger,
        started_by: row.started_by,
        started: row.started,
        stage_began_ms: row.stage_began_ms,
        ended: row.ended,
        outcome: row.outcome,
        result: row.result,
        agents: heard.agents,
        decisions: heard.decisions,
        weight: found.weight,
        principals: found.principals,
        unlisted: heard.unlisted,
    })
}

/// Of all agents together.
fn added_up(all: Vec<rollouts::Difference>) -> Vec<Difference> {
    let mut sums = BTreeMap::<(String, [u8; 32]), Difference>::new();
    for one in all {
        let sum = sums.entry((one.stage.clone(), one.hash));
        let sum = sum.or_insert_with(|| Difference {
            stage: one.stage,
            principal: one.principal,
            target: one.target,
            action: one.action,
            resource: one.resource,
            active: one.active,
            candidate: one.candidate,
            forbidden: one.forbidden,
            accepted: false,
            count: 0,
            agents: 0,
        });
        sum.accepted |= one.accepted;
        sum.count = sum.count.saturating_add(one.times);
        sum.agents += 1;
    }
    let mut all: Vec<Difference> = sums.into_values().collect();
    all.sort_by_key(|one| std::cmp::Reverse(one.count));
    all.truncate(SHOWN);
    all
}
