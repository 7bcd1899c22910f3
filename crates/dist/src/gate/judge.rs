//! What a gate shows of a message, whom it asks, and what comes of it.

use core::ops::Range;
use std::sync::Arc;

use crate::control::{Control, Op};
use crate::error::{Error, Result};
use crate::stream::{FrameKind, Seen};
use crate::term::Reader;
#[cfg(doc)]
use crate::term::is_data;

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It goes on, unchanged.
    Forward,
    /// It is made harmless.
    Refuse,
    /// Show it again with more of the payload. Where there is no more ([`Shown::whole`], [`Shown::last`]), it means
    /// [`Verdict::Refuse`].
    More,
}

/// A message whose control message is there, and some of its payload.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// What it is to do, and whom it is for.
    pub control: &'a Control<'a>,
    /// The same as it stands in the stream, without version byte.
    pub control_bytes: &'a [u8],
    /// How many atoms stand in it literally ([`Reader::literal_atoms`]).
    pub control_atoms: usize,
    /// The payload as far as it is there, without version byte; at most [`super::HOLD`] with the control message.
    pub payload: &'a [u8],
    /// Whether that is all of the payload; also if the operation has none.
    pub whole: bool,
    /// Whether no more will be shown, though there is more.
    pub last: bool,
    /// The atoms of the distribution header, for [`Reader::with_atoms`]; none without one.
    pub atoms: &'a [Arc<str>],
    /// How many of them the header brings along. They are made in the receiver's atom table whatever the verdict, and
    /// never leave it again.
    pub new_atoms: usize,
    /// How the first frame is built.
    pub frame: FrameKind,
    /// The length of that frame, in bytes without the length prefix.
    pub length: u32,
}

impl<'a> Shown<'a> {
    /// The operation of the control message.
    #[must_use]
    pub const fn op(&self) -> Op {
        self.control.op
    }

    /// Whether asking for more is of use.
    #[must_use]
    pub const fn may_grow(&self) -> bool {
        !self.whole && !self.last
    }

    /// A reader of the payload, without any limit but its length.
    ///
    /// # Errors
    /// None that can occur: the signature is the reader's.
    pub fn reader(&self) -> Result<Reader<'a>> {
        Ok(Reader::over(self.payload, self.atoms))
    }
}

/// What a judge has remembered of messages that are alike ([`Judge::lasting`]). What both numbers say is the judge's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark(pub u64, pub u64);

/// Who decides about the messages of one direction.
pub trait Judge {
    /// Why a judge gives up a connection; what is wrong with the stream comes as [`Error`].
    type Error: From<Error>;

    /// Bytes have come: asked before anything in them is, so that what may have changed meanwhile is looked at once for all of
    /// them and not for each message.
    fn begin(&mut self) {}

    /// Decides about a message. Shown the same one again with more of its payload, a judge may not change its mind;
    /// once it has said anything but [`Verdict::More`], it is not asked again.
    ///
    /// # Errors
    /// Ends the connection: the message is not forwarded, and neither is anything behind it.
    fn judge(&mut self, message: &Shown<'_>) -> core::result::Result<Verdict, Self::Error>;

    /// Whole frames that are to stand behind what a refused message becomes. Asked once, right after a refusal.
    fn behind(&mut self) -> Vec<u8> {
        Vec::new()
    }

    /// Whether a message that was just forwarded stands for all that are like it: those with the same header, whose atoms mean
    /// the same, and the same control message, but for the numbers of an alias that it is for or of a monitor that it sets or takes
    /// away; with a payload, if there is one, that is data and nothing else ([`is_data`]). Each of these would be
    /// forwarded as well, and nothing would be taken note of but that it came. `None` is always right.
    fn lasting(&mut self, _message: &Shown<'_>) -> Option<Mark> {
        None
    }

    /// Asked in place of [`Judge::judge`] for a message that is like one that was marked so: `true` lets it pass, `false` has
    /// it judged. [`Judge::seen`] is told after this of what has passed. `numbers` are those in which it may differ, of a
    /// reference as it stands in the message: creation and words, four bytes each; empty if there are none.
    fn again(&mut self, _mark: Mark, _numbers: &[u8]) -> bool {
        false
    }

    /// Takes note of what begins in the stream: each tick, message and further fragment once, in the order of the
    /// stream, a message before it is judged.
    fn seen(&mut self, _seen: Seen) {}
}

/// A change to the bytes that go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edit {
    /// Which bytes of the input are left out; never none.
    pub range: Range<usize>,
    /// What stands in their place: whole frames, or nothing.
    pub with: Vec<u8>,
}
