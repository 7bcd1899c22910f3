//! Events: what was changed, by whom, told in the transaction of the change. What they mean is said above.

use crate::bounds::{MAX_EVENT, MAX_NAME, MAX_SPIFFE_ID, count, optional_text, page, text};
use crate::error::{Error, Result};
use crate::tx::{Engine, PendingEvent, Tx};
use crate::value::{Row, Value};

/// The most events of one unit of work. A revocation writes two or three; a renewal of a host's nodes one for each.
pub const MAX_PER_UNIT: usize = 1000;

/// An event to be written.
#[derive(Clone, Copy, Debug)]
pub struct NewEvent<'a> {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// A stable word for what happened, such as `certificate.issued`.
    pub kind: &'a str,
    /// Who did it: a SPIFFE ID, or `unix:<uid>`.
    pub actor: &'a str,
    /// What it was done to. May be empty.
    pub object: &'a str,
    /// The whole event, one JSON object.
    pub body: &'a str,
}

/// An event that was written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Event {
    /// Its number. Numbers rise in the order in which events become visible; on PostgreSQL some may be missing.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What happened.
    pub kind: String,
    /// Who did it.
    pub actor: String,
    /// What it was done to.
    pub object: String,
    /// The whole event, one JSON object.
    pub body: String,
}

/// Writes an event with the transaction: it is there when the transaction is committed, and its number is given then.
///
/// # Errors
/// [`Error::Bound`].
pub fn append(tx: &mut Tx<'_>, event: &NewEvent<'_>) -> Result<()> {
    count("events", tx.pending_events() + 1, MAX_PER_UNIT)?;
    let time_ms = i64::try_from(event.time_ms).map_err(|_| Error::Bound {
        what: "event time",
        found: event.time_ms.to_string(),
        wanted: "milliseconds since 1970".into(),
    })?;
    let event = PendingEvent {
        time_ms,
        kind: text("event kind", event.kind, MAX_NAME)?.into(),
        actor: text("event actor", event.actor, MAX_SPIFFE_ID)?.into(),
        object: optional_text("event object", event.object, MAX_SPIFFE_ID)?.into(),
        body: text("event", event.body, MAX_EVENT)?.into(),
    };
    tx.push_event(event);
    Ok(())
}

/// Writes the events of a transaction, as the last thing before its commit: their order costs a lock on PostgreSQL, which is thus
/// held as short as can be.
pub(crate) fn write(engine: &mut dyn Engine, events: &[PendingEvent]) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    engine.order_events()?;
    for event in events {
        engine.execute(
            "INSERT INTO events (time_ms, kind, actor, object, body) VALUES ($1, $2, $3, $4, $5)",
            &[
                Value::Int(event.time_ms),
                Value::Text(&event.kind),
                Value::Text(&event.actor),
                Value::Text(&event.object),
                Value::Text(&event.body),
            ],
        )?;
    }
    Ok(())
}

/// Events after a number, oldest first, at most `limit` (up to [`crate::bounds::MAX_PAGE`]). Those of this transaction are
/// not among them.
///
/// # Errors
/// Those of the database.
pub fn since(tx: &mut Tx<'_>, after: u64, limit: usize) -> Result<Vec<Event>> {
    let rows = tx.query(
        "SELECT seq, time_ms, kind, actor, object, body FROM events WHERE seq > $1
           ORDER BY seq LIMIT $2",
        &[
            Value::number("event number", after)?,
            Value::Int(page(limit)),
        ],
    )?;
    rows.into_iter().map(event).collect()
}

/// One event, if it is still there.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, seq: u64) -> Result<Option<Event>> {
    tx.first(
        "SELECT seq, time_ms, kind, actor, object, body FROM events WHERE seq = $1",
        &[Value::number("event number", seq)?],
    )?
    .map(event)
    .transpose()
}

pub(crate) fn event(mut row: Row) -> Result<Event> {
    Ok(Event {
        seq: row.number()?,
        time_ms: row.number()?,
        kind: row.text()?,
        actor: row.text()?,
        object: row.text()?,
        body: row.text()?,
    })
}

/// The number of the newest event, 0 if there is none.
///
/// # Errors
/// Those of the database.
pub fn last(tx: &mut Tx<'_>) -> Result<u64> {
    tx.first("SELECT max(seq) FROM events", &[])?
        .map_or(Ok(None), |mut row| row.optional_number())
        .map(|seq| seq.unwrap_or(0))
}
