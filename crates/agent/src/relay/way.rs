//! One direction of a link on its way: messages between nodes are judged, the bytes of a service are not.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::crossing::Crossing;
use crate::Error;
use crate::metrics::Counters;
use crate::passage::Passage;
use crate::registry::Link;

/// What becomes of the bytes of one direction.
pub enum Way {
    /// They are messages, and held until they are decided.
    Judged(Box<Passage>),
    /// So they are, between two clusters that have other names for the same nodes.
    Across(Box<Crossing>),
    /// They belong to a service: whoever may connect may say what it wants.
    Open(Meter),
}

/// Counts the bytes of one direction.
pub struct Meter {
    link: Arc<Link>,
    counters: fn(&Link) -> &Counters,
}

impl Way {
    /// From the local process to the peer, of a service.
    pub fn out(link: &Arc<Link>) -> Self {
        Self::Open(Meter {
            link: Arc::clone(link),
            counters: |link| &link.traffic.sent,
        })
    }

    /// From the peer, of a service.
    pub fn into_host(link: &Arc<Link>) -> Self {
        Self::Open(Meter {
            link: Arc::clone(link),
            counters: |link| &link.traffic.received,
        })
    }

    /// Takes note of bytes that have come.
    pub fn came(&mut self, count: usize) {
        match self {
            Self::Judged(passage) => passage.flow().came(count),
            Self::Across(crossing) => crossing.passage.flow().came(count),
            Self::Open(meter) => (meter.counters)(&meter.link).bytes(count),
        }
    }

    /// How long to wait before more is read.
    pub fn pause(&mut self) -> Duration {
        match self {
            Self::Judged(passage) => passage.flow().pause(),
            Self::Across(crossing) => crossing.passage.flow().pause(),
            Self::Open(_) => Duration::ZERO,
        }
    }

    /// See [`Passage::rest`].
    pub fn rest(&mut self) {
        match self {
            Self::Judged(passage) => passage.rest(),
            Self::Across(crossing) => crossing.rest(),
            Self::Open(_) => {}
        }
    }

    /// Whether something of our own may be put in here. Nobody expects that of a service.
    pub fn is_between_frames(&self) -> bool {
        match self {
            Self::Judged(passage) => passage.is_between_frames(),
            Self::Across(crossing) => crossing.passage.is_between_frames(),
            Self::Open(_) => false,
        }
    }

    /// How many bytes more than it is shown may come out of it the next time: room for them must be left, or all that is kept has to be
    /// moved.
    pub const fn reserve(&self) -> usize {
        match self {
            Self::Across(crossing) => crossing.reserve(),
            Self::Judged(_) | Self::Open(_) => 0,
        }
    }

    /// See [`Passage::feed`].
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Error> {
        match self {
            Self::Judged(passage) => passage.feed(input),
            Self::Across(crossing) => crossing.passage.feed(input),
            Self::Open(_) => Ok(input.len()),
        }
    }

    /// What goes on to the peer of decided bytes, if it is not they as they are.
    pub fn edited(&mut self, decided: &[u8]) -> Result<Option<Vec<u8>>, Error> {
        match self {
            Self::Judged(passage) => Ok(passage.edited(decided)),
            Self::Across(crossing) => crossing.edited(decided).map(Some),
            Self::Open(_) => Ok(None),
        }
    }

    /// What goes to the peer of messages of our own.
    pub fn also(&mut self, frames: Vec<u8>) -> Result<Vec<u8>, Error> {
        match self {
            Self::Across(crossing) => crossing.also(&frames),
            Self::Judged(_) | Self::Open(_) => Ok(frames),
        }
    }

    /// See [`Passage::pass`].
    pub fn pass<'a>(&mut self, piece: &'a [u8], out: &mut Vec<Cow<'a, [u8]>>) -> Result<(), Error> {
        match self {
            Self::Judged(passage) => passage.pass(piece, out),
            Self::Across(crossing) => crossing.pass(piece, out),
            Self::Open(_) => {
                out.push(Cow::Borrowed(piece));
                Ok(())
            }
        }
    }
}
