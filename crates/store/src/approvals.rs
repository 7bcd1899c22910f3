//! Approvals: what one person has asked for and a second one has to ask for as well. What takes two people, and who may be
//! the second, is decided above.

use crate::bounds::{MAX_APPROVALS, MAX_NAME, MAX_SPIFFE_ID, optional_text, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// A wish that waits for a second person.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wish {
    /// SHA-256 of the whole request: what the second one asks for must be the very same.
    pub request: [u8; 32],
    /// The method.
    pub action: String,
    /// To what, for people. May be empty.
    pub object: String,
    /// Who asked.
    pub actor: String,
    /// When.
    pub asked: u64,
    /// From when on it counts no more.
    pub expires: u64,
}

/// The wish for this request that still counts.
///
/// # Errors
/// Those of the database.
pub fn waiting(tx: &mut Tx<'_>, request: &[u8; 32], now: u64) -> Result<Option<Wish>> {
    tx.first(
        "SELECT request, action, object, actor, asked, expires FROM approvals
           WHERE request = $1 AND expires > $2",
        &[Value::Bytes(request), Value::number("time", now)?],
    )?
    .map(wish)
    .transpose()
}

/// Keeps a wish, in the place of an earlier one for the same request.
///
/// # Errors
/// [`Error::Conflict`] if too many wait; [`Error::Bound`].
pub fn ask(tx: &mut Tx<'_>, new: &Wish) -> Result<()> {
    // Those that count no more take nobody's place.
    prune(tx, new.asked, MAX_APPROVALS)?;
    tx.execute(
        "DELETE FROM approvals WHERE request = $1",
        &[Value::Bytes(&new.request)],
    )?;
    let changed = tx.execute(
        "INSERT INTO approvals (request, action, object, actor, asked, expires)
           SELECT $1, $2, $3, $4, $5, $6
             FROM (SELECT count(*) AS present FROM approvals) AS counted WHERE present < $7
             ON CONFLICT DO NOTHING",
        &[
            Value::Bytes(&new.request),
            Value::Text(text("action", &new.action, MAX_NAME)?),
            Value::Text(optional_text("object", &new.object, MAX_SPIFFE_ID)?),
            Value::Text(text("actor", &new.actor, MAX_SPIFFE_ID)?),
            Value::number("time", new.asked)?,
            Value::number("time", new.expires)?,
            Value::Int(i64::try_from(MAX_APPROVALS).unwrap_or(i64::MAX)),
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "{MAX_APPROVALS} wishes wait for a second person already, which is the limit"
        )));
    }
    Ok(())
}

/// Uses a wish up, in the transaction of what it was for. Gives whether it was there and still counted: it works once.
///
/// # Errors
/// Those of the database.
pub fn spend(tx: &mut Tx<'_>, wish: &Wish, now: u64) -> Result<bool> {
    let changed = tx.execute(
        "DELETE FROM approvals WHERE request = $1 AND actor = $2 AND asked = $3 AND expires > $4",
        &[
            Value::Bytes(&wish.request),
            Value::Text(&wish.actor),
            Value::number("time", wish.asked)?,
            Value::number("time", now)?,
        ],
    )?;
    Ok(changed > 0)
}

/// Forgets wishes that count no more, at most `limit` at once. Gives how many.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, now: u64, limit: usize) -> Result<u64> {
    tx.execute(
        "DELETE FROM approvals WHERE request IN
           (SELECT request FROM approvals WHERE expires <= $1 ORDER BY expires LIMIT $2)",
        &[Value::number("time", now)?, Value::Int(page(limit))],
    )
}

/// Forgets all of them: after a restore, one that was used up since the backup would count again.
///
/// # Errors
/// Those of the database.
pub fn clear(tx: &mut Tx<'_>) -> Result<u64> {
    tx.execute("DELETE FROM approvals", &[])
}

fn wish(mut row: Row) -> Result<Wish> {
    Ok(Wish {
        request: row.array()?,
        action: row.text()?,
        object: row.text()?,
        actor: row.text()?,
        asked: row.number()?,
        expires: row.number()?,
    })
}
