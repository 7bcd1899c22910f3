//! External terms: what `term_to_binary` writes and what messages carry, OTP 25 to 29.
//!
//! [`Reader`] walks over terms without copying or recursion, [`Term`] is a tree for tools and tests, [`Writer`] says
//! what agents have to say themselves. Meaning (control messages, boot files) lives elsewhere.
//!
//! Source: `erl_ext_dist.md`, `erts/emulator/beam/external.c`. Like OTP, the reader refuses tags that no node sends
//! any more (`FUN_EXT`), and here also what has no place in a message: compressed terms (`COMPRESSED`) and terms in
//! the private form of another node (`LOCAL_EXT`). Unlike OTP it does not look for equal keys in a map.

mod data;
mod identifiers;
mod reader;
#[cfg(test)]
mod tests;
mod token;
mod tree;
mod values;
mod writer;

pub use data::is_data;
pub use identifiers::{Atom, MAX_REFERENCE_WORDS, Pid, Port, Reference};
pub use reader::Reader;
pub use token::Token;
pub use tree::{Fun, Record, Term};
pub(crate) use values::{bits, float, old_float, refused, utf8_atom};
pub use writer::Writer;

/// First byte of what `term_to_binary` writes, and of the terms in a frame without distribution header.
pub const VERSION: u8 = 131;

/// The longest atom, in characters; up to four bytes each. Erlang's own bound.
pub const MAX_ATOM: usize = 255;

/// External tags: the first byte of each term.
pub(crate) mod tag {
    pub(crate) const RECORD: u8 = b'C';
    pub(crate) const NEW_FLOAT: u8 = b'F';
    pub(crate) const BIT_BINARY: u8 = b'M';
    pub(crate) const COMPRESSED: u8 = b'P';
    pub(crate) const ATOM_CACHE_REF: u8 = b'R';
    pub(crate) const NEW_PID: u8 = b'X';
    pub(crate) const NEW_PORT: u8 = b'Y';
    pub(crate) const NEWER_REFERENCE: u8 = b'Z';
    pub(crate) const SMALL_INTEGER: u8 = b'a';
    pub(crate) const INTEGER: u8 = b'b';
    pub(crate) const FLOAT: u8 = b'c';
    pub(crate) const ATOM: u8 = b'd';
    pub(crate) const REFERENCE: u8 = b'e';
    pub(crate) const PORT: u8 = b'f';
    pub(crate) const PID: u8 = b'g';
    pub(crate) const SMALL_TUPLE: u8 = b'h';
    pub(crate) const LARGE_TUPLE: u8 = b'i';
    pub(crate) const NIL: u8 = b'j';
    pub(crate) const STRING: u8 = b'k';
    pub(crate) const LIST: u8 = b'l';
    pub(crate) const BINARY: u8 = b'm';
    pub(crate) const SMALL_BIG: u8 = b'n';
    pub(crate) const LARGE_BIG: u8 = b'o';
    pub(crate) const NEW_FUN: u8 = b'p';
    pub(crate) const EXPORT: u8 = b'q';
    pub(crate) const NEW_REFERENCE: u8 = b'r';
    pub(crate) const SMALL_ATOM: u8 = b's';
    pub(crate) const MAP: u8 = b't';
    pub(crate) const FUN: u8 = b'u';
    pub(crate) const ATOM_UTF8: u8 = b'v';
    pub(crate) const SMALL_ATOM_UTF8: u8 = b'w';
    pub(crate) const V4_PORT: u8 = b'x';
    pub(crate) const LOCAL: u8 = b'y';
}

/// What a reader accepts. OTP has no such limits; a node that reads a hostile term pays for it in its own memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest input, in bytes.
    pub size: usize,
    /// The most terms, each element of a container counted.
    pub count: u32,
    /// The deepest nesting of a [`Term`]. A byte, so that the stack suffices in any thread; the [`Reader`] itself does
    /// not nest, and ignores it.
    pub depth: u8,
}

impl Limits {
    /// 16 MiB, 262,144 terms, 200 levels. The largest term that is read whole is the boot file of a release (a few
    /// thousand terms for a small one, below 100,000 for those with every module listed), four levels deep; a tree of
    /// the greatest count takes some 16 MiB.
    pub const DEFAULT: Self = Self {
        size: 16 << 20,
        count: 1 << 18,
        depth: 200,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
