//! What agents hand on over a link: whose turn it is, how often, and the frames. What heads and entries
//! mean, and whether they are true, is said elsewhere.
//!
//! A turn starts with HEAD. It is answered by WANT; WANT with a number by one DENY, that by WANT again; WANT 0
//! ends the turn. Each direction has turns of its own.

use std::time::{Duration, Instant};

use crate::frame::{FrameType, MAX_DENY, with_header};
use crate::{Error, Frame};

/// Heads that a peer may send, in the long run. One comes every 10 s, and one for each change; honest
/// agents send five a second at most.
pub const HEADS_PER_SECOND: u32 = 8;
/// Heads that may come at once, after a silence.
const HEADS_AT_ONCE: u32 = 16;
/// Questions in one turn. With 16 KiB for each this is 1 MiB: who lacks more needs a snapshot.
const MAX_QUESTIONS: u32 = 64;

/// Entries of the deny stream, as they came. Each is at least one byte long.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Denials(Vec<u8>);

impl Denials {
    /// As many of these as one frame can hold, in order.
    pub fn fit<E: AsRef<[u8]>>(entries: impl IntoIterator<Item = E>) -> Self {
        let mut body = Vec::new();
        for entry in entries {
            let entry = entry.as_ref();
            let Ok(length) = u16::try_from(entry.len()) else {
                break;
            };
            if length == 0 || body.len() + 2 + entry.len() > MAX_DENY {
                break;
            }
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(entry);
        }
        Self(body)
    }

    /// Decodes a body.
    ///
    /// # Errors
    /// [`Error::CutShort`] for an entry that is empty, or longer than what is left.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut rest = body;
        while !rest.is_empty() {
            let (entry, after) = split(rest).ok_or(Error::CutShort {
                frame: "DENY",
                field: "entry",
                wanted: 3,
                found: rest.len(),
            })?;
            debug_assert!(!entry.is_empty());
            rest = after;
        }
        Ok(Self(body.to_vec()))
    }

    /// The entries, in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let (entry, after) = split(rest)?;
            rest = after;
            Some(entry)
        })
    }

    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        with_header(FrameType::Deny, &self.0)
    }
}

fn split(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    if length == 0 {
        return None;
    }
    rest.split_at_checked(length)
}

/// A HEAD frame. `signed` must be at most [`crate::MAX_HEAD`] bytes; a longer one is cut.
#[must_use]
pub fn head(signed: &[u8]) -> Vec<u8> {
    with_header(FrameType::Head, signed)
}

/// A WANT frame.
#[must_use]
pub fn want(seq: u64) -> Vec<u8> {
    with_header(FrameType::Want, &seq.to_be_bytes())
}

/// Where a turn is that this side has started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Telling {
    /// There is none.
    #[default]
    Quiet,
    /// The peer is to say what it wants; this often it has wanted something.
    Told(u32),
    /// We are to answer.
    Asked(u32),
}

/// Where a turn is that the peer has started.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum Hearing {
    /// There is none.
    #[default]
    Quiet,
    /// We are to say what we want.
    Heard,
    /// The peer is to answer.
    Asking,
}

/// Whose turn it is on one link, on one side.
#[derive(Debug)]
pub struct Gossip {
    telling: Telling,
    hearing: Hearing,
    /// Heads that may come now.
    tokens: u32,
    /// When `tokens` was right.
    since: Option<Instant>,
}

impl Default for Gossip {
    fn default() -> Self {
        Self {
            telling: Telling::Quiet,
            hearing: Hearing::Quiet,
            tokens: HEADS_AT_ONCE,
            since: None,
        }
    }
}

impl Gossip {
    /// Whether a head may be sent. If so, it has to be.
    pub fn tell(&mut self) -> bool {
        let may = self.telling == Telling::Quiet;
        if may {
            self.telling = Telling::Told(0);
        }
        may
    }

    /// Whether WANT may be sent. If so, it has to be.
    pub fn ask(&mut self, seq: u64) -> bool {
        let may = self.hearing == Hearing::Heard;
        if may {
            self.hearing = if seq == 0 {
                Hearing::Quiet
            } else {
                Hearing::Asking
            };
        }
        may
    }

    /// Whether DENY may be sent. If so, it has to be.
    pub fn answer(&mut self) -> bool {
        let Telling::Asked(questions) = self.telling else {
            return false;
        };
        self.telling = Telling::Told(questions);
        true
    }

    /// Takes note of a HEAD, WANT or DENY of the peer; other frames do not matter here.
    ///
    /// # Errors
    /// [`Error::OutOfTurn`], [`Error::TooManyHeads`].
    pub fn on_frame(&mut self, frame: &Frame, now: Instant) -> Result<(), Error> {
        let out_of_turn = |why| Error::OutOfTurn {
            frame: frame.kind(),
            why,
        };
        match frame {
            Frame::Head(_) => {
                if self.hearing != Hearing::Quiet {
                    return Err(out_of_turn("wanted WANT for the last one first"));
                }
                self.spend(now)?;
                self.hearing = Hearing::Heard;
            }
            Frame::Want(seq) => {
                let Telling::Told(questions) = self.telling else {
                    return Err(out_of_turn("wanted a HEAD or DENY to answer"));
                };
                self.telling = match seq {
                    0 => Telling::Quiet,
                    _ if questions < MAX_QUESTIONS => Telling::Asked(questions + 1),
                    _ => return Err(out_of_turn("wanted at most 64 questions for one head")),
                };
            }
            Frame::Deny(_) => {
                if self.hearing != Hearing::Asking {
                    return Err(out_of_turn("wanted a WANT to answer"));
                }
                self.hearing = Hearing::Heard;
            }
            _ => {}
        }
        Ok(())
    }

    /// One head of those that may come.
    fn spend(&mut self, now: Instant) -> Result<(), Error> {
        let since = *self.since.get_or_insert(now);
        let each = Duration::from_secs(1) / HEADS_PER_SECOND;
        let earned = now.saturating_duration_since(since).as_nanos() / each.as_nanos();
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        if self.tokens.saturating_add(earned) >= HEADS_AT_ONCE {
            self.tokens = HEADS_AT_ONCE;
            self.since = Some(now);
        } else {
            self.tokens += earned;
            self.since = Some(since + each * earned);
        }
        self.tokens = self
            .tokens
            .checked_sub(1)
            .ok_or(Error::TooManyHeads(HEADS_PER_SECOND))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
