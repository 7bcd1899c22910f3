//! Capability flags of the handshake: one constant per bit, and which of them this crate understands.
//!
//! Source: `erts/emulator/beam/dist.h` and `erl_dist_protocol.md`, OTP 25 to 29.

#[cfg(test)]
mod tests;

use core::fmt;

/// The 64 capability bits of a handshake message. Unknown bits are kept until [`Flags::known`] removes them.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Flags(pub u64);

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $bit:literal;)*) => {
        impl Flags {
            $($(#[$doc])* pub const $name: Self = Self(1 << $bit);)*

            const NAMES: &'static [(Self, &'static str)] = &[$((Self::$name, stringify!($name))),*];
        }
    };
}

flags! {
    /// Take part in the visible mesh; a node without it is hidden.
    PUBLISHED = 0;
    /// The atom cache of old times. Obsolete: not in [`Flags::KNOWN`].
    ATOM_CACHE = 1;
    /// References of more than one word. Mandatory since OTP 25.
    EXTENDED_REFERENCES = 2;
    /// Process monitors.
    DIST_MONITOR = 3;
    /// Funs in the old form. Mandatory since OTP 25.
    FUN_TAGS = 4;
    /// Monitors of registered names.
    DIST_MONITOR_NAME = 5;
    /// The old atom cache of hidden nodes. Obsolete: not in [`Flags::KNOWN`].
    HIDDEN_ATOM_CACHE = 6;
    /// Funs as `NEW_FUN_EXT`. Mandatory since OTP 25.
    NEW_FUN_TAGS = 7;
    /// Pids and ports of more than 28 bits. Mandatory since OTP 25.
    EXTENDED_PIDS_PORTS = 8;
    /// `EXPORT_EXT`. Mandatory since OTP 25.
    EXPORT_PTR_TAG = 9;
    /// `BIT_BINARY_EXT`. Mandatory since OTP 25.
    BIT_BINARIES = 10;
    /// `NEW_FLOAT_EXT`. Mandatory since OTP 25.
    NEW_FLOATS = 11;
    /// Unicode in the I/O protocol.
    UNICODE_IO = 12;
    /// Frames with a distribution header and atom cache. May be refused by clearing it.
    DIST_HDR_ATOM_CACHE = 13;
    /// Small atoms.
    SMALL_ATOM_TAGS = 14;
    /// Used inside the VM only, never on the wire: not in [`Flags::KNOWN`].
    ETS_COMPRESSED = 15;
    /// Atoms in UTF-8. Mandatory since OTP 25.
    UTF8_ATOMS = 16;
    /// Maps. Mandatory since OTP 25.
    MAP_TAG = 17;
    /// Creations of 32 bits. Mandatory since OTP 25.
    BIG_CREATION = 18;
    /// `SEND_SENDER` (operations 22 and 23) in place of `SEND`.
    SEND_SENDER = 19;
    /// Any term as label of a sequential trace.
    BIG_SEQTRACE_LABELS = 20;
    /// Used inside the VM only, never on the wire: not in [`Flags::KNOWN`].
    PENDING_CONNECT = 21;
    /// Exit reasons as payload (operations 24 to 28).
    EXIT_PAYLOAD = 22;
    /// Large messages in fragments. May be refused by clearing it.
    FRAGMENTS = 23;
    /// The handshake of OTP 23 (`N`). Mandatory since OTP 25.
    HANDSHAKE_23 = 24;
    /// `UNLINK_ID` and its acknowledgement. Mandatory since OTP 26.
    UNLINK_ID = 25;
    /// Shorthand for everything that is mandatory since OTP 25.
    MANDATORY_25_DIGEST = 26;
    /// Spawn requests (operations 29 to 32). Not enforced by the receiver: clearing it forbids nothing.
    SPAWN = 32;
    /// A request, not a capability: the connecting node asks to be given a name.
    NAME_ME = 33;
    /// Pids, ports and references of 64 bits. Mandatory since OTP 26.
    V4_NC = 34;
    /// Process aliases (operations 33 and 34). Not to be cleared: a `gen_server` replies to an alias, and a reply to a
    /// node without them is dropped.
    ALIAS = 35;
    /// Terms of the own node in a local form; never on the wire: not in [`Flags::KNOWN`].
    LOCAL_EXT = 36;
    /// `ALTACT_SIG_SEND` (operation 37), OTP 28.
    ALTACT_SIG = 37;
    /// Native records (external tag 67), OTP 29.
    NATIVE_RECORDS = 38;
}

impl Flags {
    /// No flag at all.
    pub const EMPTY: Self = Self(0);

    /// What OTP 25 demands of every peer.
    pub const MANDATORY_25: Self = Self(0x0107_0F94);

    /// What OTP 26 and later demand of every peer.
    pub const MANDATORY_26: Self = Self(Self::MANDATORY_25.0 | Self::V4_NC.0 | Self::UNLINK_ID.0);

    /// Every bit whose effect on the stream this crate understands. Bits outside must be cleared in both hellos of a
    /// connection that is to be read: a later release may give them a meaning that changes the stream.
    pub const KNOWN: Self = {
        let mut known = 0;
        let mut names = Self::NAMES;
        while let [(flag, _), rest @ ..] = names {
            known |= flag.0;
            names = rest;
        }
        let not_on_the_wire = Self::ATOM_CACHE.0
            | Self::HIDDEN_ATOM_CACHE.0
            | Self::ETS_COMPRESSED.0
            | Self::PENDING_CONNECT.0
            | Self::LOCAL_EXT.0;
        Self(known & !not_on_the_wire)
    };

    /// Only the bits of [`Flags::KNOWN`].
    #[must_use]
    pub const fn known(self) -> Self {
        Self(self.0 & Self::KNOWN.0)
    }

    /// Whether every bit of `other` is set.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// These flags and those of `other`.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// These flags, those of `other` cleared.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// What both sides offer: the capabilities of a connection.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether the node that sent these flags is hidden.
    #[must_use]
    pub const fn is_hidden(self) -> bool {
        !self.contains(Self::PUBLISHED)
    }

    /// These flags with the shorthand written out: a peer that sends [`Flags::MANDATORY_25_DIGEST`] means all of
    /// [`Flags::MANDATORY_25`].
    #[must_use]
    pub const fn expanded(self) -> Self {
        if self.contains(Self::MANDATORY_25_DIGEST) {
            self.with(Self::MANDATORY_25)
        } else {
            self
        }
    }
}

impl fmt::Display for Flags {
    /// The names of the bits that are set, and what has no name in hexadecimal.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = *self;
        let mut separator = "";
        for (flag, name) in Self::NAMES {
            if self.contains(*flag) {
                write!(f, "{separator}{name}")?;
                separator = "|";
                rest = rest.without(*flag);
            }
        }
        match (rest, *self) {
            (_, Self::EMPTY) => f.write_str("none"),
            (Self::EMPTY, _) => Ok(()),
            (Self(unknown), _) => write!(f, "{separator}{unknown:#x}"),
        }
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Flags({:#x} = {self})", self.0)
    }
}
