//! Fields of messages: texts and numbers, one behind the other.

use crate::Error;

/// Longest text in bytes: an Erlang atom holds 255 characters, and OTP sends names as bytes. A trust domain has no more.
const MAX_NAME: usize = 255;

/// A text behind its length; what is beyond 255 bytes is cut off.
pub fn put_text(body: &mut Vec<u8>, text: &str) {
    // Names come from parsed node names, which are at most 255 bytes long.
    let bytes = text.as_bytes().get(..MAX_NAME).unwrap_or(text.as_bytes());
    body.push(u8::try_from(bytes.len()).unwrap_or(u8::MAX));
    body.extend_from_slice(bytes);
}

/// Takes fields off the front of a body.
pub struct Fields<'a> {
    pub frame: &'static str,
    pub rest: &'a [u8],
}

impl Fields<'_> {
    pub fn array<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], Error> {
        let Some((taken, rest)) = self.rest.split_first_chunk::<N>() else {
            return Err(self.cut_short(field, N));
        };
        self.rest = rest;
        Ok(*taken)
    }

    pub fn text(&mut self, field: &'static str) -> Result<String, Error> {
        let [length] = self.array::<1>(field)?;
        let Some((taken, rest)) = self.rest.split_at_checked(length.into()) else {
            return Err(self.cut_short(field, length.into()));
        };
        self.rest = rest;
        Ok(str::from_utf8(taken)
            .map_err(|_| Error::NotText { field })?
            .to_owned())
    }

    fn cut_short(&self, field: &'static str, wanted: usize) -> Error {
        Error::CutShort {
            frame: self.frame,
            field,
            wanted,
            found: self.rest.len(),
        }
    }
}
