//! Reading and writing of what is signed or chained: big-endian numbers, fixed bytes, texts with their length in front.
//! Nothing is skipped and nothing may be left over: one meaning has one encoding.

use crate::error::{Error, shown};

/// Reads from the front. `what` names the whole in messages.
pub(crate) struct Reader<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) const fn new(what: &'static str, bytes: &'a [u8]) -> Self {
        Self { what, rest: bytes }
    }

    pub(crate) fn bad(&self, found: impl Into<String>, wanted: &'static str) -> Error {
        Error::Encoding {
            what: self.what,
            found: found.into(),
            wanted,
        }
    }

    pub(crate) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let Some((head, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.bad(
                format!("{} bytes where {count} should be", self.rest.len()),
                "all of it",
            ));
        };
        self.rest = rest;
        Ok(head)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    pub(crate) fn magic(&mut self, magic: &'static [u8; 4]) -> Result<(), Error> {
        let found = self.array::<4>()?;
        if found == *magic {
            return Ok(());
        }
        let found = format!("starts with {}", shown(&String::from_utf8_lossy(&found)));
        Err(self.bad(found, "the four bytes that name its version"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Error> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, Error> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, Error> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Error> {
        self.array().map(u64::from_be_bytes)
    }

    /// Bytes with their length of 16 bits in front, at most `most`.
    pub(crate) fn bytes(&mut self, most: usize) -> Result<&'a [u8], Error> {
        let length = usize::from(self.u16()?);
        if length > most {
            return Err(self.bad(format!("a field of {length} bytes"), "a shorter one"));
        }
        self.take(length)
    }

    /// Bytes with their length of 32 bits in front, at most `most`.
    pub(crate) fn long(&mut self, most: usize) -> Result<&'a [u8], Error> {
        let length = usize::try_from(self.u32()?).unwrap_or(usize::MAX);
        if length > most {
            return Err(self.bad(format!("a field of {length} bytes"), "a shorter one"));
        }
        self.take(length)
    }

    /// A text with its length of 16 bits in front, at most `most` bytes, UTF-8.
    pub(crate) fn text(&mut self, most: usize) -> Result<&'a str, Error> {
        let bytes = self.bytes(most)?;
        core::str::from_utf8(bytes).map_err(|_| self.bad("a text that is not UTF-8", "UTF-8"))
    }

    pub(crate) fn end(self) -> Result<(), Error> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(self.bad(
            format!("{} bytes after its end", self.rest.len()),
            "nothing after it",
        ))
    }
}

/// Appends bytes with their length of 16 bits in front. The length was checked before: what is longer than 65535 bytes
/// becomes a field that no reader takes.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u16::try_from(bytes.len()).unwrap_or(u16::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Appends bytes with their length of 32 bits in front. The length was checked before.
pub(crate) fn put_long(out: &mut Vec<u8>, bytes: &[u8]) {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(bytes);
}

/// Whether a text is at most so many bytes and free of control characters, which would reach terminals and logs.
pub(crate) fn is_plain(text: &str, most: usize) -> bool {
    text.len() <= most && !text.chars().any(char::is_control)
}
