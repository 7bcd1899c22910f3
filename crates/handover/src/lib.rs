//! What an agent tells the process that takes its place, in bytes: who asks, what listens, which nodes are registered, and each
//! link. No I/O lives here, and no meaning: sockets go beside the bytes, and what they are for is said in `skans_agent`.
//!
//! The format is recorded in `docs/decisions/0017-taking-over.md`; a change here is a change there.
//!
//! ```text
//!  new                                          old
//!  ASK     formats, release              ---->
//!                                        <----  DOORS   format; listeners, state lock    + sockets
//!  READY   it could start                ---->
//!                                               (from here on the old one serves nothing)
//!                                        <----  NODE, STANDIN, LINK, TABLE ...           + sockets
//!                                        <----  DONE    how many there were
//!  TAKEN                                 ---->
//!                                        <----  GO      (from here on the new one serves)
//! ```
#![deny(clippy::indexing_slicing)]

mod error;
mod frame;
mod message;

pub use error::Error;
pub use frame::{HEADER, Header, MAX_FDS, MAX_TEXT, encode};
pub use message::{
    Ask, Counts, Done, Door, Doors, Evidence, FORMAT_MAX, FORMAT_MIN, FORMAT_SERVICES, Kind, Link,
    LinkParts, Message, Node, NodeParts, Proof, Refused, StandIn, Table, TableParts, Traffic, Use,
    agree,
};
