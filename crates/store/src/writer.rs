//! The fence: who may change what only one may change, and in which epoch that was decided.
//!
//! Each fenced statement of the other modules carries an [`Epoch`] and changes nothing if another is current. Whoever must make
//! such a change and is not the holder claims the next epoch in the same unit of work, and makes it.
//!
//! This epoch counts replicas taking over. The one that agents see counts restores: [`crate::meta`].

use crate::bounds::{MAX_NAME, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::Value;

/// An epoch in which its holder may write. Only [`claim`] makes one.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd)]
pub struct Epoch(u64);

impl Epoch {
    /// Its number, for logs and metrics.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    pub(crate) fn value(self) -> Result<Value<'static>> {
        Value::number("writer epoch", self.0)
    }
}

/// Who holds the fence.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Holder {
    /// The number of the epoch, 0 if nobody ever held it.
    pub epoch: u64,
    /// The replica, empty if nobody ever held it.
    pub name: String,
    /// When it was last seen.
    pub seen: u64,
}

/// Who holds the fence now.
///
/// # Errors
/// Those of the database.
pub fn holder(tx: &mut Tx<'_>) -> Result<Holder> {
    let mut row = tx
        .first("SELECT epoch, holder, seen FROM writer WHERE id = 1", &[])?
        .ok_or_else(|| Error::Corrupt("the table writer lacks its row".into()))?;
    Ok(Holder {
        epoch: row.number()?,
        name: row.text()?,
        seen: row.number()?,
    })
}

/// Takes the next epoch, whoever holds the present one.
///
/// # Errors
/// [`Error::Bound`].
pub fn claim(tx: &mut Tx<'_>, name: &str, now: u64) -> Result<Epoch> {
    let mut row = tx
        .first(
            "UPDATE writer SET epoch = epoch + 1, holder = $1, seen = $2 WHERE id = 1 RETURNING epoch",
            &[
                Value::Text(text("replica", name, MAX_NAME)?),
                Value::number("time", now)?,
            ],
        )?
        .ok_or_else(|| Error::Corrupt("the table writer lacks its row".into()))?;
    Ok(Epoch(row.number()?))
}

/// Takes the next epoch if the present holder was not seen for `silence` seconds; `None` if it was.
///
/// # Errors
/// [`Error::Bound`].
pub fn claim_if_silent(
    tx: &mut Tx<'_>,
    name: &str,
    now: u64,
    silence: u64,
) -> Result<Option<Epoch>> {
    let present = holder(tx)?;
    if present.epoch != 0 && now < present.seen.saturating_add(silence) {
        return Ok(None);
    }
    claim(tx, name, now).map(Some)
}

/// Says that the holder lives.
///
/// # Errors
/// [`Error::Fenced`] if it is the holder no more.
pub fn touch(tx: &mut Tx<'_>, epoch: Epoch, now: u64) -> Result<()> {
    let changed = tx.execute(
        "UPDATE writer SET seen = $1 WHERE id = 1 AND epoch = $2",
        &[Value::number("time", now)?, epoch.value()?],
    )?;
    fenced(tx, epoch, changed)
}

/// Looks whether an epoch is current, for a decision that writes nothing fenced itself.
///
/// # Errors
/// [`Error::Fenced`].
pub fn check(tx: &mut Tx<'_>, epoch: Epoch) -> Result<()> {
    fenced(tx, epoch, 0)
}

/// After a fenced statement: one that changed nothing is looked into.
pub(crate) fn fenced(tx: &mut Tx<'_>, epoch: Epoch, changed: u64) -> Result<()> {
    if changed > 0 {
        return Ok(());
    }
    let found = holder(tx)?.epoch;
    if found == epoch.0 {
        Ok(())
    } else {
        Err(Error::Fenced {
            held: epoch.0,
            found,
        })
    }
}
