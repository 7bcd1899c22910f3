//! The deny stream: encoded entries, numbered without a gap, each with the hash of the one before. Appending is fenced.

use crate::bounds::{MAX_DENY_ENTRY, MAX_PAGE, MAX_SPIFFE_ID, bytes, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{Epoch, fenced};

/// The end of the stream.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tail {
    /// The number of the last entry, 0 if there is none.
    pub seq: u64,
    /// Its hash, zeros if there is none.
    pub hash: [u8; 32],
    /// Entries up to this number may have been forgotten: who is behind it needs a snapshot.
    pub floor: u64,
}

/// An entry to be appended. The bytes are what agents get; the rest is there to be asked for.
#[derive(Clone, Debug)]
pub struct NewEntry {
    /// The encoded entry, with the number and the previous hash that [`append`] gave.
    pub entry: Vec<u8>,
    /// Its SHA-256.
    pub hash: [u8; 32],
    /// When it was made.
    pub time: u64,
    /// When it may be forgotten, 0 for never.
    pub until: u64,
    /// What kind of target it has.
    pub kind: u8,
    /// What is denied.
    pub target: String,
}

/// An entry of the stream.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Its number, from 1.
    pub seq: u64,
    /// The SHA-256 of its bytes.
    pub hash: [u8; 32],
    /// When it was made.
    pub time: u64,
    /// When it may be forgotten, 0 for never.
    pub until: u64,
    /// What kind of target it has.
    pub kind: u8,
    /// What is denied.
    pub target: String,
    /// The encoded entry.
    pub entry: Vec<u8>,
}

macro_rules! columns {
    () => {
        "seq, hash, time, until, kind, target, entry"
    };
}

/// The end of the stream.
///
/// # Errors
/// Those of the database.
pub fn tail(tx: &mut Tx<'_>) -> Result<Tail> {
    tx.first("SELECT seq, hash, floor FROM deny_tail WHERE id = 1", &[])?
        .map_or(Ok(Tail::default()), |mut row| {
            Ok(Tail {
                seq: row.number()?,
                hash: row.array()?,
                floor: row.number()?,
            })
        })
}

/// Appends an entry: `make` gets its number and the hash of the one before it, and encodes it. Gives its number.
///
/// # Errors
/// [`Error::Fenced`], [`Error::Bound`], and what `make` says.
pub fn append<E: From<Error>>(
    tx: &mut Tx<'_>,
    writer: Epoch,
    make: impl FnOnce(u64, &[u8; 32]) -> Result<NewEntry, E>,
) -> Result<u64, E> {
    let tail = tail(tx)?;
    let seq = tail.seq + 1;
    let new = make(seq, &tail.hash)?;
    insert(tx, writer, &tail, seq, &new)?;
    Ok(seq)
}

fn insert(tx: &mut Tx<'_>, writer: Epoch, tail: &Tail, seq: u64, new: &NewEntry) -> Result<()> {
    // The first append makes the row of the tail; after that it is where two writers would meet.
    tx.execute(
        "INSERT INTO deny_tail (id, seq, hash, floor) VALUES (1, 0, $1, 0) ON CONFLICT (id) DO NOTHING",
        &[Value::Bytes(&[0; 32])],
    )?;
    let changed = tx.execute(
        "UPDATE deny_tail SET seq = $1, hash = $2 WHERE id = 1 AND seq = $3 AND hash = $4
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $5)",
        &[
            Value::number("deny number", seq)?,
            Value::Bytes(&new.hash),
            Value::number("deny number", tail.seq)?,
            Value::Bytes(&tail.hash),
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "deny entry {seq}: another was appended meanwhile"
        )));
    }
    tx.execute(
        concat!(
            "INSERT INTO deny (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7)"
        ),
        &[
            Value::number("deny number", seq)?,
            Value::Bytes(&new.hash),
            Value::number("time", new.time)?,
            Value::number("until", new.until)?,
            Value::Int(i64::from(new.kind)),
            Value::Text(text("denied", &new.target, MAX_SPIFFE_ID)?),
            Value::Bytes(bytes("deny entry", &new.entry, MAX_DENY_ENTRY)?),
        ],
    )
    .map(drop)
}

/// Entries after a number, oldest first, at most `limit` (up to [`MAX_PAGE`]); `None` if some of them may have been forgotten,
/// or if the number is not there yet: then it takes a snapshot.
///
/// # Errors
/// Those of the database.
pub fn since(tx: &mut Tx<'_>, after: u64, limit: usize) -> Result<Option<Vec<Entry>>> {
    let tail = tail(tx)?;
    if after < tail.floor || after > tail.seq {
        return Ok(None);
    }
    page_after(tx, after, limit).map(Some)
}

/// Everything that is denied at a time, with the end of the stream. It is read in pages; all of it is one picture.
///
/// # Errors
/// Those of the database; [`Error::Bound`] if there are more than `limit`.
pub fn snapshot(tx: &mut Tx<'_>, now: u64, limit: usize) -> Result<(Tail, Vec<Entry>)> {
    let tail = tail(tx)?;
    let mut all = Vec::new();
    let mut after = 0;
    loop {
        let page = page_after(tx, after, MAX_PAGE)?;
        let Some(last) = page.last() else {
            return Ok((tail, all));
        };
        after = last.seq;
        all.extend(
            page.into_iter()
                .filter(|entry| entry.until == 0 || entry.until > now),
        );
        crate::bounds::count("deny entries", all.len(), limit)?;
    }
}

/// The newest entries against a target, newest first.
///
/// # Errors
/// Those of the database.
pub fn against(tx: &mut Tx<'_>, target: &str, limit: usize) -> Result<Vec<Entry>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM deny WHERE target = $1 ORDER BY seq DESC LIMIT $2"
        ),
        &[Value::Text(target), Value::Int(page(limit))],
    )?
    .into_iter()
    .map(entry)
    .collect()
}

/// One entry, if it is still there.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, seq: u64) -> Result<Option<Entry>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM deny WHERE seq = $1"),
        &[Value::number("deny number", seq)?],
    )?
    .map(entry)
    .transpose()
}

/// Forgets entries that have run out, but none of the newest `keep`, which serve agents that come back. Gives how many.
///
/// # Errors
/// [`Error::Fenced`].
pub fn forget(tx: &mut Tx<'_>, writer: Epoch, now: u64, keep: u64) -> Result<u64> {
    let tail = tail(tx)?;
    let last = tail.seq.saturating_sub(keep.max(1));
    let values = [
        Value::number("time", now)?,
        Value::number("deny number", last)?,
    ];
    let Some(floor) = tx
        .first(
            "SELECT max(seq) FROM deny WHERE until <> 0 AND until <= $1 AND seq <= $2",
            &values,
        )?
        .map_or(Ok(None), |mut row| row.optional_number())?
    else {
        return Ok(0);
    };
    let changed = tx.execute(
        "UPDATE deny_tail SET floor = $1 WHERE id = 1
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $2)",
        &[
            Value::number("deny number", floor.max(tail.floor))?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    tx.execute(
        "DELETE FROM deny WHERE until <> 0 AND until <= $1 AND seq <= $2",
        &values,
    )
}

fn page_after(tx: &mut Tx<'_>, after: u64, limit: usize) -> Result<Vec<Entry>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM deny WHERE seq > $1 ORDER BY seq LIMIT $2"
        ),
        &[
            Value::number("deny number", after)?,
            Value::Int(page(limit)),
        ],
    )?
    .into_iter()
    .map(entry)
    .collect()
}

fn entry(mut row: Row) -> Result<Entry> {
    Ok(Entry {
        seq: row.number()?,
        hash: row.array()?,
        time: row.number()?,
        until: row.number()?,
        kind: u8::try_from(row.number()?)
            .map_err(|_| Error::Corrupt("found a deny kind above 255".into()))?,
        target: row.text()?,
        entry: row.bytes()?,
    })
}
