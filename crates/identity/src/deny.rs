//! The deny stream: its entries, how one is encoded, and what it touches. How they reach an agent is not said here.
//!
//! The format is recorded in `docs/decisions/0012-revocation-on-the-wire.md`. An entry needs no signature: each holds
//! the hash of the one before it, and a signed [head](crate::head) holds the hash of the last.

mod chain;
#[cfg(test)]
mod tests;

use crate::error::{Error, shown};
use crate::id::{MAX_ID, SpiffeId};
use crate::keys::{hex, sha256, unhex};
use crate::node_name::NodeName;
use crate::peer::PeerIdentity;
use crate::wire::{Reader, is_plain, put_bytes};

pub use chain::{Applied, Chain, MAX_DENIED, MAX_RECENT, Snapshot, Standing};

/// Longest reason in bytes. Ours: a sentence and a ticket number.
pub const MAX_REASON: usize = 512;
/// Longest encoded entry in bytes: it fits a link frame (0002) with room to spare.
pub const MAX_ENTRY: usize = 4 + 8 + 32 + 8 + 8 + 1 + 2 + MAX_ID + 2 + MAX_REASON;

const MAGIC: &[u8; 4] = b"SKD1";
const WHAT: &str = "deny entry";

/// What an entry denies, or allows again.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// Kind 1: whoever holds this key, and whatever it signed. SHA-256 of a whole `SubjectPublicKeyInfo`.
    Key([u8; 32]),
    /// Kind 2: a SPIFFE ID, with whatever key.
    Id(SpiffeId),
    /// Kind 3: whoever may carry this node name, with whatever ID. For the short-lived nodes of a host `cli@host`.
    Node(NodeName),
    /// Kind 4: whatever this CA signed. SHA-256 of its whole `SubjectPublicKeyInfo`.
    Issuer([u8; 32]),
    /// Kind 5: the entry with this number no longer holds.
    Allow(u64),
}

impl Target {
    /// The number of its kind on the wire.
    #[must_use]
    pub const fn kind(&self) -> u8 {
        match self {
            Self::Key(_) => 1,
            Self::Id(_) => 2,
            Self::Node(_) => 3,
            Self::Issuer(_) => 4,
            Self::Allow(_) => 5,
        }
    }

    /// A short, stable name of its kind, for people and for metrics.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Id(_) => "id",
            Self::Node(_) => "node",
            Self::Issuer(_) => "issuer",
            Self::Allow(_) => "allow",
        }
    }

    /// What stands in the entry: hex, an ID, a node name or a decimal.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Key(hash) | Self::Issuer(hash) => hex(hash),
            Self::Id(id) => id.to_string(),
            Self::Node(name) => name.to_string(),
            Self::Allow(seq) => seq.to_string(),
        }
    }

    /// Reads a target from its kind and text. Only the spelling that [`Target::text`] has is taken.
    ///
    /// # Errors
    /// [`Error::Encoding`] for an unknown kind or a hash or number that is spelled differently, [`Error::Name`] for a bad
    /// name.
    pub fn parse(kind: u8, text: &str) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Encoding {
            what: WHAT,
            found,
            wanted,
        };
        let hash = || {
            unhex(text)
                .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
                .ok_or_else(|| bad(shown(text), "64 digits of lower-case hex"))
        };
        match kind {
            1 => hash().map(Self::Key),
            2 => SpiffeId::parse(text).map(Self::Id),
            3 => NodeName::parse(text).map(Self::Node),
            4 => hash().map(Self::Issuer),
            5 => text
                .parse::<u64>()
                .ok()
                .filter(|seq| *seq > 0 && seq.to_string() == text)
                .map(Self::Allow)
                .ok_or_else(|| bad(shown(text), "the number of an entry")),
            _ => Err(bad(format!("kind {kind}"), "kind 1 to 5")),
        }
    }

    /// Whether it touches a peer, whose signers' key hashes are given: the links of such a peer stop forwarding.
    #[must_use]
    pub fn touches(&self, peer: &PeerIdentity, signers: &[[u8; 32]]) -> bool {
        match self {
            Self::Key(key) => peer.spki_sha256 == *key || signers.contains(key),
            Self::Id(id) => peer.id == *id,
            Self::Node(name) => peer.node_name().as_ref() == Some(name),
            Self::Issuer(key) => signers.contains(key),
            Self::Allow(_) => false,
        }
    }
}

/// What the next entry is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    /// Whom it touches.
    pub target: Target,
    /// When it was decided, Unix time in seconds.
    pub time: u64,
    /// The last second at which it matters, Unix time: when the last certificate that it can touch has run out. 0 for
    /// never. After it, readers forget the entry.
    pub until: u64,
    /// Why, for people: at most [`MAX_REASON`] bytes without control characters.
    pub reason: String,
}

/// One entry of the stream. Always one that every reader takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    seq: u64,
    previous: [u8; 32],
    order: Order,
}

impl Entry {
    /// The entry that comes after the one with this number and hash; the first one comes after 0 and zeros.
    ///
    /// # Errors
    /// [`Error::Encoding`] if the reason is too long or holds control characters, if `until` lies before `time`, if an
    /// entry is to be allowed again that did not come before, or if there is no next number.
    pub fn after(seq: u64, hash: [u8; 32], order: Order) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Encoding {
            what: WHAT,
            found,
            wanted,
        };
        let Some(seq) = seq.checked_add(1) else {
            return Err(bad(format!("number {seq}"), "a number that has a next one"));
        };
        let entry = Self {
            seq,
            previous: hash,
            order,
        };
        entry.check()?;
        Ok(entry)
    }

    /// Reads an entry.
    ///
    /// # Errors
    /// [`Error::Encoding`] if it is longer than [`MAX_ENTRY`], of another version, of an unknown kind, cut short, followed
    /// by anything, or says what [`Entry::after`] would not say; [`Error::Name`] if a name in it is none.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let mut reader = Reader::new(WHAT, bytes);
        reader.magic(MAGIC)?;
        let seq = reader.u64()?;
        let previous = reader.array()?;
        let (time, until) = (reader.u64()?, reader.u64()?);
        let kind = reader.u8()?;
        let target = Target::parse(kind, reader.text(MAX_ID)?)?;
        let reason = reader.text(MAX_REASON)?.to_owned();
        if seq == 0 {
            return Err(reader.bad("number 0", "a number from 1"));
        }
        reader.end()?;
        let order = Order {
            target,
            time,
            until,
            reason,
        };
        let entry = Self {
            seq,
            previous,
            order,
        };
        entry.check()?;
        Ok(entry)
    }

    /// The entry as it stands on the wire and in the chain.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Order {
            target,
            time,
            until,
            reason,
        } = &self.order;
        let mut out = Vec::with_capacity(256);
        out.extend_from_slice(MAGIC);
        out.extend_from_slice(&self.seq.to_be_bytes());
        out.extend_from_slice(&self.previous);
        out.extend_from_slice(&time.to_be_bytes());
        out.extend_from_slice(&until.to_be_bytes());
        out.push(target.kind());
        put_bytes(&mut out, target.text().as_bytes());
        put_bytes(&mut out, reason.as_bytes());
        out
    }

    /// SHA-256 of the encoded entry: what the next one builds on.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        sha256(&self.encode())
    }

    /// Its number, from 1.
    #[must_use]
    pub const fn seq(&self) -> u64 {
        self.seq
    }

    /// The hash of the entry before it.
    #[must_use]
    pub const fn previous(&self) -> &[u8; 32] {
        &self.previous
    }

    /// What it says.
    #[must_use]
    pub const fn order(&self) -> &Order {
        &self.order
    }

    /// Whom it touches.
    #[must_use]
    pub const fn target(&self) -> &Target {
        &self.order.target
    }

    /// Whether it still matters at `now` (Unix time in seconds).
    #[must_use]
    pub const fn is_live(&self, now: u64) -> bool {
        self.order.until == 0 || self.order.until >= now
    }

    fn check(&self) -> Result<(), Error> {
        let bad = |found: String, wanted| Error::Encoding {
            what: WHAT,
            found,
            wanted,
        };
        let Order {
            target,
            time,
            until,
            reason,
        } = &self.order;
        if !is_plain(reason, MAX_REASON) {
            let found = format!("a reason {}", shown(reason));
            return Err(bad(found, "at most 512 bytes, no control characters"));
        }
        if *until != 0 && until < time {
            let found = format!("made at {time}, until {until}");
            return Err(bad(found, "an end after its beginning"));
        }
        match target {
            Target::Allow(seq) if *seq >= self.seq => Err(bad(
                format!("entry {} that lifts entry {seq}", self.seq),
                "the number of an earlier entry",
            )),
            _ => Ok(()),
        }
    }
}
