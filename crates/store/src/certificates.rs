//! Every certificate that was issued: for whom, until when, by which issuer, and whether it was revoked.

use crate::bounds::{
    MAX_CERTIFICATE, MAX_NAME, MAX_PAGE, MAX_SPIFFE_ID, bytes, optional_text, page, text,
};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// The longest serial number, in bytes (RFC 5280, section 4.1.2.2).
pub const MAX_SERIAL: usize = 20;

/// A certificate that was issued.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Its serial number, big-endian: one of its kind in the whole store.
    pub serial: Vec<u8>,
    /// The SHA-256 of its DER.
    pub leaf_hash: [u8; 32],
    /// The SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: [u8; 32],
    /// Whom it names.
    pub spiffe_id: String,
    /// The host that it names. May be empty.
    pub host: String,
    /// The SHA-256 of its issuer's `SubjectPublicKeyInfo`.
    pub issuer_spki: [u8; 32],
    /// From when on it is valid.
    pub not_before: u64,
    /// Until when it is valid.
    pub not_after: u64,
    /// The agent that asked for it. May be empty.
    pub agent: String,
    /// Who answers for it. May be empty.
    pub owner: String,
    /// When it was issued.
    pub issued_at: u64,
    /// When it was revoked.
    pub revoked_at: Option<u64>,
    /// DER.
    pub der: Vec<u8>,
}

/// Which certificates.
#[derive(Clone, Copy, Debug)]
pub enum Which<'a> {
    /// All.
    All,
    /// The one with this serial number.
    Serial(&'a [u8]),
    /// Those of this key, by the SHA-256 of its `SubjectPublicKeyInfo`.
    Key(&'a [u8; 32]),
    /// Those that name this SPIFFE ID.
    SpiffeId(&'a str),
    /// Those that this issuer signed, by the SHA-256 of its `SubjectPublicKeyInfo`.
    Issuer(&'a [u8; 32]),
    /// Those that this agent asked for.
    Agent(&'a str),
    /// Those that name this host.
    Host(&'a str),
    /// Those that this owner answers for.
    Owner(&'a str),
}

/// A part of a list.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Only what is valid after this time; 0 for those too that have run out.
    pub valid_after: u64,
    /// Only what runs out before this time; `None` for all.
    pub expiring_before: Option<u64>,
    /// The last of the page before; `None` for the first page.
    pub after: Option<Cursor<'a>>,
    /// At most so many, up to [`crate::bounds::MAX_PAGE`].
    pub limit: usize,
}

/// A place in a list.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    /// Until when the last one seen is valid.
    pub not_after: u64,
    /// Its serial number.
    pub serial: &'a [u8],
}

macro_rules! columns {
    () => {
        "serial, leaf_hash, spki, spiffe_id, host, issuer_spki, not_before, not_after, agent, owner, issued_at, revoked_at, der"
    };
}

/// A statement for each [`Which`], so that each has its index.
macro_rules! for_each_which {
    ($which:expr, $before:expr, $after:expr) => {
        match $which {
            // The parameter is used in each of them, or its type would be unknown.
            Which::All => (
                concat!($before, "(CAST($1 AS BIGINT) = 0)", $after),
                Value::Int(0),
            ),
            Which::Serial(serial) => (
                concat!($before, "serial = $1", $after),
                Value::Bytes(serial),
            ),
            Which::Key(spki) => (concat!($before, "spki = $1", $after), Value::Bytes(*spki)),
            Which::SpiffeId(id) => (concat!($before, "spiffe_id = $1", $after), Value::Text(id)),
            Which::Issuer(spki) => (
                concat!($before, "issuer_spki = $1", $after),
                Value::Bytes(*spki),
            ),
            Which::Agent(agent) => (concat!($before, "agent = $1", $after), Value::Text(agent)),
            Which::Host(host) => (concat!($before, "host = $1", $after), Value::Text(host)),
            Which::Owner(owner) => (concat!($before, "owner = $1", $after), Value::Text(owner)),
        }
    };
}

/// Keeps a certificate. What it says must be what its DER says; nobody looks here.
///
/// # Errors
/// [`Error::Conflict`] if the serial number or the certificate is known; [`Error::Bound`].
pub fn insert(tx: &mut Tx<'_>, new: &Certificate) -> Result<()> {
    let changed = tx.execute(
        concat!(
            "INSERT INTO certificates (",
            columns!(),
            ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13) ON CONFLICT DO NOTHING"
        ),
        &[
            Value::Bytes(checked_serial(&new.serial)?),
            Value::Bytes(&new.leaf_hash),
            Value::Bytes(&new.spki),
            Value::Text(text("SPIFFE ID", &new.spiffe_id, MAX_SPIFFE_ID)?),
            Value::Text(optional_text("host", &new.host, MAX_NAME)?),
            Value::Bytes(&new.issuer_spki),
            Value::number("not before", new.not_before)?,
            Value::number("not after", new.not_after)?,
            Value::Text(optional_text("agent", &new.agent, MAX_NAME)?),
            Value::Text(optional_text("owner", &new.owner, MAX_SPIFFE_ID)?),
            Value::number("time", new.issued_at)?,
            Value::optional_number("time", new.revoked_at)?,
            Value::Bytes(bytes("certificate", &new.der, MAX_CERTIFICATE)?),
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(
            "certificate: its serial number or itself is known already".into(),
        ));
    }
    Ok(())
}

/// The certificate with a serial number.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, serial: &[u8]) -> Result<Option<Certificate>> {
    tx.first(
        concat!(
            "SELECT ",
            columns!(),
            " FROM certificates WHERE serial = $1"
        ),
        &[Value::Bytes(serial)],
    )?
    .map(certificate)
    .transpose()
}

/// The certificate whose DER has this SHA-256.
///
/// # Errors
/// Those of the database.
pub fn by_leaf_hash(tx: &mut Tx<'_>, hash: &[u8; 32]) -> Result<Option<Certificate>> {
    tx.first(
        concat!(
            "SELECT ",
            columns!(),
            " FROM certificates WHERE leaf_hash = $1"
        ),
        &[Value::Bytes(hash)],
    )?
    .map(certificate)
    .transpose()
}

/// Certificates, those that run out first in front.
///
/// # Errors
/// Those of the database; [`Error::Bound`].
pub fn list(tx: &mut Tx<'_>, which: &Which<'_>, part: &Page<'_>) -> Result<Vec<Certificate>> {
    let (sql, value) = for_each_which!(
        which,
        concat!("SELECT ", columns!(), " FROM certificates WHERE "),
        " AND not_after > $2 AND not_after < $3 AND (not_after, serial) > ($4, $5)
          ORDER BY not_after, serial LIMIT $6"
    );
    let (not_after, serial) = part
        .after
        .map_or((0, &[][..]), |cursor| (cursor.not_after, cursor.serial));
    let before = part
        .expiring_before
        .map_or(Ok(Value::Int(i64::MAX)), |time| Value::number("time", time))?;
    // "After 0" would leave out what ran out in 1970; nothing did.
    tx.query(
        sql,
        &[
            value,
            Value::number("time", part.valid_after)?,
            before,
            Value::number("time", not_after)?,
            Value::Bytes(serial),
            Value::Int(page(part.limit)),
        ],
    )?
    .into_iter()
    .map(certificate)
    .collect()
}

/// How many there are that are valid at a time, revoked ones too.
///
/// # Errors
/// Those of the database.
pub fn count_valid(tx: &mut Tx<'_>, now: u64) -> Result<u64> {
    tx.first(
        "SELECT count(*) FROM certificates WHERE not_after > $1",
        &[Value::number("time", now)?],
    )?
    .map_or(Ok(0), |mut row| row.number())
}

/// Until when the last of them is valid: so long must be remembered what forbids them. `None` if none is valid now.
///
/// # Errors
/// Those of the database.
pub fn valid_until(tx: &mut Tx<'_>, which: &Which<'_>, now: u64) -> Result<Option<u64>> {
    let (sql, value) = for_each_which!(
        which,
        "SELECT max(not_after) FROM certificates WHERE ",
        " AND not_after > $2"
    );
    tx.first(sql, &[value, Value::number("time", now)?])?
        .map_or(Ok(None), |mut row| row.optional_number())
}

/// The agents that asked for the valid ones that name a SPIFFE ID, in order, at most [`MAX_PAGE`].
///
/// # Errors
/// Those of the database.
pub fn holders(tx: &mut Tx<'_>, spiffe_id: &str, now: u64) -> Result<Vec<String>> {
    let rows = tx.query(
        "SELECT DISTINCT agent FROM certificates WHERE spiffe_id = $1 AND not_after > $2 ORDER BY agent LIMIT $3",
        &[
            Value::Text(spiffe_id),
            Value::number("time", now)?,
            Value::Int(page(MAX_PAGE)),
        ],
    )?;
    rows.into_iter().map(|mut row| row.text()).collect()
}

/// Marks the valid ones among them as revoked, and gives how many were not before.
///
/// # Errors
/// Those of the database.
pub fn revoke(tx: &mut Tx<'_>, which: &Which<'_>, now: u64) -> Result<u64> {
    let (sql, value) = for_each_which!(
        which,
        "UPDATE certificates SET revoked_at = $2 WHERE ",
        " AND not_after > $2 AND revoked_at IS NULL"
    );
    tx.execute(sql, &[value, Value::number("time", now)?])
}

/// Takes the mark away again, from those that are still valid. Gives how many had it.
///
/// # Errors
/// Those of the database.
pub fn allow_again(tx: &mut Tx<'_>, which: &Which<'_>, now: u64) -> Result<u64> {
    let (sql, value) = for_each_which!(
        which,
        "UPDATE certificates SET revoked_at = NULL WHERE ",
        " AND not_after > $2 AND revoked_at IS NOT NULL"
    );
    tx.execute(sql, &[value, Value::number("time", now)?])
}

/// Revoked certificates that are still valid, by serial number after `after` (empty for the first page): what a CRL says of
/// an issuer.
///
/// # Errors
/// Those of the database.
pub fn revoked(
    tx: &mut Tx<'_>,
    issuer_spki: &[u8; 32],
    now: u64,
    after: &[u8],
    limit: usize,
) -> Result<Vec<(Vec<u8>, u64)>> {
    tx.query(
        "SELECT serial, revoked_at FROM certificates
           WHERE revoked_at IS NOT NULL AND not_after > $2 AND issuer_spki = $1 AND serial > $3
           ORDER BY serial LIMIT $4",
        &[
            Value::Bytes(issuer_spki),
            Value::number("time", now)?,
            Value::Bytes(after),
            Value::Int(page(limit)),
        ],
    )?
    .into_iter()
    .map(|mut row| Ok((row.bytes()?, row.number()?)))
    .collect()
}

/// Forgets certificates that ran out before a time, at most `limit` (up to [`crate::bounds::MAX_PAGE`]) at once, so that nobody
/// waits long behind it. Gives how many.
///
/// # Errors
/// Those of the database.
pub fn prune(tx: &mut Tx<'_>, before: u64, limit: usize) -> Result<u64> {
    tx.execute(
        "DELETE FROM certificates WHERE serial IN
           (SELECT serial FROM certificates WHERE not_after < $1 ORDER BY not_after LIMIT $2)",
        &[Value::number("time", before)?, Value::Int(page(limit))],
    )
}

pub(crate) fn checked_serial(serial: &[u8]) -> Result<&[u8]> {
    bytes("serial number", serial, MAX_SERIAL)
}

fn certificate(mut row: Row) -> Result<Certificate> {
    Ok(Certificate {
        serial: row.bytes()?,
        leaf_hash: row.array()?,
        spki: row.array()?,
        spiffe_id: row.text()?,
        host: row.text()?,
        issuer_spki: row.array()?,
        not_before: row.number()?,
        not_after: row.number()?,
        agent: row.text()?,
        owner: row.text()?,
        issued_at: row.number()?,
        revoked_at: row.optional_number()?,
        der: row.bytes()?,
    })
}
