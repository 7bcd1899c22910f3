//! What a control message says, typed. Several operations say the same in different forms: the form is kept apart.

use crate::term::{Atom, Pid, Reference};

/// A control message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control<'a> {
    /// Its operation: in which form the signal is said.
    pub op: super::Op,
    /// The token of a sequential trace, encoded, in the forms that carry one.
    pub token: Option<&'a [u8]>,
    /// What it says.
    pub signal: Signal<'a>,
}

/// What a control message says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal<'a> {
    /// 1: set up a link.
    Link {
        /// The process that asks.
        from: Pid<'a>,
        /// The process to be linked.
        to: Pid<'a>,
    },
    /// 4, 35: take a link away.
    Unlink {
        /// What the acknowledgement is to say; absent in the obsolete form.
        id: Option<u64>,
        /// The process that asks.
        from: Pid<'a>,
        /// The linked process.
        to: Pid<'a>,
    },
    /// 36: a link has been taken away. Must reach the asking process before any other signal of the sender.
    UnlinkAck {
        /// What the request said.
        id: u64,
        /// The linked process.
        from: Pid<'a>,
        /// The process that had asked.
        to: Pid<'a>,
    },
    /// 5: nothing.
    NodeLink,
    /// 2, 6, 12, 16, 22, 23, 33, 34, 37: a message, which is the payload.
    Send {
        /// The sender; absent in the forms 2 and 12.
        from: Option<Pid<'a>>,
        /// The receiver.
        to: Target<'a>,
        /// Sent with priority (37 only).
        priority: bool,
    },
    /// 3, 13, 24, 25: a link has been broken by the exit of a process.
    Exit {
        /// The process that has exited.
        from: Pid<'a>,
        /// The process that was linked to it.
        to: Pid<'a>,
        /// Why, encoded; absent where it is the payload.
        reason: Option<&'a [u8]>,
    },
    /// 8, 18, 26, 27, 37: an exit signal by `exit/2`.
    Exit2 {
        /// The process that sends it.
        from: Pid<'a>,
        /// The receiver: a pid, and in form 37 also an alias.
        to: Target<'a>,
        /// Why, encoded; absent where it is the payload.
        reason: Option<&'a [u8]>,
        /// Sent with priority (37 only).
        priority: bool,
    },
    /// 7: set the group leader.
    GroupLeader {
        /// The group leader to be.
        from: Pid<'a>,
        /// The process that is to get it.
        to: Pid<'a>,
    },
    /// 19: set up a monitor.
    Monitor {
        /// The monitoring process.
        from: Pid<'a>,
        /// The process to be monitored, by pid or name.
        to: Target<'a>,
        /// The monitor.
        reference: Reference<'a>,
    },
    /// 20: take a monitor away.
    Demonitor {
        /// The monitoring process.
        from: Pid<'a>,
        /// The monitored process, by pid or name.
        to: Target<'a>,
        /// The monitor.
        reference: Reference<'a>,
    },
    /// 21, 28: a monitor fires.
    MonitorExit {
        /// The monitored process, by pid or name.
        from: Target<'a>,
        /// The monitoring process.
        to: Pid<'a>,
        /// The monitor.
        reference: Reference<'a>,
        /// Why, encoded; absent where it is the payload.
        reason: Option<&'a [u8]>,
    },
    /// 29, 30: start a process. The payload is the list of arguments.
    SpawnRequest {
        /// Names the request; also the monitor, if one is asked for.
        id: Reference<'a>,
        /// The process that asks.
        from: Pid<'a>,
        /// The group leader of the process to be.
        group_leader: Pid<'a>,
        /// The module to start in.
        module: Atom<'a>,
        /// The function to start with.
        function: Atom<'a>,
        /// How many arguments it takes.
        arity: u8,
        /// The list of options, encoded.
        options: &'a [u8],
    },
    /// 31, 32: what has become of a request to start a process.
    SpawnReply {
        /// Names the request.
        id: Reference<'a>,
        /// The process that asked.
        to: Pid<'a>,
        /// 1: a link has been set up; 2: a monitor.
        flags: u8,
        /// The process, or why there is none.
        result: Spawned<'a>,
    },
}

/// The result of a request to start a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spawned<'a> {
    /// The process.
    Pid(Pid<'a>),
    /// Why there is none, `badarg` or the like.
    Failed(Atom<'a>),
}

/// Who a signal is for, or about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target<'a> {
    /// A process.
    Pid(Pid<'a>),
    /// Whoever is registered under a name.
    Name(Atom<'a>),
    /// Whoever has this alias.
    Alias(Reference<'a>),
}

/// Flags of operation 37 (`ERTS_DOP_ALTACT_SIG_FLG_*` of `dist.h`, OTP 28).
pub(super) mod altact {
    pub(crate) const PRIORITY: u8 = 1;
    pub(crate) const TOKEN: u8 = 2;
    pub(crate) const ALIAS: u8 = 4;
    pub(crate) const NAME: u8 = 8;
    pub(crate) const EXIT: u8 = 16;
}
