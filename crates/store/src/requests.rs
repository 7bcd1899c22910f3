//! Requests for authorities: keys that were made here and whose certificate an offline root has yet to sign. Any replica takes
//! it when it comes back. What a key is sealed with is decided above.

use crate::bounds::{MAX_NAME, MAX_REQUESTS, MAX_SEALED_KEY, MAX_SPIFFE_ID, bytes, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// A key that waits for its certificate.
#[derive(Clone, Eq, PartialEq)]
pub struct Request {
    /// The name that the authority will have.
    pub id: String,
    /// Its private key, sealed.
    pub sealed_key: Vec<u8>,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: [u8; 32],
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub created: u64,
    /// From when on it is forgotten.
    pub expires: u64,
}

impl std::fmt::Debug for Request {
    /// Without the key, sealed though it is.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Request")
            .field("id", &self.id)
            .field("actor", &self.actor)
            .field("created", &self.created)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Keeps a request. Beyond [`MAX_REQUESTS`] the oldest goes.
///
/// # Errors
/// [`Error::Conflict`] if its name or its key is known; [`Error::Bound`].
pub fn add(tx: &mut Tx<'_>, new: &Request) -> Result<()> {
    let changed = tx.execute(
        "INSERT INTO authority_requests (id, sealed_key, spki, actor, created, expires)
           VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
        &[
            Value::Text(text("request", &new.id, MAX_NAME)?),
            Value::Bytes(bytes("sealed key", &new.sealed_key, MAX_SEALED_KEY)?),
            Value::Bytes(&new.spki),
            Value::Text(text("actor", &new.actor, MAX_SPIFFE_ID)?),
            Value::number("time", new.created)?,
            Value::number("time", new.expires)?,
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "request {}: its name or its key is known already",
            new.id
        )));
    }
    // The new one stays, also if several were made within one second.
    tx.execute(
        "DELETE FROM authority_requests WHERE id <> $1 AND id NOT IN
           (SELECT id FROM authority_requests WHERE id <> $1 ORDER BY created DESC, id LIMIT $2)",
        &[
            Value::Text(&new.id),
            Value::Int(i64::try_from(MAX_REQUESTS - 1).unwrap_or(i64::MAX)),
        ],
    )
    .map(drop)
}

/// A request by its name, unless it has run out.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id: &str, now: u64) -> Result<Option<Request>> {
    tx.first(
        "SELECT id, sealed_key, spki, actor, created, expires FROM authority_requests
           WHERE id = $1 AND expires > $2",
        &[Value::Text(id), Value::number("time", now)?],
    )?
    .map(request)
    .transpose()
}

/// Takes a request away, in the transaction in which its authority is kept. Gives whether it was there.
///
/// # Errors
/// Those of the database.
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<bool> {
    let changed = tx.execute(
        "DELETE FROM authority_requests WHERE id = $1",
        &[Value::Text(id)],
    )?;
    Ok(changed > 0)
}

/// Forgets requests that have run out. Gives how many.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, now: u64) -> Result<u64> {
    tx.execute(
        "DELETE FROM authority_requests WHERE expires <= $1",
        &[Value::number("time", now)?],
    )
}

fn request(mut row: Row) -> Result<Request> {
    Ok(Request {
        id: row.text()?,
        sealed_key: row.bytes()?,
        spki: row.array()?,
        actor: row.text()?,
        created: row.number()?,
        expires: row.number()?,
    })
}
