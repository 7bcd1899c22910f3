//! Why a session ends: a code that programs act on, and a sentence that people read.

use crate::Error;
use crate::frame::{FrameType, with_header};

/// Longest explanation in bytes; it ends up in a log line.
const MAX_TEXT: usize = 512;

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $label:literal, $retry:literal;)*) => {
        /// Why a session ended. Numbers of later versions decode to [`Reason::Other`].
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[non_exhaustive]
        pub enum Reason {
            $($(#[$doc])* $name,)*
            /// A reason of a later version.
            Other(u16),
        }

        impl Reason {
            /// All reasons of this version.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The number on the wire.
            #[must_use]
            pub const fn code(self) -> u16 {
                match self { $(Self::$name => $code,)* Self::Other(code) => code }
            }

            /// The reason with this number.
            #[must_use]
            pub const fn from_code(code: u16) -> Self {
                match code { $($code => Self::$name,)* other => Self::Other(other) }
            }

            /// A stable word for metrics and logs.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* Self::Other(_) => "other" }
            }

            /// Whether the same attempt may succeed later without anybody changing anything.
            #[must_use]
            pub const fn may_retry(self) -> bool {
                match self { $(Self::$name => $retry,)* Self::Other(_) => false }
            }
        }
    };
}

reasons! {
    /// The node ended its connection: an ordinary disconnect.
    NodeLeft = 1, "node_left", true;
    /// The agent is being stopped.
    Draining = 2, "draining", true;
    /// The certificate may not carry the node name that was claimed or dialled.
    WrongName = 3, "wrong_name", false;
    /// The pair is not allowed to connect.
    NotPermitted = 4, "not_permitted", false;
    /// No such node is registered with this agent.
    UnknownNode = 5, "unknown_node", true;
    /// The node is registered, and does not answer.
    NodeUnreachable = 6, "node_unreachable", true;
    /// The node and its agent do not agree: a wrong cookie, or a malformed handshake.
    NodeHandshake = 7, "node_handshake", false;
    /// The other agent broke the link protocol.
    Protocol = 8, "protocol", false;
    /// No protocol version in common.
    Version = 9, "version", false;
    /// The same node came back under a new creation; this session belongs to its past.
    Superseded = 10, "superseded", true;
    /// A bound on links or set-ups is reached.
    TooMany = 11, "too_many", true;
    /// The session to resume or to take over is not known here, or is not for this caller.
    UnknownSession = 12, "unknown_session", false;
    /// A step took longer than it may.
    TimedOut = 13, "timed_out", true;
    /// The node itself said no, by a status of the handshake.
    NodeRefused = 14, "node_refused", true;
    /// The stream of the node could not be understood.
    BadStream = 15, "bad_stream", false;
    /// Something in the agent failed that is not the peer's doing.
    Internal = 16, "internal", true;
    /// A certificate that opened the link has run out, and no takeover came in time.
    Expired = 17, "expired", true;
    /// The control plane has denied one of the two: by key, identity, node name or issuer.
    Denied = 18, "denied", false;
    /// A head or entries of the deny stream that do not verify.
    Unverifiable = 19, "unverifiable", false;
    /// Nobody has told this agent for too long who is denied.
    Stale = 20, "stale", true;
    /// No service of that name is offered by that node.
    UnknownService = 21, "unknown_service", false;
    /// The service takes no connection, or not in time.
    ServiceDown = 22, "service_down", true;
    /// Both directions of a service's connection have ended, and all of both has arrived.
    Done = 23, "done", true;
    /// The client or the service gave its connection up.
    Reset = 24, "reset", true;
}

/// The CLOSE frame.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Close {
    /// What programs act on.
    pub reason: Reason,
    /// What people read: at most 512 bytes; all but printable ASCII and letters that run from left to right is replaced
    /// when it is decoded, because the peer chooses it and it ends up in logs and terminals.
    pub text: String,
}

impl Close {
    /// A close with an explanation.
    pub fn new(reason: Reason, text: impl Into<String>) -> Self {
        Self {
            reason,
            text: text.into(),
        }
    }

    /// The whole frame.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut end = self.text.len().min(MAX_TEXT);
        while !self.text.is_char_boundary(end) {
            end -= 1;
        }
        let mut body = self.reason.code().to_be_bytes().to_vec();
        body.extend_from_slice(self.text.as_bytes().get(..end).unwrap_or_default());
        with_header(FrameType::Close, &body)
    }

    /// Decodes a body; text that is not UTF-8 is repaired, for a reason is better than none.
    ///
    /// # Errors
    /// [`Error::CutShort`] without a code.
    pub fn decode(body: &[u8]) -> Result<Self, Error> {
        let Some((code, text)) = body.split_first_chunk::<2>() else {
            return Err(Error::CutShort {
                frame: "CLOSE",
                field: "code",
                wanted: 2,
                found: body.len(),
            });
        };
        let text = String::from_utf8_lossy(text.get(..MAX_TEXT).unwrap_or(text))
            .chars()
            .map(|c| if is_plain(c) { c } else { '\u{fffd}' })
            .collect();
        Ok(Self {
            reason: Reason::from_code(u16::from_be_bytes(*code)),
            text,
        })
    }
}

/// Whether a character can do nothing to the text around it: no line, no colour, no order of reading, not invisible.
fn is_plain(c: char) -> bool {
    match c {
        ' '..='~' => true,
        // Blocks of scripts that run from right to left.
        '\u{590}'..='\u{8ff}'
        | '\u{fb1d}'..='\u{fdff}'
        | '\u{fe70}'..='\u{feff}'
        | '\u{10800}'..='\u{10fff}'
        | '\u{1e800}'..='\u{1efff}' => false,
        c => c.is_alphanumeric(),
    }
}

#[cfg(test)]
mod tests;
