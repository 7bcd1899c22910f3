//! What an agent answers in the place of the process that a refused message did not reach, and takes back there.
//!
//! What lives here: whole frames, made of nothing but what the request says about itself. They go back on the same
//! connection, between two frames ([`crate::gate::Gate::is_between_frames`]), and use no atom cache.

#[cfg(test)]
mod tests;

use crate::control::{Control, Op, Signal, Target};
use crate::error::Result;
use crate::frame::{self, Header};
use crate::operation::{Caller, To};
use crate::stream::FrameKind;
use crate::term::Writer;

/// The reason that every answer gives: "permission denied", as the file functions of OTP say it.
pub const REASON: &str = "eacces";

/// The frame that tells a caller that it was refused; `None` where nothing can be said that it would understand: a
/// `gen_call` is answered by the monitor that the caller has on whom it asks, and one without monitor is not.
///
/// A call to a process then exits with `{eacces, {gen_server, call, …}}`, an `erpc` with `{erpc, eacces}`; `ei_rpc` has
/// `{badrpc, eacces}`.
///
/// `like` is how the refused message was framed: the two ends of a connection have agreed on distribution headers, or,
/// as C nodes do, on frames without.
///
/// # Errors
/// None that can occur for what was read from a message: those of the writer.
pub fn refusal_like(caller: &Caller<'_>, like: FrameKind) -> Result<Option<Vec<u8>>> {
    let control = match caller {
        Caller::Spawn { id, from } => Control::spawn_failed((*id).clone(), (*from).clone(), REASON),
        Caller::Link { from, to } => Control::link_exit((*to).clone(), (*from).clone()),
        Caller::Monitor {
            from,
            to,
            reference,
        } => {
            let Some(watched) = watched(*to) else {
                return Ok(None);
            };
            Control::monitor_exit(watched, (*from).clone(), (*reference).clone())
        }
        Caller::Request {
            from, to, monitor, ..
        } => {
            let (Some(watched), Some(monitor)) = (watched(*to), monitor) else {
                return Ok(None);
            };
            Control::monitor_exit(watched, from.clone(), monitor.clone())
        }
        Caller::Remote { from } => Control {
            op: Op::Send,
            token: None,
            signal: Signal::Send {
                from: None,
                to: Target::Pid(from.clone()),
                priority: false,
            },
        },
    };
    encoded(&control, like).map(Some)
}

/// The frame that takes back at the receiver what the caller set up for the answer: the monitor of a `gen_call`, which was
/// permitted and has fired towards the caller ([`refusal_like`]), so that the caller never takes it back. It goes the way of
/// the refused message, behind what stands in its place. `None` where there is nothing to take back.
///
/// # Errors
/// As [`refusal_like`].
pub fn withdrawal_like(caller: &Caller<'_>, like: FrameKind) -> Result<Option<Vec<u8>>> {
    let Caller::Request {
        from,
        to,
        monitor: Some(monitor),
        ..
    } = caller
    else {
        return Ok(None);
    };
    let Some(watched) = watched(*to) else {
        return Ok(None);
    };
    encoded(
        &Control::demonitor(from.clone(), watched, monitor.clone()),
        like,
    )
    .map(Some)
}

fn encoded(control: &Control<'_>, like: FrameKind) -> Result<Vec<u8>> {
    let mut terms = control.encode()?;
    let mut payload = Vec::new();
    if control.op.has_payload() {
        let mut writer = Writer::new();
        if control.op == Op::Send {
            writer.tuple(2).atom("rex").tuple(2).atom("badrpc");
        }
        writer.atom(REASON);
        payload = writer.finish()?;
    }
    Ok(if like == FrameKind::PassThrough {
        frame::pass_through(&terms, control.op.has_payload().then_some(&payload))
    } else {
        terms.extend(payload);
        frame::message(&Header::EMPTY, &terms)
    })
}

/// As [`refusal_like`], behind a distribution header.
///
/// # Errors
/// As [`refusal_like`].
pub fn refusal(caller: &Caller<'_>) -> Result<Option<Vec<u8>>> {
    refusal_like(caller, FrameKind::Header)
}

/// What a monitor can be on: an alias is none.
fn watched(to: To<'_>) -> Option<Target<'_>> {
    match to {
        To::Name(name) => Some(Target::Name(crate::term::Atom::new(name))),
        To::Pid(pid) => Some(Target::Pid(pid.clone())),
        To::Alias(_) | To::Told => None,
    }
}
