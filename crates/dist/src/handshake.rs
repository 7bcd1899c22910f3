//! The handshake of OTP 23 and later (protocol version 6): its messages, the digest, and the length prefix.
//!
//! A connects to B: A sends [`SendName`]; B answers with [`Status`] and, where that lets A go on, [`Challenge`]; A
//! sends [`ChallengeReply`]; B ends with [`ChallengeAck`]. Message types decode and encode *bodies*; on TCP each goes
//! behind a 16-bit length ([`frame_u16`], [`split_u16`]), on TLS behind one of 32 bits, which is not done here.
//! Sequences and time-outs belong to the caller. Bytes behind a complete message are ignored, as the protocol demands.
//!
//! Source: `erl_dist_protocol.md` "Distribution Handshake", `kernel/src/dist_util.erl`.

#[cfg(test)]
mod tests;

use core::hint::black_box;

use md5::{Digest as _, Md5};

use crate::bytes::{Input, put_run_u16};
use crate::error::{Error, Result};
use crate::flags::Flags;
use crate::name::{self, MAX_NAME, NodeName};

/// The longest handshake or epmd message that is accepted, in bytes, without its length prefix. The longest that OTP
/// sends is a name of 255 bytes and some 20 more; the rest is room for extensions, which must be ignored.
/// OTP itself takes 64 KiB in the handshake, and 1,024 bytes in epmd.
pub const MAX_MESSAGE: usize = 1024;

/// Message 1, A to B: who A says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SendName {
    /// What A is capable of.
    pub flags: Flags,
    /// Tells incarnations of a node apart. 0 to 3 are reserved for old releases.
    pub creation: u32,
    /// The node name; only the host part of it if `flags` has [`Flags::NAME_ME`]. At most 255 bytes, checked like a
    /// [`NodeName`].
    pub name: String,
}

impl SendName {
    /// Whether A asks B for a name ([`Flags::NAME_ME`]). B answers with [`Status::Named`].
    #[must_use]
    pub const fn wants_name(&self) -> bool {
        self.flags.contains(Flags::NAME_ME)
    }

    /// The name that A claims; `None` if it asks to be given one.
    ///
    /// # Errors
    /// [`Error::NodeName`] if `name` is not one. Cannot happen to a decoded message.
    pub fn node(&self) -> Result<Option<NodeName>> {
        if self.wants_name() {
            Ok(None)
        } else {
            NodeName::from_bytes(self.name.as_bytes()).map(Some)
        }
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// [`Error::OldHandshake`] for a hello of OTP 22 and before; [`Error::NodeName`] if the name is none (with
    /// [`Flags::NAME_ME`]: if it is not a host); otherwise what is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("send_name", body)?;
        name_tag(&mut input)?;
        let flags = Flags(input.u64()?);
        let creation = input.u32()?;
        let bytes = input.run_u16(MAX_NAME)?;
        let text = name::checked_text(bytes)?;
        if !flags.contains(Flags::NAME_ME) {
            NodeName::from_bytes(bytes)?;
        } else if text.contains('@') {
            return Err(name::refused(
                bytes,
                "must be a host alone, since the node asks for a name",
            ));
        }
        Ok(Self {
            flags,
            creation,
            name: text.to_owned(),
        })
    }

    /// The body of this message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'N'];
        out.extend_from_slice(&self.flags.0.to_be_bytes());
        out.extend_from_slice(&self.creation.to_be_bytes());
        put_run_u16(&mut out, self.name.as_bytes());
        out
    }
}

/// Message 2, B to A: whether the handshake goes on. Also message 2b, A to B, after [`Status::Alive`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Status {
    /// Go on.
    Ok,
    /// Go on; B has given up its own attempt to connect to A at the same time.
    OkSimultaneous,
    /// Do not go on: B's own attempt to connect to A is under way, and wins.
    Nok,
    /// A may not connect.
    NotAllowed,
    /// A connection of a node of this name is still alive at B. A answers with [`Status::True`] or [`Status::False`].
    Alive,
    /// Go on under this name and creation: the answer to [`Flags::NAME_ME`].
    Named {
        /// The name that A has been given.
        name: NodeName,
        /// The creation that A has been given.
        creation: u32,
    },
    /// Answer to [`Status::Alive`]: go on, the old connection is dead.
    True,
    /// Answer to [`Status::Alive`]: do not go on.
    False,
}

impl Status {
    /// Whether B sends a [`Challenge`] next.
    #[must_use]
    pub const fn goes_on(&self) -> bool {
        matches!(self, Self::Ok | Self::OkSimultaneous | Self::Named { .. })
    }

    /// Reads the body of a message.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a status that does not exist, [`Error::NodeName`] for a name that is none; otherwise
    /// what is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("status", body)?;
        input.tag(b's', "'s'")?;
        if let Some(rest) = input.rest().strip_prefix(b"named:") {
            let mut input = Input::new("status named", rest);
            let name = NodeName::from_bytes(input.run_u16(MAX_NAME)?)?;
            return Ok(Self::Named {
                name,
                creation: input.u32()?,
            });
        }
        // The text has no length of its own: it is the whole message, so nothing can follow it.
        match input.rest() {
            b"ok" => Ok(Self::Ok),
            b"ok_simultaneous" => Ok(Self::OkSimultaneous),
            b"nok" => Ok(Self::Nok),
            b"not_allowed" => Ok(Self::NotAllowed),
            b"alive" => Ok(Self::Alive),
            b"true" => Ok(Self::True),
            b"false" => Ok(Self::False),
            _ => Err(Error::Invalid {
                what: "status",
                reason: "the text is not one of the protocol's",
            }),
        }
    }

    /// The body of this message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let text: &[u8] = match self {
            Self::Ok => b"sok",
            Self::OkSimultaneous => b"sok_simultaneous",
            Self::Nok => b"snok",
            Self::NotAllowed => b"snot_allowed",
            Self::Alive => b"salive",
            Self::Named { .. } => b"snamed:",
            Self::True => b"strue",
            Self::False => b"sfalse",
        };
        let mut out = text.to_vec();
        if let Self::Named { name, creation } = self {
            put_run_u16(&mut out, name.as_str().as_bytes());
            out.extend_from_slice(&creation.to_be_bytes());
        }
        out
    }
}

/// Message 3, B to A: who B is, and a number that A must know the cookie to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// What B is capable of.
    pub flags: Flags,
    /// A random number.
    pub challenge: u32,
    /// Tells incarnations of a node apart.
    pub creation: u32,
    /// B's name. A refuses one that differs from the name it dialled.
    pub name: NodeName,
}

impl Challenge {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// [`Error::OldHandshake`] for a challenge of OTP 22 and before; [`Error::NodeName`] if the name is none;
    /// otherwise what is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("challenge", body)?;
        name_tag(&mut input)?;
        let flags = Flags(input.u64()?);
        let challenge = input.u32()?;
        let creation = input.u32()?;
        let name = NodeName::from_bytes(input.run_u16(MAX_NAME)?)?;
        Ok(Self {
            flags,
            challenge,
            creation,
            name,
        })
    }

    /// The body of this message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'N'];
        out.extend_from_slice(&self.flags.0.to_be_bytes());
        out.extend_from_slice(&self.challenge.to_be_bytes());
        out.extend_from_slice(&self.creation.to_be_bytes());
        put_run_u16(&mut out, self.name.as_str().as_bytes());
        out
    }
}

/// Message 3b, A to B, only in a handshake that began with the old hello. Decoded so that it can be named in an error;
/// this crate refuses such a handshake at its first message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Complement {
    /// The upper 32 bits of A's flags.
    pub flags_high: u32,
    /// A's creation.
    pub creation: u32,
}

impl Complement {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// What is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("complement", body)?;
        input.tag(b'c', "'c'")?;
        Ok(Self {
            flags_high: input.u32()?,
            creation: input.u32()?,
        })
    }

    /// The body of this message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'c'];
        out.extend_from_slice(&self.flags_high.to_be_bytes());
        out.extend_from_slice(&self.creation.to_be_bytes());
        out
    }
}

/// Message 4, A to B: the answer to B's challenge, and a challenge of A's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChallengeReply {
    /// A's challenge.
    pub challenge: u32,
    /// The [`digest`] of B's challenge.
    pub digest: [u8; 16],
}

impl ChallengeReply {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// What is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("challenge reply", body)?;
        input.tag(b'r', "'r'")?;
        Ok(Self {
            challenge: input.u32()?,
            digest: input.array()?,
        })
    }

    /// The body of this message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'r'];
        out.extend_from_slice(&self.challenge.to_be_bytes());
        out.extend_from_slice(&self.digest);
        out
    }
}

/// Message 5, B to A: the answer to A's challenge. What follows are the frames of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChallengeAck {
    /// The [`digest`] of A's challenge.
    pub digest: [u8; 16],
}

impl ChallengeAck {
    /// Reads the body of a message.
    ///
    /// # Errors
    /// What is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("challenge ack", body)?;
        input.tag(b'a', "'a'")?;
        Ok(Self {
            digest: input.array()?,
        })
    }

    /// The body of this message.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![b'a'];
        out.extend_from_slice(&self.digest);
        out
    }
}

/// MD5 over the cookie and the challenge in decimal digits. It proves knowledge of the cookie and nothing else:
/// neither names nor flags nor the connection are part of it.
#[must_use]
pub fn digest(cookie: &[u8], challenge: u32) -> [u8; 16] {
    Md5::new()
        .chain_update(cookie)
        .chain_update(challenge.to_string())
        .finalize()
        .into()
}

/// Whether `claimed` is the [`digest`] of `challenge`. Takes the same time wherever the two differ.
#[must_use]
pub fn digest_matches(cookie: &[u8], challenge: u32, claimed: &[u8; 16]) -> bool {
    let difference = digest(cookie, challenge)
        .iter()
        .zip(claimed)
        .fold(0, |acc, (a, b)| black_box(acc | (a ^ b)));
    difference == 0
}

/// Puts a body behind its 16-bit length. Bodies of this crate are far below the 65,535 bytes which that can express;
/// a longer one would be cut.
#[must_use]
pub fn frame_u16(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 2);
    put_run_u16(&mut out, body);
    out
}

/// Takes the first message off a buffer: its body, and how many bytes of the buffer it used. `None` means that more
/// bytes are needed.
///
/// # Errors
/// [`Error::TooLarge`] if the announced length is above [`MAX_MESSAGE`], as soon as the length is there;
/// [`Error::Invalid`] if it is zero, which no message of handshake or epmd is.
pub fn split_u16(buffer: &[u8]) -> Result<Option<(&[u8], usize)>> {
    let Some((prefix, rest)) = buffer.split_first_chunk() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes(*prefix));
    if length == 0 {
        return Err(Error::Invalid {
            what: "message",
            reason: "its length is zero",
        });
    }
    if length > MAX_MESSAGE {
        return Err(Error::TooLarge {
            what: "message",
            found: length as u64,
            limit: MAX_MESSAGE as u64,
        });
    }
    Ok(rest.get(..length).map(|body| (body, length + 2)))
}

/// Starts to read a message body, if its size is within bounds.
pub(crate) fn message<'a>(what: &'static str, body: &'a [u8]) -> Result<Input<'a>> {
    if body.len() > MAX_MESSAGE {
        return Err(Error::TooLarge {
            what,
            found: body.len() as u64,
            limit: MAX_MESSAGE as u64,
        });
    }
    Ok(Input::new(what, body))
}

fn name_tag(input: &mut Input<'_>) -> Result<()> {
    if input.rest().first() == Some(&b'n') {
        return Err(Error::OldHandshake);
    }
    input.tag(b'N', "'N'")
}
