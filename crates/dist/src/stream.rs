//! Reading the operation of every message out of one direction of a connection, while the bytes pass by.
//!
//! This is the hot path of a proxy: no payload is held, nothing is allocated, and the bulk of a large message costs one
//! subtraction per chunk. What messages say beyond their operation is read by [`crate::control`] from whole frames.

#[cfg(test)]
mod tests;

use crate::control::Op;
use crate::error::{Error, Result};
use crate::frame::{FIRST_FRAGMENT, HEADER, NEXT_FRAGMENT, PASS_THROUGH, VERSION};

/// The longest frame that is accepted unless configured otherwise, in bytes without the length prefix.
///
/// A node that has negotiated fragments cuts payloads at 64 KiB, but not the messages that it queued before the
/// connection was up: these come in one piece, as do all without fragments, up
/// to 4 GiB - 1. The receiving node
/// allocates a frame as soon as it knows its length. 1 GiB lets through what applications that work at all send in one
/// message (RabbitMQ stops at 512 MiB), and refuses a length that is none. OTP itself has no limit.
pub const MAX_FRAME: u32 = 1 << 30;

/// How the frame that begins a message is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// Type 112: no atom cache.
    PassThrough,
    /// Type 131, 68: the whole message, behind a distribution header.
    Header,
    /// Type 131, 69: the control message and the first part of the payload, behind a distribution header.
    FirstFragment,
}

/// What has been seen in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// An empty frame: the node is alive and has nothing to say.
    Tick,
    /// The beginning of a message; its payload may still be under way.
    Message {
        /// What the message does.
        op: Op,
        /// How its first (or only) frame is built.
        frame: FrameKind,
        /// The length of that frame, in bytes without the length prefix.
        length: u32,
    },
    /// A further fragment of a message seen before; its bytes may still be under way.
    Continuation {
        /// The length of the frame, in bytes without the length prefix.
        length: u32,
    },
}

/// Follows one direction of a connection from the first byte after the handshake.
#[derive(Debug, Clone)]
pub struct Observer {
    max_frame: u32,
    /// The length of the current frame.
    length: u32,
    /// How many bytes of the current frame have not been read or skipped.
    left: u32,
    /// How many bytes are to be passed over before `step` goes on; always part of `left`.
    skip: u32,
    step: Step,
    /// A unit that the end of a chunk cut in two, and how much of it is there.
    partial: [u8; 16],
    held: u8,
    refs: Refs,
    failed: Option<Error>,
}

/// What stands at the current position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Length,
    /// The two bytes that every frame but a tick begins with.
    Type,
    /// Sequence and fragment number of a first fragment.
    FirstFragment,
    /// Sequence and fragment number of a later fragment.
    NextFragment,
    RefCount(FrameKind),
    RefFlags(FrameKind),
    Ref(FrameKind),
    Control(FrameKind),
}

/// The atom cache references of a distribution header: how many there are, and what their flags say.
#[derive(Debug, Clone)]
struct Refs {
    count: u8,
    at: u8,
    flags_held: u8,
    /// One half-byte for each reference and one more; 256 at most.
    flags: [u8; 128],
}

impl Refs {
    fn nibble(&self, at: u8) -> u8 {
        let byte = self.flags.get(usize::from(at / 2)).copied().unwrap_or(0);
        if at.is_multiple_of(2) {
            byte & 0x0F
        } else {
            byte >> 4
        }
    }

    /// Whether the current reference brings its atom along.
    fn is_new(&self) -> bool {
        self.nibble(self.at) & 8 != 0
    }

    /// Whether the atoms have lengths of two bytes.
    fn long_atoms(&self) -> bool {
        self.nibble(self.count) & 1 != 0
    }
}

impl Observer {
    /// An observer of a stream whose frames may have up to `max_frame` bytes; see [`MAX_FRAME`].
    #[must_use]
    pub const fn new(max_frame: u32) -> Self {
        Self {
            max_frame,
            length: 0,
            left: 0,
            skip: 0,
            step: Step::Length,
            partial: [0; 16],
            held: 0,
            refs: Refs {
                count: 0,
                at: 0,
                flags_held: 0,
                flags: [0; 128],
            },
            failed: None,
        }
    }

    /// Takes the next bytes of the stream, cut anywhere, and reports what begins in them, in order. A message is
    /// reported as soon as its operation has been read.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a frame above the limit, [`Error::Unexpected`] for an unknown frame type, an unknown
    /// operation or a control message that is no tuple, [`Error::Invalid`] for an arity that the operation cannot
    /// have, [`Error::Truncated`] for a frame that ends before its operation. The stream cannot be followed any
    /// further then: every later call returns the same error.
    pub fn feed(&mut self, bytes: &[u8], visit: &mut impl FnMut(Seen)) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.run(bytes, visit);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Whether the stream stands between two frames.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        self.left == 0 && self.held == 0 && matches!(self.step, Step::Length)
    }

    /// How many bytes of the current frame are still to come, as far as its length is known.
    #[must_use]
    pub const fn left(&self) -> u32 {
        self.left
    }

    fn run(&mut self, mut bytes: &[u8], visit: &mut impl FnMut(Seen)) -> Result<()> {
        loop {
            if self.skip > 0 {
                bytes = self.pass_over(bytes);
                if self.skip > 0 {
                    return Ok(());
                }
            }
            if !self.advance(&mut bytes, visit)? {
                return Ok(());
            }
        }
    }

    /// Passes over what is to be skipped, as far as it is there.
    fn pass_over<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let wanted = usize::try_from(self.skip).unwrap_or(usize::MAX);
        let (passed, rest) = bytes.split_at(wanted.min(bytes.len()));
        // `passed` is no longer than `skip`, which is part of `left`.
        let count = u32::try_from(passed.len()).unwrap_or(self.skip);
        self.skip -= count;
        self.left -= count;
        rest
    }

    /// Reads what stands at the current position; `false` if the bytes do not suffice.
    fn advance(&mut self, bytes: &mut &[u8], visit: &mut impl FnMut(Seen)) -> Result<bool> {
        match self.step {
            Step::Length => {
                // The prefix is not part of the frame: let it count as if it were.
                self.left = 4;
                let Some(prefix) = self.unit(bytes)? else {
                    self.left = 0;
                    return Ok(false);
                };
                self.begin(u32::from_be_bytes(prefix), visit)?;
            }
            Step::Type => {
                let Some(tag) = self.unit(bytes)? else {
                    return Ok(false);
                };
                self.step = match tag {
                    [PASS_THROUGH, VERSION] => Step::Control(FrameKind::PassThrough),
                    [VERSION, HEADER] => Step::RefCount(FrameKind::Header),
                    [VERSION, FIRST_FRAGMENT] => Step::FirstFragment,
                    [VERSION, NEXT_FRAGMENT] => Step::NextFragment,
                    [PASS_THROUGH, found] => {
                        return Err(Error::Unexpected {
                            what: "pass-through frame",
                            found,
                            wanted: "131",
                        });
                    }
                    [VERSION, found] => {
                        return Err(Error::Unexpected {
                            what: "distribution header",
                            found,
                            wanted: "68, 69 or 70",
                        });
                    }
                    [found, _] => {
                        return Err(Error::Unexpected {
                            what: "frame",
                            found,
                            wanted: "112 or 131",
                        });
                    }
                };
            }
            Step::FirstFragment => {
                if self.unit::<16>(bytes)?.is_none() {
                    return Ok(false);
                }
                self.step = Step::RefCount(FrameKind::FirstFragment);
            }
            Step::NextFragment => {
                if self.unit::<16>(bytes)?.is_none() {
                    return Ok(false);
                }
                visit(Seen::Continuation {
                    length: self.length,
                });
                self.end();
            }
            Step::RefCount(kind) => {
                let Some([count]) = self.unit(bytes)? else {
                    return Ok(false);
                };
                self.refs.count = count;
                self.refs.at = 0;
                self.refs.flags_held = 0;
                self.step = if count == 0 {
                    Step::Control(kind)
                } else {
                    Step::RefFlags(kind)
                };
            }
            Step::RefFlags(kind) => {
                while self.refs.flags_held <= self.refs.count / 2 {
                    let Some([byte]) = self.unit(bytes)? else {
                        return Ok(false);
                    };
                    if let Some(place) = self.refs.flags.get_mut(usize::from(self.refs.flags_held))
                    {
                        *place = byte;
                    }
                    self.refs.flags_held += 1;
                }
                self.step = Step::Ref(kind);
            }
            Step::Ref(kind) => return self.reference(bytes, kind),
            Step::Control(kind) => {
                let Some(control) = self.unit(bytes)? else {
                    return Ok(false);
                };
                visit(Seen::Message {
                    op: operation(control)?,
                    frame: kind,
                    length: self.length,
                });
                self.end();
            }
        }
        Ok(true)
    }

    fn begin(&mut self, length: u32, visit: &mut impl FnMut(Seen)) -> Result<()> {
        if length > self.max_frame {
            return Err(Error::TooLarge {
                what: "frame",
                found: length.into(),
                limit: self.max_frame.into(),
            });
        }
        if length == 0 {
            visit(Seen::Tick);
            return Ok(());
        }
        self.length = length;
        self.left = length;
        self.step = Step::Type;
        Ok(())
    }

    /// All that is wanted of a frame has been read: the rest is passed over.
    fn end(&mut self) {
        self.skip = self.left;
        self.step = Step::Length;
    }

    /// Passes over atom cache references.
    fn reference(&mut self, bytes: &mut &[u8], kind: FrameKind) -> Result<bool> {
        while self.refs.at < self.refs.count {
            let text = if !self.refs.is_new() {
                self.unit::<1>(bytes)?.map(|_| 0)
            } else if self.refs.long_atoms() {
                self.unit(bytes)?
                    .map(|[_, high, low]| u16::from_be_bytes([high, low]))
            } else {
                self.unit(bytes)?.map(|[_, length]| u16::from(length))
            };
            let Some(text) = text else { return Ok(false) };
            self.refs.at += 1;
            if text > 0 {
                self.skip = u32::from(text);
                self.room(self.skip)?;
                return Ok(true);
            }
        }
        self.step = Step::Control(kind);
        Ok(true)
    }

    /// The next `N` bytes (at most 16) of the frame, or `None` if they are not all there; those that are, are kept.
    fn unit<const N: usize>(&mut self, bytes: &mut &[u8]) -> Result<Option<[u8; N]>> {
        const { assert!(N <= 16, "`partial` holds 16 bytes") };
        let count = u32::try_from(N).unwrap_or(16);
        self.room(count)?;
        if self.held == 0
            && let Some((unit, rest)) = bytes.split_first_chunk::<N>()
        {
            *bytes = rest;
            self.left -= count;
            return Ok(Some(*unit));
        }
        while usize::from(self.held) < N {
            let Some((byte, rest)) = bytes.split_first() else {
                return Ok(None);
            };
            if let Some(place) = self.partial.get_mut(usize::from(self.held)) {
                *place = *byte;
            }
            self.held += 1;
            *bytes = rest;
        }
        self.held = 0;
        self.left -= count;
        Ok(self.partial.first_chunk::<N>().copied())
    }

    /// Refuses a frame that ends within its next `count` bytes.
    const fn room(&self, count: u32) -> Result<()> {
        if self.left < count {
            return Err(Error::Truncated {
                what: "frame",
                missing: (count - self.left) as usize,
            });
        }
        Ok(())
    }
}

/// The operation of a control tuple, from its first four bytes.
fn operation(control: [u8; 4]) -> Result<Op> {
    match control {
        [104, arity, 97, code] => Op::checked(code, arity),
        [104, 0, ..] => Err(Error::Invalid {
            what: "control message",
            reason: "the tuple is empty",
        }),
        [104, _, found, _] => Err(Error::Unexpected {
            what: "control operation",
            found,
            wanted: "97 (SMALL_INTEGER_EXT)",
        }),
        [found, ..] => Err(Error::Unexpected {
            what: "control message",
            found,
            wanted: "104 (SMALL_TUPLE_EXT)",
        }),
    }
}
