//! Registrations: which attested caller may carry which names.

use crate::bounds::{
    MAX_MADE_BY_HAND, MAX_NAME, MAX_PATTERNS, MAX_SPIFFE_ID, count, optional_text, page, text,
};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};

/// By what a caller proves to be the one that a registration is for.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Evidence {
    /// A one-time join token of this registration ([`crate::tokens`]).
    JoinToken,
    /// A service account of Kubernetes.
    Kubernetes {
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// A certificate of another authority with this SPIFFE ID.
    SpiffeId(String),
    /// A person, by a join token.
    Person,
}

impl Evidence {
    /// The word in the database, and for people.
    #[must_use]
    pub const fn word(&self) -> &'static str {
        match self {
            Self::JoinToken => "join_token",
            Self::Kubernetes { .. } => "kubernetes",
            Self::SpiffeId(_) => "spiffe_id",
            Self::Person => "person",
        }
    }

    /// Which one, within the kind. A namespace and a name of Kubernetes hold no slash.
    fn subject(&self) -> Result<String> {
        match self {
            Self::JoinToken | Self::Person => Ok(String::new()),
            Self::Kubernetes { namespace, name } => {
                for part in [namespace, name] {
                    text("service account", part, MAX_NAME)?;
                    if part.contains('/') {
                        return Err(Error::Bound {
                            what: "service account",
                            found: format!("{part:?}"),
                            wanted: "a name without a slash".into(),
                        });
                    }
                }
                Ok(format!("{namespace}/{name}"))
            }
            Self::SpiffeId(id) => Ok(text("SPIFFE ID", id, MAX_SPIFFE_ID)?.to_owned()),
        }
    }

    fn parse(word: &str, subject: String) -> Result<Self> {
        match word {
            "join_token" => Ok(Self::JoinToken),
            "person" => Ok(Self::Person),
            "spiffe_id" => Ok(Self::SpiffeId(subject)),
            "kubernetes" => subject
                .split_once('/')
                .map(|(namespace, name)| Self::Kubernetes {
                    namespace: namespace.to_owned(),
                    name: name.to_owned(),
                })
                .ok_or_else(|| Error::Corrupt("found a service account without a slash".into())),
            _ => Err(Error::Corrupt(format!("found evidence {word:?}"))),
        }
    }
}

/// A registration.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Registration {
    /// Its name for programs, made once.
    pub id: String,
    /// Its name for people, one of its kind.
    pub name: String,
    /// By what a caller proves to be the one.
    pub evidence: Evidence,
    /// The node names that it may carry, as patterns; their meaning is above. For a person: the user's name.
    pub patterns: Vec<String>,
    /// The namespace in its SPIFFE IDs. May be empty.
    pub namespace: String,
    /// The workload in its SPIFFE IDs. May be empty.
    pub workload: String,
    /// Whether it may carry names of short-lived nodes.
    pub cli: bool,
    /// The life of its leaves in seconds, 0 for the default.
    pub leaf_life: u64,
    /// Nothing is issued as long as it is.
    pub disabled: bool,
    /// Who answers for it. May be empty.
    pub owner: String,
    /// When it was made.
    pub created: u64,
    /// When it was last changed.
    pub changed: u64,
}

macro_rules! columns {
    () => {
        "id, name, evidence, subject, patterns, namespace, workload, cli, leaf_life, disabled, owner, created, changed"
    };
}

/// Makes a registration.
///
/// # Errors
/// [`Error::Conflict`] if the id or the name is taken; [`Error::Bound`].
pub fn create(tx: &mut Tx<'_>, new: &Registration) -> Result<()> {
    let (subject, patterns) = checked(new)?;
    let many = i64::try_from(MAX_MADE_BY_HAND).unwrap_or(i64::MAX);
    let changed = tx.execute(
        concat!(
            "INSERT INTO registrations (",
            columns!(),
            ") SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13
               FROM (SELECT count(*) AS present FROM registrations) AS counted WHERE present < $14
               ON CONFLICT DO NOTHING"
        ),
        &[
            Value::Text(&new.id),
            Value::Text(&new.name),
            Value::Text(new.evidence.word()),
            Value::Text(&subject),
            Value::Text(&patterns),
            Value::Text(&new.namespace),
            Value::Text(&new.workload),
            Value::flag(new.cli),
            Value::number("leaf life", new.leaf_life)?,
            Value::flag(new.disabled),
            Value::Text(&new.owner),
            Value::number("time", new.created)?,
            Value::number("time", new.changed)?,
            Value::Int(many),
        ],
    )?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "registration {:?}: the name or the id is taken, or there are {MAX_MADE_BY_HAND} already",
            new.name
        )));
    }
    Ok(())
}

/// Replaces a registration; id and time of making stay.
///
/// # Errors
/// [`Error::NotFound`]; [`Error::Conflict`] if the name is taken; [`Error::Bound`].
pub fn update(tx: &mut Tx<'_>, new: &Registration) -> Result<()> {
    let (subject, patterns) = checked(new)?;
    if by_name(tx, &new.name)?.is_some_and(|other| other.id != new.id) {
        return Err(Error::Conflict(format!(
            "registration {:?}: the name is taken",
            new.name
        )));
    }
    let changed = tx.execute(
        "UPDATE registrations SET name = $2, evidence = $3, subject = $4, patterns = $5, namespace = $6,
           workload = $7, cli = $8, leaf_life = $9, disabled = $10, owner = $11, changed = $12 WHERE id = $1",
        &[
            Value::Text(&new.id),
            Value::Text(&new.name),
            Value::Text(new.evidence.word()),
            Value::Text(&subject),
            Value::Text(&patterns),
            Value::Text(&new.namespace),
            Value::Text(&new.workload),
            Value::flag(new.cli),
            Value::number("leaf life", new.leaf_life)?,
            Value::flag(new.disabled),
            Value::Text(&new.owner),
            Value::number("time", new.changed)?,
        ],
    )?;
    known(changed, &new.id)
}

/// Disables a registration, or enables it again.
///
/// # Errors
/// [`Error::NotFound`].
pub fn set_disabled(tx: &mut Tx<'_>, id: &str, disabled: bool, now: u64) -> Result<()> {
    let changed = tx.execute(
        "UPDATE registrations SET disabled = $2, changed = $3 WHERE id = $1",
        &[
            Value::Text(id),
            Value::flag(disabled),
            Value::number("time", now)?,
        ],
    )?;
    known(changed, id)
}

/// Removes a registration and its tokens. Agents and certificates that came of it stay.
///
/// # Errors
/// [`Error::NotFound`].
pub fn remove(tx: &mut Tx<'_>, id: &str) -> Result<()> {
    let changed = tx.execute(
        "DELETE FROM registrations WHERE id = $1",
        &[Value::Text(id)],
    )?;
    known(changed, id)
}

/// A registration by its id.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Registration>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM registrations WHERE id = $1"),
        &[Value::Text(id)],
    )?
    .map(registration)
    .transpose()
}

/// A registration by its name.
///
/// # Errors
/// Those of the database.
pub fn by_name(tx: &mut Tx<'_>, name: &str) -> Result<Option<Registration>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM registrations WHERE name = $1"),
        &[Value::Text(name)],
    )?
    .map(registration)
    .transpose()
}

/// The registrations for a caller with this evidence, disabled ones too, by name; at most [`MAX_PATTERNS`].
///
/// # Errors
/// Those of the database; [`Error::Bound`].
pub fn by_evidence(tx: &mut Tx<'_>, evidence: &Evidence) -> Result<Vec<Registration>> {
    let subject = evidence.subject()?;
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM registrations WHERE evidence = $1 AND subject = $2 ORDER BY name LIMIT $3"
        ),
        &[
            Value::Text(evidence.word()),
            Value::Text(&subject),
            Value::Int(page(MAX_PATTERNS)),
        ],
    )?
    .into_iter()
    .map(registration)
    .collect()
}

/// Registrations by name, those after `after` (empty for the first page), at most `limit`.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>, after: &str, limit: usize) -> Result<Vec<Registration>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM registrations WHERE name > $1 ORDER BY name LIMIT $2"
        ),
        &[Value::Text(after), Value::Int(page(limit))],
    )?
    .into_iter()
    .map(registration)
    .collect()
}

/// Checks the bounds, and gives the subject and the patterns as they are stored.
fn checked(new: &Registration) -> Result<(String, String)> {
    text("registration id", &new.id, MAX_NAME)?;
    text("registration name", &new.name, MAX_NAME)?;
    optional_text("namespace", &new.namespace, MAX_NAME)?;
    optional_text("workload", &new.workload, MAX_NAME)?;
    optional_text("owner", &new.owner, MAX_SPIFFE_ID)?;
    count("patterns", new.patterns.len(), MAX_PATTERNS)?;
    for pattern in &new.patterns {
        text("pattern", pattern, 2 * MAX_NAME + 1)?;
        // They are kept as lines.
        if pattern.contains('\n') {
            return Err(Error::Bound {
                what: "pattern",
                found: "a line break".into(),
                wanted: "one line".into(),
            });
        }
    }
    Ok((new.evidence.subject()?, new.patterns.join("\n")))
}

fn registration(mut row: Row) -> Result<Registration> {
    Ok(Registration {
        id: row.text()?,
        name: row.text()?,
        evidence: {
            let word = row.text()?;
            Evidence::parse(&word, row.text()?)?
        },
        patterns: row.text()?.lines().map(str::to_owned).collect(),
        namespace: row.text()?,
        workload: row.text()?,
        cli: row.flag()?,
        leaf_life: row.number()?,
        disabled: row.flag()?,
        owner: row.text()?,
        created: row.number()?,
        changed: row.number()?,
    })
}

fn known(changed: u64, id: &str) -> Result<()> {
    if changed == 0 {
        return Err(Error::NotFound {
            what: "registration",
            which: id.into(),
        });
    }
    Ok(())
}
