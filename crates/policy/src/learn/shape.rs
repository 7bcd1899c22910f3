//! Names with parts that are made anew each time: numbers, digests, the text of a pid, the name of a node. Where several of one shape
//! were seen, they are one pattern; where the rest of the shape says too little, they stay what they are.

use std::collections::{BTreeMap, BTreeSet};

use super::permits::Item;
use super::seen::{Ask, What};
use crate::catalogue;

/// So many different names of one shape are several.
const SEVERAL: usize = 3;
/// Characters that a pattern has to have beside its stars, so that it says something.
const LITERAL: usize = 5;
/// Letters that it has to begin with.
const BEGINNING: usize = 3;
/// Most stars in one.
const STARS: usize = 3;
/// Characters from which on hexadecimal digits are a digest, and not a word.
const DIGEST: usize = 8;
/// Characters from which on letters and digits without order are base64.
const BASE64: usize = 16;

/// Part of a name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Piece {
    Text(String),
    Star,
}

/// The patterns that were found.
pub(super) struct Shapes(BTreeSet<Vec<Piece>>);

impl Shapes {
    pub(super) fn of<'a>(asks: impl Iterator<Item = &'a Ask>) -> Self {
        let mut names: BTreeMap<Vec<Piece>, BTreeSet<&str>> = BTreeMap::new();
        for ask in asks {
            if let What::Process(name) = &ask.what
                && let Some(shape) = shape(name)
            {
                names.entry(shape).or_default().insert(name);
            }
        }
        let several = names
            .into_iter()
            .filter(|(_, names)| names.len() >= SEVERAL);
        Self(several.map(|(shape, _)| shape).collect())
    }

    /// What a request is an instance of.
    pub(super) fn item(&self, ask: &Ask) -> Item {
        if let What::Process(name) = &ask.what
            && let Some(shape) = shape(name).filter(|shape| self.0.contains(shape))
        {
            return Item::pattern(ask, shape);
        }
        Item::of(ask)
    }
}

/// The shape of a name, if it is one that may become a pattern.
pub(super) fn shape(name: &str) -> Option<Vec<Piece>> {
    // OTP's own are few, and each is what it is.
    if !name.is_ascii() || catalogue::process(name).otp {
        return None;
    }
    let mut pieces: Vec<Piece> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let (part, after, made) = next(rest);
        rest = after;
        match pieces.last_mut() {
            Some(Piece::Star) if made => {}
            Some(Piece::Text(text)) if !made => text.push_str(part),
            _ if made => pieces.push(Piece::Star),
            _ => pieces.push(Piece::Text(part.to_owned())),
        }
    }
    let stars = pieces.iter().filter(|piece| **piece == Piece::Star).count();
    let literal: usize = pieces
        .iter()
        .map(|piece| match piece {
            Piece::Text(text) => text.bytes().filter(u8::is_ascii_alphanumeric).count(),
            Piece::Star => 0,
        })
        .sum();
    let begins = match pieces.first() {
        Some(Piece::Text(text)) => text.bytes().take_while(u8::is_ascii_alphabetic).count(),
        _ => 0,
    };
    let narrow = (1..=STARS).contains(&stars) && literal >= LITERAL && begins >= BEGINNING;
    narrow.then_some(pieces)
}

/// The next part, what is behind it, and whether it was made.
fn next(text: &str) -> (&str, &str, bool) {
    for (open, close) in [("<", ">"), ("#Ref<", ">"), ("#Port<", ">")] {
        if let Some(inside) = text.strip_prefix(open)
            && let Some(end) = inside.find(close)
            && inside
                .bytes()
                .take(end)
                .all(|b| b.is_ascii_digit() || b == b'.')
            && let Some((part, rest)) = text.split_at_checked(open.len() + end + 1)
        {
            return (part, rest, true);
        }
    }
    let inside = |b: u8| b.is_ascii_alphanumeric();
    let word = text.bytes().take_while(|b| inside(*b)).count();
    if word == 0 {
        let (part, rest) = text.split_at_checked(1).unwrap_or((text, ""));
        return (part, rest, false);
    }
    // The name of a node: whatever stands around its @.
    let node = |b: u8| inside(b) || matches!(b, b'@' | b'.' | b'-');
    let length = text.bytes().take_while(|b| node(*b)).count();
    if let Some((part, rest)) = text.split_at_checked(length)
        && part.split_once('@').is_some_and(|(alive, host)| {
            !alive.is_empty() && !host.is_empty() && !host.contains('@')
        })
    {
        return (part, rest, true);
    }
    let (part, rest) = text.split_at_checked(word).unwrap_or((text, ""));
    if is_made(part) {
        return (part, rest, true);
    }
    // `worker12`: a word, then a number.
    let letters = part.trim_end_matches(|c: char| c.is_ascii_digit());
    if letters.len() < part.len() && !letters.is_empty() {
        let (part, rest) = text.split_at_checked(letters.len()).unwrap_or((text, ""));
        return (part, rest, false);
    }
    (part, rest, false)
}

fn is_made(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let hex = word.bytes().all(|b| b.is_ascii_hexdigit());
    let upper = word.bytes().any(|b| b.is_ascii_uppercase());
    let lower = word.bytes().any(|b| b.is_ascii_lowercase());
    digits == word.len()
        || (hex && digits > 0 && word.len() >= DIGEST)
        || (word.len() >= BASE64 && digits >= 2 && upper && lower)
}
