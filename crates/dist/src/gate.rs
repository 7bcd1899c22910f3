//! One direction of a connection, message by message: each is shown to a judge, and goes on or is made harmless.
//!
//! What lives here: following the frames, the atom cache and the fragments, holding back what is undecided, and taking
//! the sting out of what is refused. What does not: what a message means ([`crate::operation`]), and who may do it.
//!
//! The caller keeps the buffer. A message that is let through is neither copied nor changed, and of its payload no
//! more is looked at than the judge asks for: the bulk of a large one costs one subtraction per chunk.
//!
//! A refused message keeps its distribution header, or the receiver's atom cache would fall out of step; its body
//! becomes a message to the name `undefined`, under which nothing can be registered. Of a message in fragments the
//! first one is rewritten so, as an unfragmented message, and each further one becomes a tick, as the peer has shown
//! that it is alive. The same holds for each MiB of a long frame that is left out.

mod frozen;
mod gather;
mod judge;
mod memo;
mod neutral;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::atom_cache::AtomCache;
use crate::control::{Control, Op};
use crate::error::{Error, Result};
use crate::fragment::{MAX_OPEN, Progress, Sequences};
use crate::frame::{Frame, Header};
use crate::stream::{FrameKind, Seen};
use crate::term::Reader;
use gather::Gather;
pub use judge::{Edit, Judge, Mark, Shown, Verdict};
use memo::{Begins, Memo};

/// How many bytes behind the distribution header of an undecided message are held at most, and shown to the judge:
/// the control message and a prefix of the payload, and whatever of other messages lies in between.
///
/// A control message takes some 100 bytes, and what decides about a payload stands at its beginning. 64 KiB is where a
/// node cuts fragments; only who wants to hide something has the deciding bytes behind that.
pub const HOLD: usize = 64 * 1024;

/// The longest distribution header: a count, its flags, and 255 new atoms of 1,020 bytes.
const MAX_HEADER: usize = 1 + 128 + 255 * (1 + 2 + 1020);

/// Length, type, sequence and fragment number: what stands before a distribution header.
const BEFORE_HEADER: usize = 4 + 2 + 16;

/// The most bytes that [`Gate::feed`] leaves undecided: with so many in hand, it always decides about some of them.
pub const MOST_HELD: usize = BEFORE_HEADER + MAX_HEADER + HOLD;

/// What becomes of the rest of the current frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// It has none: the next byte begins a frame.
    Border,
    /// So many bytes go on.
    Pass(u64),
    /// So many bytes are left out.
    Swallow(u64),
}

/// What becomes of the further fragments of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rest {
    Forward,
    Swallow,
}

/// A message in fragments that is under way.
#[derive(Debug, Clone, Copy)]
struct UnderWay {
    rest: Rest,
    /// The lengths of its frames so far: the receiver keeps all of them until the last one is there.
    length: u64,
}

impl UnderWay {
    /// Adds a further frame.
    fn grow(&mut self, length: u32, limit: u32) -> Result<Rest> {
        self.length = self.length.saturating_add(length.into());
        if self.length > u64::from(limit) {
            return Err(Error::TooLarge {
                what: "message in fragments",
                found: self.length,
                limit: limit.into(),
            });
        }
        Ok(self.rest)
    }
}

/// What is known of a message that has not been decided yet.
#[derive(Debug, Clone, Default)]
struct Pending {
    /// Its header has been applied to the atom cache.
    applied: bool,
    /// The judge has taken note of it.
    seen: bool,
    /// How much of its payload the judge has been shown.
    shown: Option<usize>,
    /// How long the input has to be for another look. Grows geometrically, so that who sends byte by byte makes no
    /// more work than who sends all at once.
    retry: usize,
}

/// Follows one direction of a connection from the first byte after the handshake.
#[derive(Debug, Clone)]
pub struct Gate {
    max_frame: u32,
    state: State,
    cache: AtomCache,
    /// The atoms of the current header.
    atoms: Vec<Arc<str>>,
    sequences: Sequences<UnderWay>,
    pending: Pending,
    gather: Gather,
    memo: Memo,
    failed: Option<Error>,
}

impl Gate {
    /// A gate for frames of up to `max_frame` bytes, and for messages in fragments whose frames have so many together; see
    /// [`crate::stream::MAX_FRAME`].
    #[must_use]
    pub fn new(max_frame: u32) -> Self {
        Self {
            max_frame,
            state: State::Border,
            cache: AtomCache::new(),
            atoms: Vec::new(),
            sequences: Sequences::new(MAX_OPEN),
            pending: Pending::default(),
            gather: Gather::default(),
            memo: Memo::default(),
            failed: None,
        }
    }

    /// Gives back the room that fragments were gathered in, and forgets what was said before: the stream stands still.
    pub fn rest(&mut self) {
        self.gather.rest();
        self.memo = Memo::default();
        // A message that waits for more of itself is about them.
        if !self.pending.applied {
            self.atoms = Vec::new();
        }
    }

    /// Takes the next bytes of the stream, cut anywhere, behind those that the last call left undecided. Returns how
    /// many bytes from the front of `input` are decided: they may go on, with `edits` (emptied first; in order, none
    /// overlaps another) applied. The rest, [`MOST_HELD`] at most, is to be shown again with more behind it.
    ///
    /// # Errors
    /// [`Error::TooLarge`] for a frame or the fragments of a message above the limit, for a control message above [`HOLD`] and for too many messages
    /// in fragments; otherwise what is wrong with a frame, a header, the order of fragments or a control message; and
    /// whatever the judge returns. Nothing of `input` is decided then, and the stream cannot be followed any further:
    /// every later call fails.
    pub fn feed<J: Judge>(
        &mut self,
        input: &[u8],
        judge: &mut J,
        edits: &mut Vec<Edit>,
    ) -> core::result::Result<usize, J::Error> {
        edits.clear();
        judge.begin();
        if let Some(error) = &self.failed {
            return Err(error.clone().into());
        }
        let result = self.run(input, judge, edits);
        if result.is_err() {
            self.failed = Some(Error::Invalid {
                what: "stream",
                reason: "it has been given up",
            });
        }
        result
    }

    /// Whether what has been decided ends between two frames: only there may a message be put in.
    #[must_use]
    pub const fn is_between_frames(&self) -> bool {
        // What is left out is replaced by whole frames.
        !matches!(self.state, State::Pass(_))
    }

    fn run<J: Judge>(
        &mut self,
        input: &[u8],
        judge: &mut J,
        edits: &mut Vec<Edit>,
    ) -> core::result::Result<usize, J::Error> {
        let mut at = 0;
        loop {
            if self.state == State::Border {
                at += self.repeated(input.get(at..).unwrap_or_default(), judge);
            }
            let rest = input.get(at..).unwrap_or_default();
            match self.state {
                State::Pass(left) => {
                    let (taken, left) = take(left, rest.len());
                    at += taken;
                    self.state = State::Pass(left);
                    if left > 0 {
                        return Ok(at);
                    }
                    self.state = State::Border;
                }
                State::Swallow(left) => {
                    let (taken, still) = take(left, rest.len());
                    if taken > 0 {
                        edits.push(Edit {
                            range: at..at + taken,
                            with: neutral::ticks(left, still),
                        });
                    }
                    at += taken;
                    self.state = State::Swallow(still);
                    if still > 0 {
                        return Ok(at);
                    }
                    self.state = State::Border;
                }
                State::Border => match self.frame(rest, judge)? {
                    Step::Wait => return Ok(at),
                    Step::Forward(total) => {
                        let (taken, left) = take(total, rest.len());
                        at += taken;
                        if left > 0 {
                            self.state = State::Pass(left);
                            return Ok(at);
                        }
                    }
                    Step::Replace(total, mut with) => {
                        let (taken, still) = take(total, rest.len());
                        with.extend_from_slice(&neutral::ticks(total, still));
                        edits.push(Edit {
                            range: at..at + taken,
                            with,
                        });
                        at += taken;
                        self.state = State::Swallow(still);
                    }
                },
            }
        }
    }

    /// Lets the frames pass that `input` begins with, as long as each is whole and like one that was decided before: how many
    /// bytes they are.
    fn repeated<J: Judge>(&mut self, input: &[u8], judge: &mut J) -> usize {
        // What has been begun is ended where it was begun.
        if self.memo.is_empty() || self.pending.applied {
            return 0;
        }
        // Of more than is held not all is looked at.
        let most = usize::try_from(self.max_frame).map_or(HOLD, |max| max.min(HOLD));
        let mut at = 0;
        while let Some((prefix, behind)) = input.get(at..).and_then(<[u8]>::split_first_chunk) {
            let length = u32::from_be_bytes(*prefix);
            let Some(frame) = usize::try_from(length)
                .ok()
                .filter(|&size| size <= most)
                .and_then(|size| behind.get(..size))
            else {
                break;
            };
            let Some(op) = self.is_repeated(frame, judge) else {
                break;
            };
            at += 4 + frame.len();
            judge.seen(Seen::Message {
                op,
                frame: FrameKind::Header,
                length,
            });
        }
        if at > 0 {
            self.pending = Pending::default();
        }
        at
    }

    /// What a frame does that is like one that was decided before.
    #[inline]
    fn is_repeated<J: Judge>(&self, frame: &[u8], judge: &mut J) -> Option<Op> {
        let begins = Begins::of(frame)?;
        let (op, mark) = self.memo.find(&begins)?;
        (begins.holds_data(op) && judge.again(mark, begins.numbers())).then_some(op)
    }

    /// Decides about the frame that `input` begins with.
    fn frame<J: Judge>(
        &mut self,
        input: &[u8],
        judge: &mut J,
    ) -> core::result::Result<Step, J::Error> {
        if input.len() < self.pending.retry {
            return Ok(Step::Wait);
        }
        let Some((prefix, behind)) = input.split_first_chunk() else {
            return Ok(Step::Wait);
        };
        let length = frame_length(*prefix, self.max_frame)?;
        let total = 4 + u64::from(length);
        if length == 0 {
            judge.seen(Seen::Tick);
            return Ok(Step::Forward(total));
        }
        let end = usize::try_from(total).unwrap_or(usize::MAX);
        let complete = input.len() >= end;
        let bytes = behind.get(..end - 4).unwrap_or(behind);
        if bytes.is_empty() {
            return Ok(Step::Wait);
        }
        let frame = match Frame::decode(bytes) {
            Err(Error::Truncated { .. }) if !complete => {
                self.wait(input.len(), end.min(BEFORE_HEADER + MAX_HEADER));
                return Ok(Step::Wait);
            }
            frame => frame?,
        };
        let (kind, header, fragments, terms) = match frame {
            // One that is empty has been dealt with, and one of which nothing is there.
            Frame::Tick => return Ok(Step::Wait),
            Frame::NextFragment {
                sequence, fragment, ..
            } => {
                judge.seen(Seen::Continuation { length });
                self.pending = Pending::default();
                let rest = match self.sequences.next(sequence, fragment)? {
                    Progress::More(message) => message.grow(length, self.max_frame)?,
                    Progress::Last(mut message) => message.grow(length, self.max_frame)?,
                };
                return Ok(match rest {
                    Rest::Forward => Step::Forward(total),
                    Rest::Swallow => Step::Replace(total, neutral::TICK.to_vec()),
                });
            }
            Frame::PassThrough { terms } => (FrameKind::PassThrough, None, None, terms),
            Frame::Message { header, terms } => (FrameKind::Header, Some(header), None, terms),
            Frame::FirstFragment {
                sequence,
                fragment,
                header,
                terms,
            } => (
                FrameKind::FirstFragment,
                Some(header),
                Some((sequence, fragment)),
                terms,
            ),
        };
        let message = Begun {
            kind,
            header,
            further: fragments.map_or(0, |(_, fragment)| fragment - 1),
            sequence: fragments.map_or(0, |(sequence, _)| sequence),
            terms,
            length,
            end,
            complete,
        };
        let Some((verdict, neutral)) = self.message(&message, input, judge)? else {
            return Ok(Step::Wait);
        };
        if let Some((sequence, fragment)) = fragments {
            let under_way = UnderWay {
                rest: verdict,
                length: length.into(),
            };
            self.sequences.first(sequence, fragment, under_way)?;
        }
        self.pending = Pending::default();
        self.gather.clear();
        Ok(match verdict {
            Rest::Forward => Step::Forward(total),
            Rest::Swallow => Step::Replace(total, neutral),
        })
    }

    /// Decides about a message; `None` if more of it is needed. What is refused comes with what stands in its place.
    fn message<J: Judge>(
        &mut self,
        message: &Begun<'_>,
        input: &[u8],
        judge: &mut J,
    ) -> core::result::Result<Option<(Rest, Vec<u8>)>, J::Error> {
        if !self.pending.applied {
            match &message.header {
                Some(header) => {
                    self.cache.apply(header, &mut self.atoms)?;
                    if header.new_atoms() > 0 {
                        self.memo.forget(self.cache.take_rewritten());
                    }
                }
                None => self.atoms.clear(),
            }
            self.pending.applied = true;
        }
        let start = message.start();
        let hold_end = start + HOLD;
        let held = message.terms.get(..HOLD).unwrap_or(message.terms);
        // Nothing more of this frame is going to be looked at.
        let at_end = message.complete || held.len() == HOLD;
        let mut reader = Reader::over(held, &self.atoms);
        let control = match read_control(&mut reader, message.kind) {
            Err(Error::Truncated { .. }) if !at_end => {
                self.wait(input.len(), message.end.min(hold_end));
                return Ok(None);
            }
            Err(Error::Truncated { .. }) if !message.complete || message.terms.len() > HOLD => {
                return Err(Error::TooLarge {
                    what: "control message",
                    found: message.terms.len() as u64,
                    limit: HOLD as u64,
                }
                .into());
            }
            control => control?,
        };
        let control_atoms = reader.literal_atoms();
        let version = usize::from(message.kind == FrameKind::PassThrough);
        let control_bytes = held.get(version..reader.position()).unwrap_or_default();
        if !self.pending.seen {
            self.pending.seen = true;
            judge.seen(Seen::Message {
                op: control.op,
                frame: message.kind,
                length: message.length,
            });
        }
        message.check_payload(control.op, start + reader.position())?;
        if message.kind == FrameKind::PassThrough && !reader.is_empty() {
            reader.version()?;
        }
        let first = reader.rest();
        let has_payload = control.op.has_payload();
        let first_whole = message.complete && message.terms.len() <= HOLD;
        if has_payload && first_whole && message.further > 0 {
            self.gather
                .go_on(message, input, hold_end, self.max_frame, first)?;
        }
        let gathered = self.gather.payload();
        let payload = gathered.unwrap_or(first);
        let whole = !has_payload
            || first_whole && message.further == 0
            || gathered.is_some() && self.gather.is_whole();
        let last = !whole && input.len() >= hold_end;
        // Who cuts a payload into crumbs does not make the judge look at each.
        let too_little = |shown: usize| payload.len() < shown.saturating_mul(2).max(1);
        let verdict = if !whole && !last && self.pending.shown.is_some_and(too_little) {
            Verdict::More
        } else {
            self.pending.shown = Some(payload.len());
            let shown = Shown {
                control: &control,
                control_bytes,
                control_atoms,
                payload,
                whole,
                last,
                atoms: &self.atoms,
                new_atoms: message.header.as_ref().map_or(0, Header::new_atoms),
                frame: message.kind,
                length: message.length,
            };
            let verdict = judge.judge(&shown)?;
            if verdict == Verdict::Forward
                && let Some(frame) = input.get(4..message.end)
            {
                remember(&mut self.memo, frame, &shown, judge);
            }
            verdict
        };
        Ok(match verdict {
            Verdict::Forward => Some((Rest::Forward, Vec::new())),
            Verdict::More if !whole && !last => {
                let due = gathered.map_or(message.end, |_| self.gather.due(input.len()));
                self.wait(input.len(), due.min(hold_end));
                None
            }
            Verdict::Refuse | Verdict::More => {
                let mut neutral = neutral::message(message.header.as_ref(), &control)?;
                neutral.append(&mut judge.behind());
                Some((Rest::Swallow, neutral))
            }
        })
    }

    /// Looks again once the input has twice its length, or reaches `due`, whichever comes first.
    fn wait(&mut self, there: usize, due: usize) {
        self.pending.retry = there.saturating_mul(2).clamp(there + 1, due.max(there + 1));
    }
}

/// Takes note of a message that was let through, if it stands for others.
fn remember<J: Judge>(memo: &mut Memo, frame: &[u8], shown: &Shown<'_>, judge: &mut J) {
    if shown.frame != FrameKind::Header
        || !shown.whole
        || shown.new_atoms + shown.control_atoms > 0
        || frame.len() > HOLD
    {
        return;
    }
    let Some(begins) = Begins::of(frame) else {
        return;
    };
    let op = shown.op();
    if !begins.is_up_to(shown.control_bytes.len()) || !memo.is_due(&begins) {
        return;
    }
    let mark = if begins.holds_data(op) {
        judge.lasting(shown)
    } else {
        None
    };
    match mark {
        Some(mark) => memo.put(&begins, op, mark),
        None => memo.put_off(&begins),
    }
}

/// What is to be done with a frame, and how long it is with its length prefix.
enum Step {
    Wait,
    Forward(u64),
    Replace(u64, Vec<u8>),
}

/// A frame that begins a message.
struct Begun<'a> {
    kind: FrameKind,
    /// None in a pass-through frame.
    header: Option<Header<'a>>,
    /// How many fragments follow.
    further: u64,
    /// Which message, if it is in fragments.
    sequence: u64,
    /// What stands behind the header, as far as it is there.
    terms: &'a [u8],
    /// The length of the frame, without the length prefix.
    length: u32,
    /// Where the frame ends in the input.
    end: usize,
    /// Whether it is all there.
    complete: bool,
}

impl Begun<'_> {
    /// Where the terms begin in the input.
    fn start(&self) -> usize {
        match (self.kind, &self.header) {
            (FrameKind::PassThrough, _) | (_, None) => 4 + 1,
            (FrameKind::Header, Some(header)) => 4 + 2 + header.bytes().len(),
            (FrameKind::FirstFragment, Some(header)) => 4 + 2 + 16 + header.bytes().len(),
        }
    }

    /// Refuses a payload where the operation has none, and none where it has one; `at` is where it would begin.
    fn check_payload(&self, op: Op, at: usize) -> Result<()> {
        let reason = match (op.has_payload(), at >= self.end) {
            (true, true) if self.further == 0 => "the payload is missing",
            (false, false) => "the operation has no payload",
            (false, true) if self.further > 0 => "there is no payload to cut",
            _ => return Ok(()),
        };
        Err(Error::Invalid {
            what: "message",
            reason,
        })
    }
}

fn read_control<'a>(reader: &mut Reader<'a>, kind: FrameKind) -> Result<Control<'a>> {
    if kind == FrameKind::PassThrough {
        reader.version()?;
    }
    Control::read(reader)
}

fn frame_length(prefix: [u8; 4], max_frame: u32) -> Result<u32> {
    let length = u32::from_be_bytes(prefix);
    if length > max_frame {
        return Err(Error::TooLarge {
            what: "frame",
            found: length.into(),
            limit: max_frame.into(),
        });
    }
    Ok(length)
}

/// How many of `left` bytes are there, and how many still to come.
fn take(left: u64, there: usize) -> (usize, u64) {
    match usize::try_from(left) {
        Ok(left) if left <= there => (left, 0),
        _ => (there, left - there as u64),
    }
}
