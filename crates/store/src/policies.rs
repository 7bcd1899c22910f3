//! Policy sets: what was proposed, what is in force, what was. A number is given once, when a set is proposed. Proposing and
//! activating are fenced. What a set says is not known here, nor who may do which.

use crate::bounds::{
    MAX_NAME, MAX_POLICY_AUTHORS, MAX_POLICY_SET, MAX_PROPOSALS, MAX_SPIFFE_ID, bytes, page, text,
};
use crate::error::{Error, Result};
use crate::meta;
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{Epoch, fenced};

/// How many sets are kept that are neither proposed nor in force: enough to go back to what was before.
const KEPT: i64 = 100;

/// What has become of a set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// It waits to be approved.
    Proposed,
    /// It is in force. One is, or none.
    Active,
    /// A later one took its place, before or after it was in force.
    Superseded,
    /// It was taken back before it was in force.
    Withdrawn,
}

impl State {
    const ALL: [Self; 4] = [
        Self::Proposed,
        Self::Active,
        Self::Superseded,
        Self::Withdrawn,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Active => "active",
            Self::Superseded => "superseded",
            Self::Withdrawn => "withdrawn",
        }
    }
}

/// A set, without what it says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Summary {
    /// Its number, from 1.
    pub n: u64,
    /// What has become of it.
    pub state: State,
    /// Its name, as its author wrote it.
    pub name: String,
    /// How it is meant, for people: `enforce`, or `dry-run` and when that ends.
    pub mode: String,
    /// SHA-256 of what it says.
    pub content_hash: [u8; 32],
    /// SHA-256 of the schema that it was checked against.
    pub schema_hash: [u8; 32],
    /// Who proposed it: a SPIFFE ID, or `unix:<uid>`.
    pub author: String,
    /// When.
    pub proposed: u64,
    /// Who put it in force; empty if nobody did.
    pub approver: String,
    /// When; 0 for never.
    pub activated: u64,
}

/// A set, whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicySet {
    /// All but what it says.
    pub summary: Summary,
    /// What it says.
    pub content: Vec<u8>,
    /// The signatures of its authors, encoded.
    pub signatures: Vec<u8>,
}

/// A set to be proposed.
#[derive(Clone, Copy, Debug)]
pub struct Proposal<'a> {
    /// Its name.
    pub name: &'a str,
    /// `enforce`, or `dry-run` and its end, Unix time.
    pub mode: &'a str,
    /// What it says.
    pub content: &'a [u8],
    /// SHA-256 of that.
    pub content_hash: &'a [u8; 32],
    /// SHA-256 of the schema that it was checked against.
    pub schema_hash: &'a [u8; 32],
    /// The signatures of its authors, encoded.
    pub signatures: &'a [u8],
    /// Who proposes it.
    pub author: &'a str,
}

macro_rules! columns {
    () => {
        "n, state, name, mode, content_hash, schema_hash, author, proposed, approver, activated"
    };
}

/// Keeps a set until it is approved, and gives its number: above all that were ever given.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Conflict`] if too many wait; [`Error::Bound`].
pub fn propose(tx: &mut Tx<'_>, writer: Epoch, new: &Proposal<'_>, now: u64) -> Result<u64> {
    let waiting = tx
        .first(
            "SELECT count(*) FROM policy_sets WHERE state = 'proposed'",
            &[],
        )?
        .map_or(Ok(0), |mut row| row.number())?;
    if waiting >= MAX_PROPOSALS {
        return Err(Error::Conflict(format!(
            "{MAX_PROPOSALS} policy sets wait to be approved already, which is the limit: withdraw some"
        )));
    }
    propose_in_any_case(tx, writer, new, now)
}

/// The same, however many wait: for what is put in force in the same transaction.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Bound`].
pub fn propose_in_any_case(
    tx: &mut Tx<'_>,
    writer: Epoch,
    new: &Proposal<'_>,
    now: u64,
) -> Result<u64> {
    let highest = tx
        .first("SELECT coalesce(max(n), 0) FROM policy_sets", &[])?
        .map_or(Ok(0), |mut row| row.number())?;
    let n = highest.max(meta::policy_version(tx)?) + 1;
    let changed = tx.execute(
        "INSERT INTO policy_sets (n, state, name, mode, content, content_hash, schema_hash, signatures, author, proposed,
             approver, activated)
           SELECT $1, 'proposed', $2, $3, $4, $5, $6, $7, $8, $9, '', 0 FROM writer WHERE epoch = $10",
        &[
            Value::number("policy set", n)?,
            Value::Text(text("name", new.name, MAX_NAME)?),
            Value::Text(text("mode", new.mode, MAX_NAME)?),
            Value::Bytes(bytes("policy set", new.content, MAX_POLICY_SET)?),
            Value::Bytes(new.content_hash),
            Value::Bytes(new.schema_hash),
            Value::Bytes(bytes("signatures", new.signatures, MAX_POLICY_AUTHORS)?),
            Value::Text(text("author", new.author, MAX_SPIFFE_ID)?),
            Value::number("time", now)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    Ok(n)
}

/// Puts a proposed set in force, in the place of the one that is. Those proposed before it are superseded with that: they were
/// written without knowing of it.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::NotFound`]; [`Error::Conflict`] if it is not proposed any more; [`Error::Bound`].
pub fn activate(tx: &mut Tx<'_>, writer: Epoch, n: u64, approver: &str, now: u64) -> Result<()> {
    proposed(tx, n)?;
    let number = Value::number("policy set", n)?;
    let superseded = tx.execute(
        "UPDATE policy_sets SET state = 'superseded'
           WHERE (state = 'active' OR (state = 'proposed' AND n < $1)) AND EXISTS (SELECT 1 FROM writer WHERE epoch = $2)",
        &[number, writer.value()?],
    )?;
    fenced(tx, writer, superseded)?;
    let changed = tx.execute(
        "UPDATE policy_sets SET state = 'active', approver = $2, activated = $3
           WHERE n = $1 AND state = 'proposed' AND EXISTS (SELECT 1 FROM writer WHERE epoch = $4)",
        &[
            number,
            Value::Text(text("approver", approver, MAX_SPIFFE_ID)?),
            Value::number("time", now)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "policy set {n}: it was changed meanwhile"
        )));
    }
    meta::set_policy_version(tx, writer, n)?;
    // Never the newest numbers, so that none is given again.
    tx.execute(
        "DELETE FROM policy_sets WHERE state IN ('superseded', 'withdrawn') AND n < $1 AND n NOT IN
           (SELECT n FROM policy_sets ORDER BY n DESC LIMIT $2)",
        &[number, Value::Int(KEPT)],
    )
    .map(drop)
}

/// Takes a proposed set back.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] if it is not proposed any more.
pub fn withdraw(tx: &mut Tx<'_>, n: u64) -> Result<()> {
    proposed(tx, n)?;
    tx.execute(
        "UPDATE policy_sets SET state = 'withdrawn' WHERE n = $1 AND state = 'proposed'",
        &[Value::number("policy set", n)?],
    )
    .map(drop)
}

/// The set that is in force, if one is.
///
/// # Errors
/// Those of the database.
pub fn active(tx: &mut Tx<'_>) -> Result<Option<PolicySet>> {
    tx.first(
        concat!(
            "SELECT ",
            columns!(),
            ", content, signatures FROM policy_sets WHERE state = 'active'"
        ),
        &[],
    )?
    .map(whole)
    .transpose()
}

/// One set, if it is still there.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, n: u64) -> Result<Option<PolicySet>> {
    tx.first(
        concat!(
            "SELECT ",
            columns!(),
            ", content, signatures FROM policy_sets WHERE n = $1"
        ),
        &[Value::number("policy set", n)?],
    )?
    .map(whole)
    .transpose()
}

/// Sets by number, newest first, those before `before` (`None` for the first page), at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, before: Option<u64>, limit: usize) -> Result<Vec<Summary>> {
    let most = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM policy_sets WHERE n < $1 ORDER BY n DESC LIMIT $2"
        ),
        &[
            Value::number("policy set", before.unwrap_or(most).min(most))?,
            Value::Int(page(limit)),
        ],
    )?
    .into_iter()
    .map(|mut row| summary(&mut row))
    .collect()
}

fn proposed(tx: &mut Tx<'_>, n: u64) -> Result<()> {
    let number = Value::number("policy set", n)?;
    let Some(mut row) = tx.first("SELECT state FROM policy_sets WHERE n = $1", &[number])? else {
        return Err(Error::NotFound {
            what: "policy set",
            which: n.to_string(),
        });
    };
    match state(&row.text()?)? {
        State::Proposed => Ok(()),
        other => Err(Error::Conflict(format!(
            "policy set {n} is {}, and only what is proposed can be decided on: push it again",
            other.as_str()
        ))),
    }
}

fn state(word: &str) -> Result<State> {
    let mut all = State::ALL.into_iter();
    all.find(|state| state.as_str() == word)
        .ok_or_else(|| Error::Corrupt(format!("found a policy set in state {word:?}")))
}

fn summary(row: &mut Row) -> Result<Summary> {
    Ok(Summary {
        n: row.number()?,
        state: state(&row.text()?)?,
        name: row.text()?,
        mode: row.text()?,
        content_hash: row.array()?,
        schema_hash: row.array()?,
        author: row.text()?,
        proposed: row.number()?,
        approver: row.text()?,
        activated: row.number()?,
    })
}

fn whole(mut row: Row) -> Result<PolicySet> {
    Ok(PolicySet {
        summary: summary(&mut row)?,
        content: row.bytes()?,
        signatures: row.bytes()?,
    })
}
