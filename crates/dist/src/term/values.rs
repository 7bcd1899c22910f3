//! What the bytes of a number or an atom stand for.

use std::borrow::Cow;

use super::token::Token;
use super::{Atom, MAX_ATOM, tag};
use crate::error::{Error, Result};

/// Three numbers of 32 bits.
pub fn words(bytes: &[u8; 12]) -> [u32; 3] {
    let [a, b, c, d, e, f, g, h, i, j, k, l] = *bytes;
    [[a, b, c, d], [e, f, g, h], [i, j, k, l]].map(u32::from_be_bytes)
}

/// A magnitude without its leading zeros, which no node writes and every node reads.
pub fn significant(digits: &[u8]) -> &[u8] {
    let length = digits
        .iter()
        .rposition(|digit| *digit != 0)
        .map_or(0, |last| last + 1);
    digits.get(..length).unwrap_or_default()
}

/// A magnitude of at most 64 bits, without leading zeros.
pub fn unsigned(digits: &[u8]) -> Option<u64> {
    let mut bytes = [0; 8];
    bytes.get_mut(..digits.len())?.copy_from_slice(digits);
    Some(u64::from_le_bytes(bytes))
}

/// What is recognised and has no place in a message.
pub const fn refused(tag: u8) -> Error {
    let what = match tag {
        tag::COMPRESSED => "compressed term (tag 80)",
        tag::LOCAL => "term in the private form of a node (LOCAL_EXT, tag 121)",
        _ => "fun of OTP 22 and before (FUN_EXT, tag 117)",
    };
    Error::Unsupported { what }
}

/// A bit string, whose last byte has 1 to 8 bits if there is one.
pub fn bits(length: u32, last: u8) -> Result<()> {
    if last > 8 || (last == 0) != (length == 0) {
        return Err(Error::Invalid {
            what: "bit string",
            reason: "its last byte has 1 to 8 bits",
        });
    }
    Ok(())
}

/// A float, which has to be a number.
pub fn float<'a>(value: f64) -> Result<Token<'a>> {
    if !value.is_finite() {
        return Err(Error::Invalid {
            what: "float",
            reason: "it must be finite",
        });
    }
    Ok(Token::Float(value))
}

/// A float in decimal, as of old: `%.20e`, filled up with zeros to 31 bytes.
pub fn old_float<'a>(bytes: &[u8]) -> Result<Token<'a>> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let value = core::str::from_utf8(text)
        .ok()
        .and_then(|text| text.trim_ascii().parse().ok());
    float(value.ok_or(Error::Invalid {
        what: "float",
        reason: "it must be a number in decimal digits",
    })?)
}

/// An atom of at most [`MAX_ATOM`] characters.
pub fn utf8_atom(bytes: &[u8]) -> Result<Atom<'_>> {
    let Ok(text) = core::str::from_utf8(bytes) else {
        return Err(Error::Invalid {
            what: "atom",
            reason: "it must be UTF-8",
        });
    };
    // A text of few bytes has few characters: count only where it matters.
    if text.len() > MAX_ATOM && text.chars().count() > MAX_ATOM {
        return Err(Error::TooLarge {
            what: "atom",
            found: text.chars().count() as u64,
            limit: MAX_ATOM as u64,
        });
    }
    Ok(Atom::new(text))
}

/// An atom as of old: a byte for each character.
pub fn latin1_atom(bytes: &[u8]) -> Atom<'_> {
    match core::str::from_utf8(bytes) {
        Ok(text) if text.is_ascii() => Atom::new(text),
        _ => Atom::Text(Cow::Owned(
            bytes.iter().map(|byte| char::from(*byte)).collect(),
        )),
    }
}
