//! What a message asks its receiver to do: the function inside an `erpc`, the request inside a `gen_call`, a system
//! message.
//!
//! What lives here: the shapes that OTP's processes and behaviours act on. What does not: who may ask for it, and the
//! processes of applications, whose messages are [`Operation::Send`] and judged by the name they go to.
//!
//! The payload is read as the receiving VM reads it: a shape is found in whatever legal encoding it comes. Where the
//! part that decides is not seen within [`crate::gate::HOLD`], or a process of OTP is asked for something that is not
//! known here, the operation is [`Operation::Unknown`].
//!
//! Source: `erpc.erl`, `rpc.erl`, `net_kernel.erl`, `global.erl`, `init.erl`, `supervisor.erl`, `gen_event.erl`,
//! `group.erl`, `timer.erl`, `application_controller.erl` and `erts_internal.erl` of OTP 25 to 29.

mod apply;
mod hands;
mod known;
mod list;
mod methods;
mod ordinary;
mod scan;
mod shapes;
#[cfg(test)]
mod tests;
mod walk;

use core::fmt;
use std::borrow::Cow;

use crate::control::{Signal, Target};
use crate::error::{Error, Result};
use crate::gate::Shown;
use crate::term::{Pid, Reference};
use shapes::Form;
use walk::Walk;

pub use hands::told;
pub use ordinary::is_ordinary;
pub use scan::{Handle, MAX_HANDLES, handed_out, literal_atoms};

/// What could be said about a message from what is there of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read<T> {
    /// All that is wanted.
    Whole(T),
    /// Nothing yet: more of the payload is needed, and there is more ([`Shown::may_grow`]).
    More,
}

/// Whom a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum To<'a> {
    /// Whoever is registered under a name.
    Name(&'a str),
    /// A process.
    Pid(&'a Pid<'a>),
    /// Whoever has this alias.
    Alias(&'a Reference<'a>),
    /// Processes that the one it is sent to passes it on to, none of which is known to bear a name. [`told`] tells which
    /// they are.
    Told,
}

/// A function that is to be called.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Function<'a> {
    /// The module.
    pub module: Cow<'a, str>,
    /// The function.
    pub function: Cow<'a, str>,
    /// How many arguments are in the list that it is applied to.
    pub arity: u32,
    /// Whether that list was not seen to its end: there may be more of them behind the first 64 KiB.
    pub open: bool,
}

/// What a message asks its receiver to do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// What keeps nodes in step, and has an effect on nothing but what was set up before: ops 3 to 5, 13, 20, 21, 24,
    /// 25, 28, 31, 32, 35 and 36.
    Housekeeping,
    /// A message that no process of OTP takes for more: ops 2, 6, 12, 16, 22, 23, 33, 34, 37.
    Send {
        /// To whom.
        to: To<'a>,
    },
    /// A function is to be called and its result sent back: `erpc:call`, `rpc:call`, `rpc:block_call`; also the
    /// function that an I/O request names.
    Call(Function<'a>),
    /// A function is to be called: `erpc:cast`, `rpc:cast`.
    Cast(Function<'a>),
    /// A process is to be started with a function: `spawn`, `timer:apply_after` and the like.
    Spawn(Function<'a>),
    /// Op 1.
    Link {
        /// The process to be linked.
        to: To<'a>,
    },
    /// Op 19.
    Monitor {
        /// The process to be monitored.
        to: To<'a>,
    },
    /// `exit/2` (ops 8, 18, 26, 27, 37), and messages that look like the exit of a linked process.
    Exit {
        /// The process that is to exit.
        to: To<'a>,
    },
    /// Op 7.
    GroupLeader {
        /// The process that is to get another one.
        to: To<'a>,
    },
    /// `global:register_name`, `unregister_name`, and what else changes the table of global names by request.
    RegisterGlobal {
        /// The name server.
        to: To<'a>,
    },
    /// Anything said to the code server.
    ManageCode {
        /// The code server.
        to: To<'a>,
    },
    /// Anything said to the file server or the primary loader.
    AccessFiles {
        /// The one asked.
        to: To<'a>,
    },
    /// `init:stop` and its like, whatever is said to `heart` and to the handler of operating system signals.
    StopNode {
        /// The one asked.
        to: To<'a>,
    },
    /// What is said to the application controller, but for questions.
    ManageApplications {
        /// The application controller.
        to: To<'a>,
    },
    /// Children of a supervisor are to be started or ended, handlers of an event manager to be changed.
    Supervise {
        /// The one asked.
        to: To<'a>,
    },
    /// A system message (`sys`) that asks for a process's state or status.
    Inspect {
        /// To whom.
        to: To<'a>,
    },
    /// Any other system message: trace, new state, suspend, code change, terminate.
    SystemMessage {
        /// To whom.
        to: To<'a>,
    },
    /// Something else is asked of a process of OTP, or the deciding part was not seen. Not to be permitted by a role.
    Unknown {
        /// To whom; of a process to be started, the one that asks.
        to: To<'a>,
    },
}

/// Who waits for an answer, and for which.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Caller<'a> {
    /// A request to start a process.
    Spawn {
        /// Names the request.
        id: &'a Reference<'a>,
        /// The process that asks.
        from: &'a Pid<'a>,
    },
    /// A monitor.
    Monitor {
        /// The monitoring process.
        from: &'a Pid<'a>,
        /// The process to be monitored.
        to: To<'a>,
        /// The monitor.
        reference: &'a Reference<'a>,
    },
    /// A link.
    Link {
        /// The process that asks.
        from: &'a Pid<'a>,
        /// The process to be linked.
        to: &'a Pid<'a>,
    },
    /// `{From, {call, M, F, Args, GroupLeader}}` to `rex`, as C nodes ask (`ei_rpc`, `erl_call`): it waits for `{rex, Result}`.
    Remote {
        /// The process that asks, which is also the one that the message is from.
        from: Pid<'a>,
    },
    /// A `gen_call`, a call of `gen_event`, a request of `io`, and the `{From, Request}` of older ones.
    Request {
        /// The process that asks.
        from: Pid<'a>,
        /// Whom it asks.
        to: To<'a>,
        /// What the answer has to be tagged with, encoded; it may refer to the atoms of the message. Empty for nothing.
        tag: &'a [u8],
        /// The monitor that it has on whom it asks: `gen:call` uses it as tag. `None` where the request does not say, as
        /// `gen_server:multi_call` does before OTP 26: it has one all the same if it set one before.
        monitor: Option<Reference<'a>>,
    },
}

/// What was found out about a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<'a> {
    /// What it asks for.
    pub operation: Operation<'a>,
    /// What has to be permitted besides, as a [`Operation::Call`]: a function that the receiver may call later, with which a name is
    /// registered in `global`.
    pub also: Option<Function<'a>>,
    /// Whether the payload holds a fun or `fun M:F/A`, or the `{M, F, A}` of an Elixir agent, or was not seen to its
    /// end.
    pub carries_function: bool,
    /// How many atoms stand literally in the control message and in what was seen of the payload: each may be new to
    /// the receiver. [`literal_atoms`] tells which; those that the header brings along are [`Shown::new_atoms`].
    pub literal_atoms: usize,
    /// Who waits for an answer, if anybody does.
    pub caller: Option<Caller<'a>>,
}

/// Says what a message asks for.
///
/// # Errors
/// What is wrong with the payload: its receiver could not read it, and would close the connection.
pub fn read<'a>(message: &Shown<'a>) -> Result<Read<Found<'a>>> {
    read_with(message, None, None)
}

/// The same for a message to a pid that is known to bear `name`.
///
/// # Errors
/// As [`read`].
pub fn read_as<'a>(message: &Shown<'a>, name: &'a str) -> Result<Read<Found<'a>>> {
    read_with(message, Some(name), None)
}

/// The same for a message that is for [`To::Told`], as what it is for one of them that bears the name `told`; `name` is that of
/// whom it is sent to, if it is sent to a pid that bears one.
///
/// # Errors
/// As [`read`].
pub fn read_as_told<'a>(
    message: &Shown<'a>,
    name: Option<&'a str>,
    told: &'a str,
) -> Result<Read<Found<'a>>> {
    read_with(message, name, Some(told))
}

fn read_with<'a>(
    message: &Shown<'a>,
    name: Option<&'a str>,
    told: Option<&'a str>,
) -> Result<Read<Found<'a>>> {
    let named = |to| match (to, name) {
        (To::Pid(_), Some(name)) => To::Name(name),
        _ => to,
    };
    let plain = |operation, caller| {
        let mut found = Found {
            operation,
            also: None,
            carries_function: false,
            literal_atoms: 0,
            caller,
        };
        found.literal_atoms = message.control_atoms;
        Ok(Read::Whole(found))
    };
    match &message.control.signal {
        Signal::Unlink { .. }
        | Signal::UnlinkAck { .. }
        | Signal::NodeLink
        | Signal::Exit { .. }
        | Signal::Demonitor { .. }
        | Signal::MonitorExit { .. }
        | Signal::SpawnReply { .. } => plain(Operation::Housekeeping, None),
        Signal::Link { from, to } => plain(
            Operation::Link {
                to: named(To::Pid(to)),
            },
            Some(Caller::Link { from, to }),
        ),
        Signal::Monitor {
            from,
            to,
            reference,
        } => plain(
            Operation::Monitor {
                to: named(To::of(to)?),
            },
            Some(Caller::Monitor {
                from,
                to: To::of(to)?,
                reference,
            }),
        ),
        Signal::Exit2 { to, .. } => plain(
            Operation::Exit {
                to: named(To::of(to)?),
            },
            None,
        ),
        Signal::GroupLeader { to, .. } => plain(
            Operation::GroupLeader {
                to: named(To::Pid(to)),
            },
            None,
        ),
        Signal::Send { to, .. } => {
            let to = To::of(to)?;
            let found = shapes::message(named(to), told, Walk::new(message));
            finish(message, found, Operation::Unknown { to: named(to) }, to)
        }
        Signal::SpawnRequest {
            id,
            from,
            module,
            function,
            ..
        } => {
            let (Some(module), Some(function)) = (module.text(), function.text()) else {
                return Err(UNRESOLVED);
            };
            let found = apply::spawn(module, function, Walk::new(message)).map(Into::into);
            let otherwise = if apply::is_carrier(module, function) {
                // The function that will be called is further inside, and may be any.
                Operation::Unknown { to: To::Pid(from) }
            } else {
                Operation::Spawn(Function {
                    module: Cow::Borrowed(module),
                    function: Cow::Borrowed(function),
                    arity: 0,
                    open: true,
                })
            };
            let read = finish(message, found, otherwise, To::Pid(from))?;
            Ok(match read {
                Read::Whole(found) => Read::Whole(Found {
                    caller: Some(Caller::Spawn { id, from }),
                    ..found
                }),
                Read::More => Read::More,
            })
        }
    }
}

/// What the shapes say, with what the rest of the payload has to be looked at for. `otherwise` is what it is if not
/// enough of it will ever be seen.
fn finish<'a>(
    message: &Shown<'a>,
    found: Result<shapes::Shape<'a>>,
    otherwise: Operation<'a>,
    to: To<'a>,
) -> Result<Read<Found<'a>>> {
    let shape = match found {
        Err(error) if Walk::new(message).is_cut(&error) => return Ok(Read::More),
        Err(Error::Truncated { .. }) if !message.whole => shapes::Shape {
            operation: otherwise,
            function: false,
            also: None,
            request: None,
        },
        found => found?,
    };
    let rest = scan::of_payload(message)?;
    let open = match &shape.operation {
        Operation::Call(called) | Operation::Cast(called) | Operation::Spawn(called) => called.open,
        _ => false,
    };
    let may_hold_more = !rest.ended && !rest.function && !shape.function;
    if (open || may_hold_more) && rest.may_end {
        return Ok(Read::More);
    }
    Ok(Read::Whole(Found {
        operation: shape.operation,
        also: shape.also,
        carries_function: shape.function || rest.function || !rest.ended,
        literal_atoms: message.control_atoms.saturating_add(rest.atoms),
        caller: shape
            .request
            .and_then(|request| caller(message, request, to)),
    }))
}

/// Who waits. What has no tag of its own is answered only to whom it is from: nobody is told what he has not asked.
fn caller<'a>(message: &Shown<'a>, request: shapes::Request<'a>, to: To<'a>) -> Option<Caller<'a>> {
    let asks = || matches!(&message.control.signal, Signal::Send { from: Some(from), .. } if *from == request.from);
    let from = match request.form {
        Form::Remote => {
            return asks().then_some(Caller::Remote { from: request.from });
        }
        Form::Bare if !asks() => return None,
        Form::Bare | Form::Tagged => request.from,
    };
    Some(Caller::Request {
        from,
        to,
        tag: request.tag,
        monitor: request.monitor,
    })
}

const UNRESOLVED: Error = Error::Invalid {
    what: "control message",
    reason: "an atom refers to nothing",
};

impl<'a> To<'a> {
    fn of(target: &'a Target<'a>) -> Result<Self> {
        Ok(match target {
            Target::Pid(pid) => Self::Pid(pid),
            Target::Name(name) => Self::Name(name.text().ok_or(UNRESOLVED)?),
            Target::Alias(reference) => Self::Alias(reference),
        })
    }
}

impl<'a> Operation<'a> {
    /// Whom it is asked of, if it is asked of a process.
    #[must_use]
    pub const fn to(&self) -> Option<To<'a>> {
        match self {
            Self::Housekeeping | Self::Call(_) | Self::Cast(_) | Self::Spawn(_) => None,
            Self::Send { to }
            | Self::Link { to }
            | Self::Monitor { to }
            | Self::Exit { to }
            | Self::GroupLeader { to }
            | Self::RegisterGlobal { to }
            | Self::ManageCode { to }
            | Self::AccessFiles { to }
            | Self::StopNode { to }
            | Self::ManageApplications { to }
            | Self::Supervise { to }
            | Self::Inspect { to }
            | Self::SystemMessage { to }
            | Self::Unknown { to } => Some(*to),
        }
    }
}

impl fmt::Display for Function<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.module, self.function, self.arity)
    }
}
