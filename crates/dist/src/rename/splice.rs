//! What is to be changed in a frame, and the frame with it changed.

use core::ops::Range;

use super::names::{Encoding, Names};
use crate::error::{Error, Result};
use crate::frame::Header;
use crate::term::tag;

/// How much longer the names may make a frame, in bytes. A fragment of 64 KiB full of pids stays below it whatever the names, and a
/// frame that is as long as any that is held with names that differ by 50 bytes; without it, five bytes that a peer sends could
/// become 257.
pub const MAX_GROWTH: usize = 1 << 20;

/// Changes to the terms of a frame, or to its header.
#[derive(Debug, Default)]
pub(super) struct Splices<'n> {
    /// In the order of the frame, as long as funs are not settled.
    list: Vec<Splice<'n>>,
    /// Where the size of a fun stands, and what it says.
    funs: Vec<(usize, u32)>,
    grown: i64,
}

#[derive(Debug)]
struct Splice<'n> {
    range: Range<usize>,
    with: With<'n>,
    /// How much longer all is by this and those before it.
    grown: i64,
}

#[derive(Debug)]
enum With<'n> {
    /// An atom as a term.
    Atom(&'n str),
    /// The text of an atom behind its length in a header.
    Short(&'n str),
    /// The same where lengths have two bytes.
    Long(&'n str),
    /// The size of a fun.
    Size(u32),
}

impl With<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Atom(name) | Self::Long(name) => 2 + name.len(),
            Self::Short(name) => 1 + name.len(),
            Self::Size(_) => 4,
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        match self {
            // Every node reads this form since OTP 16, and no other one is shorter.
            Self::Atom(name) => {
                out.extend([tag::SMALL_ATOM_UTF8, short(name)]);
                out.extend_from_slice(name.as_bytes());
            }
            Self::Short(name) => {
                out.push(short(name));
                out.extend_from_slice(name.as_bytes());
            }
            Self::Long(name) => {
                out.extend(u16::from(short(name)).to_be_bytes());
                out.extend_from_slice(name.as_bytes());
            }
            Self::Size(size) => out.extend(size.to_be_bytes()),
        }
    }
}

/// The length of a name, which is 255 bytes at most.
fn short(name: &str) -> u8 {
    u8::try_from(name.len()).unwrap_or(u8::MAX)
}

impl<'n> Splices<'n> {
    /// The names among the new atoms of a header.
    pub(super) fn of_header(header: &Header<'_>, names: &'n Names) -> Result<Self> {
        let mut splices = Self::default();
        if header.new_atoms() == 0 {
            return Ok(splices);
        }
        let long = header.long_atoms();
        let mut refs = header.refs();
        while let Some(reference) = refs.next_ref()? {
            let Some(text) = reference.new else { continue };
            let Some(name) = names.find(text, Encoding::Utf8) else {
                continue;
            };
            let end = header.bytes().len() - refs.left();
            let (length, with) = if long {
                (2, With::Long(name))
            } else {
                (1, With::Short(name))
            };
            splices.push(end - text.len() - length..end, with)?;
        }
        Ok(splices)
    }

    /// A literal atom that becomes this name.
    pub(super) fn atom(&mut self, range: Range<usize>, name: &'n str) -> Result<()> {
        self.push(range, With::Atom(name))
    }

    /// A fun, whose size stands at `at` and says `size`.
    pub(super) fn fun(&mut self, at: usize, size: u32) {
        self.funs.push((at, size));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    fn push(&mut self, range: Range<usize>, with: With<'n>) -> Result<()> {
        // Neither is longer than a frame that is held.
        let signed = |length: usize| i64::try_from(length).unwrap_or(i64::MAX);
        self.grown += signed(with.len()) - signed(range.len());
        if self.grown > signed(MAX_GROWTH) {
            return Err(Error::TooLarge {
                what: "growth of a frame by its names",
                found: self.grown.unsigned_abs(),
                limit: MAX_GROWTH as u64,
            });
        }
        self.list.push(Splice {
            range,
            with,
            grown: self.grown,
        });
        Ok(())
    }

    /// Sees to the sizes of funs, once all names of the frame are there: each has to say how long it is with the names in it.
    ///
    /// Nodes do not look at that (`decoded_size` of `external.c`: some of them got it wrong), but C nodes find the end of a fun by it
    /// (`ei_decode_fun`). What a further fragment makes of a fun is not known yet and not said; C nodes get none.
    pub(super) fn settle(&mut self) {
        let mut sizes = Vec::new();
        for &(at, size) in &self.funs {
            let end = at.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
            let grown = self.grown_before(end) - self.grown_before(at);
            match u32::try_from(i64::from(size) + grown) {
                Ok(new) if new != size => sizes.push((at, new)),
                // A lie about what is there stays one.
                _ => {}
            }
        }
        self.list.extend(sizes.into_iter().map(|(at, size)| Splice {
            range: at..at + 4,
            with: With::Size(size),
            grown: 0,
        }));
        self.list.sort_unstable_by_key(|splice| splice.range.start);
    }

    /// How much longer all before this place is.
    fn grown_before(&self, at: usize) -> i64 {
        let before = self.list.partition_point(|splice| splice.range.start < at);
        let last = before.checked_sub(1).and_then(|last| self.list.get(last));
        last.map_or(0, |splice| splice.grown)
    }

    /// Puts `bytes` behind `out`, changed.
    pub(super) fn apply(&self, bytes: &[u8], out: &mut Vec<u8>) {
        let mut at = 0;
        for splice in &self.list {
            out.extend_from_slice(bytes.get(at..splice.range.start).unwrap_or_default());
            splice.with.put(out);
            at = splice.range.end;
        }
        out.extend_from_slice(bytes.get(at..).unwrap_or_default());
    }
}
