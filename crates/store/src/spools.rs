//! Up to where the events of each agent's spool were taken, so that what is told again is not taken again.

use crate::bounds::{MAX_NAME, MAX_SPOOLS, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::Value;

/// The identifier of a spool, random.
pub type SpoolId = [u8; 16];

/// The number of the last event that was taken from a spool; `None` if it is not known.
///
/// # Errors
/// Those of the database.
pub fn taken(tx: &mut Tx<'_>, agent: &str, spool: &SpoolId) -> Result<Option<u64>> {
    tx.first(
        "SELECT taken FROM spools WHERE agent = $1 AND spool = $2",
        &[Value::Text(agent), Value::Bytes(spool)],
    )?
    .map(|mut row| row.number())
    .transpose()
}

/// Notes that events were taken up to `to`, in the transaction that writes them; `from` is what [`taken`] gave in it. Of more than
/// [`MAX_SPOOLS`] of one agent the one that it has not been heard of for longest is forgotten.
///
/// # Errors
/// [`Error::Conflict`] if somebody else took events of it meanwhile; [`Error::Bound`].
pub fn advance(
    tx: &mut Tx<'_>,
    (agent, spool): (&str, &SpoolId),
    from: Option<u64>,
    to: u64,
    now: u64,
) -> Result<()> {
    text("agent", agent, MAX_NAME)?;
    if to < from.unwrap_or(0) {
        return Err(Error::Bound {
            what: "event of a spool",
            found: to.to_string(),
            wanted: "none before what was taken".into(),
        });
    }
    let key = [Value::Text(agent), Value::Bytes(spool)];
    let [name, id] = key;
    let to = Value::number("event of a spool", to)?;
    let now = Value::number("time", now)?;
    let changed = match from {
        Some(from) => tx.execute(
            "UPDATE spools SET taken = $3, seen = $4 WHERE agent = $1 AND spool = $2 AND taken = $5",
            &[name, id, to, now, Value::number("event of a spool", from)?],
        )?,
        None => tx.execute(
            "INSERT INTO spools (agent, spool, taken, seen) VALUES ($1, $2, $3, $4)
               ON CONFLICT (agent, spool) DO NOTHING",
            &[name, id, to, now],
        )?,
    };
    if changed == 0 {
        return Err(Error::Conflict(
            "events of this spool were taken by somebody else meanwhile".into(),
        ));
    }
    if from.is_none() {
        tx.execute(
            "DELETE FROM spools WHERE agent = $1 AND spool IN
               (SELECT spool FROM spools WHERE agent = $1 AND spool <> $2
                  ORDER BY seen DESC, spool LIMIT 1000 OFFSET $3)",
            &[
                Value::Text(agent),
                Value::Bytes(spool),
                Value::number("spools", MAX_SPOOLS as u64 - 1)?,
            ],
        )?;
    }
    Ok(())
}

/// Forgets spools that nothing came from since before a time, at most `limit` (up to [`crate::bounds::MAX_PAGE`]) at once. Gives how
/// many.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: u64, limit: usize) -> Result<u64> {
    tx.execute(
        "DELETE FROM spools WHERE (agent, spool) IN
           (SELECT agent, spool FROM spools WHERE seen < $1 ORDER BY seen LIMIT $2)",
        &[Value::number("time", before)?, Value::Int(page(limit))],
    )
}
