//! What was asked last, word for word, so that it takes no fingerprint to find it again. Small, and of use since messages
//! that follow each other mostly ask for the same; what a peer invents pushes out nothing but this.

use super::Known;
use crate::request::{Request, Resource};

/// Questions that are kept: a power of two. A link between two nodes is about some ten names at a time; 2 KiB.
const PLACES: usize = 32;
/// Bytes of the names of one question. Longer ones are not kept.
const TEXT: usize = 48;

#[derive(Clone, Copy)]
struct Asked {
    /// All but the names.
    head: u64,
    /// How long the names are, the module of a function first.
    lengths: [u8; 2],
    /// `None` where nothing has been kept.
    known: Option<Known>,
    text: [u8; TEXT],
}

/// A question taken apart, nothing copied.
struct Key<'a> {
    head: u64,
    lengths: [u8; 2],
    names: [&'a [u8]; 2],
}

/// The last questions, each in the one place that it can have.
pub(super) struct Front([Asked; PLACES]);

impl Front {
    pub(super) const fn new() -> Self {
        Self(
            [Asked {
                head: 0,
                lengths: [0; 2],
                known: None,
                text: [0; TEXT],
            }; PLACES],
        )
    }

    /// What is known of exactly this question.
    #[inline]
    pub(super) fn recall(&self, request: &Request<'_>) -> Option<Known> {
        let key = Key::of(request)?;
        let asked = self.0.get(key.place())?;
        let [first, second] = key.names;
        let (text, rest) = asked.text.split_at_checked(first.len())?;
        let same = asked.head == key.head
            && asked.lengths == key.lengths
            && alike(text, first)
            && alike(rest.get(..second.len())?, second);
        asked.known.filter(|_| same)
    }

    pub(super) fn remember(&mut self, request: &Request<'_>, known: Known) {
        let Some(key) = Key::of(request) else { return };
        let Some(asked) = self.0.get_mut(key.place()) else {
            return;
        };
        let text = key.names.iter().flat_map(|name| name.iter());
        asked.head = key.head;
        asked.lengths = key.lengths;
        asked.known = Some(known);
        asked
            .text
            .iter_mut()
            .zip(text)
            .for_each(|(place, byte)| *place = *byte);
    }
}

/// Whether two names are the same. Empty ones are not compared: they may lie at no address at all, and the masked loads of
/// glibc's `memcmp` take some 80 ns each to find that nothing was to be read there (Zen 4 with AVX-512).
#[inline]
fn alike(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && (one.is_empty() || one == other)
}

impl<'a> Key<'a> {
    /// `None` if its names are too long.
    #[inline]
    fn of(request: &Request<'a>) -> Option<Self> {
        let (kind, arity, names): (u64, u32, [&[u8]; 2]) = match request.resource {
            Resource::Node => (0, 0, [&[], &[]]),
            Resource::Process(name) => (1, 0, [name.as_bytes(), &[]]),
            Resource::Service(name) => (3, 0, [name.as_bytes(), &[]]),
            Resource::Function {
                module,
                function,
                arity,
            } => (2, arity, [module.as_bytes(), function.as_bytes()]),
        };
        let [first, second] = names;
        if first.len() + second.len() > TEXT {
            return None;
        }
        Some(Self {
            head: super::head(request, kind, arity),
            lengths: [
                u8::try_from(first.len()).ok()?,
                u8::try_from(second.len()).ok()?,
            ],
            names,
        })
    }

    /// Cheap rather than good: who finds two questions that share a place makes them slow, and no other.
    #[inline]
    fn place(&self) -> usize {
        let end = |name: &[u8]| name.last_chunk().map_or(0, |end| u32::from_le_bytes(*end));
        let [first, second] = self.names;
        let [a, b] = self.lengths;
        let mixed = self.head
            ^ u64::from(end(first)) << 24
            ^ u64::from(end(second)) << 8
            ^ u64::from(a) << 56
            ^ u64::from(b) << 48;
        let spread = mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        usize::try_from(spread).unwrap_or(0) % PLACES
    }
}
