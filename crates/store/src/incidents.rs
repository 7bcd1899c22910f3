//! Incidents: keys that may be stolen, what was done about them, and when. What is done, and why, is decided above.

use crate::bounds::{
    MAX_INCIDENT_KEYS, MAX_INCIDENT_STEPS, MAX_INCIDENTS, MAX_NAME, MAX_SPIFFE_ID, MAX_TEXT, count,
    optional_text, page, text,
};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{Epoch, fenced};

/// How far one has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// People were told; nothing else is done.
    Watching,
    /// Whoever has the keys was told to get others; the old ones still hold.
    Renewing,
    /// The keys are denied; not every agent has said that it holds, or not everybody has another key yet.
    Cutting,
    /// Denied everywhere, and everybody has another key.
    Over,
}

impl State {
    /// The word for it, everywhere.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Watching => "watching",
            Self::Renewing => "renewing",
            Self::Cutting => "cutting",
            Self::Over => "over",
        }
    }

    fn parse(word: &str) -> Result<Self> {
        [Self::Watching, Self::Renewing, Self::Cutting, Self::Over]
            .into_iter()
            .find(|state| state.word() == word)
            .ok_or_else(|| Error::Corrupt("found an incident in a state that there is not".into()))
    }
}

/// An incident.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Incident {
    /// Its number, from 1.
    pub id: u64,
    /// How far it has come.
    pub state: State,
    /// A stable word for why it was opened.
    pub cause: String,
    /// What it is about, for people: a SPIFFE ID, a node name, a key.
    pub subject: String,
    /// Who reported it, one a line: agents, or a person.
    pub sources: String,
    /// A person opened it, and not a signal.
    pub by_person: bool,
    /// When, in milliseconds since 1970.
    pub opened_ms: u64,
}

/// A key of an incident.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Key {
    /// The SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: [u8; 32],
    /// Whose it is; empty if nobody here knows.
    pub spiffe_id: String,
    /// On which host.
    pub host: String,
    /// The entry of the deny stream, 0 before there is one.
    pub deny_seq: u64,
    /// When whoever it belongs to was found to have another one, in milliseconds since 1970; 0 before.
    pub renewed_ms: u64,
}

/// A line of a time line.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Step {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// A stable word for what happened.
    pub kind: String,
    /// What happened, for people.
    pub text: String,
}

/// How many of the oldest give way at once where there are too many.
const ROOM: usize = 100;

macro_rules! columns {
    () => {
        "id, state, cause, subject, sources, by_person, opened_ms"
    };
}

/// Opens one, and gives its number; that in `new` does not count.
///
/// # Errors
/// [`Error::Fenced`], [`Error::Bound`]; [`Error::Conflict`] if there are too many already.
pub fn open(tx: &mut Tx<'_>, writer: Epoch, new: &Incident, keys: &[Key]) -> Result<u64> {
    count("keys of an incident", keys.len(), MAX_INCIDENT_KEYS)?;
    let last = tx
        .first("SELECT max(id), count(*) FROM incidents", &[])?
        .map_or(Ok((None, 0)), |mut row| {
            Ok::<_, Error>((row.optional_number()?, row.number()?))
        })?;
    // Those that are over give way: somebody must be able to say that a key is stolen.
    if last.1 >= MAX_INCIDENTS && prune(tx, new.opened_ms, ROOM)? == 0 {
        return Err(Error::Conflict(format!(
            "{MAX_INCIDENTS} incidents are remembered already, which is the limit"
        )));
    }
    let id = last.0.unwrap_or(0) + 1;
    let changed = tx.execute(
        "INSERT INTO incidents (id, state, cause, subject, sources, by_person, opened_ms)
           SELECT $1, $2, $3, $4, $5, $6, $7 FROM writer WHERE epoch = $8",
        &[
            Value::number("incident", id)?,
            Value::Text(new.state.word()),
            Value::Text(text("cause", &new.cause, MAX_NAME)?),
            Value::Text(text("subject", &new.subject, MAX_SPIFFE_ID)?),
            Value::Text(text("sources", &new.sources, MAX_TEXT)?),
            Value::flag(new.by_person),
            Value::number("time", new.opened_ms)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    for key in keys {
        tx.execute(
            "INSERT INTO incident_keys (incident, spki, spiffe_id, host, deny_seq, renewed_ms) VALUES ($1, $2, $3, $4, $5, $6)",
            &[
                Value::number("incident", id)?,
                Value::Bytes(&key.spki),
                Value::Text(optional_text("SPIFFE ID", &key.spiffe_id, MAX_SPIFFE_ID)?),
                Value::Text(optional_text("host", &key.host, MAX_NAME)?),
                Value::number("deny number", key.deny_seq)?,
                Value::number("time", key.renewed_ms)?,
            ],
        )?;
    }
    Ok(id)
}

/// One of them.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id: u64) -> Result<Option<Incident>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM incidents WHERE id = $1"),
        &[Value::number("incident", id)?],
    )?
    .map(incident)
    .transpose()
}

/// Those before a number, newest first, at most `limit`; `u64::MAX` begins with the newest.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, before: u64, limit: usize) -> Result<Vec<Incident>> {
    let before = i64::try_from(before).unwrap_or(i64::MAX);
    let rows = tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM incidents WHERE id < $1 ORDER BY id DESC LIMIT $2"
        ),
        &[Value::Int(before), Value::Int(page(limit))],
    )?;
    rows.into_iter().map(incident).collect()
}

/// Those about which something is still to be done, oldest first; a page of them.
///
/// # Errors
/// Those of the database.
pub fn under_way(tx: &mut Tx<'_>) -> Result<Vec<Incident>> {
    let rows = tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM incidents WHERE state IN ('renewing', 'cutting') ORDER BY id LIMIT 1000"
        ),
        &[],
    )?;
    rows.into_iter().map(incident).collect()
}

/// Those that were opened since a time, in milliseconds since 1970, newest first; a page of them.
///
/// # Errors
/// Those of the database.
pub fn opened_since(tx: &mut Tx<'_>, since_ms: u64) -> Result<Vec<Incident>> {
    let rows = tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM incidents WHERE opened_ms >= $1 ORDER BY id DESC LIMIT 1000"
        ),
        &[Value::number("time", since_ms)?],
    )?;
    rows.into_iter().map(incident).collect()
}

/// The keys that whoever has them is to replace: of incidents under way, as long as nothing else was found with their owners. A
/// page of them.
///
/// # Errors
/// Those of the database.
pub fn to_renew(tx: &mut Tx<'_>) -> Result<Vec<[u8; 32]>> {
    let rows = tx.query(
        "SELECT spki FROM incident_keys JOIN incidents ON incidents.id = incident_keys.incident
           WHERE state IN ('renewing', 'cutting') AND spiffe_id <> '' ORDER BY incident, spki LIMIT 1000",
        &[],
    )?;
    rows.into_iter().map(|mut row| row.array()).collect()
}

/// The keys of one.
///
/// # Errors
/// Those of the database.
pub fn keys(tx: &mut Tx<'_>, id: u64) -> Result<Vec<Key>> {
    let rows = tx.query(
        "SELECT spki, spiffe_id, host, deny_seq, renewed_ms FROM incident_keys WHERE incident = $1 ORDER BY spiffe_id, host, spki",
        &[Value::number("incident", id)?],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Key {
                spki: row.array()?,
                spiffe_id: row.text()?,
                host: row.text()?,
                deny_seq: row.number()?,
                renewed_ms: row.number()?,
            })
        })
        .collect()
}

/// Its time line, oldest first.
///
/// # Errors
/// Those of the database.
pub fn steps(tx: &mut Tx<'_>, id: u64) -> Result<Vec<Step>> {
    let rows = tx.query(
        "SELECT time_ms, kind, text FROM incident_steps WHERE incident = $1 ORDER BY n",
        &[Value::number("incident", id)?],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Step {
                time_ms: row.number()?,
                kind: row.text()?,
                text: row.text()?,
            })
        })
        .collect()
}

/// Adds a line to its time line; beyond [`MAX_INCIDENT_STEPS`] nothing is added. Gives whether it was.
///
/// # Errors
/// [`Error::Bound`].
pub fn tell(tx: &mut Tx<'_>, id: u64, step: &Step) -> Result<bool> {
    let incident = Value::number("incident", id)?;
    let last = tx.first(
        "SELECT max(n) FROM incident_steps WHERE incident = $1",
        &[incident],
    )?;
    let last = last.map_or(Ok(None), |mut row| row.optional_number())?;
    let n = last.unwrap_or(0) + 1;
    if n > MAX_INCIDENT_STEPS {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO incident_steps (incident, n, time_ms, kind, text) VALUES ($1, $2, $3, $4, $5)",
        &[
            incident,
            Value::number("step", n)?,
            Value::number("time", step.time_ms)?,
            Value::Text(text("step", &step.kind, MAX_NAME)?),
            Value::Text(text("step", &step.text, MAX_TEXT)?),
        ],
    )?;
    Ok(true)
}

/// Where it is from now on.
///
/// # Errors
/// [`Error::Fenced`].
pub fn move_to(tx: &mut Tx<'_>, writer: Epoch, id: u64, state: State) -> Result<()> {
    let changed = tx.execute(
        "UPDATE incidents SET state = $1 WHERE id = $2 AND EXISTS (SELECT 1 FROM writer WHERE epoch = $3)",
        &[
            Value::Text(state.word()),
            Value::number("incident", id)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

/// Who reports it, one a line.
///
/// # Errors
/// [`Error::Bound`].
pub fn reported_by(tx: &mut Tx<'_>, id: u64, sources: &str) -> Result<()> {
    tx.execute(
        "UPDATE incidents SET sources = $1 WHERE id = $2",
        &[
            Value::Text(text("sources", sources, MAX_TEXT)?),
            Value::number("incident", id)?,
        ],
    )
    .map(drop)
}

/// Notes how a key of it stands.
///
/// # Errors
/// [`Error::Bound`].
pub fn note(tx: &mut Tx<'_>, id: u64, key: &Key) -> Result<()> {
    tx.execute(
        "UPDATE incident_keys SET deny_seq = $1, renewed_ms = $2 WHERE incident = $3 AND spki = $4",
        &[
            Value::number("deny number", key.deny_seq)?,
            Value::number("time", key.renewed_ms)?,
            Value::number("incident", id)?,
            Value::Bytes(&key.spki),
        ],
    )
    .map(drop)
}

/// Forgets those that were opened before a time, in milliseconds since 1970, and about which nothing is to be done. At most
/// `limit` at once; gives how many.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before_ms: u64, limit: usize) -> Result<u64> {
    tx.execute(
        "DELETE FROM incidents WHERE id IN
           (SELECT id FROM incidents WHERE opened_ms < $1 AND state IN ('watching', 'over') ORDER BY id LIMIT $2)",
        &[Value::number("time", before_ms)?, Value::Int(page(limit))],
    )
}

fn incident(mut row: Row) -> Result<Incident> {
    Ok(Incident {
        id: row.number()?,
        state: State::parse(&row.text()?)?,
        cause: row.text()?,
        subject: row.text()?,
        sources: row.text()?,
        by_person: row.flag()?,
        opened_ms: row.number()?,
    })
}
