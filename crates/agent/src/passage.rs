//! One direction of a link on its way through its gate: bytes are held until they are decided, and changed where something is
//! refused. What is let through is not copied, but for the few bytes between two reads. No sockets: `relay` moves the bytes.

use std::borrow::Cow;

use skans_dist::gate::{Edit, Gate, MOST_HELD};

use crate::Error;
use crate::enforce::Flow;

/// How much of a piece is put behind what is held, to find out whether it suffices. Control messages take some 100 bytes.
const PROBE: usize = 1024;

/// A gate, and who judges at it.
pub struct Passage {
    gate: Gate,
    flow: Flow,
    edits: Vec<Edit>,
    /// Undecided bytes of former pieces.
    held: Vec<u8>,
    /// Whose stream it is, for errors.
    from: &'static str,
}

impl Passage {
    pub fn new(flow: Flow, from: &'static str) -> Self {
        Self {
            gate: Gate::new(flow.max_frame()),
            flow,
            edits: Vec::new(),
            held: Vec::new(),
            from,
        }
    }

    /// The passage that [`Passage::freeze`] was of, with the bytes that it held.
    ///
    /// # Errors
    /// [`Error::Stream`] for what no gate freezes to, or too many bytes.
    pub fn thaw(flow: Flow, from: &'static str, gate: &[u8], held: Vec<u8>) -> Result<Self, Error> {
        if held.len() > MOST_HELD {
            return Err(Error::Internal(format!(
                "found {} bytes held, wanted {MOST_HELD} at most",
                held.len()
            )));
        }
        Ok(Self {
            gate: Gate::thaw(gate, flow.max_frame())?,
            held,
            ..Self::new(flow, from)
        })
    }

    /// What another process has to know to go on with it, beside the bytes that are held.
    ///
    /// # Errors
    /// Why the stream was given up, if it was.
    pub fn freeze(&self) -> Result<Vec<u8>, Error> {
        Ok(self.gate.freeze()?)
    }

    /// Undecided bytes of former pieces.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Who judges.
    pub const fn flow(&mut self) -> &mut Flow {
        &mut self.flow
    }

    /// Nothing came for a while: gives back memory that is quickly made again.
    pub fn rest(&mut self) {
        self.gate.rest();
        self.flow.rest();
        self.edits.shrink_to_fit();
        self.held.shrink_to_fit();
    }

    /// Whether a frame may be put behind what was decided.
    pub const fn is_between_frames(&self) -> bool {
        self.gate.is_between_frames()
    }

    /// Decides about bytes that stand behind each other, undecided ones of the last call first. How many from the front
    /// are decided.
    pub fn feed(&mut self, input: &[u8]) -> Result<usize, Error> {
        let fed = self.gate.feed(input, &mut self.flow, &mut self.edits);
        fed.map_err(|error| match error {
            Error::Stream { problem, .. } => Error::Stream {
                from: self.from,
                problem,
            },
            other => other,
        })
    }

    /// What goes on of the decided bytes of the last call, if it is not all of them as they are.
    pub fn edited(&mut self, decided: &[u8]) -> Option<Vec<u8>> {
        if self.edits.is_empty() {
            return None;
        }
        let mut out = Vec::with_capacity(decided.len());
        let mut at = 0;
        for edit in self.edits.drain(..) {
            out.extend_from_slice(decided.get(at..edit.range.start).unwrap_or_default());
            out.extend_from_slice(&edit.with);
            at = edit.range.end;
        }
        out.extend_from_slice(decided.get(at..).unwrap_or_default());
        Some(out)
    }

    /// Decides about the next piece of the stream, wherever it lies. What goes on is put in `out`.
    pub fn pass<'a>(
        &mut self,
        mut piece: &'a [u8],
        out: &mut Vec<Cow<'a, [u8]>>,
    ) -> Result<(), Error> {
        while !self.held.is_empty() {
            if piece.is_empty() {
                return Ok(());
            }
            let more = PROBE.max(self.held.len()).min(piece.len());
            let (probe, rest) = piece.split_at(more);
            let before = self.held.len();
            let mut held = std::mem::take(&mut self.held);
            held.extend_from_slice(probe);
            let decided = self.feed(&held)?;
            if decided > 0 {
                let bytes = held.get(..decided).unwrap_or_default();
                let goes_on = self.edited(bytes).unwrap_or_else(|| bytes.to_vec());
                out.push(Cow::Owned(goes_on));
            }
            if decided >= before {
                // What is undecided lies in the piece: on from there, without copying.
                piece = piece.get(decided - before..).unwrap_or_default();
            } else {
                held.drain(..decided);
                self.held = held;
                piece = rest;
            }
        }
        if piece.is_empty() {
            return Ok(());
        }
        let decided = self.feed(piece)?;
        let (goes_on, undecided) = piece.split_at(decided.min(piece.len()));
        match self.edited(goes_on) {
            Some(edited) => out.push(Cow::Owned(edited)),
            None if goes_on.is_empty() => {}
            None => out.push(Cow::Borrowed(goes_on)),
        }
        self.held.extend_from_slice(undecided);
        Ok(())
    }
}
