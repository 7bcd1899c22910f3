//! The Erlang distribution protocol without I/O: epmd, handshake, frames, control messages, terms and the atom cache.
//!
//! What lives here: bytes in, typed values out, and the way back. What does not: sockets, clocks, policy, and any
//! decision about who may do what. Sources: `erts/doc/guides/erl_dist_protocol.md` and `erl_ext_dist.md` of
//! Erlang/OTP, and `erts/emulator/beam/dist.h`; where a limit is ours, it is said so beside it.
//!
//! All input is treated as hostile: every decoder bounds what it reads, none allocates more than a small multiple of
//! its input, and none panics.
#![deny(clippy::indexing_slicing)]

pub mod answer;
pub mod atom_cache;
mod bytes;
pub mod control;
pub mod epmd;
mod error;
pub mod flags;
pub mod fragment;
pub mod frame;
pub mod gate;
pub mod handshake;
pub mod name;
pub mod operation;
pub mod rename;
pub mod stream;
pub mod term;

pub use control::{Control, Message, Op};
pub use error::Error;
pub use flags::Flags;
pub use name::NodeName;
