//! The log that can be checked without trusting whoever keeps it: its Merkle tree, tiles, signed checkpoints, witnesses, and how
//! all of it is verified.
//!
//! What lives here: bytes in, bytes and verdicts out. What does not: files, sockets, the store and clocks (the time is always
//! handed in). Writing goes through [`merkle::Frontier`] and [`tile`], reading through [`verify`].
//!
//! Sources: RFC 6962 (2.1) and RFC 9162 (2.1.3, 2.1.4); C2SP signed-note, tlog-checkpoint, tlog-tiles, tlog-cosignature, tlog-witness.
#![deny(clippy::indexing_slicing)]

pub mod checkpoint;
pub mod cosignature;
mod error;
pub mod export;
pub mod merkle;
pub mod note;
pub mod proof;
pub mod redact;
#[cfg(test)]
mod testing;
pub mod tile;
pub mod verify;
mod wire;
pub mod witness;

pub use error::{Error, Result};
