//! Looking for events: newest first, by time, kind, actor and object.

use super::word;
use crate::bounds::page;
use crate::error::Result;
use crate::events::{Event, event};
use crate::tx::Tx;
use crate::value::Value;

/// What is looked for. What is empty is not asked about.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// Below this number; `None` for the newest.
    pub before: Option<u64>,
    /// From this time on, milliseconds since 1970.
    pub since_ms: u64,
    /// Before this time, milliseconds since 1970.
    pub until_ms: Option<u64>,
    /// The word for what happened.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// What it was done to.
    pub object: String,
}

/// A statement for each way into the table, so that one of its indexes serves: a condition on a parameter that may be empty hides it.
macro_rules! statement {
    ($by:literal) => {
        concat!(
            "SELECT seq, time_ms, kind, actor, object, body FROM events
               WHERE seq > $1 AND seq < $2 AND time_ms >= $3 AND time_ms < $4
                 AND ($5 = '' OR kind = $5) AND ($6 = '' OR actor = $6) AND ($7 = '' OR object = $7)",
            $by,
            " ORDER BY seq DESC LIMIT $8"
        )
    };
}

/// The newest events that a filter lets through, newest first, at most `limit` (up to [`crate::bounds::MAX_PAGE`]).
///
/// # Errors
/// [`crate::Error::Bound`]; those of the database.
pub fn find(tx: &mut Tx<'_>, filter: &Filter, limit: usize) -> Result<Vec<Event>> {
    let highest = u64::try_from(i64::MAX).unwrap_or(u64::MAX);
    let since = Value::number("time", filter.since_ms.min(highest))?;
    let until = Value::number("time", filter.until_ms.unwrap_or(highest).min(highest))?;
    // Bundles know between which times they are. What is in none yet is behind all of them.
    let above = match filter.since_ms {
        0 => 0,
        _ => number(
            tx,
            "SELECT max(last_seq) FROM log_bundles WHERE last_seq <
               coalesce((SELECT min(last_seq) FROM log_bundles WHERE max_ms >= $1), 9223372036854775807)",
            &[since],
        )?
        .unwrap_or(0),
    };
    let mut below = filter.before.unwrap_or(highest).min(highest);
    if filter.until_ms.is_some() {
        let logged = number(tx, "SELECT max(last_seq) FROM logs", &[])?.unwrap_or(0);
        let waits = number(
            tx,
            "SELECT min(seq) FROM events WHERE seq > $1 AND time_ms < $2",
            &[Value::number("event number", logged)?, until],
        )?;
        if waits.is_none() {
            let last = number(
                tx,
                "SELECT max(last_seq) FROM log_bundles WHERE min_ms < $1",
                &[until],
            )?;
            below = below.min(last.unwrap_or(0).saturating_add(1));
        }
    }
    let values = [
        Value::number("event number", above)?,
        Value::number("event number", below)?,
        since,
        until,
        word("kind", &filter.kind)?,
        word("actor", &filter.actor)?,
        word("object", &filter.object)?,
        Value::Int(page(limit)),
    ];
    // The narrowest first: an object is less common than whoever does something to it.
    let statement = if !filter.object.is_empty() {
        statement!(" AND object = $7")
    } else if !filter.actor.is_empty() {
        statement!(" AND actor = $6")
    } else if !filter.kind.is_empty() {
        statement!(" AND kind = $5")
    } else {
        statement!("")
    };
    tx.query(statement, &values)?
        .into_iter()
        .map(event)
        .collect()
}

fn number(tx: &mut Tx<'_>, sql: &'static str, values: &[Value<'_>]) -> Result<Option<u64>> {
    tx.first(sql, values)?
        .map_or(Ok(None), |mut row| row.optional_number())
}
