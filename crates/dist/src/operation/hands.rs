//! Processes that call, or tell others, what they are told to: RabbitMQ's delegates, its pools of workers, its queues, Ra's
//! servers, its alarms, Mnesia's `mnesia_rpc`. What OTP's other processes are asked for is in `shapes`.
//!
//! Source: `delegate.erl`, `gen_server2.erl` and `worker_pool_worker.erl` of `rabbit_common`, `rabbit_amqqueue_process.erl`, `rabbit_alarm.erl`,
//! `rabbit_mgmt_db_cache.erl` (RabbitMQ 3.10 to 4.1), `ra_server_proc.erl` (Ra 2.2 to 2.16), `osiris_writer.erl`,
//! `osiris_retention.erl`, `mnesia_rpc.erl` (OTP 25 to 29).

use std::borrow::Cow;

use super::Function;
use super::apply::{self, Ask, ask, text};
use super::list::{Item, List};
use super::walk::{Head, Walk};
use crate::error::{Error, Result};
use crate::gate::Shown;
use crate::term::{Pid, tag};

/// Stands in the place of a function's name for funs, which have none: `shop:fun/1` is whichever of those in the code of the
/// module `shop`. A fun runs no other code than its module's; what is typed into a shell is `erl_eval`'s.
const FUN: &str = "fun";

/// What a delegate is told to do with each of some processes.
pub(super) enum Invoked<'a> {
    /// To call a function, with the process as its first argument.
    Function(Function<'a>),
    /// To ask it by `gen_call`.
    Call(Walk<'a>),
    /// To tell it by `gen_cast`.
    Cast(Walk<'a>),
}

/// Whether a name is that of a delegate: `delegate_0`, `delegate_management_12`.
pub(super) fn is_delegate(name: &str) -> bool {
    let Some(rest) = name.strip_prefix("delegate_") else {
        return false;
    };
    let number = rest.strip_prefix("management_").unwrap_or(rest);
    !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit())
}

/// `{invoke, Fun | {M, F, Args}, #{Node => [Pid]}}`; `None` for what a delegate takes for nothing to do.
pub(super) fn invoked<'a>(asked: &Ask<'a>) -> Result<Option<Invoked<'a>>> {
    if (asked.name(), asked.arity()) != ("invoke", 3) {
        return Ok(None);
    }
    match message(asked.rest())? {
        Some(told) => Ok(Some(told)),
        None => Ok(applied(asked.rest(), 1)?.map(Invoked::Function)),
    }
}

/// `{gen_server2, call, [Request | _]}`, and the same of a cast and of OTP's behaviours. With more or fewer arguments than
/// there are such functions it does nothing.
fn message(mut walk: Walk<'_>) -> Result<Option<Invoked<'_>>> {
    if walk.head()? != Head::Tuple(3) {
        return Ok(None);
    }
    let Some(module) = walk.atom()?.and_then(text) else {
        return Ok(None);
    };
    if !matches!(&*module, "gen_server2" | "gen_server" | "gen_statem") {
        return Ok(None);
    }
    let Some(function) = walk.atom()?.and_then(text) else {
        return Ok(None);
    };
    let Some(mut list) = List::at(walk)? else {
        return Ok(None);
    };
    let Some(Item::Term(request)) = list.next()? else {
        return Ok(None);
    };
    Ok(match &*function {
        "call" => Some(Invoked::Call(request)),
        "cast" => Some(Invoked::Cast(request)),
        _ => None,
    })
}

/// Where the processes stand that a delegate is told of: behind the message for them.
fn grouped<'a>(asked: &Ask<'a>) -> Result<Walk<'a>> {
    let mut walk = asked.rest();
    walk.skip()?;
    Ok(walk)
}

/// Whether all of those processes were seen.
pub(super) fn has_end(asked: &Ask<'_>) -> Result<()> {
    grouped(asked)?.skip().map(drop)
}

/// Whether a cast is a delivery to queues: a message of AMQP, which may be of any size, and which no process of OTP acts on.
pub(super) fn is_delivery(told: &Invoked<'_>) -> Result<bool> {
    Ok(match told {
        Invoked::Cast(request) => {
            let asked = ask(*request)?;
            asked.name() == "deliver" && asked.arity() > 1
        }
        _ => false,
    })
}

/// Tells the processes that a delegate is to do it with, as far as they are there: those of a message that was found to be for
/// [`super::To::Told`].
///
/// # Errors
/// What is wrong with the payload.
pub fn told<'a>(message: &Shown<'a>, visit: &mut impl FnMut(&Pid<'a>)) -> Result<()> {
    let mut walk = Walk::new(message);
    let Head::Tuple(_) = walk.head()? else {
        return Ok(());
    };
    let Some(first) = walk.atom()? else {
        return Ok(());
    };
    if first == "$gen_call" {
        walk.skip()?;
    }
    let mut walk = match grouped(&ask(walk)?) {
        Err(Error::Truncated { .. }) if !message.whole => return Ok(()),
        walk => walk?,
    };
    let mut open = 1_u64;
    while open > 0 {
        let mut before = walk;
        let step = match walk.step() {
            Err(Error::Truncated { .. }) if !message.whole => return Ok(()),
            step => step?,
        };
        if matches!(step.tag, tag::NEW_PID | tag::PID)
            && let Head::Pid(pid) = before.head()?
        {
            visit(&pid);
        }
        open = (open - 1).saturating_add(step.children);
    }
    Ok(())
}

/// What is called by what takes `fun M:F/A`, a fun, or `{M, F, Args}`, with so many arguments in front of `Args`.
fn applied(mut walk: Walk<'_>, more: u32) -> Result<Option<Function<'_>>> {
    if let Some(function) = fun(walk, more)? {
        return Ok(Some(function));
    }
    if walk.head()? != Head::Tuple(3) {
        return Ok(None);
    }
    Ok(apply::function(walk)?.map(|function| Function {
        arity: function.arity.saturating_add(more),
        ..function
    }))
}

/// The same of what takes funs alone.
fn fun(mut walk: Walk<'_>, arity: u32) -> Result<Option<Function<'_>>> {
    let Some((module, function)) = walk.fun()? else {
        return Ok(None);
    };
    let Some(module) = text(module) else {
        return Ok(None);
    };
    let function = match function.map(text) {
        Some(Some(function)) => function,
        Some(None) => return Ok(None),
        None => Cow::Borrowed(FUN),
    };
    Ok(Some(Function {
        module,
        function,
        arity,
        open: false,
    }))
}

/// The function that a `gen_call` has called, by its head: nobody but those who act on it uses these, so that it is found
/// wherever it goes.
pub(super) fn called<'a>(asked: &Ask<'a>) -> Result<Option<Function<'a>>> {
    let rest = asked.rest();
    match (asked.name(), asked.arity()) {
        // Ra: with the state of its machine.
        ("local_query" | "leader_query" | "consistent_query", 2 | 3) => applied(rest, 1),
        // Osiris: with the writers of a stream.
        ("query_writers", 2) => fun(rest, 1),
        // A worker of a pool.
        ("submit", 4) => applied(rest, 0),
        // The cache of the management plugin, with arguments that stand behind the fun.
        ("fetch", 3) => fun(rest, 1),
        _ => Ok(None),
    }
}

/// The same of a `gen_cast`.
pub(super) fn cast<'a>(asked: &Ask<'a>) -> Result<Option<Function<'a>>> {
    let mut rest = asked.rest();
    match (asked.name(), asked.arity()) {
        ("submit_async", 3) => applied(rest, 0),
        // A queue: with a module and the state of its messages.
        ("run_backing_queue", 3) => {
            rest.skip()?;
            fun(rest, 2)
        }
        // What is to be kept of a stream.
        ("eval", 4) => {
            rest.skip()?;
            rest.skip()?;
            fun(rest, 1)
        }
        _ => Ok(None),
    }
}

/// `{'$with_state', From, Fun}` to any `gen_server2`, and the `{timeout, Key, Fun}` of a worker.
pub(super) fn plain<'a>(first: &str, mut rest: Walk<'a>) -> Result<Option<Function<'a>>> {
    let arity = match first {
        "$with_state" => 1,
        "timeout" => 0,
        _ => return Ok(None),
    };
    rest.skip()?;
    fun(rest, arity)
}

/// `{register, Pid, {M, F, Args}}`, which `rabbit_alarm` is told as an event or asked for; it calls that with a process, what is
/// short, and where. The cursor stands at the first of the `arity` elements of what an event manager takes.
pub(super) fn registered(mut walk: Walk<'_>, arity: u32) -> Result<Option<Function<'_>>> {
    walk.skip()?;
    if arity == 3 {
        walk.skip()?;
        let asked = ask(walk)?;
        walk = asked.rest();
        match (asked.name(), asked.arity()) {
            ("call", 3) => drop(walk.skip()?),
            ("sync_notify", 2) => {}
            _ => return Ok(None),
        }
    }
    let asked = ask(walk)?;
    if (asked.name(), asked.arity()) != ("register", 3) {
        return Ok(None);
    }
    let mut what = asked.rest();
    what.skip()?;
    applied(what, 3)
}

/// `{apply, M, F, Args}` to `mnesia_rpc`.
pub(super) fn by_mnesia<'a>(asked: &Ask<'a>) -> Result<Option<Function<'a>>> {
    if (asked.name(), asked.arity()) == ("apply", 4) {
        return apply::function(asked.rest());
    }
    Ok(None)
}
