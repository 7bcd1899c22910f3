//! One message on the wire: a header, a text of JSON, and bytes. JSON for what there is little of and what people may have to
//! look at; bytes for caches and windows.

use crate::{Error, Kind};

/// Bytes before each message: `kind:8 sockets:8 0:16 text:32 bytes:32`, big-endian.
pub const HEADER: usize = 12;
/// Sockets beside one message: a stand-in port has one for each loopback address of the host. The kernel takes 253.
pub const MAX_FDS: usize = 64;
/// Bytes of the text of one message: the largest is that of a link, with two chains of certificates.
pub const MAX_TEXT: usize = 1 << 20;
/// Bytes of one message: a link with the largest window that can be configured, and what stands beside it.
const MAX_BYTES: usize = (1 << 30) + (64 << 20);

/// What the header of a message says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Header {
    /// Which message.
    pub kind: Kind,
    /// How many sockets come beside it.
    pub fds: usize,
    /// Bytes of its text.
    pub text: usize,
    /// Bytes behind that.
    pub bytes: usize,
}

impl Header {
    /// Reads it.
    ///
    /// # Errors
    /// [`Error::Unknown`], [`Error::TooLong`]; [`Error::Text`] if what should be 0 is not.
    pub fn decode(header: [u8; HEADER]) -> Result<Self, Error> {
        let [kind, fds, z1, z0, t3, t2, t1, t0, b3, b2, b1, b0] = header;
        let kind = Kind::from_byte(kind)?;
        if (z1, z0) != (0, 0) {
            return Err(Error::Text {
                kind,
                problem: "the header is not of this format".to_owned(),
            });
        }
        let size =
            |bytes: [u8; 4]| usize::try_from(u32::from_be_bytes(bytes)).unwrap_or(usize::MAX);
        Ok(Self {
            kind,
            fds: at_most("sockets beside a message", fds.into(), MAX_FDS)?,
            text: at_most("a text", size([t3, t2, t1, t0]), MAX_TEXT)?,
            bytes: at_most("a message", size([b3, b2, b1, b0]), MAX_BYTES)?,
        })
    }
}

/// Header and text; the bytes go behind them.
///
/// # Errors
/// [`Error::TooLong`].
pub fn encode(kind: Kind, fds: usize, text: &[u8], bytes: usize) -> Result<Vec<u8>, Error> {
    at_most("sockets beside a message", fds, MAX_FDS)?;
    at_most("a text", text.len(), MAX_TEXT)?;
    at_most("a message", bytes, MAX_BYTES)?;
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = vec![kind as u8, u8::try_from(fds).unwrap_or(u8::MAX), 0, 0];
    out.extend(size(text.len()));
    out.extend(size(bytes));
    out.extend_from_slice(text);
    Ok(out)
}

const fn at_most(what: &'static str, found: usize, limit: usize) -> Result<usize, Error> {
    if found > limit {
        return Err(Error::TooLong {
            what,
            found: found as u64,
            limit: limit as u64,
        });
    }
    Ok(found)
}

/// Puts parts behind each other, each behind its length.
pub fn join(parts: &[&[u8]]) -> Vec<u8> {
    let total = parts.iter().map(|part| 4 + part.len()).sum();
    let mut out = Vec::with_capacity(total);
    for part in parts {
        // Bounded by the message, which is bounded by `encode`.
        out.extend(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

/// Takes them apart: exactly `N`, and nothing behind.
pub fn split<const N: usize>(kind: Kind, bytes: &[u8]) -> Result<[&[u8]; N], Error> {
    let wrong = || Error::Parts {
        kind,
        found: bytes.len(),
        wanted: N,
    };
    let mut rest = bytes;
    let mut parts = [bytes.get(..0).unwrap_or_default(); N];
    for part in &mut parts {
        let (length, behind) = rest.split_first_chunk().ok_or_else(wrong)?;
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        (*part, rest) = behind.split_at_checked(length).ok_or_else(wrong)?;
    }
    if rest.is_empty() {
        Ok(parts)
    } else {
        Err(wrong())
    }
}
