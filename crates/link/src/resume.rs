//! Going on after a loss (docs/decisions/0016): both sides give the connection up, tell each other how far they have read,
//! and send again from there. What has to be kept for it is in `window`.
//!
//! Unlike a takeover it does not need the old connection, and does not trust it: once a side has said how far it has read
//! it reads no further there.

use crate::takeover::Takeover;
use crate::{Error, Hello, Phase, Role, Session, VERSION_RESUME, Welcome};

impl Session {
    /// The connection is gone, or is given up: nothing that it still brings counts. A takeover that was under way has come to
    /// nothing. Whether there may be another connection; if not, the session is over.
    pub fn lost(&mut self) -> bool {
        if self.phase == Phase::Streaming {
            self.phase = Phase::Adrift;
            self.takeover = Takeover::None;
            self.settling = false;
            // It comes again.
            self.ended = self.taken;
        }
        self.phase == Phase::Adrift && self.is_resumable()
    }

    /// Whether it outlives the loss of a connection: not before bytes flow, and not in a version that does not know how.
    #[must_use]
    pub fn is_resumable(&self) -> bool {
        matches!(self.phase, Phase::Streaming | Phase::Adrift) && self.version() >= VERSION_RESUME
    }

    /// Begins an attempt of the initiator: the number and the offset for HELLO. An attempt before it is thereby past.
    ///
    /// # Errors
    /// [`Error::NoResume`]: only an initiator may, after [`Session::lost`], in version 3.
    pub fn begin_resume(&mut self) -> Result<(u32, u64), Error> {
        self.may_resume(Role::Initiator)?;
        if self.phase != Phase::Adrift {
            return Err(Error::NoResume("it has a connection"));
        }
        self.connection = self
            .connection
            .checked_add(1)
            .ok_or(Error::NoResume("the numbers are used up"))?;
        Ok((self.connection, self.received))
    }

    /// Whether a HELLO could resume this session, once its connection is given up. To be asked before that, so that nobody
    /// ends a good connection by an old greeting.
    ///
    /// # Errors
    /// [`Error::NoResume`], [`Error::OtherSession`].
    pub fn could_resume(&self, hello: &Hello) -> Result<(), Error> {
        self.may_resume(Role::Responder)?;
        if hello.session != self.id {
            return Err(Error::OtherSession);
        }
        if !hello.resume {
            return Err(Error::NoResume("it was not asked for"));
        }
        if !(hello.version_min..=hello.version_max).contains(&self.version()) {
            return Err(Error::NoResume("the session speaks another version"));
        }
        if hello.takeover <= self.connection {
            return Err(Error::NoResume("a later attempt was here before"));
        }
        self.check_reach(hello.offset)
    }

    /// The responder's answer to a HELLO that resumes: the offset for WELCOME. From here on the session uses that connection,
    /// and what the caller keeps is to be sent again from the offset in HELLO. Who sent it has been checked by the caller. If
    /// it is refused nothing has happened.
    ///
    /// # Errors
    /// [`Error::NoResume`], [`Error::OtherSession`].
    pub fn on_resume_hello(&mut self, hello: &Hello) -> Result<u64, Error> {
        self.could_resume(hello)?;
        if self.phase != Phase::Adrift {
            return Err(Error::NoResume("it has a connection"));
        }
        self.connection = hello.takeover;
        self.go_on(hello.offset);
        Ok(self.received)
    }

    /// The initiator is welcome on the connection of its newest attempt: the session uses it from here on, and what the caller
    /// keeps is to be sent again from the offset in WELCOME.
    ///
    /// # Errors
    /// [`Error::NoResume`], [`Error::OtherSession`]; nothing has happened then.
    pub fn on_resume_welcome(&mut self, welcome: &Welcome) -> Result<(), Error> {
        self.may_resume(Role::Initiator)?;
        if self.phase != Phase::Adrift {
            return Err(Error::NoResume("it has a connection"));
        }
        if welcome.session != self.id {
            return Err(Error::OtherSession);
        }
        if welcome.version != self.version() {
            return Err(Error::NoResume("the session speaks another version"));
        }
        self.check_reach(welcome.offset)?;
        self.go_on(welcome.offset);
        Ok(())
    }

    /// All before `offset` has arrived; what was sent beyond it has not.
    const fn go_on(&mut self, offset: u64) {
        self.acked = offset;
        self.sent = offset;
        // The greeting says it.
        self.ack_sent = self.received;
        self.phase = Phase::Streaming;
    }

    fn may_resume(&self, role: Role) -> Result<(), Error> {
        if self.role != role {
            return Err(Error::NoResume("only the initiator resumes a session"));
        }
        if !self.is_resumable() {
            return Err(Error::NoResume(
                "it is not up, or speaks a version before 3",
            ));
        }
        Ok(())
    }

    /// What the peer has read was sent, and is no less than what it has acknowledged.
    const fn check_reach(&self, offset: u64) -> Result<(), Error> {
        if offset < self.acked || offset > self.sent {
            return Err(Error::NoResume("the offset does not fit the session"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
