//! The protocol between two Skans agents: hello, frames, offsets, session. No I/O lives here.
//!
//! One TLS connection carries one distribution connection, or one connection to a service. What stands on the wire is recorded in
//! `docs/decisions/0002-link-protocol.md`; a change here is a change there.
//!
//! ```text
//!  initiator                                    responder
//!  HELLO   versions, session, from, to   ---->
//!                                        <----  WELCOME  version, session, clique
//!  HANDSHAKE send_name                   ---->
//!                                        <----  HANDSHAKE status, challenge
//!  HANDSHAKE reply (its node is proven)  ---->
//!                                        <----  HANDSHAKE ack (its node is proven)
//!  DATA offset, bytes                    <--->  DATA offset, bytes
//!  ACK offset                            <--->  ACK offset
//!  HEAD, WANT, DENY (version 2)          <--->  HEAD, WANT, DENY
//!  CLOSE reason                          <--->  CLOSE reason
//! ```
//!
//! A connection to a service (version 4) has no handshake of nodes, and each direction ends for itself:
//!
//! ```text
//!  HELLO   ..., service                  ---->
//!                                        <----  WELCOME
//!  DATA offset, bytes                    <--->  DATA offset, bytes
//!  END offset                            <--->  END offset
//! ```
//!
//! A session may move to a new connection (version 2, `takeover`):
//!
//! ```text
//!  new: HELLO session, offset, takeover  ---->
//!                                        <----  new: WELCOME session, offset
//!  old: MOVED offset                     ---->
//!  new: DATA from there on               ---->
//!                                        <----  old: MOVED offset
//!                                        <----  new: DATA from there on
//! ```
//!
//! After a loss it goes on with another one (version 3, `resume`), and both send again what the other has not got:
//!
//! ```text
//!  new: HELLO session, offset, resume    ---->
//!                                        <----  new: WELCOME session, offset
//!  new: DATA from the offset in WELCOME  <--->  new: DATA from the offset in HELLO
//! ```
#![deny(clippy::indexing_slicing)]

mod close;
mod decoder;
mod error;
mod fields;
mod frame;
mod frozen;
mod gossip;
mod hello;
mod resume;
mod session;
mod takeover;
mod way;
mod window;

pub use close::{Close, Reason};
pub use decoder::{Decoder, Piece};
pub use error::Error;
pub use frame::{
    DATA_HEADER, Frame, FrameType, MAX_CONTROL, MAX_DATA, MAX_DENY, MAX_HEAD, ack, data_header,
    end, handshake, ping, pong,
};
pub use gossip::{Denials, Gossip, HEADS_PER_SECOND, head, want};
pub use hello::{
    Clique, Hello, SessionId, VERSION_MAX, VERSION_MIN, VERSION_RESUME, VERSION_SERVICE,
    VERSION_TAKEOVER, Welcome, negotiate,
};
pub use session::{ACK_EVERY, Phase, Role, Session};
pub use takeover::Moved;
pub use way::{Answer, Ask, End, MAX_WAY};
pub use window::{WINDOW_LEAST, Window};
