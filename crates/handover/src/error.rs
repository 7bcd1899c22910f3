//! What can be wrong with what the other process says.

use crate::Kind;

/// What the other process said is not of this format. Trying again with the same two releases will not help; an ordinary
/// restart will.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No format in common.
    #[error(
        "handover: the new process knows formats {min} to {max}, the old one {ours_min} to {ours_max}; wanted one in common: restart the agent instead"
    )]
    Format {
        /// Lowest of the process that asks.
        min: u16,
        /// Highest of it.
        max: u16,
        /// Lowest of the one that is asked.
        ours_min: u16,
        /// Highest of it.
        ours_max: u16,
    },
    /// No message begins like this.
    #[error("handover: found message type {0}, wanted 1 to 11")]
    Unknown(u8),
    /// Something is longer, or there is more of it, than may be.
    #[error("handover: {what} of {found}, wanted at most {limit}")]
    TooLong {
        /// What.
        what: &'static str,
        /// How much of it.
        found: u64,
        /// The bound.
        limit: u64,
    },
    /// The text of a message is not what it should be.
    #[error("handover: {kind:?}: {problem}")]
    Text {
        /// Of which message.
        kind: Kind,
        /// What is wrong with it.
        problem: String,
    },
    /// The bytes of a message are not the parts that it has.
    #[error("handover: {kind:?}: its {found} bytes are not {wanted} parts")]
    Parts {
        /// Of which message.
        kind: Kind,
        /// How many there are.
        found: usize,
        /// How many parts there should be.
        wanted: usize,
    },
    /// Sockets that do not belong to a message, or are missing.
    #[error("handover: {kind:?} with {found} sockets, wanted {wanted}")]
    Sockets {
        /// Of which message.
        kind: Kind,
        /// How many came.
        found: usize,
        /// How many it has.
        wanted: usize,
    },
}
