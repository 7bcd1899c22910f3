//! The frame: one byte of type, three of length, then a body. Encoding and bounds.

use crate::{Close, Denials, Error, Hello, Moved, Welcome};

/// The longest body, in bytes, of any frame but DATA. A hello with two node names of 255 bytes and
/// a handshake message of 1 KiB fit with room for fields that later versions append.
pub const MAX_CONTROL: usize = 4 * 1024;

/// The longest body of a DATA frame in bytes, its offset included: 1 MiB. Receivers do not buffer
/// it, so the bound serves only to find a stream that has gone out of step.
pub const MAX_DATA: usize = 1024 * 1024;

/// Bytes before the payload of a DATA frame: type, length, offset.
pub const DATA_HEADER: usize = 12;

/// The longest signed head with its certificate chain, in bytes. Four certificates of ours, a signature
/// and the head are some 3 KiB.
pub const MAX_HEAD: usize = 8 * 1024;

/// The longest body of a DENY frame, in bytes: a hundred entries, which are about 150 bytes each.
pub const MAX_DENY: usize = 16 * 1024;

/// The kinds of frames. From [`FrameType::Moved`] on they belong to version 2, [`FrameType::End`] to
/// version 4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[repr(u8)]
pub enum FrameType {
    /// Acknowledges all bytes below an offset.
    Ack = 5,
    /// Ends the session, with a reason.
    Close = 8,
    /// Bytes of the distribution stream, with the offset of the first.
    Data = 4,
    /// Entries of the deny stream.
    Deny = 12,
    /// The stream ends here; the other direction goes on. Of version 4, and of services alone.
    End = 13,
    /// One message of the distribution handshake, its secrets blanked.
    Handshake = 3,
    /// A signed head of the control plane.
    Head = 10,
    /// Opens a session, or takes one over.
    Hello = 1,
    /// The last frame on a connection: the session goes on with another.
    Moved = 9,
    /// Asks for a pong.
    Ping = 6,
    /// Answers a ping.
    Pong = 7,
    /// Answers a head: which entries of the deny stream are missing.
    Want = 11,
    /// Accepts a session.
    Welcome = 2,
}

impl FrameType {
    /// The type with this number.
    ///
    /// # Errors
    /// [`Error::UnknownFrame`]: what is not understood is refused, never skipped.
    pub const fn from_byte(byte: u8) -> Result<Self, Error> {
        Ok(match byte {
            1 => Self::Hello,
            2 => Self::Welcome,
            3 => Self::Handshake,
            4 => Self::Data,
            5 => Self::Ack,
            6 => Self::Ping,
            7 => Self::Pong,
            8 => Self::Close,
            9 => Self::Moved,
            10 => Self::Head,
            11 => Self::Want,
            12 => Self::Deny,
            13 => Self::End,
            other => return Err(Error::UnknownFrame(other)),
        })
    }

    /// The longest body that this kind may have, in bytes.
    #[must_use]
    pub const fn limit(self) -> usize {
        match self {
            Self::Data => MAX_DATA,
            Self::Ack | Self::End | Self::Ping | Self::Pong | Self::Want => 8,
            Self::Moved => 12,
            Self::Head => MAX_HEAD,
            Self::Deny => MAX_DENY,
            Self::Hello | Self::Welcome | Self::Handshake | Self::Close => MAX_CONTROL,
        }
    }
}

/// A whole frame other than DATA, decoded.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Frame {
    /// All bytes below this offset have reached the peer's node.
    Ack(u64),
    /// The peer ends the session.
    Close(Close),
    /// Entries of the deny stream.
    Deny(Denials),
    /// Nothing comes behind this offset; it counts as a byte, so that it is acknowledged, and sent again after a loss.
    End(u64),
    /// One message of the distribution handshake, without its length prefix.
    Handshake(Vec<u8>),
    /// A signed head of the control plane; what is in it is for others to say.
    Head(Vec<u8>),
    /// The peer opens a session, or takes one over.
    Hello(Hello),
    /// Nothing more comes on this connection.
    Moved(Moved),
    /// The peer asks for a pong with this number.
    Ping(u64),
    /// The answer to a ping with this number.
    Pong(u64),
    /// The peer wants the deny stream from this entry on; 0 for none.
    Want(u64),
    /// The peer accepts a session.
    Welcome(Welcome),
}

impl Frame {
    /// Decodes the body of a frame other than DATA.
    ///
    /// # Errors
    /// Whatever is wrong with the body; DATA is [`Error::OutOfPhase`], for its bytes are streamed.
    pub fn decode(kind: FrameType, body: &[u8]) -> Result<Self, Error> {
        Ok(match kind {
            FrameType::Hello => Self::Hello(Hello::decode(body)?),
            FrameType::Welcome => Self::Welcome(Welcome::decode(body)?),
            FrameType::Handshake => Self::Handshake(body.to_vec()),
            FrameType::Ack => Self::Ack(number(body, "ACK")?),
            FrameType::Ping => Self::Ping(number(body, "PING")?),
            FrameType::Pong => Self::Pong(number(body, "PONG")?),
            FrameType::Close => Self::Close(Close::decode(body)?),
            FrameType::Moved => Self::Moved(Moved::decode(body)?),
            FrameType::Head => Self::Head(body.to_vec()),
            FrameType::Want => Self::Want(number(body, "WANT")?),
            FrameType::Deny => Self::Deny(Denials::decode(body)?),
            FrameType::End => Self::End(number(body, "END")?),
            FrameType::Data => {
                return Err(Error::OutOfPhase {
                    frame: kind,
                    phase: "decoding a whole frame",
                    wanted: "any other frame",
                });
            }
        })
    }

    /// The kind of this frame.
    #[must_use]
    pub const fn kind(&self) -> FrameType {
        match self {
            Self::Ack(_) => FrameType::Ack,
            Self::Close(_) => FrameType::Close,
            Self::Deny(_) => FrameType::Deny,
            Self::End(_) => FrameType::End,
            Self::Handshake(_) => FrameType::Handshake,
            Self::Head(_) => FrameType::Head,
            Self::Hello(_) => FrameType::Hello,
            Self::Moved(_) => FrameType::Moved,
            Self::Ping(_) => FrameType::Ping,
            Self::Pong(_) => FrameType::Pong,
            Self::Want(_) => FrameType::Want,
            Self::Welcome(_) => FrameType::Welcome,
        }
    }
}

/// The header of a DATA frame that carries `length` bytes from `offset` on. `length` must be at
/// most [`MAX_DATA`] - 8; a longer one is clamped, so callers chunk by that bound.
#[must_use]
pub fn data_header(offset: u64, length: usize) -> [u8; DATA_HEADER] {
    let [_, l2, l1, l0] = u32::try_from(length.min(MAX_DATA - 8) + 8)
        .unwrap_or(u32::MAX)
        .to_be_bytes();
    let [o7, o6, o5, o4, o3, o2, o1, o0] = offset.to_be_bytes();
    [
        FrameType::Data as u8,
        l2,
        l1,
        l0,
        o7,
        o6,
        o5,
        o4,
        o3,
        o2,
        o1,
        o0,
    ]
}

/// A HANDSHAKE frame around one distribution handshake message.
#[must_use]
pub fn handshake(message: &[u8]) -> Vec<u8> {
    with_header(FrameType::Handshake, message)
}

/// An ACK frame.
#[must_use]
pub fn ack(offset: u64) -> Vec<u8> {
    with_header(FrameType::Ack, &offset.to_be_bytes())
}

/// An END frame.
#[must_use]
pub fn end(offset: u64) -> Vec<u8> {
    with_header(FrameType::End, &offset.to_be_bytes())
}

/// A PING frame.
#[must_use]
pub fn ping(number: u64) -> Vec<u8> {
    with_header(FrameType::Ping, &number.to_be_bytes())
}

/// A PONG frame.
#[must_use]
pub fn pong(number: u64) -> Vec<u8> {
    with_header(FrameType::Pong, &number.to_be_bytes())
}

/// Puts type and length in front of a body; a body over the kind's limit is cut to it.
pub(crate) fn with_header(kind: FrameType, body: &[u8]) -> Vec<u8> {
    let body = body.get(..kind.limit()).unwrap_or(body);
    let [_, l2, l1, l0] = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes();
    let mut out = Vec::with_capacity(4 + body.len());
    out.extend_from_slice(&[kind as u8, l2, l1, l0]);
    out.extend_from_slice(body);
    out
}

fn number(body: &[u8], frame: &'static str) -> Result<u64, Error> {
    let bytes = body.first_chunk::<8>().ok_or(Error::CutShort {
        frame,
        field: "number",
        wanted: 8,
        found: body.len(),
    })?;
    Ok(u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests;
