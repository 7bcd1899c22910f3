//! The trust bundle: the roots of this trust domain, by version. Publishing is fenced.

use crate::bounds::{MAX_CERTIFICATE, MAX_ROOTS, bytes, count};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{Epoch, fenced};

/// How many versions are kept: enough to see what changed in the last rotations.
const KEPT: u64 = 100;

/// The roots as of one version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Bundle {
    /// Counts up with every change, from 1.
    pub version: u64,
    /// When it was published.
    pub time: u64,
    /// DER certificates, in the order in which they were published.
    pub roots: Vec<Vec<u8>>,
}

/// Publishes the next version, and gives its number.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Bound`], also for no root at all.
pub fn publish(tx: &mut Tx<'_>, writer: Epoch, roots: &[&[u8]], now: u64) -> Result<u64> {
    if roots.is_empty() {
        return Err(Error::Bound {
            what: "roots",
            found: "none".into(),
            wanted: format!("1 to {MAX_ROOTS}"),
        });
    }
    count("roots", roots.len(), MAX_ROOTS)?;
    let version = version(tx)? + 1;
    let changed = tx.execute(
        "INSERT INTO bundles (version, time) SELECT $1, $2 FROM writer WHERE epoch = $3",
        &[
            Value::number("version", version)?,
            Value::number("time", now)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    for (position, der) in (0_i64..).zip(roots) {
        tx.execute(
            "INSERT INTO bundle_roots (version, position, der) VALUES ($1, $2, $3)",
            &[
                Value::number("version", version)?,
                Value::Int(position),
                Value::Bytes(bytes("root", der, MAX_CERTIFICATE)?),
            ],
        )?;
    }
    tx.execute(
        "DELETE FROM bundles WHERE version <= $1",
        &[Value::number("version", version.saturating_sub(KEPT))?],
    )?;
    Ok(version)
}

/// The newest version, 0 if nothing was published.
///
/// # Errors
/// Those of the database.
pub fn version(tx: &mut Tx<'_>) -> Result<u64> {
    tx.first("SELECT max(version) FROM bundles", &[])?
        .map_or(Ok(None), |mut row| row.optional_number())
        .map(|version| version.unwrap_or(0))
}

/// The newest bundle, if one was published.
///
/// # Errors
/// Those of the database.
pub fn current(tx: &mut Tx<'_>) -> Result<Option<Bundle>> {
    let version = version(tx)?;
    get(tx, version)
}

/// The bundle of one version, if it is still kept: the newest hundred are.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, version: u64) -> Result<Option<Bundle>> {
    let values = [Value::number("version", version)?];
    let Some(mut row) = tx.first("SELECT time FROM bundles WHERE version = $1", &values)? else {
        return Ok(None);
    };
    let roots = tx.query(
        "SELECT der FROM bundle_roots WHERE version = $1 ORDER BY position",
        &values,
    )?;
    Ok(Some(Bundle {
        version,
        time: row.number()?,
        roots: roots
            .into_iter()
            .map(|mut row: Row| row.bytes())
            .collect::<Result<_>>()?,
    }))
}
