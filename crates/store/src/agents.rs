//! Agents: who is enrolled, when each was last seen, and what each has acknowledged.

use crate::bounds::{MAX_AGENTS, MAX_NAME, MAX_SPIFFE_ID, optional_text, page, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// An agent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Agent {
    /// Its name, made once.
    pub id: String,
    /// Its SPIFFE ID.
    pub spiffe_id: String,
    /// The registration that it enrolled by.
    pub registration: String,
    /// Its host.
    pub host: String,
    /// The version of its program; empty if it has not said.
    pub program_version: String,
    /// When it enrolled.
    pub enrolled: u64,
    /// When it was last heard of.
    pub last_seen: u64,
    /// What holds on it.
    pub acknowledged: Acknowledged,
    /// When it last said so, 0 for never.
    pub acknowledged_at: u64,
    /// SHA-256 of the `SubjectPublicKeyInfo` of the authority that signed the certificate it last came with; `None` if it
    /// has not come since this is noted.
    pub issuer: Option<[u8; 32]>,
    /// The policy set that is in force on it, epoch and number; `None` if it has not said.
    pub policy: Option<(u64, u64)>,
}

/// What holds on an agent. Epoch and deny number go together and never go back.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Acknowledged {
    /// The epoch of the newest head.
    pub epoch: u64,
    /// The newest deny entry.
    pub deny_seq: u64,
    /// The version of the trust bundle.
    pub bundle: u64,
}

/// An agent that enrols.
#[derive(Clone, Copy, Debug)]
pub struct NewAgent<'a> {
    /// Its name.
    pub id: &'a str,
    /// Its SPIFFE ID.
    pub spiffe_id: &'a str,
    /// The registration that it enrols by.
    pub registration: &'a str,
    /// Its host.
    pub host: &'a str,
}

/// How far the agents that were seen lately have come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Adoption {
    /// Those seen.
    pub seen: u64,
    /// Those of them that have acknowledged it.
    pub have: u64,
}

macro_rules! columns {
    () => {
        "id, spiffe_id, registration, host, program_version, enrolled, last_seen, ack_epoch, ack_deny_seq, ack_bundle, ack_at, issuer_spki, policy_epoch, policy_n"
    };
}

/// Makes an agent known; one that is known already keeps what it has acknowledged.
///
/// # Errors
/// [`Error::Conflict`] if its SPIFFE ID belongs to another, or there are too many; [`Error::Bound`].
pub fn enrol(tx: &mut Tx<'_>, new: &NewAgent<'_>, now: u64) -> Result<()> {
    let values = [
        Value::Text(text("agent", new.id, MAX_NAME)?),
        Value::Text(text("SPIFFE ID", new.spiffe_id, MAX_SPIFFE_ID)?),
        Value::Text(optional_text(
            "registration id",
            new.registration,
            MAX_NAME,
        )?),
        Value::Text(optional_text("host", new.host, MAX_NAME)?),
        Value::number("time", now)?,
    ];
    let known = tx.execute(
        "UPDATE agents SET registration = $3, host = $4, enrolled = $5, last_seen = $5
           WHERE id = $1 AND spiffe_id = $2",
        &values,
    )?;
    if known > 0 {
        return Ok(());
    }
    let full = tx.first(
        "SELECT id FROM agents ORDER BY id LIMIT 1 OFFSET $1",
        &[Value::Int(
            i64::try_from(MAX_AGENTS - 1).unwrap_or(i64::MAX),
        )],
    )?;
    if full.is_some() {
        return Err(Error::Conflict(format!(
            "there are {MAX_AGENTS} agents already, which is the limit"
        )));
    }
    let changed = tx.execute(
        "INSERT INTO agents (id, spiffe_id, registration, host, program_version, enrolled, last_seen,
             ack_epoch, ack_deny_seq, ack_bundle, ack_at)
           VALUES ($1, $2, $3, $4, '', $5, $5, 0, 0, 0, 0) ON CONFLICT DO NOTHING",
        &values,
    )?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "agent {}: its id or its SPIFFE ID belongs to another",
            new.id
        )));
    }
    Ok(())
}

/// Notes that an agent was heard of, the version of its program, and the authority by which it came, if that is known.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Bound`].
pub fn seen(
    tx: &mut Tx<'_>,
    id: &str,
    program_version: &str,
    issuer: Option<&[u8; 32]>,
    now: u64,
) -> Result<()> {
    let changed = tx.execute(
        "UPDATE agents SET program_version = $2, last_seen = $3, issuer_spki = coalesce($4, issuer_spki)
           WHERE id = $1",
        &[
            Value::Text(id),
            Value::Text(optional_text("program version", program_version, MAX_NAME)?),
            Value::number("time", now)?,
            Value::optional_bytes(issuer.map(<[u8; 32]>::as_slice)),
        ],
    )?;
    known(changed, id)
}

/// By which authority the agents live that were seen since a time: `(name, issuer)` by name, those after `after`.
///
/// # Errors
/// Those of the database.
pub fn issuers(
    tx: &mut Tx<'_>,
    seen_since: u64,
    after: &str,
    limit: usize,
) -> Result<Vec<(String, Option<[u8; 32]>)>> {
    tx.query(
        "SELECT id, issuer_spki FROM agents WHERE last_seen >= $1 AND id > $2 ORDER BY id LIMIT $3",
        &[
            Value::number("time", seen_since)?,
            Value::Text(after),
            Value::Int(page(limit)),
        ],
    )?
    .into_iter()
    .map(|mut row| Ok((row.text()?, row.optional_array()?)))
    .collect()
}

/// Notes what holds on an agent. What is older than what it said before is passed over, since answers may overtake each other.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Bound`].
pub fn acknowledge(tx: &mut Tx<'_>, id: &str, what: &Acknowledged, now: u64) -> Result<()> {
    let changed = tx.execute(
        "UPDATE agents SET
             ack_deny_seq = CASE WHEN $2 > ack_epoch OR ($2 = ack_epoch AND $3 > ack_deny_seq)
               THEN $3 ELSE ack_deny_seq END,
             ack_bundle = CASE WHEN $2 > ack_epoch OR ($2 = ack_epoch AND $4 > ack_bundle)
               THEN $4 ELSE ack_bundle END,
             ack_epoch = CASE WHEN $2 > ack_epoch THEN $2 ELSE ack_epoch END,
             ack_at = $5, last_seen = $5
           WHERE id = $1",
        &[
            Value::Text(id),
            Value::number("epoch", what.epoch)?,
            Value::number("deny number", what.deny_seq)?,
            Value::number("bundle version", what.bundle)?,
            Value::number("time", now)?,
        ],
    )?;
    known(changed, id)
}

/// Notes which policy set is in force on an agent: it may be an older one than before, when a newer one did not compile there.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Bound`].
pub fn holds_policy(tx: &mut Tx<'_>, id: &str, policy: (u64, u64)) -> Result<()> {
    let changed = tx.execute(
        "UPDATE agents SET policy_epoch = $2, policy_n = $3 WHERE id = $1",
        &[
            Value::Text(id),
            Value::number("epoch", policy.0)?,
            Value::number("policy set", policy.1)?,
        ],
    )?;
    known(changed, id)
}

/// How many of the agents seen since a time have a policy set in force, or a later one.
///
/// # Errors
/// Those of the database.
pub fn policy_adoption(tx: &mut Tx<'_>, policy: (u64, u64), seen_since: u64) -> Result<Adoption> {
    let row = tx.first(
        "SELECT count(*), count(CASE WHEN policy_epoch > $1 OR (policy_epoch = $1 AND policy_n >= $2) THEN 1 END)
           FROM agents WHERE last_seen >= $3",
        &[
            Value::number("epoch", policy.0)?,
            Value::number("policy set", policy.1)?,
            Value::number("time", seen_since)?,
        ],
    )?;
    row.map_or(Ok(Adoption::default()), |mut row| {
        Ok(Adoption {
            seen: row.number()?,
            have: row.number()?,
        })
    })
}

/// An agent by its name.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Agent>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM agents WHERE id = $1"),
        &[Value::Text(id)],
    )?
    .map(agent)
    .transpose()
}

/// An agent by its SPIFFE ID.
///
/// # Errors
/// Those of the database.
pub fn by_spiffe_id(tx: &mut Tx<'_>, spiffe_id: &str) -> Result<Option<Agent>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM agents WHERE spiffe_id = $1"),
        &[Value::Text(spiffe_id)],
    )?
    .map(agent)
    .transpose()
}

/// Agents by name, those after `after` (empty for the first page), at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<Agent>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM agents WHERE id > $1 ORDER BY id LIMIT $2"
        ),
        &[Value::Text(after), Value::Int(page(limit))],
    )?
    .into_iter()
    .map(agent)
    .collect()
}

/// Agents seen since a time on which a deny entry does not hold yet, by name, those after `after`.
///
/// # Errors
/// Those of the database.
pub fn behind(
    tx: &mut Tx<'_>,
    epoch: u64,
    deny_seq: u64,
    seen_since: u64,
    after: &str,
    limit: usize,
) -> Result<Vec<Agent>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM agents WHERE last_seen >= $3 AND id > $4
               AND (ack_epoch < $1 OR (ack_epoch = $1 AND ack_deny_seq < $2)) ORDER BY id LIMIT $5"
        ),
        &[
            Value::number("epoch", epoch)?,
            Value::number("deny number", deny_seq)?,
            Value::number("time", seen_since)?,
            Value::Text(after),
            Value::Int(page(limit)),
        ],
    )?
    .into_iter()
    .map(agent)
    .collect()
}

/// How many of the agents seen since a time have a version of the bundle, or a later one.
///
/// # Errors
/// Those of the database.
pub fn bundle_adoption(
    tx: &mut Tx<'_>,
    epoch: u64,
    version: u64,
    seen_since: u64,
) -> Result<Adoption> {
    let row = tx.first(
        "SELECT count(*), count(CASE WHEN ack_epoch > $1 OR (ack_epoch = $1 AND ack_bundle >= $2) THEN 1 END)
           FROM agents WHERE last_seen >= $3",
        &[
            Value::number("epoch", epoch)?,
            Value::number("bundle version", version)?,
            Value::number("time", seen_since)?,
        ],
    )?;
    row.map_or(Ok(Adoption::default()), |mut row| {
        Ok(Adoption {
            seen: row.number()?,
            have: row.number()?,
        })
    })
}

/// Forgets an agent.
///
/// # Errors
/// [`Error::NotFound`].
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let changed = tx.execute("DELETE FROM agents WHERE id = $1", &[Value::Text(id)])?;
    known(changed, id)
}

fn agent(mut row: Row) -> Result<Agent> {
    Ok(Agent {
        id: row.text()?,
        spiffe_id: row.text()?,
        registration: row.text()?,
        host: row.text()?,
        program_version: row.text()?,
        enrolled: row.number()?,
        last_seen: row.number()?,
        acknowledged: Acknowledged {
            epoch: row.number()?,
            deny_seq: row.number()?,
            bundle: row.number()?,
        },
        acknowledged_at: row.number()?,
        issuer: row.optional_array()?,
        policy: row.optional_number()?.zip(row.optional_number()?),
    })
}

fn known(changed: u64, id: &str) -> Result<()> {
    if changed == 0 {
        return Err(Error::NotFound {
            what: "agent",
            which: id.into(),
        });
    }
    Ok(())
}
