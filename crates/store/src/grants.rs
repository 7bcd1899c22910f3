//! Grants: who has which role, and where. What a role may do is decided above.

use crate::bounds::{MAX_MADE_BY_HAND, MAX_NAME, MAX_SPIFFE_ID, optional_text, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// A grant.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Grant {
    /// The user.
    pub user: String,
    /// The role.
    pub role: String,
    /// Where it holds, such as a trust domain, cluster or namespace, in the words of above. May be empty.
    pub scope: String,
    /// Who gave it.
    pub granted_by: String,
    /// When.
    pub granted_at: u64,
}

macro_rules! columns {
    () => {
        "subject, role, scope, granted_by, granted_at"
    };
}

/// Grants a role. Gives whether it is new.
///
/// # Errors
/// [`Error::Conflict`] if there are too many; [`Error::Bound`].
pub fn add(tx: &mut Tx<'_>, new: &Grant) -> Result<bool> {
    if has(tx, &new.user, &new.role, &new.scope)? {
        return Ok(false);
    }
    let many = i64::try_from(MAX_MADE_BY_HAND).unwrap_or(i64::MAX);
    let changed = tx.execute(
        concat!(
            "INSERT INTO grants (",
            columns!(),
            ") SELECT $1, $2, $3, $4, $5
               FROM (SELECT count(*) AS present FROM grants) AS counted WHERE present < $6
               ON CONFLICT DO NOTHING"
        ),
        &[
            Value::Text(text("user", &new.user, MAX_NAME)?),
            Value::Text(text("role", &new.role, MAX_NAME)?),
            Value::Text(optional_text("scope", &new.scope, MAX_SPIFFE_ID)?),
            Value::Text(optional_text("granted by", &new.granted_by, MAX_SPIFFE_ID)?),
            Value::number("time", new.granted_at)?,
            Value::Int(many),
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "there are {MAX_MADE_BY_HAND} grants already, which is the limit"
        )));
    }
    Ok(true)
}

/// Takes a role away. Gives whether it was there.
///
/// # Errors
/// Those of the database.
pub fn remove(tx: &mut Tx<'_>, user: &str, role: &str, scope: &str) -> Result<bool> {
    let changed = tx.execute(
        "DELETE FROM grants WHERE subject = $1 AND role = $2 AND scope = $3",
        &[Value::Text(user), Value::Text(role), Value::Text(scope)],
    )?;
    Ok(changed > 0)
}

/// The grants of a user, at most [`crate::bounds::MAX_PAGE`].
///
/// # Errors
/// Those of the database.
pub fn of(tx: &mut Tx<'_>, user: &str) -> Result<Vec<Grant>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM grants WHERE subject = $1 ORDER BY role, scope LIMIT 1000"
        ),
        &[Value::Text(user)],
    )?
    .into_iter()
    .map(grant)
    .collect()
}

/// How many users have a role in a scope: the last owner is not to go.
///
/// # Errors
/// Those of the database.
pub fn holders(tx: &mut Tx<'_>, role: &str, scope: &str) -> Result<u64> {
    tx.first(
        "SELECT count(*) FROM grants WHERE role = $1 AND scope = $2",
        &[Value::Text(role), Value::Text(scope)],
    )?
    .map_or(Ok(0), |mut row| row.number())
}

/// All grants, those after `(user, role, scope)` (empty for the first page), at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, after: (&str, &str, &str), limit: usize) -> Result<Vec<Grant>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM grants WHERE (subject, role, scope) > ($1, $2, $3)
               ORDER BY subject, role, scope LIMIT $4"
        ),
        &[
            Value::Text(after.0),
            Value::Text(after.1),
            Value::Text(after.2),
            Value::Int(page(limit)),
        ],
    )?
    .into_iter()
    .map(grant)
    .collect()
}

fn has(tx: &mut Tx<'_>, user: &str, role: &str, scope: &str) -> Result<bool> {
    Ok(tx
        .first(
            "SELECT granted_at FROM grants WHERE subject = $1 AND role = $2 AND scope = $3",
            &[Value::Text(user), Value::Text(role), Value::Text(scope)],
        )?
        .is_some())
}

fn grant(mut row: Row) -> Result<Grant> {
    Ok(Grant {
        user: row.text()?,
        role: row.text()?,
        scope: row.text()?,
        granted_by: row.text()?,
        granted_at: row.number()?,
    })
}
