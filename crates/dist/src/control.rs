//! Control messages: the operations there are, and what each of them says.
//!
//! Here is the table of operations; [`Control`] and [`Message`] are read and written in the modules below.
//!
//! Source: `erl_dist_protocol.md` "Protocol between Connected Nodes", `erts/emulator/beam/dist.h`, OTP 25 to 29.

mod read;
mod signal;
#[cfg(test)]
mod tests;
mod write;

use core::fmt;

use crate::error::{Error, Result};
pub use read::Message;
pub use signal::{Control, Signal, Spawned, Target};

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $label:literal, arity $arity:pat, payload $payload:literal;)*) => {
        /// The operation of a control message: the first element of its tuple.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Op {
            $($(#[$doc])* $name = $code,)*
        }

        impl Op {
            /// Every operation, in the order of [`Op::index`].
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// The operation of this code, if there is one.
            #[must_use]
            pub const fn from_code(code: u8) -> Option<Self> {
                match code {
                    $($code => Some(Self::$name),)*
                    _ => None,
                }
            }

            /// A short, stable name, for a metric label.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $label,)*
                }
            }

            /// Whether the control tuple of this operation can have this many elements, the operation included.
            #[must_use]
            pub const fn has_arity(self, arity: u8) -> bool {
                match self {
                    $(Self::$name => matches!(arity, $arity),)*
                }
            }

            /// Whether a payload term follows the control tuple.
            #[must_use]
            pub const fn has_payload(self) -> bool {
                match self {
                    $(Self::$name => $payload,)*
                }
            }
        }
    };
}

operations! {
    /// `{1, FromPid, ToPid}`
    Link = 1, "link", arity 3, payload false;
    /// `{2, Unused, ToPid}`
    Send = 2, "send", arity 3, payload true;
    /// `{3, FromPid, ToPid, Reason}`
    Exit = 3, "exit", arity 4, payload false;
    /// `{4, FromPid, ToPid}`; obsolete since OTP 23, gone in OTP 26.
    Unlink = 4, "unlink", arity 3, payload false;
    /// `{5}`; never sent by a node of this century.
    NodeLink = 5, "node_link", arity 1, payload false;
    /// `{6, FromPid, Unused, ToName}`
    RegSend = 6, "reg_send", arity 4, payload true;
    /// `{7, FromPid, ToPid}`
    GroupLeader = 7, "group_leader", arity 3, payload false;
    /// `{8, FromPid, ToPid, Reason}`
    Exit2 = 8, "exit2", arity 4, payload false;
    /// `{12, Unused, ToPid, Token}`
    SendTt = 12, "send_tt", arity 4, payload true;
    /// `{13, FromPid, ToPid, Token, Reason}`
    ExitTt = 13, "exit_tt", arity 5, payload false;
    /// `{16, FromPid, Unused, ToName, Token}`
    RegSendTt = 16, "reg_send_tt", arity 5, payload true;
    /// `{18, FromPid, ToPid, Token, Reason}`
    Exit2Tt = 18, "exit2_tt", arity 5, payload false;
    /// `{19, FromPid, ToPidOrName, Ref}`
    MonitorP = 19, "monitor_p", arity 4, payload false;
    /// `{20, FromPid, ToPidOrName, Ref}`
    DemonitorP = 20, "demonitor_p", arity 4, payload false;
    /// `{21, FromPidOrName, ToPid, Ref, Reason}`
    MonitorPExit = 21, "monitor_p_exit", arity 5, payload false;
    /// `{22, FromPid, ToPid}`
    SendSender = 22, "send_sender", arity 3, payload true;
    /// `{23, FromPid, ToPid, Token}`
    SendSenderTt = 23, "send_sender_tt", arity 4, payload true;
    /// `{24, FromPid, ToPid}`
    PayloadExit = 24, "payload_exit", arity 3, payload true;
    /// `{25, FromPid, ToPid, Token}`
    PayloadExitTt = 25, "payload_exit_tt", arity 4, payload true;
    /// `{26, FromPid, ToPid}`
    PayloadExit2 = 26, "payload_exit2", arity 3, payload true;
    /// `{27, FromPid, ToPid, Token}`
    PayloadExit2Tt = 27, "payload_exit2_tt", arity 4, payload true;
    /// `{28, FromPidOrName, ToPid, Ref}`
    PayloadMonitorPExit = 28, "payload_monitor_p_exit", arity 4, payload true;
    /// `{29, ReqId, From, GroupLeader, {M, F, A}, Options}`; the payload is the argument list.
    SpawnRequest = 29, "spawn_request", arity 6, payload true;
    /// `{30, ReqId, From, GroupLeader, {M, F, A}, Options, Token}`
    SpawnRequestTt = 30, "spawn_request_tt", arity 7, payload true;
    /// `{31, ReqId, To, Flags, PidOrReason}`
    SpawnReply = 31, "spawn_reply", arity 5, payload false;
    /// `{32, ReqId, To, Flags, PidOrReason, Token}`
    SpawnReplyTt = 32, "spawn_reply_tt", arity 6, payload false;
    /// `{33, FromPid, Alias}`; deprecated in OTP 28.
    AliasSend = 33, "alias_send", arity 3, payload true;
    /// `{34, FromPid, Alias, Token}`
    AliasSendTt = 34, "alias_send_tt", arity 4, payload true;
    /// `{35, Id, FromPid, ToPid}`
    UnlinkId = 35, "unlink_id", arity 4, payload false;
    /// `{36, Id, FromPid, ToPid}`
    UnlinkIdAck = 36, "unlink_id_ack", arity 4, payload false;
    /// `{37, Flags, FromPid, To}` or `{37, Flags, FromPid, To, Token}`, OTP 28. `To` is a pid, a name or an alias, and
    /// the signal a message or an exit, as the flags say.
    AltactSigSend = 37, "altact_sig_send", arity 4 | 5, payload true;
}

impl Op {
    /// How many operations there are.
    pub const COUNT: usize = Self::ALL.len();

    /// The number of this operation on the wire.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// The place of this operation in [`Op::ALL`], below [`Op::COUNT`]: for tables of counters.
    #[must_use]
    pub const fn index(self) -> usize {
        // Codes are dense from 1 to 37, but for the gaps after 8, 13, 16.
        let code = self as usize;
        match code {
            1..=8 => code - 1,
            12..=13 => code - 4,
            16 => code - 6,
            _ => code - 7,
        }
    }

    /// How many elements the control tuple has, the operation included: the fewest, where there is a choice.
    #[must_use]
    pub const fn arity(self) -> u8 {
        let mut arity = 1;
        while !self.has_arity(arity) {
            arity += 1;
        }
        arity
    }

    /// Whether the control tuple carries the token of a sequential trace. [`Op::AltactSigSend`] says so in its flags.
    #[must_use]
    pub const fn has_token(self) -> bool {
        matches!(
            self,
            Self::SendTt
                | Self::ExitTt
                | Self::RegSendTt
                | Self::Exit2Tt
                | Self::SendSenderTt
                | Self::PayloadExitTt
                | Self::PayloadExit2Tt
                | Self::SpawnRequestTt
                | Self::SpawnReplyTt
                | Self::AliasSendTt
        )
    }

    /// The operation of a control tuple of this arity.
    ///
    /// # Errors
    /// [`Error::Unexpected`] for a code that is no operation; [`Error::Invalid`] if the operation cannot have this
    /// arity.
    pub const fn checked(code: u8, arity: u8) -> Result<Self> {
        let Some(op) = Self::from_code(code) else {
            return Err(Error::Unexpected {
                what: "control operation",
                found: code,
                wanted: "one of 1 to 8, 12, 13, 16, 18 to 37",
            });
        };
        if !op.has_arity(arity) {
            return Err(Error::Invalid {
                what: "control message",
                reason: "the operation cannot have this number of elements",
            });
        }
        Ok(op)
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
