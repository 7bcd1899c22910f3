//! One direction of a link to a node of another cluster, on the side that dials: judged in the words of this cluster, and said in those of
//! the other one (docs/decisions/0020).

use std::borrow::Cow;

use skans_dist::gate::Edit;
use skans_dist::rename::Renamer;

use crate::Error;
use crate::passage::Passage;

/// By how much longer names make what is read at once, in bytes: more than a hundred names in a message of 128 KiB do, and more costs a
/// copy of what is kept, once.
const GROWTH: usize = 4096;

/// A passage, and names that are changed behind it or before it.
pub struct Crossing {
    pub(super) passage: Passage,
    renaming: Renaming,
}

impl Crossing {
    pub fn new(passage: Passage, renamer: Renamer, from: &'static str) -> Self {
        Self {
            passage,
            renaming: Renaming {
                renamer,
                held: Vec::new(),
                edits: Vec::new(),
                from,
            },
        }
    }

    /// What goes on to the peer of decided bytes of the node.
    pub fn edited(&mut self, decided: &[u8]) -> Result<Vec<u8>, Error> {
        match self.passage.edited(decided) {
            Some(edited) => self.renaming.pass(&edited),
            None => self.renaming.pass(decided),
        }
    }

    /// The same of a message of our own, between two of the node's.
    pub fn also(&mut self, frames: &[u8]) -> Result<Vec<u8>, Error> {
        self.renaming.pass(frames)
    }

    /// What goes on to the node of the next piece of the peer's stream.
    pub fn pass(&mut self, piece: &[u8], out: &mut Vec<Cow<'_, [u8]>>) -> Result<(), Error> {
        let renamed = self.renaming.pass(piece)?;
        let mut parts = Vec::new();
        self.passage.pass(&renamed, &mut parts)?;
        out.extend(parts.into_iter().map(|part| Cow::Owned(part.into_owned())));
        Ok(())
    }

    /// See [`super::Way::reserve`].
    pub const fn reserve(&self) -> usize {
        self.renaming.held.len() + GROWTH
    }

    /// See [`Passage::rest`].
    pub fn rest(&mut self) {
        self.passage.rest();
        self.renaming.edits.shrink_to_fit();
        self.renaming.held.shrink_to_fit();
    }
}

struct Renaming {
    renamer: Renamer,
    /// The beginning of a frame that is not whole.
    held: Vec<u8>,
    edits: Vec<Edit>,
    /// Whose stream it is, for errors.
    from: &'static str,
}

impl Renaming {
    /// What the stream goes on with. It ends between two frames.
    fn pass(&mut self, bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        let mut held = std::mem::take(&mut self.held);
        held.extend_from_slice(bytes);
        let decided = self
            .renamer
            .feed(&held, &mut self.edits)
            .map_err(|problem| Error::Stream {
                from: self.from,
                problem,
            })?;
        let mut at = 0;
        for edit in self.edits.drain(..) {
            out.extend_from_slice(held.get(at..edit.range.start).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            at = edit.range.end;
        }
        out.extend_from_slice(held.get(at..decided).unwrap_or_default());
        held.drain(..decided);
        self.held = held;
        Ok(out)
    }
}
