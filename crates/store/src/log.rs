//! The log over the events: its tiles, its key, its newest checkpoint. Which hashes these are is known above; here they are rows.
//!
//! A log is of one epoch: a database that was restored goes on with another one, since the old one may have been longer elsewhere. The events of
//! a log are those whose number is above `after_seq` and at most `last_seq`, in that order; every 256 are a *bundle*, of which
//! the last may be shorter. Every event is in one log, from the first that there is.

mod query;

use crate::bounds::{
    MAX_CHECKPOINT, MAX_NAME, MAX_PAGE, MAX_SEALED_KEY, MAX_VKEY, bytes, count, page, text,
};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{self, Epoch, fenced};

pub use query::{Filter, find};

/// Hashes in a tile, and events in a bundle (C2SP tlog-tiles).
pub const WIDTH: u64 = 256;
/// Bytes of a hash.
const HASH: usize = 32;

/// A log.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Log {
    /// The epoch that agents see.
    pub epoch: u64,
    /// The number of the last event before its first.
    pub after_seq: u64,
    /// The number of its last event; `after_seq` if it has none.
    pub last_seq: u64,
    /// How many events are in it.
    pub size: u64,
    /// How many of them, from the first on, are no longer here.
    pub pruned: u64,
    /// Its private key, sealed.
    pub sealed_key: Vec<u8>,
    /// Its public key, with its name, as checkpoints are verified with it.
    pub vkey: String,
    /// How many events the newest checkpoint is of.
    pub signed_size: u64,
    /// The newest checkpoint; empty if there is none.
    pub checkpoint: String,
    /// How many events the newest one is of that was witnessed.
    pub witnessed_size: u64,
    /// The newest one that was witnessed, with the signatures of its witnesses; empty if there is none.
    pub witnessed: String,
    /// How many events, from the first on, a collector has copies of, or will never have.
    pub copied_size: u64,
}

/// An event that is not in the log yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unlogged {
    /// Its number.
    pub seq: u64,
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// What is logged of it: all of it.
    pub body: String,
}

/// A tile, whole or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tile {
    /// How far above the events: 0 for their own hashes.
    pub level: u8,
    /// Its number on that level.
    pub n: u64,
    /// Up to 256 hashes of 32 bytes.
    pub hashes: Vec<u8>,
}

/// A bundle, whole or not.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// Its number.
    pub n: u64,
    /// The number of its last event.
    pub last_seq: u64,
    /// The earliest time in it, milliseconds since 1970.
    pub min_ms: u64,
    /// The latest. Clocks jump, so neither is that of its first or last event.
    pub max_ms: u64,
}

/// What a log has become by some events more.
#[derive(Clone, Debug, Default)]
pub struct Growth {
    /// Its size before.
    pub from: u64,
    /// Its size after.
    pub size: u64,
    /// The number of its last event.
    pub last_seq: u64,
    /// Tiles that are new, or longer than they were.
    pub tiles: Vec<Tile>,
    /// Bundles that are new, or longer than they were.
    pub bundles: Vec<Bundle>,
}

/// What was removed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Pruned {
    /// Of which log.
    pub epoch: u64,
    /// From this entry on.
    pub from: u64,
    /// Up to the one before this.
    pub to: u64,
    /// How many events that were.
    pub events: u64,
}

macro_rules! columns {
    () => {
        "epoch, after_seq, last_seq, size, pruned, sealed_key, vkey, signed_size, checkpoint,
           witnessed_size, witnessed, copied_size"
    };
}

/// The log of an epoch, if it was begun.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, epoch: u64) -> Result<Option<Log>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM logs WHERE epoch = $1"),
        &[Value::number("epoch", epoch)?],
    )?
    .map(log)
    .transpose()
}

/// All logs, oldest first, at most [`MAX_PAGE`].
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Log>> {
    let rows = tx.query(
        concat!("SELECT ", columns!(), " FROM logs ORDER BY epoch LIMIT $1"),
        &[Value::Int(page(MAX_PAGE))],
    )?;
    rows.into_iter().map(log).collect()
}

/// Begins the log of an epoch, behind the one before.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Conflict`] if it is there already; [`Error::Bound`].
pub fn begin(
    tx: &mut Tx<'_>,
    writer: Epoch,
    epoch: u64,
    sealed_key: &[u8],
    vkey: &str,
) -> Result<()> {
    writer::check(tx, writer)?;
    let after = last_logged(tx)?;
    tx.execute(
        "INSERT INTO logs (epoch, after_seq, last_seq, size, pruned, sealed_key, vkey, signed_size, checkpoint,
             witnessed_size, witnessed, copied_size)
           VALUES ($1, $2, $2, 0, 0, $3, $4, 0, '', 0, '', 0)",
        &[
            Value::number("epoch", epoch)?,
            Value::number("event number", after)?,
            Value::Bytes(bytes("sealed key", sealed_key, MAX_SEALED_KEY)?),
            Value::Text(text("public key", vkey, MAX_VKEY)?),
        ],
    )
    .map(drop)
}

/// The number of the last event that is in any log.
fn last_logged(tx: &mut Tx<'_>) -> Result<u64> {
    tx.first("SELECT max(last_seq) FROM logs", &[])?
        .map_or(Ok(None), |mut row| row.optional_number())
        .map(|seq| seq.unwrap_or(0))
}

/// Events that come behind those in a log, in their order, at most `limit` (up to [`MAX_PAGE`]).
///
/// # Errors
/// Those of the database.
pub fn unlogged(tx: &mut Tx<'_>, log: &Log, limit: usize) -> Result<Vec<Unlogged>> {
    let rows = tx.query(
        "SELECT seq, time_ms, body FROM events WHERE seq > $1 ORDER BY seq LIMIT $2",
        &[
            Value::number("event number", log.last_seq)?,
            Value::Int(page(limit)),
        ],
    )?;
    rows.into_iter()
        .map(|mut row| {
            Ok(Unlogged {
                seq: row.number()?,
                time_ms: row.number()?,
                body: row.text()?,
            })
        })
        .collect()
}

/// Keeps what a log has become. What was before it never changes: tiles and bundles only get longer.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Conflict`] if the log is not as long as it was thought to be; [`Error::Bound`].
pub fn grow(tx: &mut Tx<'_>, writer: Epoch, epoch: u64, growth: &Growth) -> Result<()> {
    count("tiles", growth.tiles.len(), MAX_PAGE)?;
    count("bundles", growth.bundles.len(), MAX_PAGE)?;
    let number = Value::number("epoch", epoch)?;
    let changed = tx.execute(
        "UPDATE logs SET size = $2, last_seq = $3 WHERE epoch = $1 AND size = $4
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $5)",
        &[
            number,
            Value::number("log size", growth.size)?,
            Value::number("event number", growth.last_seq)?,
            Value::number("log size", growth.from)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "the log of epoch {epoch} has not {} entries: somebody else wrote it",
            growth.from
        )));
    }
    for tile in &growth.tiles {
        let limit = HASH * usize::try_from(WIDTH).unwrap_or(HASH);
        tx.execute(
            "INSERT INTO log_tiles (epoch, level, n, hashes) VALUES ($1, $2, $3, $4)
               ON CONFLICT (epoch, level, n) DO UPDATE SET hashes = excluded.hashes",
            &[
                number,
                Value::Int(i64::from(tile.level)),
                Value::number("tile", tile.n)?,
                Value::Bytes(bytes("tile", &tile.hashes, limit)?),
            ],
        )?;
    }
    for bundle in &growth.bundles {
        tx.execute(
            "INSERT INTO log_bundles (epoch, n, last_seq, min_ms, max_ms) VALUES ($1, $2, $3, $4, $5)
               ON CONFLICT (epoch, n) DO UPDATE SET last_seq = excluded.last_seq, min_ms = excluded.min_ms,
                 max_ms = excluded.max_ms",
            &[
                number,
                Value::number("bundle", bundle.n)?,
                Value::number("event number", bundle.last_seq)?,
                Value::number("event time", bundle.min_ms)?,
                Value::number("event time", bundle.max_ms)?,
            ],
        )?;
    }
    Ok(())
}

/// Keeps the newest checkpoint. One of fewer events than the one that is there is not taken; of as many, it is the later one.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Bound`].
pub fn sign(tx: &mut Tx<'_>, writer: Epoch, epoch: u64, size: u64, checkpoint: &str) -> Result<()> {
    let changed = tx.execute(
        "UPDATE logs SET signed_size = $2, checkpoint = $3 WHERE epoch = $1 AND size >= $2 AND signed_size <= $2
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $4)",
        &[
            Value::number("epoch", epoch)?,
            Value::number("log size", size)?,
            Value::Text(text("checkpoint", checkpoint, MAX_CHECKPOINT)?),
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

/// Keeps the newest checkpoint that was witnessed.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Bound`].
pub fn witness(
    tx: &mut Tx<'_>,
    writer: Epoch,
    epoch: u64,
    size: u64,
    checkpoint: &str,
) -> Result<()> {
    let changed = tx.execute(
        "UPDATE logs SET witnessed_size = $2, witnessed = $3 WHERE epoch = $1 AND size >= $2 AND witnessed_size <= $2
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $4)",
        &[
            Value::number("epoch", epoch)?,
            Value::number("log size", size)?,
            Value::Text(text("checkpoint", checkpoint, MAX_CHECKPOINT)?),
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

/// Keeps up to where a collector has copies. What it has, it has: this only rises.
///
/// # Errors
/// [`Error::Fenced`]; those of the database.
pub fn copied(tx: &mut Tx<'_>, writer: Epoch, epoch: u64, size: u64) -> Result<()> {
    let changed = tx.execute(
        "UPDATE logs SET copied_size = $2 WHERE epoch = $1 AND signed_size >= $2 AND copied_size <= $2
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $3)",
        &[
            Value::number("epoch", epoch)?,
            Value::number("log size", size)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

/// One tile, if it is there.
///
/// # Errors
/// Those of the database.
pub fn tile(tx: &mut Tx<'_>, epoch: u64, level: u8, n: u64) -> Result<Option<Tile>> {
    tx.first(
        "SELECT hashes FROM log_tiles WHERE epoch = $1 AND level = $2 AND n = $3",
        &[
            Value::number("epoch", epoch)?,
            Value::Int(i64::from(level)),
            Value::number("tile", n)?,
        ],
    )?
    .map(|mut row| {
        Ok(Tile {
            level,
            n,
            hashes: row.bytes()?,
        })
    })
    .transpose()
}

/// One bundle, if it is there, whether its events are or not.
///
/// # Errors
/// Those of the database.
pub fn bundle(tx: &mut Tx<'_>, epoch: u64, n: u64) -> Result<Option<Bundle>> {
    tx.first(
        "SELECT last_seq, min_ms, max_ms FROM log_bundles WHERE epoch = $1 AND n = $2",
        &[Value::number("epoch", epoch)?, Value::number("bundle", n)?],
    )?
    .map(|mut row| {
        Ok(Bundle {
            n,
            last_seq: row.number()?,
            min_ms: row.number()?,
            max_ms: row.number()?,
        })
    })
    .transpose()
}

/// The events of a bundle, as they were logged; none if they were pruned.
///
/// # Errors
/// Those of the database.
pub fn entries(tx: &mut Tx<'_>, log: &Log, n: u64) -> Result<Vec<String>> {
    let Some((after, last)) = span(tx, log, n)? else {
        return Ok(Vec::new());
    };
    let rows = tx.query(
        "SELECT body FROM events WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3",
        &[
            Value::number("event number", after)?,
            Value::number("event number", last)?,
            Value::number("bundle", WIDTH)?,
        ],
    )?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// The numbers between which the events of a bundle are: above the first, up to the second.
fn span(tx: &mut Tx<'_>, log: &Log, n: u64) -> Result<Option<(u64, u64)>> {
    let Some(found) = bundle(tx, log.epoch, n)? else {
        return Ok(None);
    };
    let before = match n.checked_sub(1) {
        None => log.after_seq,
        Some(before) => {
            bundle(tx, log.epoch, before)?
                .ok_or_else(|| Error::Corrupt(format!("the log lacks bundle {before}")))?
                .last_seq
        }
    };
    Ok(Some((before, found.last_seq)))
}

/// The place of an event in its log: the epoch of the log, and the number of the entry. `None` if it is in none yet.
///
/// # Errors
/// Those of the database.
pub fn place(tx: &mut Tx<'_>, seq: u64) -> Result<Option<(u64, u64)>> {
    let seq = Value::number("event number", seq)?;
    let found = tx.first(
        "SELECT b.epoch, b.n FROM log_bundles AS b JOIN logs AS l ON l.epoch = b.epoch
           WHERE l.after_seq < $1 AND l.last_seq >= $1 AND b.last_seq >= $1 ORDER BY b.epoch, b.n LIMIT 1",
        &[seq],
    )?;
    let Some(mut row) = found else {
        return Ok(None);
    };
    let (epoch, n) = (row.number()?, row.number()?);
    let log = get(tx, epoch)?.ok_or_else(|| Error::Corrupt("a bundle without its log".into()))?;
    let Some((after, _)) = span(tx, &log, n)? else {
        return Ok(None);
    };
    let before = tx
        .first(
            "SELECT count(*) FROM events WHERE seq > $1 AND seq < $2",
            &[Value::number("event number", after)?, seq],
        )?
        .map_or(Ok(0), |mut row| row.number())?;
    Ok(Some((epoch, n * WIDTH + before)))
}

/// Removes the oldest bundles of the oldest log that still has some: those from before a time, in milliseconds since 1970, and those beyond the
/// newest `most` events. At most `limit` bundles at once, so that nobody waits long behind it. What tells that they were there stays:
/// their hashes. What is in no log yet is not removed, nor is a bundle that is not whole, unless its log has ended.
///
/// # Errors
/// [`Error::Fenced`]; those of the database.
pub fn prune(
    tx: &mut Tx<'_>,
    writer: Epoch,
    before_ms: u64,
    most: u64,
    limit: u64,
) -> Result<Option<Pruned>> {
    writer::check(tx, writer)?;
    let beyond = crate::events::last(tx)?.saturating_sub(most);
    let logs = list(tx)?;
    let newest = logs.last().map(|log| log.epoch);
    let end = |log: &Log| {
        let whole = log.size - log.size % WIDTH;
        if Some(log.epoch) == newest {
            whole
        } else {
            log.size
        }
    };
    let Some(log) = logs.iter().find(|log| log.pruned < end(log)) else {
        return Ok(None);
    };
    let (mut to, mut last) = (log.pruned, None);
    for n in
        (log.pruned / WIDTH..end(log).div_ceil(WIDTH)).take(usize::try_from(limit).unwrap_or(1))
    {
        let Some(found) = bundle(tx, log.epoch, n)? else {
            break;
        };
        if found.max_ms >= before_ms && found.last_seq > beyond {
            break;
        }
        (to, last) = (((n + 1) * WIDTH).min(log.size), Some(found.last_seq));
    }
    let Some(last) = last else {
        return Ok(None);
    };
    let events = tx.execute(
        "DELETE FROM events WHERE seq > $1 AND seq <= $2",
        &[
            Value::number("event number", log.after_seq)?,
            Value::number("event number", last)?,
        ],
    )?;
    tx.execute(
        "UPDATE logs SET pruned = $2 WHERE epoch = $1",
        &[
            Value::number("epoch", log.epoch)?,
            Value::number("log size", to)?,
        ],
    )?;
    Ok(Some(Pruned {
        epoch: log.epoch,
        from: log.pruned,
        to,
        events,
    }))
}

fn log(mut row: Row) -> Result<Log> {
    Ok(Log {
        epoch: row.number()?,
        after_seq: row.number()?,
        last_seq: row.number()?,
        size: row.number()?,
        pruned: row.number()?,
        sealed_key: row.bytes()?,
        vkey: row.text()?,
        signed_size: row.number()?,
        checkpoint: row.text()?,
        witnessed_size: row.number()?,
        witnessed: row.text()?,
        copied_size: row.number()?,
    })
}

/// A word that a filter may hold.
fn word<'a>(what: &'static str, word: &'a str) -> Result<Value<'a>> {
    crate::bounds::optional_text(what, word, crate::bounds::MAX_SPIFFE_ID.max(MAX_NAME))
        .map(Value::Text)
}
