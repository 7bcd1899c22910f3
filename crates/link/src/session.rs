//! What may come when, and at which offset: the state of one session, on one side.

use crate::takeover::Takeover;
use crate::{
    Error, Frame, FrameType, SessionId, VERSION_MAX, VERSION_MIN, VERSION_SERVICE,
    VERSION_TAKEOVER, Welcome,
};

/// A receiver acknowledges after this many new bytes: 256 KiB, a quarter of the smallest window that a sender may have, so
/// that it never waits for an acknowledgement that is not due; rare enough to cost nothing beside the data.
pub const ACK_EVERY: u64 = 256 * 1024;

/// Which end of the link this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    /// Dialled.
    Initiator,
    /// Was dialled.
    Responder,
}

/// How far the session has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// Waiting for HELLO (responder) or WELCOME (initiator).
    Greeting,
    /// The nodes shake hands through both agents.
    Handshake,
    /// Bytes flow.
    Streaming,
    /// The connection is gone, and there may be another.
    Adrift,
    /// A CLOSE was received.
    Closed,
}

impl Phase {
    const fn doing(self) -> &'static str {
        match self {
            Self::Greeting => "greeting",
            Self::Handshake => "the nodes shake hands",
            Self::Streaming => "streaming",
            Self::Adrift => "without a connection",
            Self::Closed => "closed",
        }
    }

    const fn wanted(self, role: Role) -> &'static str {
        match (self, role) {
            (Self::Greeting, Role::Responder) => "HELLO or CLOSE",
            (Self::Greeting, Role::Initiator) => "WELCOME or CLOSE",
            (Self::Handshake, _) => "HANDSHAKE, PING, PONG or CLOSE",
            (Self::Streaming, _) => {
                "DATA, ACK, PING, PONG or CLOSE; from version 2 on MOVED, HEAD, WANT or DENY; of a service END"
            }
            (Self::Adrift | Self::Closed, _) => "nothing",
        }
    }
}

/// One side's view of a session: offsets and phase. The caller moves the bytes.
#[derive(Debug)]
pub struct Session {
    pub(crate) role: Role,
    pub(crate) phase: Phase,
    pub(crate) version: u8,
    pub(crate) id: SessionId,
    /// Bytes handed to the link.
    pub(crate) sent: u64,
    /// Bytes that the peer has acknowledged.
    pub(crate) acked: u64,
    /// Bytes received in order: those of a DATA frame as they come, since it may be cut short.
    pub(crate) received: u64,
    /// Bytes of `received` that this side has acknowledged.
    pub(crate) ack_sent: u64,
    pub(crate) takeover: Takeover,
    /// The peer's MOVED has come, and the old connection is still held.
    pub(crate) settling: bool,
    /// The number of the newest takeover.
    pub(crate) connection: u32,
    /// It carries a service: each direction ends for itself.
    service: bool,
    /// Offset behind our END, once it was sent.
    end: Option<u64>,
    /// The peer's END has come on this connection or, if it was taken, on any.
    pub(crate) ended: bool,
    /// All before it was taken, and that it ended.
    pub(crate) taken: bool,
}

impl Session {
    /// The initiator's side of a new session.
    #[must_use]
    pub const fn initiator(id: SessionId) -> Self {
        Self::new(Role::Initiator, id)
    }

    /// The responder's side; the HELLO brings the session's id.
    #[must_use]
    pub const fn responder() -> Self {
        Self::new(Role::Responder, [0; 16])
    }

    const fn new(role: Role, id: SessionId) -> Self {
        Self {
            role,
            phase: Phase::Greeting,
            version: VERSION_MIN,
            id,
            sent: 0,
            acked: 0,
            received: 0,
            ack_sent: 0,
            takeover: Takeover::None,
            settling: false,
            connection: 0,
            service: false,
            end: None,
            ended: false,
            taken: false,
        }
    }

    /// The same for a connection to a service. A responder learns it from HELLO.
    #[must_use]
    pub const fn for_service(mut self) -> Self {
        self.service = true;
        self
    }

    /// Whether it carries a service.
    #[must_use]
    pub const fn is_of_service(&self) -> bool {
        self.service
    }

    /// The id: as chosen by the initiator; zeros in a responder that has not heard it.
    #[must_use]
    pub const fn id(&self) -> SessionId {
        self.id
    }

    /// The version that both ends speak; the lowest until they have agreed.
    #[must_use]
    pub const fn version(&self) -> u8 {
        self.version
    }

    /// How far the session has come.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// Bytes sent and not yet acknowledged.
    #[must_use]
    pub const fn unacknowledged(&self) -> u64 {
        self.sent - self.acked
    }

    /// Takes note of a frame other than DATA.
    ///
    /// # Errors
    /// A frame that this phase does not allow, a version or session that does not fit, or an
    /// acknowledgement of bytes that were never sent.
    pub fn on_frame(&mut self, frame: &Frame) -> Result<(), Error> {
        match (self.phase, frame) {
            (Phase::Closed, _) => Err(self.out_of_phase(frame.kind())),
            (_, Frame::Close(_)) => {
                self.phase = Phase::Closed;
                Ok(())
            }
            (Phase::Greeting, Frame::Hello(hello)) if self.role == Role::Responder => {
                self.version = crate::negotiate(hello.version_min, hello.version_max)?;
                self.id = hello.session;
                self.service = !hello.service.is_empty();
                self.check_service()?;
                self.phase = Phase::Handshake;
                Ok(())
            }
            (Phase::Greeting, Frame::Welcome(welcome)) if self.role == Role::Initiator => {
                self.on_welcome(welcome)
            }
            (Phase::Handshake, Frame::Handshake(_) | Frame::Ping(_) | Frame::Pong(_))
            | (Phase::Streaming, Frame::Ping(_) | Frame::Pong(_)) => Ok(()),
            (Phase::Streaming, Frame::Ack(offset)) => self.on_ack(*offset),
            (Phase::Streaming, Frame::End(offset)) if self.service => self.on_end(*offset),
            (Phase::Streaming, Frame::Moved(moved)) if self.version >= VERSION_TAKEOVER => {
                self.on_moved(*moved)
            }
            (Phase::Streaming, Frame::Head(_) | Frame::Want(_) | Frame::Deny(_))
                if self.version >= VERSION_TAKEOVER =>
            {
                Ok(())
            }
            _ => Err(self.out_of_phase(frame.kind())),
        }
    }

    /// Takes note of the header of a DATA frame whose bytes begin at `offset`; [`Session::on_bytes`] follows.
    ///
    /// # Errors
    /// [`Error::OffsetGap`] unless it continues the stream; [`Error::OutOfPhase`] before the
    /// nodes have shaken hands.
    pub fn on_data(&self, offset: u64) -> Result<(), Error> {
        if self.phase != Phase::Streaming {
            return Err(self.out_of_phase(FrameType::Data));
        }
        if self.ended {
            return Err(Error::AfterEnd {
                frame: FrameType::Data,
            });
        }
        if offset != self.received {
            return Err(Error::OffsetGap {
                found: offset,
                wanted: self.received,
            });
        }
        Ok(())
    }

    /// Takes note of some bytes of that frame.
    pub const fn on_bytes(&mut self, count: usize) {
        self.received = self.received.saturating_add(count as u64);
    }

    /// The nodes have shaken hands: bytes may flow.
    pub fn start_streaming(&mut self) {
        if self.phase == Phase::Handshake {
            self.phase = Phase::Streaming;
        }
    }

    /// Takes note of `length` bytes to be sent; the offset to put before them.
    pub fn send(&mut self, length: usize) -> u64 {
        let offset = self.sent;
        self.sent = self.sent.saturating_add(length as u64);
        offset
    }

    /// Takes note of the END to be sent, of this or, after a loss, once more; the offset to put into it. It counts as a byte.
    pub fn end(&mut self) -> u64 {
        let offset = self.send(1);
        self.end = Some(self.sent);
        offset
    }

    /// Whoever reads the peer's stream has all of it, and knows that it has ended: END counts as received from here on. So
    /// the peer does not take for done what waits here.
    pub const fn took_end(&mut self) {
        if self.ended && !self.taken {
            self.taken = true;
            self.received = self.received.saturating_add(1);
        }
    }

    /// Whether that was so.
    #[must_use]
    pub const fn has_ended(&self) -> bool {
        self.taken
    }

    /// Whether both directions have ended, and the peer has all of ours: nothing is left to be done but CLOSE.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.taken && self.end.is_some_and(|end| self.acked >= end)
    }

    /// The offset to acknowledge, once [`ACK_EVERY`] new bytes have come.
    pub fn ack_due(&mut self) -> Option<u64> {
        if self.received - self.ack_sent < ACK_EVERY {
            return None;
        }
        self.ack_now()
    }

    /// The offset to acknowledge, if anything new has come at all: for a link that has become quiet, so that the peer need
    /// not keep its last bytes.
    pub fn ack_now(&mut self) -> Option<u64> {
        let news = self.phase == Phase::Streaming && self.received > self.ack_sent;
        news.then(|| {
            self.ack_sent = self.received;
            self.received
        })
    }

    /// Bytes that the peer has acknowledged.
    #[must_use]
    pub const fn acknowledged(&self) -> u64 {
        self.acked
    }

    fn on_welcome(&mut self, welcome: &Welcome) -> Result<(), Error> {
        self.version = crate::negotiate(welcome.version, welcome.version)?;
        if welcome.session != self.id {
            return Err(Error::OtherSession);
        }
        self.check_service()?;
        self.phase = Phase::Handshake;
        Ok(())
    }

    /// A version that does not know services would take it for a connection of nodes.
    const fn check_service(&self) -> Result<(), Error> {
        if self.service && self.version < VERSION_SERVICE {
            return Err(Error::Version {
                min: self.version,
                max: self.version,
                ours_min: VERSION_SERVICE,
                ours_max: VERSION_MAX,
            });
        }
        Ok(())
    }

    const fn on_end(&mut self, offset: u64) -> Result<(), Error> {
        if self.ended {
            return Err(Error::AfterEnd {
                frame: FrameType::End,
            });
        }
        if offset != self.received {
            return Err(Error::OffsetGap {
                found: offset,
                wanted: self.received,
            });
        }
        self.ended = true;
        Ok(())
    }

    fn on_ack(&mut self, offset: u64) -> Result<(), Error> {
        if offset < self.acked || offset > self.sent {
            return Err(Error::BadAck {
                found: offset,
                least: self.acked,
                most: self.sent,
            });
        }
        self.acked = offset;
        Ok(())
    }

    pub(crate) const fn out_of_phase(&self, frame: FrameType) -> Error {
        Error::OutOfPhase {
            frame,
            phase: self.phase.doing(),
            wanted: self.phase.wanted(self.role),
        }
    }
}

#[cfg(test)]
mod tests;
