//! What a reader finds: terms that hold no other, and the beginnings of those that do.

use super::{Atom, Pid, Port, Reference};

/// One term that holds no other, or the beginning of one that does. The terms inside a container follow it, in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Token<'a> {
    /// An integer of at most 64 bits.
    Integer(i64),
    /// Any other integer.
    Big {
        /// Whether it is below zero.
        negative: bool,
        /// Its magnitude, least significant byte first, the most significant one not 0.
        digits: &'a [u8],
    },
    /// A floating point number; never infinite, never "not a number".
    Float(f64),
    /// An atom.
    Atom(Atom<'a>),
    /// A process.
    Pid(Pid<'a>),
    /// A port.
    Port(Port<'a>),
    /// A reference.
    Reference(Reference<'a>),
    /// The beginning of a tuple: this many elements follow.
    Tuple(u32),
    /// The beginning of a list: this many elements follow, and then the tail ([`Token::Nil`] in a proper list).
    List(u32),
    /// The empty list.
    Nil,
    /// A list of bytes, complete; never empty.
    String(&'a [u8]),
    /// A binary.
    Binary(&'a [u8]),
    /// A bit string that does not end with a whole byte.
    Bits {
        /// Its bytes, the last one filled up with zeros.
        bytes: &'a [u8],
        /// How many bits of the last byte count, from the most significant one: 1 to 8.
        last: u8,
    },
    /// The beginning of a map: this many pairs follow, key before value.
    Map(u32),
    /// The beginning of a fun: its free variables follow.
    Fun {
        /// How many arguments it takes.
        arity: u8,
        /// MD5 of what matters of its module.
        unique: [u8; 16],
        /// Its number in the module.
        index: u32,
        /// How many free variables follow.
        free: u32,
        /// Its module.
        module: Atom<'a>,
        /// Its number in the module, of old.
        old_index: i64,
        /// A hash of its parse tree, of old.
        old_unique: i64,
        /// The process that made it.
        pid: Pid<'a>,
    },
    /// `fun M:F/A`.
    Export {
        /// M.
        module: Atom<'a>,
        /// F.
        function: Atom<'a>,
        /// A.
        arity: u8,
    },
    /// The beginning of a native record (OTP 29): the names of its fields follow, and then their values.
    Record {
        /// How many fields it has.
        fields: u32,
        /// Flags; bit 0: exported.
        flags: u8,
        /// The module that defines it.
        module: Atom<'a>,
        /// Its name.
        name: Atom<'a>,
    },
}

impl Token<'_> {
    /// How many terms follow that belong to this one.
    #[must_use]
    pub fn children(&self) -> u64 {
        match self {
            Self::Tuple(count) | Self::Fun { free: count, .. } => (*count).into(),
            Self::List(count) => u64::from(*count) + 1,
            Self::Map(count) | Self::Record { fields: count, .. } => u64::from(*count) * 2,
            _ => 0,
        }
    }
}
