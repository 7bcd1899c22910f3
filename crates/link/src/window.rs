//! The bytes of one direction from the moment they are read until the peer has acknowledged them, in one piece of memory: what
//! may have to be sent again, what may be sent, and what is not decided yet.
//!
//! ```text
//!            start        sent         ready        end
//!    ..........|------------|------------|------------|.........
//!     released   sent, kept    decided     held back    room
//! ```
//!
//! A read goes straight into the room, and what is sent is sent from here: keeping a byte costs no copy of it. When the room
//! behind the end is used up, reading goes on at the front, where what the peer has was; the undecided bytes move there, since they
//! have to lie in one piece. Then `start` and the first stretch are behind, and the rest in front of them.

use std::ops::Range;

/// What a window takes once something is read, in bytes: enough for a quiet link.
pub const WINDOW_LEAST: usize = 4 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Window {
    pub(crate) bytes: Vec<u8>,
    /// Offset in the stream of the byte at `start`.
    pub(crate) offset: u64,
    /// The place of the first byte.
    pub(crate) start: usize,
    /// How many bytes lie behind `start`, if the rest lies in front of it.
    pub(crate) first: Option<usize>,
    /// Bytes from the first that were sent.
    pub(crate) sent: usize,
    /// Bytes from the first that are decided.
    pub(crate) ready: usize,
    /// Bytes.
    pub(crate) end: usize,
    /// Bytes that it holds at most.
    pub(crate) limit: usize,
    /// The last byte is none: it stands for END.
    pub(crate) ended: bool,
}

impl Window {
    /// An empty one at the start of a stream, which takes no memory yet, and holds at most `limit` bytes, [`WINDOW_LEAST`] at
    /// least.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            offset: 0,
            start: 0,
            first: None,
            sent: 0,
            ready: 0,
            end: 0,
            limit: limit.max(WINDOW_LEAST),
            ended: false,
        }
    }

    /// Forgets what stands before `offset` in the stream: the peer has it. What was never sent is not forgotten.
    pub fn release(&mut self, offset: u64) {
        let count = usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let count = count.min(self.sent);
        (self.start, self.first) = match self.first {
            Some(first) if count >= first => (count - first, None),
            first => (self.start + count, first.map(|first| first - count)),
        };
        self.offset += count as u64;
        self.sent -= count;
        self.ready -= count;
        self.end -= count;
        if self.end == 0 {
            (self.start, self.first) = (0, None);
        }
    }

    /// Where to read to. It is empty if all that the window may hold is kept: then nothing may be read before the peer has
    /// acknowledged something.
    pub fn room(&mut self) -> &mut [u8] {
        self.room_of(0)
    }

    /// The same for who needs so many bytes in one piece, since what [`Window::replace`] puts there is longer than what is read. It may be less
    /// while little is kept.
    pub fn room_of(&mut self, least: usize) -> &mut [u8] {
        // A read into the last few bytes costs as much as one into many.
        let least = least.max(WINDOW_LEAST / 2);
        if self.free().len() < least {
            // While it may grow, the front has to be worth it.
            let worth = if self.bytes.len() < self.limit {
                self.bytes.len() / 2
            } else {
                least
            };
            if !self.turn(worth) && !self.grow() && self.sent > 0 {
                return &mut [];
            }
        }
        let free = self.free();
        self.bytes.get_mut(free).unwrap_or_default()
    }

    /// Goes on at the front if at least `worth` bytes are free there besides what is held back. Whether it does.
    fn turn(&mut self, worth: usize) -> bool {
        let held = self.end - self.ready;
        let whole = self.ready == 0;
        // Nothing stays behind of which it could get in the way.
        let taken = if whole { 0 } else { held };
        if self.first.is_some() || self.start < (taken + worth).max(1) {
            return false;
        }
        let from = self.start + self.ready;
        self.bytes.copy_within(from..from + held, 0);
        if whole {
            self.start = 0;
        } else {
            self.first = Some(self.ready);
        }
        true
    }

    /// Where nothing lies yet, behind the last byte.
    fn free(&self) -> Range<usize> {
        match self.first {
            Some(first) => self.end - first..self.start,
            None => self.start + self.end..self.bytes.len(),
        }
    }

    /// The place of a byte, counted from the first.
    const fn place(&self, at: usize) -> usize {
        match self.first {
            Some(first) if at >= first => at - first,
            _ => self.start + at,
        }
    }

    /// All bytes: those behind `start`, then those in front of it.
    pub(crate) fn parts(&self) -> [&[u8]; 2] {
        let first = self.first.unwrap_or(self.end);
        [self.start..self.start + first, 0..self.end - first]
            .map(|part| self.bytes.get(part).unwrap_or_default())
    }

    /// Doubles the memory, up to the limit: for reads that fill the room. Whether it grew.
    pub fn grow(&mut self) -> bool {
        let more = (self.bytes.len() * 2).max(WINDOW_LEAST).min(self.limit);
        let grows = more > self.bytes.len();
        if grows {
            self.lay_out(more);
        }
        grows
    }

    /// Puts all in one piece at the front of a memory of this size.
    fn lay_out(&mut self, size: usize) {
        let mut bytes = Vec::with_capacity(size.max(self.end));
        for part in self.parts() {
            bytes.extend_from_slice(part);
        }
        bytes.resize(size.max(self.end), 0);
        (self.bytes, self.start, self.first) = (bytes, 0, None);
    }

    /// Takes note of `count` bytes that were read to the front of the room.
    pub fn read(&mut self, count: usize) {
        self.end += count.min(self.free().len());
    }

    /// What is not decided yet.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        let from = self.place(self.ready);
        let held = from..from + self.end - self.ready;
        self.bytes.get(held).unwrap_or_default()
    }

    /// The first `count` bytes of what is held may be sent, as they are.
    pub fn decide(&mut self, count: usize) {
        self.ready = (self.ready + count).min(self.end);
    }

    /// The first `count` bytes of what is held are not sent; `instead` is, in their place. To put something in front of what is
    /// held, `count` is 0.
    pub fn replace(&mut self, count: usize, instead: &[u8]) {
        let held = self.end - self.ready;
        let count = count.min(held);
        let (mut from, rest, with) = (self.place(self.ready), held - count, instead.len());
        if from + with + rest > self.free().end {
            // Rare, and may exceed the limit by what was made here.
            self.lay_out(self.bytes.len().max(self.end + with));
            from = self.ready;
        }
        self.bytes
            .copy_within(from + count..from + held, from + with);
        if let Some(place) = self.bytes.get_mut(from..from + with) {
            place.copy_from_slice(instead);
        }
        self.ready += with;
        self.end = self.ready + rest;
    }

    /// Takes what may be sent next, at most `most` bytes of it and as much as lies in one piece, and its offset in the stream. It
    /// counts as sent from here on: who is interrupted in sending it does not know how much of it has gone.
    pub fn send(&mut self, most: usize) -> (u64, &[u8]) {
        let from = self.sent;
        let offset = self.offset + from as u64;
        let ready = if self.ended && !self.is_at_end() {
            self.ready.min(self.end.saturating_sub(1)).max(from)
        } else {
            self.ready
        };
        let border = match self.first {
            Some(first) if from < first => first,
            _ => usize::MAX,
        };
        self.sent = ready.min(from.saturating_add(most)).min(border);
        let place = self.place(from);
        let bytes = self.bytes.get(place..place + self.sent - from);
        (offset, bytes.unwrap_or_default())
    }

    /// The stream ends behind what was read: nothing more is to be read, and END goes out in the place of one more byte.
    pub fn finish(&mut self) {
        if self.free().is_empty() {
            self.lay_out(self.end + 1);
        }
        self.end += 1;
        self.ready = self.end;
        self.ended = true;
    }

    /// Whether END is what [`Window::send`] takes next, as a byte that says nothing.
    #[must_use]
    pub const fn is_at_end(&self) -> bool {
        self.ended && self.sent + 1 == self.end
    }

    /// Whether there is something to send.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        self.sent < self.ready
    }

    /// The peer has all before `offset`, and nothing of what comes after it, which is to be sent again. Whether it is there:
    /// an offset before what was released, or beyond what was sent, changes nothing.
    pub fn rewind(&mut self, offset: u64) -> bool {
        let most = self.offset + self.sent as u64;
        if offset < self.offset || offset > most {
            return false;
        }
        self.release(offset);
        self.sent = 0;
        true
    }

    /// Bytes that were sent and are kept.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.sent
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives all memory back if nothing is in it: for links that have become quiet.
    pub fn shrink(&mut self) {
        if self.end == 0 {
            (self.start, self.first) = (0, None);
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests;
