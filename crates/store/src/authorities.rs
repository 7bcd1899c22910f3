//! Authorities: roots and issuers, in two slots each, and the states they pass through. Every change is fenced.

use crate::bounds::{MAX_CERTIFICATE, MAX_NAME, MAX_SEALED_KEY, bytes, text};
use crate::error::{Error, Result};
use crate::tx::Tx;
use crate::value::{Row, Value};
use crate::writer::{Epoch, fenced};

/// What an authority signs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// Issuers.
    Root,
    /// Leaves.
    Issuer,
}

impl Kind {
    /// The word in the database, and for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Root => "root",
            Self::Issuer => "issuer",
        }
    }

    fn parse(word: &str) -> Result<Self> {
        match word {
            "root" => Ok(Self::Root),
            "issuer" => Ok(Self::Issuer),
            _ => Err(Error::Corrupt(format!("found authority kind {word:?}"))),
        }
    }
}

/// One of two places. An authority that is to follow is prepared in the other one while the first signs.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The word in the database, and for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn parse(word: &str) -> Result<Self> {
        match word {
            "a" => Ok(Self::A),
            "b" => Ok(Self::B),
            _ => Err(Error::Corrupt(format!("found slot {word:?}"))),
        }
    }
}

/// Where an authority is in its life.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum State {
    /// Made and handed out as trusted, signs nothing yet.
    Prepared,
    /// Signs. There is at most one of a kind.
    Active,
    /// Signs no more since another was activated; what it signed is still good.
    Retired,
    /// Not to be trusted for long: what it signed is being replaced.
    Tainted,
    /// Not trusted.
    Revoked,
    /// Its time has run out.
    Expired,
}

impl State {
    /// The word in the database, and for people.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Prepared => "prepared",
            Self::Active => "active",
            Self::Retired => "retired",
            Self::Tainted => "tainted",
            Self::Revoked => "revoked",
            Self::Expired => "expired",
        }
    }

    fn parse(word: &str) -> Result<Self> {
        match word {
            "prepared" => Ok(Self::Prepared),
            "active" => Ok(Self::Active),
            "retired" => Ok(Self::Retired),
            "tainted" => Ok(Self::Tainted),
            "revoked" => Ok(Self::Revoked),
            "expired" => Ok(Self::Expired),
            _ => Err(Error::Corrupt(format!("found authority state {word:?}"))),
        }
    }

    /// Whether an authority may go from this state to that one. None comes back from where it is no longer trusted; a retired
    /// one may sign again, for a rotation that is rolled back.
    #[must_use]
    pub const fn may_become(self, next: Self) -> bool {
        match self {
            Self::Prepared => matches!(next, Self::Active | Self::Revoked | Self::Expired),
            Self::Active => matches!(
                next,
                Self::Retired | Self::Tainted | Self::Revoked | Self::Expired
            ),
            Self::Retired => matches!(
                next,
                Self::Active | Self::Tainted | Self::Revoked | Self::Expired
            ),
            Self::Tainted => matches!(next, Self::Revoked | Self::Expired),
            Self::Revoked => matches!(next, Self::Expired),
            Self::Expired => false,
        }
    }

    /// Whether an authority in this state takes up its slot.
    #[must_use]
    pub const fn takes_slot(self) -> bool {
        matches!(
            self,
            Self::Prepared | Self::Active | Self::Retired | Self::Tainted
        )
    }
}

/// An authority.
#[derive(Clone, Eq, PartialEq)]
pub struct Authority {
    /// Its name, made once.
    pub id: String,
    /// What it signs.
    pub kind: Kind,
    /// Its place.
    pub slot: Slot,
    /// Where it is in its life.
    pub state: State,
    /// DER.
    pub certificate: Vec<u8>,
    /// Its private key, sealed above; `None` if it is kept elsewhere.
    pub sealed_key: Option<Vec<u8>>,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: [u8; 32],
    /// From when on it is valid.
    pub not_before: u64,
    /// Until when it is valid.
    pub not_after: u64,
    /// When it was prepared.
    pub created: u64,
    /// When its state last changed.
    pub changed: u64,
}

impl std::fmt::Debug for Authority {
    /// Without the key, sealed though it is.
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Authority")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .field("slot", &self.slot)
            .field("state", &self.state)
            .field("not_after", &self.not_after)
            .field("has_key", &self.sealed_key.is_some())
            .finish_non_exhaustive()
    }
}

/// An authority to be prepared.
#[derive(Clone, Copy)]
pub struct NewAuthority<'a> {
    /// Its name.
    pub id: &'a str,
    /// What it signs.
    pub kind: Kind,
    /// Its place, which must be free.
    pub slot: Slot,
    /// DER.
    pub certificate: &'a [u8],
    /// Its private key, sealed; `None` if it is kept elsewhere.
    pub sealed_key: Option<&'a [u8]>,
    /// SHA-256 of its `SubjectPublicKeyInfo`.
    pub spki: &'a [u8; 32],
    /// From when on it is valid.
    pub not_before: u64,
    /// Until when it is valid.
    pub not_after: u64,
}

macro_rules! columns {
    () => {
        "id, kind, slot, state, certificate, sealed_key, spki, not_before, not_after, created, changed"
    };
}

/// Puts an authority into a free slot, in the state [`State::Prepared`].
///
/// # Errors
/// [`Error::Fenced`]; [`Error::Conflict`] if the slot, the name or the key is taken; [`Error::Bound`].
pub fn prepare(tx: &mut Tx<'_>, writer: Epoch, new: &NewAuthority<'_>, now: u64) -> Result<()> {
    let sealed_key = new
        .sealed_key
        .map(|key| bytes("sealed key", key, MAX_SEALED_KEY))
        .transpose()?;
    let values = [
        Value::Text(text("authority", new.id, MAX_NAME)?),
        Value::Text(new.kind.word()),
        Value::Text(new.slot.word()),
        Value::Bytes(bytes("certificate", new.certificate, MAX_CERTIFICATE)?),
        Value::optional_bytes(sealed_key),
        Value::Bytes(new.spki),
        Value::number("not before", new.not_before)?,
        Value::number("not after", new.not_after)?,
        Value::number("time", now)?,
        writer.value()?,
    ];
    let changed = tx.execute(
        concat!(
            "INSERT INTO authorities (",
            columns!(),
            ") SELECT $1, $2, $3, 'prepared', $4, $5, $6, $7, $8, $9, $9 FROM writer WHERE epoch = $10
               ON CONFLICT DO NOTHING"
        ),
        &values,
    )?;
    fenced(tx, writer, changed)?;
    if changed == 0 {
        return Err(Error::Conflict(format!(
            "authority {}: its name or key is known, or slot {} for a {} is taken",
            new.id,
            new.slot.word(),
            new.kind.word()
        )));
    }
    Ok(())
}

/// Lets a prepared authority sign, or a retired one again. The one of its kind that signed until now retires.
///
/// # Errors
/// [`Error::Fenced`], [`Error::NotFound`]; [`Error::Conflict`] if its state does not allow it.
pub fn activate(tx: &mut Tx<'_>, writer: Epoch, id: &str, now: u64) -> Result<()> {
    let next = get(tx, id)?.ok_or_else(|| unknown(id))?;
    if !next.state.may_become(State::Active) {
        return Err(forbidden(&next, State::Active));
    }
    if let Some(present) = active(tx, next.kind)? {
        set(tx, writer, &present, State::Retired, now)?;
    }
    set(tx, writer, &next, State::Active, now)
}

/// Moves an authority to another state; [`activate`] is for [`State::Active`].
///
/// # Errors
/// [`Error::Fenced`], [`Error::NotFound`]; [`Error::Conflict`] if its state does not allow it.
pub fn set_state(
    tx: &mut Tx<'_>,
    writer: Epoch,
    id: &str,
    state: State,
    now: u64,
) -> Result<Authority> {
    if state == State::Active {
        activate(tx, writer, id, now)?;
    } else {
        let present = get(tx, id)?.ok_or_else(|| unknown(id))?;
        set(tx, writer, &present, state, now)?;
    }
    get(tx, id)?.ok_or_else(|| unknown(id))
}

/// Replaces the sealed key: sealed anew under another key-encryption key, or taken away to be kept elsewhere.
///
/// # Errors
/// [`Error::Fenced`], [`Error::NotFound`], [`Error::Bound`].
pub fn set_sealed_key(
    tx: &mut Tx<'_>,
    writer: Epoch,
    id: &str,
    sealed_key: Option<&[u8]>,
) -> Result<()> {
    let sealed_key = sealed_key
        .map(|key| bytes("sealed key", key, MAX_SEALED_KEY))
        .transpose()?;
    let changed = tx.execute(
        "UPDATE authorities SET sealed_key = $1 WHERE id = $2
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $3)",
        &[
            Value::optional_bytes(sealed_key),
            Value::Text(id),
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)?;
    if changed == 0 {
        return Err(unknown(id));
    }
    Ok(())
}

/// An authority by its name.
///
/// # Errors
/// Those of the database.
pub fn get(tx: &mut Tx<'_>, id: &str) -> Result<Option<Authority>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM authorities WHERE id = $1"),
        &[Value::Text(id)],
    )?
    .map(authority)
    .transpose()
}

/// An authority by the SHA-256 of its `SubjectPublicKeyInfo`.
///
/// # Errors
/// Those of the database.
pub fn by_spki(tx: &mut Tx<'_>, spki: &[u8; 32]) -> Result<Option<Authority>> {
    tx.first(
        concat!("SELECT ", columns!(), " FROM authorities WHERE spki = $1"),
        &[Value::Bytes(spki)],
    )?
    .map(authority)
    .transpose()
}

/// The one of a kind that signs.
///
/// # Errors
/// Those of the database.
pub fn active(tx: &mut Tx<'_>, kind: Kind) -> Result<Option<Authority>> {
    tx.first(
        concat!(
            "SELECT ",
            columns!(),
            " FROM authorities WHERE kind = $1 AND state = 'active'"
        ),
        &[Value::Text(kind.word())],
    )?
    .map(authority)
    .transpose()
}

/// The newest authorities, newest first, at most [`crate::bounds::MAX_PAGE`]: those in a slot are always among them, since
/// there are four slots.
///
/// # Errors
/// Those of the database.
pub fn list(tx: &mut Tx<'_>) -> Result<Vec<Authority>> {
    tx.query(
        concat!(
            "SELECT ",
            columns!(),
            " FROM authorities ORDER BY
               CASE WHEN state IN ('prepared', 'active', 'retired', 'tainted') THEN 0 ELSE 1 END,
               created DESC, id LIMIT 1000"
        ),
        &[],
    )?
    .into_iter()
    .map(authority)
    .collect()
}

fn set(tx: &mut Tx<'_>, writer: Epoch, present: &Authority, next: State, now: u64) -> Result<()> {
    if !present.state.may_become(next) {
        return Err(forbidden(present, next));
    }
    let changed = tx.execute(
        "UPDATE authorities SET state = $1, changed = $2 WHERE id = $3 AND state = $4
           AND EXISTS (SELECT 1 FROM writer WHERE epoch = $5)",
        &[
            Value::Text(next.word()),
            Value::number("time", now)?,
            Value::Text(&present.id),
            Value::Text(present.state.word()),
            writer.value()?,
        ],
    )?;
    fenced(tx, writer, changed)
}

fn authority(mut row: Row) -> Result<Authority> {
    Ok(Authority {
        id: row.text()?,
        kind: Kind::parse(&row.text()?)?,
        slot: Slot::parse(&row.text()?)?,
        state: State::parse(&row.text()?)?,
        certificate: row.bytes()?,
        sealed_key: row.optional_bytes()?,
        spki: row.array()?,
        not_before: row.number()?,
        not_after: row.number()?,
        created: row.number()?,
        changed: row.number()?,
    })
}

fn unknown(id: &str) -> Error {
    Error::NotFound {
        what: "authority",
        which: id.into(),
    }
}

fn forbidden(present: &Authority, next: State) -> Error {
    Error::Conflict(format!(
        "authority {}: it is {} and cannot become {}",
        present.id,
        present.state.word(),
        next.word()
    ))
}
