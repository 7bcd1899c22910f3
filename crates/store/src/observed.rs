//! What agents saw: which certificates their peers showed, and when. Beside what was issued it tells where a certificate is used,
//! and which one nobody here issued.

use crate::bounds::{MAX_NAME, MAX_OBSERVED, MAX_PAGE, count, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// A certificate, seen by an agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sighting {
    /// The SHA-256 of its DER.
    pub leaf_hash: [u8; 32],
    /// The agent.
    pub agent: String,
    /// When it was first reported.
    pub first_seen: u64,
    /// When it was last reported.
    pub last_seen: u64,
}

/// Notes what an agent saw, at most [`MAX_PAGE`] certificates. Gives those of them, by place, that are not among the issued.
///
/// # Errors
/// [`Error::Bound`], also if the agent has reported more than [`MAX_OBSERVED`] that are not forgotten yet.
pub fn record(tx: &mut Tx<'_>, agent: &str, leaves: &[[u8; 32]], now: u64) -> Result<Vec<usize>> {
    text("agent", agent, MAX_NAME)?;
    count("observed certificates", leaves.len(), MAX_PAGE)?;
    let mut strange = Vec::new();
    let mut new = 0;
    for (place, leaf) in leaves.iter().enumerate() {
        let values = [
            Value::Bytes(leaf),
            Value::Text(agent),
            Value::number("time", now)?,
        ];
        let known = tx.execute(
            "UPDATE observed SET last_seen = $3 WHERE leaf_hash = $1 AND agent = $2",
            &values,
        )?;
        if known == 0 {
            new += tx.execute(
                "INSERT INTO observed (leaf_hash, agent, first_seen, last_seen) VALUES ($1, $2, $3, $3)",
                &values,
            )?;
        }
        let issued = tx.first(
            "SELECT 1 FROM certificates WHERE leaf_hash = $1",
            &[Value::Bytes(leaf)],
        )?;
        if issued.is_none() {
            strange.push(place);
        }
    }
    if new > 0 {
        bounded(tx, agent)?;
    }
    Ok(strange)
}

/// Who saw a certificate, the latest first.
///
/// # Errors
/// Those of the database.
pub fn of(tx: &mut Tx<'_>, leaf_hash: &[u8; 32], limit: usize) -> Result<Vec<Sighting>> {
    tx.query(
        "SELECT leaf_hash, agent, first_seen, last_seen FROM observed WHERE leaf_hash = $1
           ORDER BY last_seen DESC, agent LIMIT $2",
        &[Value::Bytes(leaf_hash), Value::Int(page(limit))],
    )?
    .into_iter()
    .map(sighting)
    .collect()
}

/// Certificates seen since a time that were not issued here, at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn strangers(tx: &mut Tx<'_>, since: u64, limit: usize) -> Result<Vec<Sighting>> {
    tx.query(
        "SELECT leaf_hash, agent, first_seen, last_seen FROM observed
           WHERE last_seen >= $1 AND NOT EXISTS
             (SELECT 1 FROM certificates WHERE certificates.leaf_hash = observed.leaf_hash)
           ORDER BY last_seen DESC, leaf_hash, agent LIMIT $2",
        &[Value::number("time", since)?, Value::Int(page(limit))],
    )?
    .into_iter()
    .map(sighting)
    .collect()
}

/// Forgets what was last seen before a time, at most `limit` (up to [`MAX_PAGE`]) at once. Gives how many.
///
/// Forget sightings before certificates ([`crate::certificates::prune`]), or those of a certificate that is forgotten look
/// strange.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: u64, limit: usize) -> Result<u64> {
    tx.execute(
        "DELETE FROM observed WHERE (leaf_hash, agent) IN
           (SELECT leaf_hash, agent FROM observed WHERE last_seen < $1 ORDER BY last_seen LIMIT $2)",
        &[Value::number("time", before)?, Value::Int(page(limit))],
    )
}

fn bounded(tx: &mut Tx<'_>, agent: &str) -> Result<()> {
    let limit = i64::try_from(MAX_OBSERVED).unwrap_or(i64::MAX);
    let over = tx.first(
        "SELECT 1 FROM observed WHERE agent = $1 LIMIT 1 OFFSET $2",
        &[Value::Text(agent), Value::Int(limit)],
    )?;
    if over.is_some() {
        return Err(Error::Bound {
            what: "observed certificates of one agent",
            found: format!("more than {MAX_OBSERVED}"),
            wanted: format!("at most {MAX_OBSERVED}"),
        });
    }
    Ok(())
}

fn sighting(mut row: Row) -> Result<Sighting> {
    Ok(Sighting {
        leaf_hash: row.array()?,
        agent: row.text()?,
        first_seen: row.number()?,
        last_seen: row.number()?,
    })
}
