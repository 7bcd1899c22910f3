//! Putting together the beginning of a payload that lies in several fragments, out of what is held.

use super::{Begun, frame_length};
use crate::error::{Error, Result};
use crate::frame::{NEXT_FRAGMENT, VERSION};

/// Type, sequence and fragment number of a further fragment.
const FRAGMENT_HEADER: usize = 2 + 16;

/// What has been gathered of the payload of the message that is undecided. The input begins with its first frame in
/// every call, so that positions in it hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Gather {
    /// The payload so far; its room is kept from message to message.
    payload: Vec<u8>,
    state: Option<State>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    /// Where the next frame to be looked at begins.
    at: usize,
    /// How much of that frame's content has been taken already.
    taken: usize,
    /// The number of the fragment that comes next; 0 after the last.
    next: u64,
    /// Where more can be found at the earliest.
    due: usize,
}

impl Gather {
    pub(super) fn clear(&mut self) {
        self.state = None;
    }

    /// Gives the room back, unless there is something in it.
    pub(super) fn rest(&mut self) {
        if self.state.is_none() {
            self.payload = Vec::new();
        }
    }

    /// Bytes of memory.
    #[cfg(test)]
    pub(super) const fn room(&self) -> usize {
        self.payload.capacity()
    }

    /// What has been gathered; `None` if nothing has been begun.
    pub(super) fn payload(&self) -> Option<&[u8]> {
        self.state.map(|_| self.payload.as_slice())
    }

    /// Whether the last fragment is part of it.
    pub(super) fn is_whole(&self) -> bool {
        self.state.is_some_and(|state| state.next == 0)
    }

    /// How long the input has to be to hold more.
    pub(super) fn due(&self, there: usize) -> usize {
        self.state.map_or(there, |state| state.due)
    }

    /// Looks through the frames behind the first one, up to `limit`, for more of the message. `first` is what the
    /// first frame has of the payload.
    pub(super) fn go_on(
        &mut self,
        message: &Begun<'_>,
        input: &[u8],
        limit: usize,
        max_frame: u32,
        first: &[u8],
    ) -> Result<()> {
        let mut state = self.state.unwrap_or_else(|| {
            self.payload.clear();
            self.payload.extend_from_slice(first);
            State {
                at: message.end,
                taken: 0,
                next: message.further,
                due: 0,
            }
        });
        let input = input.get(..limit).unwrap_or(input);
        while state.next > 0 {
            let frame = input.get(state.at..).unwrap_or_default();
            let Some((prefix, behind)) = frame.split_first_chunk() else {
                state.due = state.at + 4;
                break;
            };
            let length = usize::try_from(frame_length(*prefix, max_frame)?).unwrap_or(usize::MAX);
            let there = behind.get(..length).unwrap_or(behind);
            let complete = there.len() == length;
            let end = state.at.saturating_add(4).saturating_add(length);
            if !complete && there.len() < FRAGMENT_HEADER {
                state.due = end.min(state.at + 4 + FRAGMENT_HEADER);
                break;
            }
            if let Some((fragment, content)) = continues(there, message.sequence) {
                if fragment != state.next {
                    return Err(Error::Invalid {
                        what: "fragment",
                        reason: "it is out of order",
                    });
                }
                self.payload
                    .extend_from_slice(content.get(state.taken..).unwrap_or_default());
                state.taken = content.len();
                if complete {
                    state.next -= 1;
                }
            }
            if !complete {
                state.due = end;
                break;
            }
            state.at = end;
            state.taken = 0;
        }
        self.state = Some(state);
        Ok(())
    }
}

/// The number and the content of a frame that continues the message.
fn continues(frame: &[u8], sequence: u64) -> Option<(u64, &[u8])> {
    let content = frame.strip_prefix(&[VERSION, NEXT_FRAGMENT])?;
    let (found, content) = content.split_first_chunk()?;
    let (fragment, content) = content.split_first_chunk()?;
    (u64::from_be_bytes(*found) == sequence).then(|| (u64::from_be_bytes(*fragment), content))
}
