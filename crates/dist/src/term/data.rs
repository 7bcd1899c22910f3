//! Terms that hold nothing but data, told apart in one go. What they say is not read here.

use super::{MAX_REFERENCE_WORDS, tag};

/// Whether these bytes are one whole term, and no more, in which neither a function nor a literal atom stands, all of whose
/// references to the atom cache are among the first `atoms` of the message's header, and that every reader of terms takes.
///
/// Only the forms that nodes mostly write are looked at: of other terms that are as harmless it is `false`.
#[must_use]
pub fn is_data(mut bytes: &[u8], atoms: u8) -> bool {
    let mut open = 1_u64;
    while open > 0 {
        let Some((rest, children)) = begin(bytes, atoms) else {
            return false;
        };
        bytes = rest;
        open = (open - 1).saturating_add(children);
    }
    bytes.is_empty()
}

/// What stands behind such a term, or behind its beginning if it holds others, and how many follow that belong to it.
#[inline]
fn begin(bytes: &[u8], atoms: u8) -> Option<(&[u8], u64)> {
    let run = |length: [u8; 4]| usize::try_from(u32::from_be_bytes(length)).ok();
    Some(match bytes {
        [tag::BINARY, a, b, c, d, rest @ ..] => (rest.get(run([*a, *b, *c, *d])?..)?, 0),
        [tag::SMALL_TUPLE, arity, rest @ ..] => (rest, (*arity).into()),
        [tag::ATOM_CACHE_REF, index, rest @ ..] if *index < atoms => (rest, 0),
        [tag::SMALL_INTEGER, _, rest @ ..]
        | [tag::INTEGER, _, _, _, _, rest @ ..]
        | [tag::NIL, rest @ ..] => (rest, 0),
        [tag::NEW_FLOAT, rest @ ..] => (rest.get(8..)?, 0),
        [tag::SMALL_BIG, length, _, rest @ ..] => (rest.get(usize::from(*length)..)?, 0),
        [tag::STRING, high, low, rest @ ..] => {
            let length = u16::from_be_bytes([*high, *low]);
            (rest.get(usize::from(length)..)?, 0)
        }
        [tag::LIST, a, b, c, d, rest @ ..] => {
            (rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])) + 1)
        }
        [tag::MAP, a, b, c, d, rest @ ..] => {
            (rest, u64::from(u32::from_be_bytes([*a, *b, *c, *d])) * 2)
        }
        [tag::NEW_PID, tag::ATOM_CACHE_REF, node, rest @ ..] if *node < atoms => {
            (rest.get(4 + 4 + 4..)?, 0)
        }
        [
            tag::NEWER_REFERENCE,
            0,
            words,
            tag::ATOM_CACHE_REF,
            node,
            rest @ ..,
        ] if *node < atoms => {
            let words = usize::from(*words);
            if words == 0 || words > MAX_REFERENCE_WORDS {
                return None;
            }
            (rest.get(4 + 4 * words..)?, 0)
        }
        _ => return None,
    })
}
