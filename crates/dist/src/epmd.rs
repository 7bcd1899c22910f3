//! The messages of epmd, the Erlang port mapper: both sides, requests and responses.
//!
//! Requests go behind a 16-bit length ([`crate::handshake::split_u16`], [`crate::handshake::frame_u16`]); responses have
//! none, and all but the one to ALIVE2 end with the connection. Who may ask what is not decided here.
//!
//! Source: `erl_dist_protocol.md` "EPMD Protocol", `erts/epmd/src/epmd_srv.c`.

#[cfg(test)]
mod tests;

use crate::bytes::{Input, put_run_u16};
use crate::error::{Error, Result};
use crate::handshake::message;
use crate::name::{self, MAX_NAME};

/// An ordinary node.
pub const NODE_NORMAL: u8 = 77;
/// A hidden node. Hidden nodes of OTP register as normal ones all the same: their hello is what counts.
pub const NODE_HIDDEN: u8 = 72;
/// The only protocol there is: TCP over IPv4 (also said by nodes that use IPv6).
pub const PROTOCOL_TCP: u8 = 0;
/// The version of the distribution protocol spoken since OTP 23.
pub const VERSION: u16 = 6;

/// The longest `extra` field, in bytes. OTP sends none; epmd keeps up to 1,020 bytes, which a message of
/// [`crate::handshake::MAX_MESSAGE`] bytes cannot hold beside a name.
pub const MAX_EXTRA: usize = 512;

/// What epmd knows of a node, as said in ALIVE2 and answered to PORT_PLEASE2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Where the node listens.
    pub port: u16,
    /// [`NODE_NORMAL`] or [`NODE_HIDDEN`]; other values are kept.
    pub node_type: u8,
    /// [`PROTOCOL_TCP`]; other values are kept.
    pub protocol: u8,
    /// Highest version of the distribution protocol that the node speaks.
    pub highest: u16,
    /// Lowest version of the distribution protocol that the node speaks.
    pub lowest: u16,
    /// The name without host; up to 255 bytes, no control characters, white space or `/`.
    pub name: String,
    /// Unused by OTP; at most [`MAX_EXTRA`] bytes.
    pub extra: Vec<u8>,
}

impl Registration {
    fn read(input: &mut Input<'_>) -> Result<Self> {
        Ok(Self {
            port: input.u16()?,
            node_type: input.u8()?,
            protocol: input.u8()?,
            highest: input.u16()?,
            lowest: input.u16()?,
            name: checked(input.run_u16(MAX_NAME)?)?,
            extra: input.run_u16(MAX_EXTRA)?.to_vec(),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.port.to_be_bytes());
        out.extend_from_slice(&[self.node_type, self.protocol]);
        out.extend_from_slice(&self.highest.to_be_bytes());
        out.extend_from_slice(&self.lowest.to_be_bytes());
        put_run_u16(out, self.name.as_bytes());
        put_run_u16(out, &self.extra);
    }
}

fn checked(name: &[u8]) -> Result<String> {
    name::checked_text(name).map(str::to_owned)
}

/// A request to epmd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    /// Register a node, for as long as the connection stays open.
    Alive2(Registration),
    /// Ask for a node by name. Usually the part before `@`; some clients of ours ask with the whole name.
    PortPlease2 {
        /// The name, up to 255 bytes.
        name: String,
    },
    /// List the registered nodes.
    Names,
    /// List everything, former registrations included.
    Dump,
    /// End epmd.
    Kill,
    /// Remove the registration of a node.
    Stop {
        /// The name, up to 255 bytes.
        name: String,
    },
}

impl Request {
    /// Reads the body of a request.
    ///
    /// # Errors
    /// [`Error::Unexpected`] for a request that does not exist; [`Error::NodeName`] for a name that no node can have;
    /// otherwise what is wrong with the form.
    pub fn decode(body: &[u8]) -> Result<Self> {
        let mut input = message("epmd request", body)?;
        match input.u8()? {
            b'x' => Ok(Self::Alive2(Registration::read(&mut input)?)),
            b'z' => Ok(Self::PortPlease2 {
                name: checked(input.rest())?,
            }),
            b'n' => Ok(Self::Names),
            b'd' => Ok(Self::Dump),
            b'k' => Ok(Self::Kill),
            // OTP's client ends the name with a NUL.
            b's' => Ok(Self::Stop {
                name: checked(input.rest().strip_suffix(b"\0").unwrap_or(input.rest()))?,
            }),
            found => Err(Error::Unexpected {
                what: "epmd request",
                found,
                wanted: "one of x z n d k s",
            }),
        }
    }

    /// The body of this request.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        match self {
            Self::Alive2(registration) => {
                out.push(b'x');
                registration.write(&mut out);
            }
            Self::PortPlease2 { name } => {
                out.push(b'z');
                out.extend_from_slice(name.as_bytes());
            }
            Self::Names => out.push(b'n'),
            Self::Dump => out.push(b'd'),
            Self::Kill => out.push(b'k'),
            Self::Stop { name } => {
                out.push(b's');
                out.extend_from_slice(name.as_bytes());
            }
        }
        out
    }
}

/// The answer to ALIVE2. The connection stays open; the registration ends with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alive2Response {
    /// `v`, for nodes that speak version 6.
    Wide {
        /// 0 = registered.
        result: u8,
        /// The creation which the node is to use.
        creation: u32,
    },
    /// `y`, for older nodes.
    Narrow {
        /// 0 = registered.
        result: u8,
        /// The creation which the node is to use, 1 to 3.
        creation: u16,
    },
}

impl Alive2Response {
    /// Whether the node is registered.
    #[must_use]
    pub const fn is_ok(&self) -> bool {
        matches!(
            self,
            Self::Wide { result: 0, .. } | Self::Narrow { result: 0, .. }
        )
    }

    /// How long a response is whose first byte is `tag`, in bytes.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if no response begins with it.
    pub const fn length(tag: u8) -> Result<usize> {
        match tag {
            b'v' => Ok(6),
            b'y' => Ok(4),
            found => Err(Error::Unexpected {
                what: "ALIVE2 response",
                found,
                wanted: "'v' or 'y'",
            }),
        }
    }

    /// Reads a response.
    ///
    /// # Errors
    /// What is wrong with the form.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = message("ALIVE2 response", bytes)?;
        match input.u8()? {
            b'v' => Ok(Self::Wide {
                result: input.u8()?,
                creation: input.u32()?,
            }),
            b'y' => Ok(Self::Narrow {
                result: input.u8()?,
                creation: input.u16()?,
            }),
            found => Err(Error::Unexpected {
                what: "ALIVE2 response",
                found,
                wanted: "'v' or 'y'",
            }),
        }
    }

    /// The bytes of this response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Wide { result, creation } => {
                [&[b'v', *result][..], &creation.to_be_bytes()].concat()
            }
            Self::Narrow { result, creation } => {
                [&[b'y', *result][..], &creation.to_be_bytes()].concat()
            }
        }
    }
}

/// The answer to PORT_PLEASE2. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortResponse {
    /// The node is registered.
    Found(Registration),
    /// It is not; `result` is not 0 (epmd says 1).
    NotFound {
        /// epmd's result code.
        result: u8,
    },
}

impl PortResponse {
    /// What epmd says of a node that it does not know.
    pub const NOT_FOUND: Self = Self::NotFound { result: 1 };

    /// Reads a response: everything that came until the connection ended.
    ///
    /// # Errors
    /// What is wrong with the form.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let mut input = message("PORT_PLEASE2 response", bytes)?;
        input.tag(b'w', "'w'")?;
        match input.u8()? {
            0 => Ok(Self::Found(Registration::read(&mut input)?)),
            result => Ok(Self::NotFound { result }),
        }
    }

    /// The bytes of this response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Found(registration) => {
                let mut out = vec![b'w', 0];
                registration.write(&mut out);
                out
            }
            Self::NotFound { result } => vec![b'w', *result],
        }
    }
}

/// The answer to NAMES: names without host, and ports. The connection ends with it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NamesResponse {
    /// The port on which epmd itself listens.
    pub epmd_port: u32,
    /// The registered nodes.
    pub nodes: Vec<(String, u16)>,
}

/// The longest answer to NAMES that is read, in bytes: some 200 names of the greatest length.
pub const MAX_NAMES: usize = 64 * 1024;

impl NamesResponse {
    /// Reads a response: everything that came until the connection ended.
    ///
    /// # Errors
    /// [`Error::TooLarge`] above [`MAX_NAMES`]; [`Error::Invalid`] if a line is not `name NAME at port PORT`;
    /// [`Error::NodeName`] if a name is none.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        if bytes.len() > MAX_NAMES {
            return Err(Error::TooLarge {
                what: "NAMES response",
                found: bytes.len() as u64,
                limit: MAX_NAMES as u64,
            });
        }
        let mut input = Input::new("NAMES response", bytes);
        let epmd_port = input.u32()?;
        let line = |line: &[u8]| {
            let text = core::str::from_utf8(line).ok()?;
            let (name, port) = text.strip_prefix("name ")?.rsplit_once(" at port ")?;
            Some((name.to_owned(), port.parse().ok()?))
        };
        let nodes = input
            .rest()
            .split(|byte| *byte == b'\n')
            .filter(|text| !text.is_empty())
            .map(|text| {
                let node: (String, u16) = line(text).ok_or(Error::Invalid {
                    what: "NAMES response",
                    reason: "a line is not 'name NAME at port PORT'",
                })?;
                checked(node.0.as_bytes())?;
                Ok(node)
            })
            .collect::<Result<_>>()?;
        Ok(Self { epmd_port, nodes })
    }

    /// The bytes of this response.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = self.epmd_port.to_be_bytes().to_vec();
        for (name, port) in &self.nodes {
            out.extend_from_slice(format!("name {name} at port {port}\n").as_bytes());
        }
        out
    }
}
