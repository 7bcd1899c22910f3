//! Where keys were shown, and what whoever they were issued to says of it; and what agents find suspicious of their peers. What
//! follows from either is decided above.

use crate::bounds::{
    MAX_ASKED, MAX_NAME, MAX_OBSERVED, MAX_PAGE, MAX_SPIFFE_ID, bytes, optional_text, page, text,
};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// A key, as one agent saw it at one address.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// The SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: [u8; 32],
    /// From where, 4 or 16 bytes.
    pub address: Vec<u8>,
    /// The agent that saw it.
    pub reporter: String,
    /// By which link: a hash of its session.
    pub session: [u8; 32],
    /// The agent that the certificate was issued to.
    pub owner: String,
    /// When it is asked about it, Unix time: the link was seen then or before.
    pub asked: u64,
    /// What that one says.
    pub answer: Answer,
}

/// Whether a link is its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It has not said.
    Open,
    /// It is.
    Mine,
    /// It is not.
    NotMine,
    /// It cannot know.
    Unsure,
}

impl Answer {
    const fn code(self) -> i64 {
        match self {
            Self::Open => 0,
            Self::Mine => 1,
            Self::NotMine => 2,
            Self::Unsure => 3,
        }
    }

    fn of(code: u64) -> Result<Self> {
        match code {
            0 => Ok(Self::Open),
            1 => Ok(Self::Mine),
            2 => Ok(Self::NotMine),
            3 => Ok(Self::Unsure),
            other => Err(Error::Corrupt(format!(
                "found answer {other}, wanted 0 to 3"
            ))),
        }
    }
}

/// For how long an owner is asked, in seconds: one that comes back within a minute still knows.
pub const ASKED: u64 = 60;

/// Notes that a key was shown. Gives whether its owner is to be asked: not where it has said already, of what two agents saw, that it is
/// at that address, nor where this agent has reported the same before; nor where too much waits of what this agent has reported, or
/// all of that is too much.
///
/// # Errors
/// [`Error::Bound`].
pub fn note(tx: &mut Tx<'_>, new: &Shown) -> Result<bool> {
    let known = tx.first(
        "SELECT 1 FROM shown WHERE spki = $1 AND address = $2 AND (reporter = $3 OR
           (SELECT count(*) FROM shown AS others WHERE spki = $1 AND address = $2 AND answer = 1) >= 2)",
        &[
            Value::Bytes(&new.spki),
            Value::Bytes(bytes("address", &new.address, 16)?),
            Value::Text(text("agent", &new.reporter, MAX_NAME)?),
        ],
    )?;
    if known.is_some() || is_too_much(tx, new)? {
        return Ok(false);
    }
    tx.execute(
        "INSERT INTO shown (spki, address, reporter, session, owner, asked, answer) VALUES ($1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT DO NOTHING",
        &[
            Value::Bytes(&new.spki),
            Value::Bytes(&new.address),
            Value::Text(&new.reporter),
            Value::Bytes(&new.session),
            Value::Text(text("agent", &new.owner, MAX_NAME)?),
            Value::number("time", new.asked)?,
            Value::Int(new.answer.code()),
        ],
    )
    .map(|changed| changed > 0)
}

fn is_too_much(tx: &mut Tx<'_>, new: &Shown) -> Result<bool> {
    let reporter = Value::Text(&new.reporter);
    let limit = |limit: usize| Value::Int(i64::try_from(limit).unwrap_or(i64::MAX));
    let waits = tx.first(
        "SELECT 1 FROM shown WHERE reporter = $1 AND asked >= $2 AND answer = 0 LIMIT 1 OFFSET $3",
        &[
            reporter,
            Value::number("time", new.asked.saturating_sub(ASKED))?,
            limit(MAX_ASKED - 1),
        ],
    )?;
    let kept = tx.first(
        "SELECT 1 FROM shown WHERE reporter = $1 LIMIT 1 OFFSET $2",
        &[reporter, limit(MAX_OBSERVED - 1)],
    )?;
    Ok(waits.is_some() || kept.is_some())
}

/// What is still open since a time, oldest first; a page of it.
///
/// # Errors
/// Those of the database.
pub fn open(tx: &mut Tx<'_>, since: u64) -> Result<Vec<Shown>> {
    let rows = tx.query(
        "SELECT spki, address, reporter, session, owner, asked, answer FROM shown
           WHERE asked >= $1 AND answer = 0 ORDER BY asked, spki, address, reporter LIMIT $2",
        &[Value::number("time", since)?, Value::Int(page(MAX_PAGE))],
    )?;
    rows.into_iter().map(shown).collect()
}

/// Takes the answer of an owner. Gives what it was about, if it was asked that and has not answered yet.
///
/// # Errors
/// Those of the database.
pub fn answer(
    tx: &mut Tx<'_>,
    owner: &str,
    spki: &[u8; 32],
    session: &[u8; 32],
    answer: Answer,
) -> Result<Vec<Shown>> {
    let about = [
        Value::Text(text("agent", owner, MAX_NAME)?),
        Value::Bytes(spki),
        Value::Bytes(session),
    ];
    let rows = tx.query(
        "SELECT spki, address, reporter, session, owner, asked, answer FROM shown
           WHERE owner = $1 AND spki = $2 AND session = $3 AND answer = 0 LIMIT 16",
        &about,
    )?;
    let [owner, spki, session] = about;
    tx.execute(
        "UPDATE shown SET answer = $4 WHERE owner = $1 AND spki = $2 AND session = $3 AND answer = 0",
        &[owner, spki, session, Value::Int(answer.code())],
    )?;
    rows.into_iter()
        .map(|row| {
            Ok(Shown {
                answer,
                ..shown(row)?
            })
        })
        .collect()
}

/// Notes what an agent finds suspicious of a peer, in the place of what it said of the same before. Gives who else says so since a
/// time, in milliseconds since 1970, itself included; a page of them.
///
/// # Errors
/// [`Error::Bound`].
pub fn suspect(
    tx: &mut Tx<'_>,
    (kind, spiffe_id, host): (&str, &str, &str),
    reporter: &str,
    (now_ms, since_ms): (u64, u64),
) -> Result<Vec<String>> {
    let about = [
        Value::Text(text("kind", kind, MAX_NAME)?),
        Value::Text(text("SPIFFE ID", spiffe_id, MAX_SPIFFE_ID)?),
        Value::Text(optional_text("host", host, MAX_NAME)?),
    ];
    let [kind, spiffe_id, host] = about;
    tx.execute(
        "INSERT INTO suspicions (kind, spiffe_id, host, reporter, time_ms) VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (kind, spiffe_id, host, reporter) DO UPDATE SET time_ms = excluded.time_ms",
        &[
            kind,
            spiffe_id,
            host,
            Value::Text(text("agent", reporter, MAX_NAME)?),
            Value::number("time", now_ms)?,
        ],
    )?;
    let rows = tx.query(
        "SELECT reporter FROM suspicions WHERE kind = $1 AND spiffe_id = $2 AND host = $3 AND time_ms >= $4 ORDER BY reporter LIMIT $5",
        &[
            kind,
            spiffe_id,
            host,
            Value::number("time", since_ms)?,
            Value::Int(page(MAX_PAGE)),
        ],
    )?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// Forgets what is from before a time, Unix time; at most `limit` of each at once. A key that is shown again is asked about
/// again, which does no harm.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: u64, limit: usize) -> Result<u64> {
    let limit = Value::Int(page(limit));
    let shown = tx.execute(
        "DELETE FROM shown WHERE (spki, address, reporter) IN
           (SELECT spki, address, reporter FROM shown WHERE asked < $1 ORDER BY asked LIMIT $2)",
        &[Value::number("time", before)?, limit],
    )?;
    let suspicions = tx.execute(
        "DELETE FROM suspicions WHERE (kind, spiffe_id, host, reporter) IN
           (SELECT kind, spiffe_id, host, reporter FROM suspicions WHERE time_ms < $1 ORDER BY time_ms LIMIT $2)",
        &[Value::number("time", before.saturating_mul(1000))?, limit],
    )?;
    Ok(shown + suspicions)
}

fn shown(mut row: Row) -> Result<Shown> {
    Ok(Shown {
        spki: row.array()?,
        address: row.bytes()?,
        reporter: row.text()?,
        session: row.array()?,
        owner: row.text()?,
        asked: row.number()?,
        answer: Answer::of(row.number()?)?,
    })
}
