//! The greeting: who calls whom, in which version, in which session. HELLO and WELCOME.

use crate::Error;
use crate::fields::{Fields, put_text};
use crate::frame::{FrameType, with_header};

/// The lowest version that this build speaks. Neighbouring releases always interoperate.
pub const VERSION_MIN: u8 = 1;
/// The highest version that this build speaks.
pub const VERSION_MAX: u8 = 4;
/// From this version on sessions can be taken over, and agents hand heads on.
pub const VERSION_TAKEOVER: u8 = 2;
/// From this version on a session outlives the loss of its connection.
pub const VERSION_RESUME: u8 = 3;
/// From this version on a link may carry a service instead of a distribution connection.
pub const VERSION_SERVICE: u8 = 4;

const MAGIC: [u8; 4] = *b"SKNS";

/// Names a session for as long as it lives; random, chosen by the initiator.
pub type SessionId = [u8; 16];

/// A digest over the membership list under which this side would let the pair see each other.
/// Only two equal digests make a visible link: an equivalence, so that visible links form closed
/// cliques by construction. `None` asks for a hidden link.
pub type Clique = Option<[u8; 32]>;

/// The first frame of a link, from the agent that dials.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hello {
    /// Lowest version the sender speaks.
    pub version_min: u8,
    /// Highest version the sender speaks.
    pub version_max: u8,
    /// The session to open or to resume.
    pub session: SessionId,
    /// Offset of the first byte the sender still wants; 0 opens a session.
    pub offset: u64,
    /// The sender's node's `net_ticktime` in seconds; 0 if unknown.
    pub tick_seconds: u16,
    /// The sender's clique.
    pub clique: Clique,
    /// Name of the node that calls; host part only (`@host`) where the callee assigns the name.
    pub from: String,
    /// Name of the node that is called.
    pub to: String,
    /// 0 to open a session; otherwise the running one is taken over or resumed, and this counts the attempts of both from
    /// 1. Unknown to version 1.
    pub takeover: u32,
    /// The connection that the session had is gone, and it goes on with this one. Unknown to version 2.
    pub resume: bool,
    /// The service of the called node that is wanted; empty for the node itself. Unknown to version 3, so that who asks for one
    /// offers no version below [`VERSION_SERVICE`].
    pub service: String,
}

/// The answer to a [`Hello`], from the agent that was dialled.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Welcome {
    /// The version to speak from here on.
    pub version: u8,
    /// The session of the hello.
    pub session: SessionId,
    /// Offset of the first byte the sender still wants.
    pub offset: u64,
    /// The sender's node's `net_ticktime` in seconds; 0 if unknown.
    pub tick_seconds: u16,
    /// The sender's clique.
    pub clique: Clique,
}

/// The highest version that both ends speak.
///
/// # Errors
/// [`Error::Version`] when the ranges do not meet.
pub fn negotiate(min: u8, max: u8) -> Result<u8, Error> {
    let version = max.min(VERSION_MAX);
    if min > max || version < min.max(VERSION_MIN) {
        return Err(Error::Version {
            min,
            max,
            ours_min: VERSION_MIN,
            ours_max: VERSION_MAX,
        });
    }
    Ok(version)
}

impl Hello {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body =
            Vec::with_capacity(80 + self.from.len() + self.to.len() + self.service.len());
        body.extend_from_slice(&MAGIC);
        body.extend_from_slice(&[self.version_min, self.version_max]);
        body.extend_from_slice(&self.session);
        body.extend_from_slice(&self.offset.to_be_bytes());
        body.extend_from_slice(&self.tick_seconds.to_be_bytes());
        put_clique(&mut body, self.clique);
        put_text(&mut body, &self.from);
        put_text(&mut body, &self.to);
        // Each version ignores what it does not know: version 1 what follows, version 2 what comes after the first of it.
        body.extend_from_slice(&self.takeover.to_be_bytes());
        body.push(u8::from(self.resume));
        put_text(&mut body, &self.service);
        with_header(FrameType::Hello, &body)
    }

    /// Decodes a body. Bytes after the last known field belong to later versions and are ignored.
    ///
    /// # Errors
    /// A wrong magic, a field cut short, a name over 255 bytes or not UTF-8.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields {
            frame: "HELLO",
            rest: body,
        };
        let found = fields.array::<4>("magic")?;
        if found != MAGIC {
            return Err(Error::BadMagic { found });
        }
        let [version_min, version_max] = fields.array::<2>("versions")?;
        let mut hello = Self {
            version_min,
            version_max,
            session: fields.array("session")?,
            offset: u64::from_be_bytes(fields.array("offset")?),
            tick_seconds: u16::from_be_bytes(fields.array("tick")?),
            clique: clique(&mut fields)?,
            from: fields.text("from")?,
            to: fields.text("to")?,
            takeover: 0,
            resume: false,
            service: String::new(),
        };
        if version_max >= VERSION_TAKEOVER {
            hello.takeover = u32::from_be_bytes(fields.array("takeover")?);
        }
        if version_max >= VERSION_RESUME {
            let [resume] = fields.array::<1>("resume")?;
            hello.resume = resume != 0;
        }
        if version_max >= VERSION_SERVICE {
            hello.service = fields.text("service")?;
        }
        Ok(hello)
    }
}

impl Welcome {
    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        body.push(self.version);
        body.extend_from_slice(&self.session);
        body.extend_from_slice(&self.offset.to_be_bytes());
        body.extend_from_slice(&self.tick_seconds.to_be_bytes());
        put_clique(&mut body, self.clique);
        with_header(FrameType::Welcome, &body)
    }

    /// Decodes a body. Bytes after the last known field belong to later versions and are ignored.
    ///
    /// # Errors
    /// A field cut short.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let mut fields = Fields {
            frame: "WELCOME",
            rest: body,
        };
        let [version] = fields.array::<1>("version")?;
        Ok(Self {
            version,
            session: fields.array("session")?,
            offset: u64::from_be_bytes(fields.array("offset")?),
            tick_seconds: u16::from_be_bytes(fields.array("tick")?),
            clique: clique(&mut fields)?,
        })
    }
}

fn put_clique(body: &mut Vec<u8>, clique: Clique) {
    body.push(u8::from(clique.is_some()));
    body.extend_from_slice(&clique.unwrap_or_default());
}

fn clique(fields: &mut Fields<'_>) -> Result<Clique, Error> {
    let [present] = fields.array::<1>("clique")?;
    let digest = fields.array::<32>("clique")?;
    Ok((present == 1).then_some(digest))
}

#[cfg(test)]
mod tests;
