//! Moving a running session from one connection to another (docs/decisions/0013): who may when, and what each
//! side has still to see. The caller moves the bytes.
//!
//! The initiator moves first, once it is welcome; the responder when the initiator's MOVED has come. So
//! neither side ever sends on a connection of which the other does not know.

use crate::frame::{FrameType, with_header};
use crate::{Error, Hello, Phase, Role, Session, VERSION_TAKEOVER, Welcome};

/// The last frame of one direction on a connection: where the stream goes on, and by which takeover.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Moved {
    /// Offset of the first byte on the new connection.
    pub offset: u64,
    /// The number in the HELLO of the new connection.
    pub takeover: u32,
}

impl Moved {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = [0; 12];
        let (offset, takeover) = body.split_at_mut(8);
        offset.copy_from_slice(&self.offset.to_be_bytes());
        takeover.copy_from_slice(&self.takeover.to_be_bytes());
        with_header(FrameType::Moved, &body)
    }

    /// Decodes a body.
    ///
    /// # Errors
    /// [`Error::CutShort`].
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let cut = || Error::CutShort {
            frame: "MOVED",
            field: "offset and takeover",
            wanted: 12,
            found: body.len(),
        };
        let (offset, rest) = body.split_first_chunk::<8>().ok_or_else(cut)?;
        let takeover = rest.first_chunk::<4>().ok_or_else(cut)?;
        Ok(Self {
            offset: u64::from_be_bytes(*offset),
            takeover: u32::from_be_bytes(*takeover),
        })
    }
}

/// How far a takeover has come.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) enum Takeover {
    /// There is none.
    #[default]
    None,
    /// The initiator dials or waits for WELCOME.
    Asked,
    /// Both know of the new connection.
    Agreed {
        /// Our MOVED is sent.
        left: bool,
        /// The peer's MOVED has come.
        followed: bool,
    },
}

impl Session {
    /// Begins a takeover: what HELLO on the new connection has to say, the number and the offset. To be
    /// followed by [`Session::on_takeover_welcome`] or [`Session::give_up`].
    ///
    /// # Errors
    /// [`Error::NoTakeover`]: only an initiator may, while bytes flow, in version 2, one at a time.
    pub fn begin_takeover(&mut self) -> Result<(u32, u64), Error> {
        self.may_move(Role::Initiator)?;
        if self.is_moving() {
            return Err(Error::NoTakeover("another one is under way"));
        }
        self.connection = self
            .connection
            .checked_add(1)
            .ok_or(Error::NoTakeover("the numbers are used up"))?;
        self.takeover = Takeover::Asked;
        Ok((self.connection, self.received))
    }

    /// The responder's answer to a HELLO on a new connection: the offset for WELCOME. Who sent it has been
    /// checked by the caller. If it is refused nothing has happened to the session.
    ///
    /// # Errors
    /// [`Error::NoTakeover`]: only of a responder, while bytes flow, in version 2, which stays the same; with
    /// a number above all before, unless the former attempt has moved already; with an offset that can be.
    /// [`Error::OtherSession`].
    pub fn on_takeover_hello(&mut self, hello: &Hello) -> Result<u64, Error> {
        self.may_move(Role::Responder)?;
        if hello.session != self.id {
            return Err(Error::OtherSession);
        }
        if !(hello.version_min..=hello.version_max).contains(&self.version()) {
            return Err(Error::NoTakeover("the session speaks another version"));
        }
        if hello.takeover <= self.connection {
            return Err(Error::NoTakeover("a later one was here before"));
        }
        if self.settling || matches!(self.takeover, Takeover::Agreed { followed: true, .. }) {
            return Err(Error::NoTakeover("another one is under way"));
        }
        self.check_offset(hello.offset)?;
        self.connection = hello.takeover;
        self.takeover = Takeover::Agreed {
            left: false,
            followed: false,
        };
        Ok(self.received)
    }

    /// The initiator is welcome on the new connection: [`Session::depart`] says when to use it.
    ///
    /// # Errors
    /// [`Error::NoTakeover`] if it was not asked for, or the offset cannot be; [`Error::OtherSession`].
    pub fn on_takeover_welcome(&mut self, welcome: &Welcome) -> Result<(), Error> {
        self.may_move(Role::Initiator)?;
        if welcome.session != self.id {
            return Err(Error::OtherSession);
        }
        if self.takeover != Takeover::Asked {
            return Err(Error::NoTakeover("it was not asked for"));
        }
        if welcome.version != self.version() {
            return Err(Error::NoTakeover("the session speaks another version"));
        }
        self.check_offset(welcome.offset)?;
        self.takeover = Takeover::Agreed {
            left: false,
            followed: false,
        };
        Ok(())
    }

    /// The attempt with this number came to nothing. Whether the session goes on as if it had not been;
    /// not so if bytes have moved already.
    pub fn give_up(&mut self, number: u32) -> bool {
        if number != self.connection {
            return true;
        }
        match self.takeover {
            Takeover::Agreed { left, followed } if left || followed => false,
            _ => {
                self.takeover = Takeover::None;
                true
            }
        }
    }

    /// The MOVED to send as the last frame on the old connection, if it is time for it. What is sent after
    /// it goes over the new one. To be asked between two frames.
    pub fn depart(&mut self) -> Option<Moved> {
        let Takeover::Agreed {
            left: false,
            followed,
        } = self.takeover
        else {
            return None;
        };
        if self.phase() != Phase::Streaming || (self.role == Role::Responder && !followed) {
            return None;
        }
        self.takeover = if followed {
            Takeover::None
        } else {
            Takeover::Agreed {
                left: true,
                followed: false,
            }
        };
        Some(Moved {
            offset: self.sent,
            takeover: self.connection,
        })
    }

    /// The new connection is read from here on: what came before MOVED on the old one has found its place, and so has the
    /// old one.
    pub const fn settle(&mut self) {
        self.settling = false;
    }

    /// Whether a takeover is under way.
    #[must_use]
    pub fn is_moving(&self) -> bool {
        self.settling || self.takeover != Takeover::None
    }

    /// The number of the newest takeover, 0 before the first.
    #[must_use]
    pub const fn connection(&self) -> u32 {
        self.connection
    }

    /// The peer's MOVED: all that it sent on the old connection has been read.
    ///
    /// The next takeover may begin once [`Session::settle`] is called.
    pub(crate) fn on_moved(&mut self, moved: Moved) -> Result<(), Error> {
        let bad = |why| Error::BadMove {
            offset: moved.offset,
            takeover: moved.takeover,
            why,
        };
        if moved.takeover != self.connection {
            return Err(bad("wanted the number of the newest takeover"));
        }
        if moved.offset != self.received {
            return Err(bad("wanted the offset at which this connection ends"));
        }
        let first = self.role == Role::Initiator;
        self.takeover = match self.takeover {
            Takeover::Agreed {
                left: true,
                followed: false,
            } => Takeover::None,
            Takeover::Agreed {
                left: false,
                followed: false,
            } if !first => Takeover::Agreed {
                left: false,
                followed: true,
            },
            _ => return Err(bad("wanted a takeover that has come this far")),
        };
        self.settling = true;
        Ok(())
    }

    fn may_move(&self, role: Role) -> Result<(), Error> {
        if self.role != role {
            return Err(Error::NoTakeover("only the initiator takes a session over"));
        }
        if self.phase() != Phase::Streaming {
            return Err(Error::NoTakeover(
                "the session is not up, or has no connection",
            ));
        }
        if self.version() < VERSION_TAKEOVER {
            return Err(Error::NoTakeover("the session speaks version 1"));
        }
        Ok(())
    }

    /// What the peer says it has received must have been sent. It may be less than what it has acknowledged: that went
    /// over the other connection, and was faster.
    const fn check_offset(&self, offset: u64) -> Result<(), Error> {
        if offset > self.sent {
            return Err(Error::NoTakeover("the offset does not fit the session"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
