//! What is said to a gateway before it carries a link: from whom, to whom, and its answer (docs/decisions/0020).
//!
//! One message each way, with its length in 16 bits in front, on a TLS connection of its own; behind the answer the bytes of the link
//! follow as they are, without that TLS. Nothing here is proven but by whoever sent it: the two agents prove each other inside.

use crate::Error;
use crate::fields::{Fields, put_text};
use crate::hello::SessionId;

#[cfg(test)]
mod tests;

const MAGIC: [u8; 4] = *b"SKNW";
const VERSION: u8 = 1;
/// Longest message, its length not counted: what six texts take, and room for what later versions say.
pub const MAX_WAY: usize = 4096;

/// A node of a cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct End {
    /// Its trust domain.
    pub trust_domain: String,
    /// Its cluster.
    pub cluster: String,
    /// What it calls itself.
    pub node: String,
}

/// Asks a gateway for a way to a node.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ask {
    /// The session of the link: the same on the whole way, so that what each says of it can be put together.
    pub session: SessionId,
    /// Who calls.
    pub from: End,
    /// Who is called.
    pub to: End,
}

/// What a gateway answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The way is open: what follows goes to the agent of the node that is called.
    Open {
        /// What the caller is called over there.
        alias: String,
    },
    /// Somebody on the way does not let it through. Asking again does not help.
    Refused(String),
    /// The next one could not be reached.
    Unreachable(String),
}

impl Ask {
    /// The message, behind its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        body.extend_from_slice(&self.session);
        for end in [&self.from, &self.to] {
            for text in [&end.trust_domain, &end.cluster, &end.node] {
                put_text(&mut body, text);
            }
        }
        framed(&body)
    }

    /// Reads a message without its length. Bytes after the last known field belong to later versions and are ignored.
    ///
    /// # Errors
    /// A wrong magic, another version, a field cut short, a text that is not UTF-8.
    pub fn decode(message: &[u8]) -> Result<Self, Error> {
        let mut fields = begin(message)?;
        let session = fields.array("session")?;
        let mut end = || {
            Ok::<_, Error>(End {
                trust_domain: fields.text("trust domain")?,
                cluster: fields.text("cluster")?,
                node: fields.text("node")?,
            })
        };
        Ok(Self {
            session,
            from: end()?,
            to: end()?,
        })
    }
}

impl Answer {
    /// The message, behind its length.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let (kind, text) = match self {
            Self::Open { alias } => (0, alias),
            Self::Refused(why) => (1, why),
            Self::Unreachable(why) => (2, why),
        };
        // Texts for people may be longer than names.
        let cut = (0..=text.len().min(255)).rev();
        let cut = cut.into_iter().find(|at| text.is_char_boundary(*at));
        let mut body = vec![kind];
        put_text(&mut body, text.get(..cut.unwrap_or(0)).unwrap_or_default());
        framed(&body)
    }

    /// Reads a message without its length.
    ///
    /// # Errors
    /// As [`Ask::decode`].
    pub fn decode(message: &[u8]) -> Result<Self, Error> {
        let mut fields = begin(message)?;
        let [kind] = fields.array::<1>("kind")?;
        let text = fields.text("text")?;
        Ok(match kind {
            0 => Self::Open { alias: text },
            1 => Self::Refused(text),
            // What later versions may say besides: it is not open.
            _ => Self::Unreachable(text),
        })
    }
}

fn begin(message: &[u8]) -> Result<Fields<'_>, Error> {
    let mut fields = Fields {
        frame: "WAY",
        rest: message,
    };
    let found = fields.array::<4>("magic")?;
    if found != MAGIC {
        return Err(Error::BadMagic { found });
    }
    let [version] = fields.array::<1>("version")?;
    if version == 0 {
        return Err(Error::Version {
            min: version,
            max: version,
            ours_min: VERSION,
            ours_max: VERSION,
        });
    }
    Ok(fields)
}

fn framed(body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len() + 5).unwrap_or(u16::MAX);
    let mut out = Vec::with_capacity(body.len() + 7);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(&MAGIC);
    out.push(VERSION);
    out.extend_from_slice(body);
    out
}
