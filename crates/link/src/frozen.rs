//! A session and its window as bytes, and back: what another process of the same host has to know to go on with a link. The
//! connection is not part of it: the session is resumed.
//!
//! ```text
//! session: role:8 version:8 id:128 sent:64 acknowledged:64 received:64 ack_sent:64 connection:32
//! window:  offset:64 sent:64 decided:64 bytes
//! ```

use crate::takeover::Takeover;
use crate::{
    Error, Phase, Role, Session, SessionId, VERSION_MAX, VERSION_RESUME, WINDOW_LEAST, Window,
};

/// Takes integers off the front.
struct Input<'a> {
    what: &'static str,
    rest: &'a [u8],
}

impl Input<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::CutShort {
            frame: self.what,
            field: "frozen state",
            wanted: N,
            found: self.rest.len(),
        })?;
        self.rest = rest;
        Ok(*taken)
    }

    fn number(&mut self) -> Result<u64, Error> {
        self.take().map(u64::from_be_bytes)
    }
}

impl Session {
    /// All of it, once [`Session::lost`] was called.
    #[must_use]
    pub fn freeze(&self) -> Vec<u8> {
        let role = match self.role {
            Role::Initiator => 0,
            Role::Responder => 1,
        };
        let mut out = vec![role, self.version()];
        out.extend(self.id);
        for number in [self.sent, self.acked, self.received, self.ack_sent] {
            out.extend(number.to_be_bytes());
        }
        out.extend(self.connection.to_be_bytes());
        out
    }

    /// The session that [`Session::freeze`] was of, without a connection.
    ///
    /// # Errors
    /// [`Error::CutShort`]; [`Error::NoResume`] for what no session freezes to, or of a version that does not resume.
    pub fn thaw(bytes: &[u8]) -> Result<Self, Error> {
        let mut input = Input {
            what: "session",
            rest: bytes,
        };
        let [role, version] = input.take()?;
        let id: SessionId = input.take()?;
        let mut session = match role {
            0 => Self::initiator(id),
            1 => Self::responder(),
            _ => return Err(Error::NoResume("the frozen session has no such role")),
        };
        if !(VERSION_RESUME..=VERSION_MAX).contains(&version) {
            return Err(Error::NoResume(
                "the frozen session speaks a version that cannot be resumed here",
            ));
        }
        session.version = version;
        session.id = id;
        session.sent = input.number()?;
        session.acked = input.number()?;
        session.received = input.number()?;
        session.ack_sent = input.number()?;
        session.connection = u32::from_be_bytes(input.take()?);
        session.phase = Phase::Adrift;
        session.takeover = Takeover::None;
        let holds = session.acked <= session.sent
            && session.ack_sent <= session.received
            && input.rest.is_empty();
        if holds {
            Ok(session)
        } else {
            Err(Error::NoResume("the frozen session contradicts itself"))
        }
    }
}

impl Window {
    /// All of it.
    #[must_use]
    pub fn freeze(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24 + self.end);
        for number in [self.offset, self.sent as u64, self.ready as u64] {
            out.extend(number.to_be_bytes());
        }
        for part in self.parts() {
            out.extend_from_slice(part);
        }
        out
    }

    /// The window that [`Window::freeze`] was of. One that holds more than `limit` takes nothing more until it holds less.
    ///
    /// # Errors
    /// [`Error::CutShort`]; [`Error::NoResume`] for what no window freezes to.
    pub fn thaw(bytes: &[u8], limit: usize) -> Result<Self, Error> {
        let mut input = Input {
            what: "window",
            rest: bytes,
        };
        let offset = input.number()?;
        let (sent, ready) = (input.number()?, input.number()?);
        let end = input.rest.len();
        let place = |number| usize::try_from(number).ok().filter(|place| *place <= end);
        let (Some(sent), Some(ready)) = (place(sent), place(ready)) else {
            return Err(Error::NoResume("the frozen window contradicts itself"));
        };
        if sent > ready || offset.checked_add(end as u64).is_none() {
            return Err(Error::NoResume("the frozen window contradicts itself"));
        }
        let mut kept = Vec::with_capacity(end.max(WINDOW_LEAST));
        kept.extend_from_slice(input.rest);
        kept.resize(end.max(WINDOW_LEAST), 0);
        Ok(Self {
            bytes: kept,
            offset,
            start: 0,
            first: None,
            sent,
            ready,
            end,
            limit: limit.max(WINDOW_LEAST),
            // Connections to services are not frozen.
            ended: false,
        })
    }

    /// Whether it is one of this session: it holds all that may have to be sent again.
    #[must_use]
    pub const fn fits(&self, session: &Session) -> bool {
        self.offset <= session.acked && session.sent <= self.offset + self.sent as u64
    }
}

#[cfg(test)]
mod tests;
