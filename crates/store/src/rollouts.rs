//! Roll-outs: how far one is, and what agents tell of what a candidate decides otherwise. What comes next is decided above.
//! Starting and changing one is fenced; what agents tell is not, since any replica hears it.

use crate::bounds::{
    MAX_DIFFERENCES, MAX_DIFFERENCES_OF_AGENT, MAX_EVENT, MAX_NAME, MAX_SPIFFE_ID, MAX_TEXT,
    optional_text, page, text,
};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{Epoch, fenced};

/// How many roll-outs are kept that have ended, with what was told of them.
const KEPT: i64 = 20;

/// A roll-out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rollout {
    /// Its number: that of the set that it began with.
    pub id: u64,
    /// The number of the candidate.
    pub n: u64,
    /// The number of the set in force that it is compared with.
    pub base: u64,
    /// How far it is, a word.
    pub stage: String,
    /// Why it stands still; empty if it does not.
    pub held: String,
    /// The candidate was put in force because of an emergency.
    pub emergency: bool,
    /// What the candidate is to the set in force, a word.
    pub relation: String,
    /// Why, one a line.
    pub changes: String,
    /// Why it cannot be taken back by itself; empty if it can.
    pub way_back: String,
    /// How it goes on, encoded.
    pub plan: String,
    /// Who started it.
    pub started_by: String,
    /// When.
    pub started: u64,
    /// When its stage began, in milliseconds since 1970.
    pub stage_began_ms: u64,
    /// When it ended; 0 for not yet.
    pub ended: u64,
    /// What became of it, a word; empty before it ended.
    pub outcome: String,
    /// The number of the set that came into force with its end; 0 for none.
    pub result: u64,
}

/// What one agent has told of one stage.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// The stage.
    pub stage: String,
    /// Who says it.
    pub agent: String,
    /// Decisions of what the set in force permits.
    pub decisions: u64,
    /// Differences that are not kept one by one.
    pub unlisted: u64,
    /// When it was heard of last.
    pub seen: u64,
}

/// Something that a candidate decides otherwise.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Difference {
    /// The stage that it was told of in.
    pub stage: String,
    /// Who says it.
    pub agent: String,
    /// SHA-256 over the rest: what is told of again is added.
    pub hash: [u8; 32],
    /// Who asks.
    pub principal: String,
    /// Whom.
    pub target: String,
    /// For what.
    pub action: String,
    /// Of what; empty for the node itself.
    pub resource: String,
    /// What the set in force says.
    pub active: String,
    /// What the candidate says.
    pub candidate: String,
    /// The candidate denies it by a forbid.
    pub forbidden: bool,
    /// A person has seen it and went on.
    pub accepted: bool,
    /// How often.
    pub times: u64,
}

macro_rules! columns {
    () => {
        "id, n, base, stage, held, emergency, relation, changes, way_back, plan, started_by, started, stage_began_ms, ended, outcome, result"
    };
}

/// Begins one.
///
/// # Errors
/// [`Error::Fenced`], [`Error::Bound`]; [`Error::Conflict`] if one is under way.
pub fn open(tx: &mut Tx<'_>, writer: Epoch, new: &Rollout) -> Result<()> {
    if new.ended == 0
        && let Some(other) = under_way(tx)?
    {
        return Err(Error::Conflict(format!(
            "policy set {} is being rolled out already",
            other.n
        )));
    }
    // What was tried before with the same set.
    let id = Value::number("roll-out", new.id)?;
    tx.execute("DELETE FROM rollouts WHERE id = $1", &[id])?;
    let changed = tx.execute(
        "INSERT INTO rollouts (id, n, base, stage, held, emergency, relation, changes, way_back, plan, started_by, started,
             stage_began_ms, ended, outcome, result)
           SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16 FROM writer WHERE epoch = $17",
        &[
            id,
            Value::number("policy set", new.n)?,
            Value::number("policy set", new.base)?,
            Value::Text(text("stage", &new.stage, MAX_NAME)?),
            Value::Text(optional_text("held", &new.held, MAX_TEXT)?),
            Value::flag(new.emergency),
            Value::Text(text("relation", &new.relation, MAX_NAME)?),
            Value::Text(optional_text("changes", &new.changes, MAX_EVENT)?),
            Value::Text(optional_text("way back", &new.way_back, MAX_TEXT)?),
            Value::Text(text("plan", &new.plan, MAX_EVENT)?),
            Value::Text(text("actor", &new.started_by, MAX_SPIFFE_ID)?),
            Value::number("time", new.started)?,
            Value::number("time", new.stage_began_ms)?,
            Value::number("time", new.ended)?,
            Value::Text(optional_text("outcome", &new.outcome, MAX_NAME)?),
            Value::number("policy set", new.result)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    tx.execute(
        "DELETE FROM rollouts WHERE ended > 0 AND id NOT IN (SELECT id FROM rollouts ORDER BY id DESC LIMIT $1)",
        &[Value::Int(KEPT)],
    )
    .map(drop)
}

/// Where it is from now on: everything but its number, what it is compared with at the start, and who started it.
///
/// # Errors
/// [`Error::Fenced`], [`Error::Bound`].
pub fn change(tx: &mut Tx<'_>, writer: Epoch, to: &Rollout) -> Result<()> {
    let changed = tx.execute(
        "UPDATE rollouts SET n = $2, base = $3, stage = $4, held = $5, way_back = $6, stage_began_ms = $7, ended = $8,
             outcome = $9, result = $10
           WHERE id = $1 AND EXISTS (SELECT 1 FROM writer WHERE epoch = $11)",
        &[
            Value::number("roll-out", to.id)?,
            Value::number("policy set", to.n)?,
            Value::number("policy set", to.base)?,
            Value::Text(text("stage", &to.stage, MAX_NAME)?),
            Value::Text(optional_text("held", &to.held, MAX_TEXT)?),
            Value::Text(optional_text("way back", &to.way_back, MAX_TEXT)?),
            Value::number("time", to.stage_began_ms)?,
            Value::number("time", to.ended)?,
            Value::Text(optional_text("outcome", &to.outcome, MAX_NAME)?),
            Value::number("policy set", to.result)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

/// The one that is under way, if one is.
///
/// # Errors
/// Those of the database.
pub fn under_way(tx: &mut Tx<'_>) -> Result<Option<Rollout>> {
    let found = concat!("SELECT ", columns!(), " FROM rollouts WHERE ended = 0");
    tx.first(found, &[])?.map(rollout).transpose()
}

/// The one that was started last, if one ever was.
///
/// # Errors
/// Those of the database.
pub fn latest(tx: &mut Tx<'_>) -> Result<Option<Rollout>> {
    let found = concat!(
        "SELECT ",
        columns!(),
        " FROM rollouts ORDER BY ended > 0, started DESC, id DESC LIMIT 1"
    );
    tx.first(found, &[])?.map(rollout).transpose()
}

/// Adds what an agent tells. Differences beyond the bounds are counted as unlisted: half of the room is for what is denied of what was permitted, and
/// what an agent told of one stage takes no room from the next one, so that nobody hides that by other differences.
///
/// # Errors
/// [`Error::Bound`].
pub fn tell(tx: &mut Tx<'_>, id: u64, told: &Report, differences: &[Difference]) -> Result<()> {
    let rollout = Value::number("roll-out", id)?;
    let mut unlisted = told.unlisted;
    for one in differences {
        let changed = tx.execute(
            "INSERT INTO rollout_differences
               (rollout, stage, agent, hash, principal, target, action, resource, active, candidate, forbidden, accepted, times)
               SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 0, $12
                 FROM (SELECT count(*) AS present, count(CASE WHEN agent = $3 AND stage = $2 THEN 1 END) AS own FROM rollout_differences
                         WHERE rollout = $1 AND (CASE WHEN active = 'permit' AND candidate = 'deny' THEN 1 ELSE 0 END) = CAST($15 AS BIGINT)) AS counted
                 WHERE (present < $13 AND own < $14) OR EXISTS
                   (SELECT 1 FROM rollout_differences WHERE rollout = $1 AND stage = $2 AND agent = $3 AND hash = $4)
               ON CONFLICT (rollout, stage, agent, hash) DO UPDATE SET times = rollout_differences.times + excluded.times",
            &[
                rollout,
                Value::Text(text("stage", &told.stage, MAX_NAME)?),
                Value::Text(text("agent", &told.agent, MAX_NAME)?),
                Value::Bytes(&one.hash),
                Value::Text(text("SPIFFE ID", &one.principal, MAX_SPIFFE_ID)?),
                Value::Text(text("SPIFFE ID", &one.target, MAX_SPIFFE_ID)?),
                Value::Text(text("action", &one.action, MAX_NAME)?),
                Value::Text(optional_text("resource", &one.resource, MAX_TEXT)?),
                Value::Text(text("verdict", &one.active, MAX_NAME)?),
                Value::Text(text("verdict", &one.candidate, MAX_NAME)?),
                Value::flag(one.forbidden),
                Value::number("times", one.times)?,
                Value::number("differences", MAX_DIFFERENCES / 2)?,
                Value::number("differences", MAX_DIFFERENCES_OF_AGENT / 2)?,
                Value::flag(one.active == "permit" && one.candidate == "deny"),
            ],
        )?;
        if changed == 0 {
            unlisted = unlisted.saturating_add(one.times);
        }
    }
    tx.execute(
        "INSERT INTO rollout_reports (rollout, stage, agent, decisions, unlisted, seen) VALUES ($1, $2, $3, $4, $5, $6)
           ON CONFLICT (rollout, stage, agent) DO UPDATE SET decisions = rollout_reports.decisions + excluded.decisions,
             unlisted = rollout_reports.unlisted + excluded.unlisted, seen = excluded.seen",
        &[
            rollout,
            Value::Text(text("stage", &told.stage, MAX_NAME)?),
            Value::Text(text("agent", &told.agent, MAX_NAME)?),
            Value::number("decisions", told.decisions)?,
            Value::number("differences", unlisted)?,
            Value::number("time", told.seen)?,
        ],
    )
    .map(drop)
}

/// What agents have told of one stage: those after `after` (empty for the first page), at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn reports(
    tx: &mut Tx<'_>,
    id: u64,
    stage: &str,
    after: &str,
    limit: usize,
) -> Result<Vec<Report>> {
    let rows = tx.query(
        "SELECT stage, agent, decisions, unlisted, seen FROM rollout_reports
           WHERE rollout = $1 AND stage = $2 AND agent > $3 ORDER BY agent LIMIT $4",
        &[
            Value::number("roll-out", id)?,
            Value::Text(stage),
            Value::Text(after),
            Value::Int(page(limit)),
        ],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Report {
                stage: row.text()?,
                agent: row.text()?,
                decisions: row.number()?,
                unlisted: row.number()?,
                seen: row.number()?,
            })
        })
        .collect()
}

/// All differences that are kept of one, [`MAX_DIFFERENCES`] at most.
///
/// # Errors
/// Those of the database.
pub fn differences(tx: &mut Tx<'_>, id: u64) -> Result<Vec<Difference>> {
    let rows = tx.query(
        "SELECT stage, agent, hash, principal, target, action, resource, active, candidate, forbidden, accepted, times
           FROM rollout_differences WHERE rollout = $1 ORDER BY times DESC, stage, agent, hash LIMIT $2",
        &[
            Value::number("roll-out", id)?,
            Value::number("differences", MAX_DIFFERENCES)?,
        ],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Difference {
                stage: row.text()?,
                agent: row.text()?,
                hash: row.array()?,
                principal: row.text()?,
                target: row.text()?,
                action: row.text()?,
                resource: row.text()?,
                active: row.text()?,
                candidate: row.text()?,
                forbidden: row.flag()?,
                accepted: row.flag()?,
                times: row.number()?,
            })
        })
        .collect()
}

/// A person has seen all that there is, and goes on. Gives how many differences that was.
///
/// # Errors
/// Those of the database.
pub fn accept(tx: &mut Tx<'_>, id: u64) -> Result<u64> {
    tx.execute(
        "UPDATE rollout_differences SET accepted = 1 WHERE rollout = $1 AND accepted = 0",
        &[Value::number("roll-out", id)?],
    )
}

fn rollout(mut row: Row) -> Result<Rollout> {
    Ok(Rollout {
        id: row.number()?,
        n: row.number()?,
        base: row.number()?,
        stage: row.text()?,
        held: row.text()?,
        emergency: row.flag()?,
        relation: row.text()?,
        changes: row.text()?,
        way_back: row.text()?,
        plan: row.text()?,
        started_by: row.text()?,
        started: row.number()?,
        stage_began_ms: row.number()?,
        ended: row.number()?,
        outcome: row.text()?,
        result: row.number()?,
    })
}
