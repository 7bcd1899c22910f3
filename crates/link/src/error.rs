//! What can be wrong with what a peer agent sends. Every variant is the peer's fault.

use crate::FrameType;

/// A breach of the link protocol by the peer. The link is closed; retrying with the same peer
/// software will fail in the same way, so nothing here is worth a retry.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The first bytes are not those of a Skans hello.
    #[error("the peer does not speak the link protocol: found magic {found:02x?}, wanted \"SKNS\"")]
    BadMagic {
        /// The four bytes found.
        found: [u8; 4],
    },
    /// A field is cut short.
    #[error("{frame} frame ends inside {field}: wanted {wanted} more bytes, found {found}")]
    CutShort {
        /// The kind of frame.
        frame: &'static str,
        /// The field that is incomplete.
        field: &'static str,
        /// Bytes that the field needs.
        wanted: usize,
        /// Bytes that were left.
        found: usize,
    },
    /// A frame type of no known version.
    #[error("unknown frame type {0}, wanted 1 to 13")]
    UnknownFrame(u8),
    /// A frame is longer than its kind may be.
    #[error("{frame:?} frame of {found} bytes, wanted at most {limit}")]
    TooLong {
        /// The kind of frame.
        frame: FrameType,
        /// Its claimed length in bytes.
        found: usize,
        /// The bound in bytes.
        limit: usize,
    },
    /// A frame that the present phase of the session does not allow.
    #[error("{frame:?} frame while {phase}, wanted {wanted}")]
    OutOfPhase {
        /// The kind of frame.
        frame: FrameType,
        /// What the session is doing.
        phase: &'static str,
        /// What could have come instead.
        wanted: &'static str,
    },
    /// A data frame does not start where the last one ended.
    #[error("data at offset {found}, wanted {wanted}: bytes were lost or doubled")]
    OffsetGap {
        /// Offset in the frame.
        found: u64,
        /// Offset that continues the stream.
        wanted: u64,
    },
    /// More of a stream that has ended.
    #[error("{frame:?} frame behind the end of the stream")]
    AfterEnd {
        /// The kind of frame.
        frame: FrameType,
    },
    /// An acknowledgement of bytes that were never sent, or that goes back.
    #[error("acknowledged offset {found}, wanted {least} to {most}")]
    BadAck {
        /// Offset in the frame.
        found: u64,
        /// The newest offset acknowledged before.
        least: u64,
        /// All that was sent.
        most: u64,
    },
    /// No version in common.
    #[error("the peer speaks link versions {min} to {max}, this agent {ours_min} to {ours_max}")]
    Version {
        /// Lowest version of the peer.
        min: u8,
        /// Highest version of the peer.
        max: u8,
        /// Lowest version here.
        ours_min: u8,
        /// Highest version here.
        ours_max: u8,
    },
    /// Text that is not UTF-8.
    #[error("{field} is not UTF-8")]
    NotText {
        /// The field.
        field: &'static str,
    },
    /// A welcome for another session than the one greeted.
    #[error("the peer answered for another session")]
    OtherSession,
    /// A takeover that cannot be. It concerns the new connection alone; the session goes on with the old one.
    #[error("no takeover: {0}")]
    NoTakeover(&'static str),
    /// A session that cannot be resumed like this. It concerns the new connection alone.
    #[error("not resumed: {0}")]
    NoResume(&'static str),
    /// A MOVED that nothing has led up to, or that does not fit.
    #[error("MOVED at offset {offset} for takeover {takeover}: {why}")]
    BadMove {
        /// Offset in the frame.
        offset: u64,
        /// Number in the frame.
        takeover: u32,
        /// What was wanted.
        why: &'static str,
    },
    /// A HEAD, WANT or DENY while it is not the peer's turn.
    #[error("{frame:?} frame out of turn: {why}")]
    OutOfTurn {
        /// The kind of frame.
        frame: FrameType,
        /// What was wanted.
        why: &'static str,
    },
    /// More heads than one a peer may send.
    #[error("heads come too fast, wanted at most {0} a second")]
    TooManyHeads(u32),
}

impl Error {
    /// A stable word for metrics and logs.
    #[must_use]
    pub const fn label(&self) -> &'static str {
        match self {
            Self::BadMagic { .. } => "bad_magic",
            Self::CutShort { .. } => "cut_short",
            Self::UnknownFrame(_) => "unknown_frame",
            Self::TooLong { .. } => "too_long",
            Self::OutOfPhase { .. } => "out_of_phase",
            Self::OffsetGap { .. } => "offset_gap",
            Self::AfterEnd { .. } => "after_end",
            Self::BadAck { .. } => "bad_ack",
            Self::Version { .. } => "version",
            Self::NotText { .. } => "not_text",
            Self::OtherSession => "other_session",
            Self::NoTakeover(_) => "no_takeover",
            Self::NoResume(_) => "no_resume",
            Self::BadMove { .. } => "bad_move",
            Self::OutOfTurn { .. } => "out_of_turn",
            Self::TooManyHeads(_) => "too_many_heads",
        }
    }
}
