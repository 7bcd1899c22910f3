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
//! behind the end is used up, what is kept moves to the front, a small part of what has passed meanwhile.

/// What a window starts with, and shrinks to when it is empty, in bytes: enough for a quiet link.
pub const WINDOW_LEAST: usize = 8 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Window {
    bytes: Vec<u8>,
    /// Offset in the stream of the byte at `start`.
    offset: u64,
    start: usize,
    sent: usize,
    ready: usize,
    end: usize,
    /// Bytes that it holds at most.
    limit: usize,
}

impl Window {
    /// An empty one at the start of a stream, which holds at most `limit` bytes, [`WINDOW_LEAST`] at least.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: vec![0; WINDOW_LEAST],
            offset: 0,
            start: 0,
            sent: 0,
            ready: 0,
            end: 0,
            limit: limit.max(WINDOW_LEAST),
        }
    }

    /// Forgets what stands before `offset` in the stream: the peer has it. What was never sent is not forgotten.
    pub fn release(&mut self, offset: u64) {
        let count = usize::try_from(offset.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        let count = count.min(self.sent - self.start);
        self.start += count;
        self.offset += count as u64;
        if self.start == self.end {
            (self.start, self.sent, self.ready, self.end) = (0, 0, 0, 0);
        }
    }

    /// Where to read to. It is empty if all that the window may hold is kept: then nothing may be read before the peer has
    /// acknowledged something.
    pub fn room(&mut self) -> &mut [u8] {
        let kept = self.end - self.start;
        // A read into the last few bytes costs as much as one into many.
        if self.bytes.len() - self.end < WINDOW_LEAST / 2 {
            // Moving is worth it once more has passed than is moved.
            if self.start > kept || (self.start > 0 && self.bytes.len() >= self.limit) {
                self.bytes.copy_within(self.start..self.end, 0);
                let by = self.start;
                self.start = 0;
                self.sent -= by;
                self.ready -= by;
                self.end -= by;
            } else if !self.grow() && self.sent > self.start {
                return &mut [];
            }
        }
        self.bytes.get_mut(self.end..).unwrap_or_default()
    }

    /// Doubles the memory, up to the limit: for reads that fill the room. Whether it grew.
    pub fn grow(&mut self) -> bool {
        let more = (self.bytes.len() * 2).min(self.limit);
        let grows = more > self.bytes.len();
        if grows {
            self.bytes.reserve_exact(more - self.bytes.len());
            self.bytes.resize(more, 0);
        }
        grows
    }

    /// Takes note of `count` bytes that were read to the front of the room.
    pub fn read(&mut self, count: usize) {
        self.end = (self.end + count).min(self.bytes.len());
    }

    /// What is not decided yet.
    #[must_use]
    pub fn held(&self) -> &[u8] {
        self.bytes.get(self.ready..self.end).unwrap_or_default()
    }

    /// The first `count` bytes of what is held may be sent, as they are.
    pub fn decide(&mut self, count: usize) {
        self.ready = (self.ready + count).min(self.end);
    }

    /// The first `count` bytes of what is held are not sent; `instead` is, in their place. To put something in front of what is
    /// held, `count` is 0.
    pub fn replace(&mut self, count: usize, instead: &[u8]) {
        let from = self.ready;
        let to = (from + count).min(self.end);
        let held = self.end - to;
        // Rare, and may exceed the limit by what was made here.
        self.bytes.truncate(self.end);
        self.bytes.splice(from..to, instead.iter().copied());
        self.ready = from + instead.len();
        self.end = self.ready + held;
    }

    /// Takes what may be sent next, at most `most` bytes of it, and its offset in the stream. It counts as sent from here on:
    /// who is interrupted in sending it does not know how much of it has gone.
    pub fn send(&mut self, most: usize) -> (u64, &[u8]) {
        let from = self.sent;
        let offset = self.offset + (from - self.start) as u64;
        self.sent = self.ready.min(from.saturating_add(most));
        (offset, self.bytes.get(from..self.sent).unwrap_or_default())
    }

    /// Whether there is something to send.
    #[must_use]
    pub const fn is_unsent(&self) -> bool {
        self.sent < self.ready
    }

    /// The peer has all before `offset`, and nothing of what comes after it, which is to be sent again. Whether it is there:
    /// an offset before what was released, or beyond what was sent, changes nothing.
    pub fn rewind(&mut self, offset: u64) -> bool {
        let most = self.offset + (self.sent - self.start) as u64;
        if offset < self.offset || offset > most {
            return false;
        }
        self.release(offset);
        self.sent = self.start;
        true
    }

    /// Bytes that were sent and are kept.
    #[must_use]
    pub const fn kept(&self) -> usize {
        self.sent - self.start
    }

    /// Bytes of memory.
    #[must_use]
    pub fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// Gives memory back if nothing is in it: for links that have become quiet.
    pub fn shrink(&mut self) {
        if self.start == self.end && self.bytes.len() > WINDOW_LEAST {
            self.bytes = vec![0; WINDOW_LEAST];
        }
    }
}

#[cfg(test)]
mod tests;
