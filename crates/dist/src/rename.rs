//! Names of nodes, changed in one direction of a connection: an atom that is one of them becomes another one wherever it stands,
//! in pids, ports and references as in data. Text in binaries and strings is no atom and stays.
//!
//! What lives here: which frames are held, and what becomes of each. What does not: who is called what, and what may pass
//! ([`crate::gate`]).
//!
//! Most atoms stand in the distribution header. Where it brings one along, its text is changed: the receiver keeps that in the entry
//! of its cache, so that later references mean the new name, and both caches stay in step. The rest stands literally in terms:
//! nodes write so what they queued before the connection was up, what shares an entry of the cache with another atom of its
//! message, and what is beyond the 255th. Only a walk over the terms tells such an atom from text that looks like one, so all of
//! them are passed over (`skipper`): that costs by the term, not by the byte, and finds the same however a message is cut.
//!
//! The length of a frame stands before its atoms, so each is held until it is whole: [`MOST_HELD`] bytes at most, five times what
//! nodes cut messages into. A message in a longer frame, as those that were queued come in, goes on in fragments instead: both
//! nodes must have agreed on [`crate::Flags::FRAGMENTS`]. Any other longer frame is refused; no node writes one.
//!
//! A part of a term that the border of two fragments cuts moves behind it. The control message is whole in the first fragment
//! already, and of the rest the receiver reads nothing before it is all there.

mod frozen;
mod names;
mod skipper;
mod splice;
#[cfg(test)]
mod tests;
mod walk;

use crate::control::{Control, Op, Signal, Target};
use crate::error::{Error, Result};
use crate::fragment::{MAX_OPEN, Sequences};
use crate::frame::{FIRST_FRAGMENT, Frame, HEADER, Header, NEXT_FRAGMENT, VERSION};
use crate::gate::{Edit, HOLD};
use crate::term::Reader;
pub use names::{MAX_NAMES, Names};
pub use splice::MAX_GROWTH;
use splice::Splices;
use walk::{UnderWay, Walked, begin, go_on};

/// The most bytes that [`Renamer::feed`] leaves undecided: the longest distribution header, and behind it as much as a gate looks
/// at. With so many in hand, it always decides about some of them.
pub const MOST_HELD: usize = crate::gate::MOST_HELD;

/// How much of a longer frame goes into each further fragment: what nodes put into theirs.
const PIECE: usize = HOLD;

/// A frame too long to be held, which goes on in fragments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cut {
    /// How many of its bytes are still to come; never none.
    left: u64,
    sequence: u64,
}

/// Follows one direction of a connection from the first byte after the handshake.
#[derive(Debug, Clone)]
pub struct Renamer {
    names: Names,
    max_frame: u32,
    cut: Option<Cut>,
    sequences: Sequences<UnderWay>,
    failed: Option<Error>,
}

impl Renamer {
    /// Changes these names in frames of up to `max_frame` bytes; see [`crate::stream::MAX_FRAME`].
    #[must_use]
    pub fn new(names: Names, max_frame: u32) -> Self {
        Self {
            names,
            max_frame,
            cut: None,
            sequences: Sequences::new(MAX_OPEN),
            failed: None,
        }
    }

    /// Takes the next bytes of the stream, cut anywhere, behind those that the last call left undecided. Returns how many bytes
    /// from the front of `input` are decided: they may go on, with `edits` (emptied first; in order, none overlaps another)
    /// applied. The rest, less than [`MOST_HELD`], is to be shown again with more behind it.
    ///
    /// What goes on always ends between two frames: a message may be put in after each call.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a frame above the limit, for one that can neither be held nor cut, for too many messages in
    /// fragments, and where names make a frame longer by more than [`MAX_GROWTH`]; [`Error::Unsupported`] for what must not be cut;
    /// otherwise what is wrong with a frame, a header, the order of fragments or a term. Nothing of `input` is decided then, and
    /// the stream cannot be followed any further: every later call fails.
    pub fn feed(&mut self, input: &[u8], edits: &mut Vec<Edit>) -> Result<usize> {
        edits.clear();
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = self.run(input, edits);
        if result.is_err() {
            self.failed = Some(Error::Invalid {
                what: "stream",
                reason: "it has been given up",
            });
        }
        result
    }

    fn run(&mut self, input: &[u8], edits: &mut Vec<Edit>) -> Result<usize> {
        let mut at = 0;
        while let Some((taken, with)) = self.step(input.get(at..).unwrap_or_default())? {
            let range = at..at + taken;
            at = range.end;
            if let Some(with) = with {
                edits.push(Edit { range, with });
            }
        }
        Ok(at)
    }

    /// Decides about the next frame, or about the next piece of one that is cut: how many bytes that are, and what stands in their
    /// place if they change. `None` if they are not all there.
    fn step(&mut self, input: &[u8]) -> Result<Option<(usize, Option<Vec<u8>>)>> {
        if let Some(cut) = self.cut {
            let size = usize::try_from(cut.left).map_or(PIECE, |left| left.min(PIECE));
            let Some(piece) = input.get(..size) else {
                return Ok(None);
            };
            return Ok(Some((size, Some(self.piece(cut, piece)?))));
        }
        let Some((prefix, behind)) = input.split_first_chunk() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*prefix);
        self.within(length.into())?;
        let size = usize::try_from(length).unwrap_or(usize::MAX);
        if size <= MOST_HELD - 4 {
            let Some(frame) = behind.get(..size) else {
                return Ok(None);
            };
            return Ok(Some((4 + size, self.frame(frame)?)));
        }
        match behind {
            [VERSION, HEADER, ..] => {
                let Some(beginning) = behind.get(..MOST_HELD - 4) else {
                    return Ok(None);
                };
                let left = (size - beginning.len()) as u64;
                Ok(Some((MOST_HELD, Some(self.begin_cut(beginning, left)?))))
            }
            [] | [VERSION] => Ok(None),
            _ => Err(Error::TooLarge {
                what: "frame that is no whole message",
                found: length.into(),
                limit: MOST_HELD as u64 - 4,
            }),
        }
    }

    /// Refuses a frame whose length is above the limit.
    fn within(&self, length: u64) -> Result<()> {
        if length > self.max_frame.into() {
            return Err(Error::TooLarge {
                what: "frame",
                found: length,
                limit: self.max_frame.into(),
            });
        }
        Ok(())
    }

    /// What becomes of a frame; `None` if it stays as it is.
    fn frame(&mut self, bytes: &[u8]) -> Result<Option<Vec<u8>>> {
        match Frame::decode(bytes)? {
            Frame::Tick => Ok(None),
            Frame::PassThrough { terms } => {
                let (walked, _) = begin(terms, true, false, &self.names)?;
                self.changed(bytes, terms, None, &walked)
            }
            Frame::Message { header, terms } => {
                let (walked, _) = begin(terms, false, false, &self.names)?;
                self.changed(bytes, terms, Some(&header), &walked)
            }
            Frame::FirstFragment {
                sequence,
                fragment,
                header,
                terms,
            } => {
                let (walked, under_way) = begin(terms, false, fragment > 1, &self.names)?;
                self.sequences.first(sequence, fragment, under_way)?;
                self.changed(bytes, terms, Some(&header), &walked)
            }
            Frame::NextFragment {
                sequence,
                fragment,
                bytes: content,
            } => {
                let open = &mut self.sequences;
                let walked = go_on(open, sequence, fragment, content, &self.names)?;
                self.changed(bytes, content, None, &walked)
            }
        }
    }

    /// A frame with what is to be changed in it; `None` if that is nothing. `terms` is what it ends with.
    fn changed(
        &self,
        frame: &[u8],
        terms: &[u8],
        header: Option<&Header<'_>>,
        walked: &Walked<'_, '_>,
    ) -> Result<Option<Vec<u8>>> {
        let (splices, header) = match header {
            Some(header) => (Splices::of_header(header, &self.names)?, header.bytes()),
            None => (Splices::default(), &[][..]),
        };
        if splices.is_empty() && walked.is_unchanged() {
            return Ok(None);
        }
        let before = frame.len() - terms.len() - header.len();
        let before = frame.get(..before).unwrap_or_default();
        self.put(before, (header, &splices), walked).map(Some)
    }

    /// Begins to cut a frame: what becomes of its beginning, behind which so many bytes are left.
    fn begin_cut(&mut self, beginning: &[u8], left: u64) -> Result<Vec<u8>> {
        // Where the longest header ends, the terms have begun.
        let Frame::Message { header, terms } = Frame::decode(beginning)? else {
            return Err(Error::Invalid {
                what: "frame",
                reason: "only a whole message can be cut",
            });
        };
        may_be_cut(terms)?;
        let (walked, under_way) = begin(terms, false, true, &self.names)?;
        // Any that is not under way: no other frame comes before the end of this one. OTP takes 0 for none.
        let mut free = (1..=u64::MAX).rev();
        let sequence = free.find(|sequence| !self.sequences.is_open(*sequence));
        let sequence = sequence.unwrap_or(1);
        let fragment = left.div_ceil(PIECE as u64) + 1;
        self.sequences.first(sequence, fragment, under_way)?;
        self.cut = Some(Cut { left, sequence });
        let before = before_fragment(FIRST_FRAGMENT, sequence, fragment);
        let splices = Splices::of_header(&header, &self.names)?;
        self.put(&before, (header.bytes(), &splices), &walked)
    }

    /// A further fragment of a frame that is cut.
    fn piece(&mut self, cut: Cut, piece: &[u8]) -> Result<Vec<u8>> {
        let Cut { left, sequence } = cut;
        let fragment = left.div_ceil(PIECE as u64);
        let open = &mut self.sequences;
        let walked = go_on(open, sequence, fragment, piece, &self.names)?;
        let left = left - piece.len() as u64;
        self.cut = (left > 0).then_some(Cut { left, sequence });
        let before = before_fragment(NEXT_FRAGMENT, sequence, fragment);
        self.put(&before, (&[], &Splices::default()), &walked)
    }

    /// Puts a frame behind its length.
    fn put(
        &self,
        before: &[u8],
        (header, splices): (&[u8], &Splices<'_>),
        walked: &Walked<'_, '_>,
    ) -> Result<Vec<u8>> {
        let mut out = vec![0; 4];
        out.extend_from_slice(before);
        splices.apply(header, &mut out);
        walked.apply(&mut out);
        let length = out.len() - 4;
        self.within(length as u64)?;
        if let Some(prefix) = out.first_chunk_mut() {
            *prefix = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        }
        Ok(out)
    }
}

fn before_fragment(kind: u8, sequence: u64, fragment: u64) -> Vec<u8> {
    let mut before = vec![VERSION, kind];
    before.extend(sequence.to_be_bytes());
    before.extend(fragment.to_be_bytes());
    before
}

/// Refuses a message that cannot be cut: one without payload, and one that ends its receiver. OTP 29.1.2 ends with a segmentation
/// fault at op 37 without priority, to a name or a pid, in fragments; nodes write op 37 for what has priority and for aliases.
fn may_be_cut(terms: &[u8]) -> Result<()> {
    let control = Control::read(&mut Reader::new(terms)?)?;
    if !control.op.has_payload() {
        return Err(Error::Unsupported {
            what: "message without payload in a frame that would have to be cut",
        });
    }
    match control.signal {
        Signal::Send {
            to: Target::Name(_) | Target::Pid(_),
            priority: false,
            ..
        } if control.op == Op::AltactSigSend => Err(Error::Unsupported {
            what: "operation 37 without priority in a frame that would have to be cut",
        }),
        _ => Ok(()),
    }
}
