//! The format of a segment: a header, then records, each with a check over all of it. No I/O; every byte may be wrong.
//!
//! ```text
//! header: "skansEV1"  spool (16)  boot (16)  first number (u64)  check (u64)
//! record: length of the body (u32)  number (u64)  whose (u64)  check (u64)  body
//! ```
//! Numbers are big-endian. A check is SipHash-1-3 under the identifier of the spool, so that nobody who chooses what a record holds can
//! make one, and no record counts in another spool.

use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;

/// The identifier of a spool: random, made with it.
pub type SpoolId = [u8; 16];

/// Bytes of a header.
pub const HEADER: usize = 56;
/// Bytes of a record beside its body.
pub const RECORD: usize = 28;
/// The longest body in bytes. An event of an agent has some hundred, and at worst some ten thousand.
pub const MAX_BODY: usize = 48 * 1024;

const MAGIC: &[u8; 8] = b"skansEV1";

/// What a segment says of itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Whose segment it is.
    pub spool: SpoolId,
    /// During which life of the machine it was begun; zeros where that is not known.
    pub boot: [u8; 16],
    /// The number of its first record.
    pub first: u64,
}

impl Header {
    /// As it stands in front.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.spool);
        bytes.extend_from_slice(&self.boot);
        bytes.extend_from_slice(&self.first.to_be_bytes());
        let check = check(&self.spool, &[&bytes]);
        bytes.extend_from_slice(&check.to_be_bytes());
        bytes
    }

    /// Reads it; `None` if it is none.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (said, rest) = bytes.get(..HEADER)?.split_at_checked(HEADER - 8)?;
        let (magic, parts) = said.split_first_chunk::<8>()?;
        let (spool, parts) = parts.split_first_chunk::<16>()?;
        let (boot, first) = parts.split_first_chunk::<16>()?;
        let header = Self {
            spool: *spool,
            boot: *boot,
            first: number(first)?,
        };
        let right = magic == MAGIC && number(rest)? == check(spool, &[said]) && header.first > 0;
        right.then_some(header)
    }
}

/// One that is whole.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Record<'a> {
    /// Its number.
    pub number: u64,
    /// Whose share it counts to; 0 is nobody's.
    pub whose: u64,
    /// What it holds.
    pub body: &'a [u8],
}

impl Record<'_> {
    /// How long it is, all together.
    #[must_use]
    pub const fn length(&self) -> usize {
        RECORD + self.body.len()
    }

    /// As it stands in a segment.
    #[must_use]
    pub fn encode(&self, spool: &SpoolId) -> Vec<u8> {
        let length = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        let mut bytes = Vec::with_capacity(self.length());
        bytes.extend_from_slice(&length.to_be_bytes());
        bytes.extend_from_slice(&self.number.to_be_bytes());
        bytes.extend_from_slice(&self.whose.to_be_bytes());
        let check = check(spool, &[&bytes, self.body]);
        bytes.extend_from_slice(&check.to_be_bytes());
        bytes.extend_from_slice(self.body);
        bytes
    }
}

/// What stands at the place where a record should.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Found<'a> {
    /// A whole one.
    Record(Record<'a>),
    /// The beginning of one: its writer did not get further, or there is more to be read.
    Beginning,
    /// Something else.
    Nonsense,
}

/// Reads the record of this number.
#[must_use]
pub fn record<'a>(spool: &SpoolId, wanted: u64, bytes: &'a [u8]) -> Found<'a> {
    let Some((said, rest)) = bytes.split_at_checked(RECORD - 8) else {
        return Found::Beginning;
    };
    let parts = (
        said.get(..4).and_then(|part| part.try_into().ok()),
        said.get(4..12).and_then(number),
        said.get(12..).and_then(number),
    );
    let (Some(length), Some(found), Some(whose)) = parts else {
        return Found::Nonsense;
    };
    let Ok(length) = usize::try_from(u32::from_be_bytes(length)) else {
        return Found::Nonsense;
    };
    if found != wanted || length > MAX_BODY {
        return Found::Nonsense;
    }
    let Some((sum, rest)) = rest.split_at_checked(8) else {
        return Found::Beginning;
    };
    let Some(body) = rest.get(..length) else {
        return Found::Beginning;
    };
    if number(sum) != Some(check(spool, &[said, body])) {
        return Found::Nonsense;
    }
    Found::Record(Record {
        number: found,
        whose,
        body,
    })
}

/// A check as it is written everywhere in a spool.
pub(super) fn check(spool: &SpoolId, parts: &[&[u8]]) -> u64 {
    let mut hasher = SipHasher13::new_with_key(spool);
    for part in parts {
        hasher.write(part);
    }
    hasher.finish()
}

pub(super) fn number(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}
