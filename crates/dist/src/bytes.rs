//! Reading big-endian integers and runs of bytes off the front of a slice. No protocol knowledge lives here.

use crate::error::{Error, Result};

/// The unread rest of an input; `what` names in errors the message that is being read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    #[inline]
    pub(crate) const fn new(what: &'static str, rest: &'a [u8]) -> Self {
        Self { what, rest }
    }

    #[inline]
    pub(crate) const fn rest(&self) -> &'a [u8] {
        self.rest
    }

    #[inline]
    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some((head, tail)) = self.rest.split_at_checked(count) else {
            return Err(Error::Truncated {
                what: self.what,
                missing: count - self.rest.len(),
            });
        };
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let Some((head, tail)) = self.rest.split_first_chunk::<N>() else {
            return Err(Error::Truncated {
                what: self.what,
                missing: N - self.rest.len(),
            });
        };
        self.rest = tail;
        Ok(*head)
    }

    #[inline]
    pub(crate) fn u8(&mut self) -> Result<u8> {
        self.array::<1>().map(|[byte]| byte)
    }

    #[inline]
    pub(crate) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_be_bytes)
    }

    #[inline]
    pub(crate) fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Refuses any first byte but `tag`.
    pub(crate) fn tag(&mut self, tag: u8, wanted: &'static str) -> Result<()> {
        match self.u8()? {
            found if found == tag => Ok(()),
            found => Err(Error::Unexpected {
                what: self.what,
                found,
                wanted,
            }),
        }
    }

    /// A run of bytes behind its own 16-bit length, at most `limit` of them.
    pub(crate) fn run_u16(&mut self, limit: usize) -> Result<&'a [u8]> {
        let length = usize::from(self.u16()?);
        if length > limit {
            return Err(Error::TooLarge {
                what: self.what,
                found: length as u64,
                limit: limit as u64,
            });
        }
        self.take(length)
    }
}

/// Appends `run` behind its own 16-bit length. Callers have bounded it; what is longer than 65,535 bytes is cut,
/// so that the length never lies.
pub(crate) fn put_run_u16(out: &mut Vec<u8>, run: &[u8]) {
    let length = u16::try_from(run.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend(run.iter().take(usize::from(length)));
}
