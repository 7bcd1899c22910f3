//! Frames: what a connection consists of after the handshake, each behind a 32-bit length.
//!
//! Here a frame is taken apart as far as its header; atoms are looked up in [`crate::atom_cache`], the control message
//! is read by [`crate::control`], and the fragments of a message are followed by [`crate::fragment`].
//!
//! Source: `erl_dist_protocol.md` "Protocol between Connected Nodes", `erl_ext_dist.md` "Distribution Header".

#[cfg(test)]
mod tests;

use crate::bytes::Input;
use crate::error::{Error, Result};
pub use crate::term::VERSION;

/// First byte of a frame without distribution header.
pub const PASS_THROUGH: u8 = 112;
/// Second byte of a distribution header: a whole message follows.
pub const HEADER: u8 = 68;
/// Second byte of a distribution header: the first fragment of a message follows.
pub const FIRST_FRAGMENT: u8 = 69;
/// Second byte of a distribution header: a further fragment of a message follows.
pub const NEXT_FRAGMENT: u8 = 70;

/// A frame, without its length prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Frame<'a> {
    /// An empty one.
    Tick,
    /// A message without atom cache. Each of its terms begins with [`VERSION`].
    PassThrough {
        /// The control message and the payload.
        terms: &'a [u8],
    },
    /// A whole message.
    Message {
        /// The atoms of the message.
        header: Header<'a>,
        /// The control message and the payload, without version bytes.
        terms: &'a [u8],
    },
    /// The beginning of a message in fragments.
    FirstFragment {
        /// Which message; unique among those that are under way in this direction.
        sequence: u64,
        /// How many fragments there are. They are numbered from there down to 1.
        fragment: u64,
        /// The atoms of the message, later fragments included.
        header: Header<'a>,
        /// The control message, whole, and the beginning of the payload.
        terms: &'a [u8],
    },
    /// A further fragment.
    NextFragment {
        /// Which message.
        sequence: u64,
        /// The number of the fragment; 1 is the last.
        fragment: u64,
        /// What continues the payload.
        bytes: &'a [u8],
    },
}

impl<'a> Frame<'a> {
    /// Takes a frame apart. It need not be there to its end: what is looked at is the header alone.
    ///
    /// # Errors
    /// [`Error::Truncated`] if the header is not whole, [`Error::Unexpected`] for a type that does not exist,
    /// [`Error::Invalid`] for a fragment number of zero.
    pub fn decode(bytes: &'a [u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Ok(Self::Tick);
        }
        let mut input = Input::new("frame", bytes);
        match input.u8()? {
            PASS_THROUGH => Ok(Self::PassThrough {
                terms: input.rest(),
            }),
            VERSION => match input.u8()? {
                HEADER => Ok(Self::Message {
                    header: Header::read(&mut input)?,
                    terms: input.rest(),
                }),
                FIRST_FRAGMENT => {
                    let (sequence, fragment) = fragment(&mut input)?;
                    let header = Header::read(&mut input)?;
                    Ok(Self::FirstFragment {
                        sequence,
                        fragment,
                        header,
                        terms: input.rest(),
                    })
                }
                NEXT_FRAGMENT => {
                    let (sequence, fragment) = fragment(&mut input)?;
                    Ok(Self::NextFragment {
                        sequence,
                        fragment,
                        bytes: input.rest(),
                    })
                }
                found => Err(Error::Unexpected {
                    what: "distribution header",
                    found,
                    wanted: "68, 69 or 70",
                }),
            },
            found => Err(Error::Unexpected {
                what: "frame",
                found,
                wanted: "112 or 131",
            }),
        }
    }
}

fn fragment(input: &mut Input<'_>) -> Result<(u64, u64)> {
    match (input.u64()?, input.u64()?) {
        (_, 0) => Err(Error::Invalid {
            what: "fragment",
            reason: "its number is zero",
        }),
        numbers => Ok(numbers),
    }
}

/// The atom cache references of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header<'a> {
    bytes: &'a [u8],
    count: u8,
    /// How many of them are new.
    new: u8,
    refs: &'a [u8],
}

impl<'a> Header<'a> {
    /// Reads a header from its count on, and checks that it is whole.
    fn read(input: &mut Input<'a>) -> Result<Self> {
        let whole = input.rest();
        let count = input.u8()?;
        let flags = match count {
            0 => &[],
            count => input.take(usize::from(count / 2) + 1)?,
        };
        let before = input.rest();
        let header = Self {
            bytes: whole,
            count,
            new: new_among(flags, count),
            refs: before,
        };
        if header.new == 0 {
            // As nearly all are, once two nodes know each other: a byte for each.
            input.take(usize::from(count))?;
        } else {
            let mut refs = header.refs();
            while refs.next_ref()?.is_some() {}
            *input = Input::new("frame", refs.input.rest());
        }
        let rest = input.rest().len();
        let without = |part: &'a [u8]| part.split_at(part.len() - rest).0;
        Ok(Self {
            bytes: without(whole),
            refs: without(before),
            ..header
        })
    }

    /// A header without any atom.
    pub const EMPTY: Header<'static> = Header {
        bytes: &[0],
        count: 0,
        new: 0,
        refs: &[],
    };

    /// The header as it stands in the frame, from the count of references on: what a frame must keep whose content is
    /// replaced, or the receiver's atom cache falls out of step.
    #[must_use]
    pub const fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// How many references there are.
    #[must_use]
    pub const fn count(&self) -> u8 {
        self.count
    }

    /// How many of them bring a new atom along.
    #[must_use]
    pub const fn new_atoms(&self) -> usize {
        self.new as usize
    }

    /// The flags and the references, a byte for each, if none of them brings an atom along.
    pub(crate) fn known(&self) -> Option<(&'a [u8], &'a [u8])> {
        let flags = self.bytes.get(1..).unwrap_or_default();
        (self.new == 0).then_some((flags, self.refs))
    }

    /// Whether the texts of new atoms stand behind lengths of two bytes.
    pub(crate) fn long_atoms(&self) -> bool {
        self.flags(self.count) & LONG_ATOMS != 0
    }

    pub(crate) const fn refs(&self) -> Refs<'a> {
        Refs {
            header: *self,
            at: 0,
            input: Input::new("distribution header", self.refs),
        }
    }

    /// The half-byte that belongs to a reference; the one after the last belongs to the header.
    fn flags(&self, index: u8) -> u8 {
        let byte = self
            .bytes
            .get(usize::from(index / 2) + 1)
            .copied()
            .unwrap_or(0);
        if index.is_multiple_of(2) {
            byte & 0x0F
        } else {
            byte >> 4
        }
    }
}

/// How many of the references that these flags belong to bring a new atom along: each has a half-byte.
fn new_among(flags: &[u8], count: u8) -> u8 {
    let both = NEW | NEW << 4;
    if flags.iter().fold(0, |all, byte| all | byte) & both == 0 {
        return 0;
    }
    let new = |byte: &u8| (byte & both).count_ones();
    let all: u32 = flags.iter().map(new).sum();
    // The half-byte behind the last reference belongs to the header: bit 3 of it says nothing.
    let last = flags.last().copied().unwrap_or(0);
    let own = if count.is_multiple_of(2) {
        last & both
    } else {
        last & NEW << 4
    };
    u8::try_from(all - own.count_ones()).unwrap_or(u8::MAX)
}

const NEW: u8 = 8;
const LONG_ATOMS: u8 = 1;

/// A reference to the atom cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CacheRef<'a> {
    /// Which entry, below 2,048.
    pub(crate) slot: u16,
    /// The atom that the entry holds from now on; `None` if it is the one that it has.
    pub(crate) new: Option<&'a [u8]>,
}

/// Walks over the references of a header.
#[derive(Debug, Clone)]
pub(crate) struct Refs<'a> {
    header: Header<'a>,
    at: u8,
    input: Input<'a>,
}

impl<'a> Refs<'a> {
    pub(crate) fn next_ref(&mut self) -> Result<Option<CacheRef<'a>>> {
        if self.at == self.header.count {
            return Ok(None);
        }
        let flags = self.header.flags(self.at);
        self.at += 1;
        let slot = u16::from(flags & 7) << 8 | u16::from(self.input.u8()?);
        let new = if flags & NEW == 0 {
            None
        } else if self.header.long_atoms() {
            Some(self.input.run_u16(usize::from(u16::MAX))?)
        } else {
            let length = self.input.u8()?;
            Some(self.input.take(length.into())?)
        };
        Ok(Some(CacheRef { slot, new }))
    }

    /// How many bytes of the header are behind the references that have been read.
    pub(crate) const fn left(&self) -> usize {
        self.input.rest().len()
    }
}

/// Takes the first frame off a buffer: its bytes, and how many bytes of the buffer it used. `None` means that more
/// bytes are needed.
///
/// # Errors
/// [`Error::TooLarge`] if the announced length is above `max_frame`, as soon as the length is there.
pub fn split(buffer: &[u8], max_frame: u32) -> Result<Option<(&[u8], usize)>> {
    let Some((prefix, rest)) = buffer.split_first_chunk() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*prefix);
    if length > max_frame {
        return Err(Error::TooLarge {
            what: "frame",
            found: length.into(),
            limit: max_frame.into(),
        });
    }
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    Ok(rest.get(..length).map(|frame| (frame, length + 4)))
}

/// Puts a whole message behind its length: the header as it is (see [`Header::bytes`]), then the terms, which carry no
/// version byte. Made for messages that agents say themselves; no reader takes more than 4 GiB.
#[must_use]
pub fn message(header: &Header<'_>, terms: &[u8]) -> Vec<u8> {
    let length = 2 + header.bytes.len() + terms.len();
    let mut out = Vec::with_capacity(length + 4);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&[VERSION, HEADER]);
    out.extend_from_slice(header.bytes);
    out.extend_from_slice(terms);
    out
}

/// Puts a message without distribution header behind its length. Payload is left out where the operation has none.
#[must_use]
pub fn pass_through(control: &[u8], payload: Option<&[u8]>) -> Vec<u8> {
    let length = 2 + control.len() + payload.map_or(0, |payload| payload.len() + 1);
    let mut out = Vec::with_capacity(length + 4);
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    out.extend_from_slice(&[PASS_THROUGH, VERSION]);
    out.extend_from_slice(control);
    if let Some(payload) = payload {
        out.push(VERSION);
        out.extend_from_slice(payload);
    }
    out
}
