//! What is believed of other trust domains, as one value that is replaced whole: what it says is not known here. Replacing is
//! fenced.

use crate::bounds::{MAX_FOREIGN_STATE, bytes};
use crate::error::Result;
use crate::tx::Tx;
use crate::value::Value;
use crate::writer::{Epoch, fenced};

/// What is believed, as of one version.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// Counts up with every change, from 1.
    pub version: u64,
    /// Encoded.
    pub state: Vec<u8>,
}

/// The version, 0 if nothing was ever kept.
///
/// # Errors
/// Those of the database.
pub fn version(tx: &mut Tx<'_>) -> Result<u64> {
    tx.first("SELECT version FROM foreign_bundles WHERE id = 1", &[])?
        .map_or(Ok(0), |mut row| row.number())
}

/// What was kept last, if anything ever was.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>) -> Result<Option<Foreign>> {
    let row = tx.first(
        "SELECT version, state FROM foreign_bundles WHERE id = 1",
        &[],
    )?;
    row.map_or(Ok(None), |mut row| {
        let version = row.number()?;
        let state = row.bytes()?;
        Ok(Some(Foreign { version, state }))
    })
}

/// Keeps this from now on, and gives its version.
///
/// # Errors
/// [`crate::Error::Fenced`]; [`crate::Error::Bound`] beyond [`MAX_FOREIGN_STATE`].
pub fn set(tx: &mut Tx<'_>, writer: Epoch, state: &[u8]) -> Result<u64> {
    let version = version(tx)? + 1;
    let changed = tx.execute(
        "INSERT INTO foreign_bundles (id, version, state) SELECT 1, $1, $2 FROM writer WHERE epoch = $3
           ON CONFLICT (id) DO UPDATE SET version = excluded.version, state = excluded.state",
        &[
            Value::number("version", version)?,
            Value::Bytes(bytes("foreign bundles", state, MAX_FOREIGN_STATE)?),
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    Ok(version)
}
