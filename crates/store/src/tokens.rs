//! Join tokens: used once, known by the hash of their secret only. How they are written down is decided above.

use crate::bounds::{MAX_MADE_BY_HAND, MAX_NAME, MAX_SPIFFE_ID, optional_text, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// For how long a client that lost the answer may ask again with the same key, in seconds (docs/decisions/0011).
pub const RETRY: u64 = 600;
/// The longest life of a token, in seconds: 30 days. It waits to be used for minutes, or until a rack is mounted; SPIRE and
/// Teleport have an hour or less as default and no bound.
pub const MAX_LIFE: u64 = 30 * 24 * 3600;

/// The name of a token. It is no secret.
pub type TokenId = [u8; 16];

/// A token.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Token {
    /// Its name.
    pub id: TokenId,
    /// The registration that it is for.
    pub registration: String,
    /// Who made it.
    pub owner: String,
    /// When it was made.
    pub created: u64,
    /// Until when it can be used.
    pub expires: u64,
    /// When it was used.
    pub used_at: Option<u64>,
    /// The SHA-256 of the public key that it was used with.
    pub used_by: Option<[u8; 32]>,
    /// The serial number of the certificate that it was used for.
    pub result: Option<Vec<u8>>,
    /// When it was revoked.
    pub revoked_at: Option<u64>,
}

/// A token to be made.
#[derive(Clone, Copy)]
pub struct NewToken<'a> {
    /// Its name.
    pub id: &'a TokenId,
    /// The SHA-256 of its secret.
    pub secret_hash: &'a [u8; 32],
    /// The registration that it is for.
    pub registration: &'a str,
    /// Who makes it.
    pub owner: &'a str,
    /// Until when it can be used.
    pub expires: u64,
}

/// What presenting a token comes to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Redeemed {
    /// It is used now. The certificate belongs in the same unit of work, and then [`set_result`].
    First(Token),
    /// It was used before, with the same key and a moment ago: the certificate of then is the answer.
    Again(Token),
    /// It opens nothing.
    Refused(Refusal),
}

/// Why a token opens nothing. For the event; who presented it need not know more than that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// No such token, or not its secret.
    Unknown,
    /// Its time has run out.
    Expired(Token),
    /// It was revoked.
    Revoked(Token),
    /// It was used, with another key or too long ago.
    Used(Token),
}

impl Refusal {
    /// A stable word for metrics and events.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Expired(_) => "expired",
            Self::Revoked(_) => "revoked",
            Self::Used(_) => "used",
        }
    }
}

macro_rules! columns {
    () => {
        "id, registration, owner, created, expires, used_at, used_by, result, revoked_at"
    };
}

/// Makes a token.
///
/// # Errors
/// [`Error::NotFound`] without the registration; [`Error::Conflict`] if the name is taken; [`Error::Bound`].
pub fn create(tx: &mut Tx<'_>, new: &NewToken<'_>, now: u64) -> Result<()> {
    text("registration id", new.registration, MAX_NAME)?;
    if new.expires <= now || new.expires - now > MAX_LIFE {
        return Err(Error::Bound {
            what: "life of a token",
            found: format!("{} seconds", i128::from(new.expires) - i128::from(now)),
            wanted: format!("1 to {MAX_LIFE}"),
        });
    }
    if crate::registrations::get(tx, new.registration)?.is_none() {
        return Err(Error::NotFound {
            what: "registration",
            which: new.registration.into(),
        });
    }
    let many = i64::try_from(MAX_MADE_BY_HAND).unwrap_or(i64::MAX);
    let changed = tx.execute(
        "INSERT INTO tokens (id, secret_hash, registration, owner, created, expires)
           SELECT $1, $2, $3, $4, $5, $6
           FROM (SELECT count(*) AS present FROM tokens) AS counted WHERE present < $7
           ON CONFLICT DO NOTHING",
        &[
            Value::Bytes(new.id),
            Value::Bytes(new.secret_hash),
            Value::Text(new.registration),
            Value::Text(optional_text("owner", new.owner, MAX_SPIFFE_ID)?),
            Value::number("time", now)?,
            Value::number("expiry", new.expires)?,
            Value::Int(many),
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "token: the id is taken, or there are {MAX_MADE_BY_HAND} already"
        )));
    }
    Ok(())
}

/// Presents a token. If it is good, it is used from now on, by whoever has the key with this SHA-256.
///
/// # Errors
/// Those of the database. A refusal is no error: its event is to be kept.
pub fn redeem(
    tx: &mut Tx<'_>,
    id: &TokenId,
    secret_hash: &[u8; 32],
    key_hash: &[u8; 32],
    now: u64,
) -> Result<Redeemed> {
    // Both sides of the comparison are hashes: how long it takes says nothing about the secret.
    let found = tx
        .first(
            concat!(
                "SELECT ",
                columns!(),
                " FROM tokens WHERE id = $1 AND secret_hash = $2"
            ),
            &[Value::Bytes(id), Value::Bytes(secret_hash)],
        )?
        .map(token)
        .transpose()?;
    let Some(mut found) = found else {
        return Ok(Redeemed::Refused(Refusal::Unknown));
    };
    if found.revoked_at.is_some() {
        return Ok(Redeemed::Refused(Refusal::Revoked(found)));
    }
    if let Some(used_at) = found.used_at {
        let same = found.used_by.as_ref() == Some(key_hash);
        let soon = now <= used_at.saturating_add(RETRY);
        return Ok(if same && soon && found.result.is_some() {
            Redeemed::Again(found)
        } else {
            Redeemed::Refused(Refusal::Used(found))
        });
    }
    if now >= found.expires {
        return Ok(Redeemed::Refused(Refusal::Expired(found)));
    }
    let changed = tx.execute(
        "UPDATE tokens SET used_at = $2, used_by = $3
           WHERE id = $1 AND used_at IS NULL AND revoked_at IS NULL",
        &[
            Value::Bytes(id),
            Value::number("time", now)?,
            Value::Bytes(key_hash),
        ],
    )?;
    if changed == 0 {
        // Nobody can have come between in one transaction; if somebody did, that was the first.
        return Ok(Redeemed::Refused(Refusal::Used(found)));
    }
    found.used_at = Some(now);
    found.used_by = Some(*key_hash);
    Ok(Redeemed::First(found))
}

/// Notes which certificate a token was used for, in the unit of work that used it.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] if it was not used, or has a certificate; [`Error::Bound`].
pub fn set_result(tx: &mut Tx<'_>, id: &TokenId, serial: &[u8]) -> Result<()> {
    let changed = tx.execute(
        "UPDATE tokens SET result = $2 WHERE id = $1 AND used_at IS NOT NULL AND result IS NULL",
        &[
            Value::Bytes(id),
            Value::Bytes(crate::certificates::checked_serial(serial)?),
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(
            "token: not used, or used for a certificate already".into(),
        ));
    }
    Ok(())
}

/// Revokes a token. One that was used stays used; its certificate is another matter.
///
/// # Errors
/// [`Error::NotFound`].
pub fn revoke(tx: &mut Tx<'_>, id: &TokenId, now: u64) -> Result<Token> {
    tx.execute(
        "UPDATE tokens SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
        &[Value::Bytes(id), Value::number("time", now)?],
    )?;
    get(tx, id)?.ok_or_else(|| Error::NotFound {
        what: "token",
        which: hex(id),
    })
}

/// A token by its name.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id: &TokenId) -> Result<Option<Token>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM tokens WHERE id = $1"),
        &[Value::Bytes(id)],
    )?
    .map(token)
    .transpose()
}

/// Tokens by id, those after `after` (`None` for the first page), at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, after: Option<&TokenId>, limit: usize) -> Result<Vec<Token>> {
    let after: &[u8] = after.map_or(&[], |id| id);
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM tokens WHERE id > $1 ORDER BY id LIMIT $2"
        ),
        &[Value::Bytes(after), Value::Int(page(limit))],
    )?
    .into_iter()
    .map(token)
    .collect()
}

/// Removes tokens that ran out before a time, used or not. Gives how many.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: u64, limit: usize) -> Result<u64> {
    tx.execute(
        "DELETE FROM tokens WHERE id IN
           (SELECT id FROM tokens WHERE expires < $1 ORDER BY expires LIMIT $2)",
        &[Value::number("time", before)?, Value::Int(page(limit))],
    )
}

fn token(mut row: Row) -> Result<Token> {
    Ok(Token {
        id: row.array()?,
        registration: row.text()?,
        owner: row.text()?,
        created: row.number()?,
        expires: row.number()?,
        used_at: row.optional_number()?,
        used_by: row.optional_array()?,
        result: row.optional_bytes()?,
        revoked_at: row.optional_number()?,
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
