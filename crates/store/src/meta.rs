//! What this control plane is: its trust domain, its cluster, its epoch; and versions that have no table of their own.

use crate::bounds::{MAX_NAME, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::Value;
use crate::writer::{Epoch, fenced};

/// What this control plane is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Meta {
    /// The SPIFFE trust domain.
    pub trust_domain: String,
    /// The cluster.
    pub cluster: String,
    /// Made once with the database, so that two control planes of one name can be told apart.
    pub instance: String,
    /// The epoch that agents see: counts recoveries from a backup, from 1.
    pub epoch: u64,
    /// When the database was made.
    pub created: u64,
}

const TRUST_DOMAIN: &str = "trust_domain";
const CLUSTER: &str = "cluster";
const INSTANCE: &str = "instance";
const EPOCH: &str = "epoch";
const CREATED: &str = "created";
const RESTORED: &str = "restored";
const POLICY: &str = "policy_version";
const RECOVERY: &str = "recovery";

/// The longest recovery statement, in bytes: one signature of a root has 1 KiB.
pub const MAX_RECOVERY: usize = 64 * 1024;

/// Names the control plane, once and for all.
///
/// # Errors
/// [`Error::Conflict`] if it has a name already; [`Error::Bound`].
pub fn init(
    tx: &mut Tx<'_>,
    trust_domain: &str,
    cluster: &str,
    instance: &str,
    now: u64,
) -> Result<Meta> {
    if let Some(found) = get(tx)? {
        return Err(Error::Conflict(format!(
            "this store belongs to cluster {} of {} already",
            found.cluster, found.trust_domain
        )));
    }
    put_text(
        tx,
        TRUST_DOMAIN,
        text("trust domain", trust_domain, MAX_NAME)?,
    )?;
    put_text(tx, CLUSTER, text("cluster", cluster, MAX_NAME)?)?;
    put_text(tx, INSTANCE, text("instance", instance, MAX_NAME)?)?;
    put_number(tx, EPOCH, 1)?;
    put_number(tx, CREATED, now)?;
    Ok(Meta {
        trust_domain: trust_domain.into(),
        cluster: cluster.into(),
        instance: instance.into(),
        epoch: 1,
        created: now,
    })
}

/// What [`init`] said, if it was called.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>) -> Result<Option<Meta>> {
    let Some(trust_domain) = find_text(tx, TRUST_DOMAIN)? else {
        return Ok(None);
    };
    let lost = || Error::Corrupt("the table meta lacks a row".into());
    Ok(Some(Meta {
        trust_domain,
        cluster: find_text(tx, CLUSTER)?.ok_or_else(lost)?,
        instance: find_text(tx, INSTANCE)?.ok_or_else(lost)?,
        epoch: find_number(tx, EPOCH)?.ok_or_else(lost)?,
        created: find_number(tx, CREATED)?.ok_or_else(lost)?,
    }))
}

/// Whether the database was restored from a backup and has no new epoch yet.
///
/// # Errors
/// Those of the database.
pub fn restored(tx: &mut Tx<'_>) -> Result<bool> {
    Ok(find_number(tx, RESTORED)?.unwrap_or(0) != 0)
}

/// Marks the database as one that comes from a backup.
pub(crate) fn mark_restored(tx: &mut Tx<'_>) -> Result<()> {
    put_number(tx, RESTORED, 1)
}

/// Starts the next epoch that agents see, and takes the mark of the restore away. For [`crate::Store::recover`].
///
/// `least` is the highest epoch that anybody was seen with, 0 if unknown: the new one is above it too.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::NotFound`] if the store has no name yet.
pub fn new_epoch(tx: &mut Tx<'_>, writer: Epoch, least: u64) -> Result<u64> {
    let now = find_number(tx, EPOCH)?.ok_or(Error::NotFound {
        what: "the epoch of",
        which: "a store without a name".into(),
    })?;
    let next = now.max(least).checked_add(1).ok_or(Error::Bound {
        what: "epoch",
        found: "the highest number".into(),
        wanted: "one that has a next".into(),
    })?;
    let changed = tx.execute(
        "UPDATE meta SET number_value = $1 WHERE name = 'epoch'
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $2)",
        &[Value::number("epoch", next)?, writer.value()?],
    )?;
    fenced(tx, writer, changed)?;
    put_number(tx, RESTORED, 0)?;
    Ok(next)
}

/// Keeps the statement that opened the present epoch: agents that remember an older one want to see it.
///
/// # Errors
/// [`Error::Bound`].
pub fn set_recovery(tx: &mut Tx<'_>, statement: &[u8]) -> Result<()> {
    let statement = crate::bounds::bytes("recovery statement", statement, MAX_RECOVERY)?;
    let digits: String = statement.iter().map(|byte| format!("{byte:02x}")).collect();
    put_text(tx, RECOVERY, &digits)
}

/// The statement that opened the present epoch; `None` in the first one.
///
/// # Errors
/// [`Error::Corrupt`].
pub fn recovery(tx: &mut Tx<'_>) -> Result<Option<Vec<u8>>> {
    let Some(digits) = find_text(tx, RECOVERY)? else {
        return Ok(None);
    };
    let bytes = (0..digits.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok())
        .collect::<Option<Vec<u8>>>();
    bytes
        .map(Some)
        .ok_or_else(|| Error::Corrupt("found a recovery statement that is not hexadecimal".into()))
}

/// The version of the policy, 0 if there is none.
///
/// # Errors
/// Those of the database.
pub fn policy_version(tx: &mut Tx<'_>) -> Result<u64> {
    Ok(find_number(tx, POLICY)?.unwrap_or(0))
}

/// The version of the policy from now on. It never goes back.
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Conflict`] if it is not above the present one.
pub fn set_policy_version(tx: &mut Tx<'_>, writer: Epoch, version: u64) -> Result<()> {
    let present = policy_version(tx)?;
    if version <= present {
        return Err(Error::Conflict(format!(
            "policy set {version}: found {present} in force, wanted one below"
        )));
    }
    tx.execute(
        "INSERT INTO meta (name, number_value) VALUES ($1, 0) ON CONFLICT (name) DO NOTHING",
        &[Value::Text(POLICY)],
    )?;
    let changed = tx.execute(
        "UPDATE meta SET number_value = $2 WHERE name = $1
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $3)",
        &[
            Value::Text(POLICY),
            Value::number("policy set", version)?,
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

fn find_text(tx: &mut Tx<'_>, name: &str) -> Result<Option<String>> {
    tx.first(
        "SELECT text_value FROM meta WHERE name = $1",
        &[Value::Text(name)],
    )?
    .map_or(Ok(None), |mut row| row.optional_text())
}

fn find_number(tx: &mut Tx<'_>, name: &str) -> Result<Option<u64>> {
    tx.first(
        "SELECT number_value FROM meta WHERE name = $1",
        &[Value::Text(name)],
    )?
    .map_or(Ok(None), |mut row| row.optional_number())
}

fn put_text(tx: &mut Tx<'_>, name: &str, value: &str) -> Result<()> {
    tx.execute(
        "INSERT INTO meta (name, text_value) VALUES ($1, $2)
           ON CONFLICT (name) DO UPDATE SET text_value = excluded.text_value",
        &[Value::Text(name), Value::Text(value)],
    )
    .map(drop)
}

fn put_number(tx: &mut Tx<'_>, name: &'static str, value: u64) -> Result<()> {
    tx.execute(
        "INSERT INTO meta (name, number_value) VALUES ($1, $2)
           ON CONFLICT (name) DO UPDATE SET number_value = excluded.number_value",
        &[Value::Text(name), Value::number(name, value)?],
    )
    .map(drop)
}
