//! Cuts what TLS delivers into frames, without buffering the payload of DATA frames.

use crate::{Error, Frame, FrameType};

/// Something that came out of the stream.
#[derive(Debug, Eq, PartialEq)]
pub enum Piece<'a> {
    /// The header of a DATA frame: its offset and the number of bytes that follow.
    DataStart {
        /// Offset of the first byte.
        offset: u64,
        /// Bytes that follow in [`Piece::Data`] pieces.
        length: usize,
    },
    /// Some bytes of the DATA frame begun before.
    Data(&'a [u8]),
    /// A whole frame of another kind.
    Frame(Frame),
}

/// An incremental decoder. Holds at most one control frame ([`crate::MAX_CONTROL`] bytes).
#[derive(Debug, Default)]
pub struct Decoder {
    /// Bytes of an incomplete header or control frame.
    held: Vec<u8>,
    /// Bytes of the open DATA frame that are still to come.
    data_left: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            held: Vec::new(),
            data_left: 0,
        }
    }

    /// Takes the next piece off the front of `input`; `None` when all of it was consumed.
    ///
    /// # Errors
    /// The first breach of the protocol; the decoder is of no use after it.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Piece<'a>>, Error> {
        if self.data_left > 0 {
            if input.is_empty() {
                return Ok(None);
            }
            let (taken, rest) = input.split_at(self.data_left.min(input.len()));
            self.data_left -= taken.len();
            *input = rest;
            return Ok(Some(Piece::Data(taken)));
        }
        if !self.fill(input, 4) {
            return Ok(None);
        }
        let (kind, length) = self.header()?;
        // Of a DATA frame only the offset is held; of others all.
        let wanted = if kind == FrameType::Data { 8 } else { length };
        if !self.fill(input, 4 + wanted) {
            return Ok(None);
        }
        let body = self.held.get(4..).unwrap_or_default();
        let piece = if kind == FrameType::Data {
            let offset = u64::from_be_bytes(*body.first_chunk::<8>().ok_or(Error::CutShort {
                frame: "DATA",
                field: "offset",
                wanted: 8,
                found: body.len(),
            })?);
            self.data_left = length - 8;
            Piece::DataStart {
                offset,
                length: self.data_left,
            }
        } else {
            Piece::Frame(Frame::decode(kind, body)?)
        };
        self.held.clear();
        Ok(Some(piece))
    }

    /// Moves bytes from `input` until `total` are held; whether that was reached.
    fn fill(&mut self, input: &mut &[u8], total: usize) -> bool {
        let missing = total.saturating_sub(self.held.len());
        let (taken, rest) = input.split_at(missing.min(input.len()));
        self.held.extend_from_slice(taken);
        *input = rest;
        self.held.len() >= total
    }

    fn header(&self) -> Result<(FrameType, usize), Error> {
        let [kind, l2, l1, l0] = *self.held.first_chunk::<4>().ok_or(Error::CutShort {
            frame: "any",
            field: "header",
            wanted: 4,
            found: self.held.len(),
        })?;
        let kind = FrameType::from_byte(kind)?;
        let found = u32::from_be_bytes([0, l2, l1, l0]) as usize;
        if found > kind.limit() {
            return Err(Error::TooLong {
                frame: kind,
                found,
                limit: kind.limit(),
            });
        }
        if kind == FrameType::Data && found < 8 {
            return Err(Error::CutShort {
                frame: "DATA",
                field: "offset",
                wanted: 8,
                found,
            });
        }
        Ok((kind, found))
    }
}

#[cfg(test)]
mod tests;
