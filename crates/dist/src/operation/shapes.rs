//! The shapes of messages that OTP's behaviours and processes act on.

use std::borrow::Cow;

use super::apply::{self, Ask, ask};
use super::hands::{self, Invoked};
use super::known::Known;
use super::list::List;
use super::methods::{self, Methods};
use super::walk::{Head, Walk};
use super::{Function, Operation, To};
use crate::error::{Error, Result};
use crate::term::{Pid, Reference};

/// What a message is.
pub(super) struct Shape<'a> {
    pub(super) operation: Operation<'a>,
    /// It names a function that its receiver may call, in a form of its own.
    pub(super) function: bool,
    /// A function that its receiver may call later.
    pub(super) also: Option<Function<'a>>,
    /// The request that it is, of somebody who waits.
    pub(super) request: Option<Request<'a>>,
}

/// The `From` of a `gen_call` and its like.
pub(super) struct Request<'a> {
    pub(super) from: Pid<'a>,
    pub(super) tag: &'a [u8],
    pub(super) monitor: Option<Reference<'a>>,
    pub(super) form: Form,
    /// What stands behind it.
    behind: Walk<'a>,
}

/// How it is written who waits.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// With what the answer is to be tagged with.
    Tagged,
    /// `{From, Request}`, as `rpc:sbcast` and `rpc:server_call` ask, and whoever does it by hand.
    Bare,
    /// The same of `ei_rpc`, which waits for a plain message of `rex`.
    Remote,
}

/// How deep messages within messages are followed: `rex` passes messages on, and I/O requests hold others.
const DEPTH: u8 = 2;

/// What a message to `to` is. Whom a delegate passes it on to may bear a name, which is `told`.
pub(super) fn message<'a>(to: To<'a>, told: Option<&'a str>, walk: Walk<'a>) -> Result<Shape<'a>> {
    let delegated = if matches!(to, To::Name(name) if hands::is_delegate(name)) {
        delegate(to, told.map_or(To::Told, To::Name), walk)?
    } else {
        None
    };
    let shape = match delegated {
        Some(shape) => shape,
        None => nested(to, walk, DEPTH)?,
    };
    match shape.operation {
        Operation::Send {
            to: to @ To::Name("global_name_server"),
        }
        | Operation::RegisterGlobal { to } => Ok(match seen(methods::of(walk, 1), walk)? {
            Some(Methods::Own) => shape,
            Some(Methods::Named(function)) => Shape {
                also: Some(function),
                ..shape
            },
            Some(Methods::Foreign) => Shape {
                operation: Operation::Unknown { to },
                ..shape
            },
            None => Shape {
                also: Some(methods::UNSEEN),
                ..shape
            },
        }),
        _ => Ok(shape),
    }
}

/// `{invoke, …}` to a delegate, as what is asked of `told`.
fn delegate<'a>(to: To<'a>, told: To<'a>, mut walk: Walk<'a>) -> Result<Option<Shape<'a>>> {
    let Head::Tuple(arity @ 2..=3) = walk.head()? else {
        return Ok(None);
    };
    let request = match (walk.atom()?.and_then(apply::text).as_deref(), arity) {
        (Some("$gen_call"), 3) => match request(walk)? {
            Some(request) => {
                walk = request.behind;
                Some(request)
            }
            None => {
                walk.skip()?;
                None
            }
        },
        (Some("$gen_cast"), 2) => None,
        _ => return Ok(None),
    };
    let asked = ask(walk)?;
    if asked.name() != "invoke" {
        return Ok(None);
    }
    let shape = |operation, function| {
        Ok(Some(Shape {
            operation,
            function,
            also: None,
            request,
        }))
    };
    let Some(invoked) = hands::invoked(&asked)? else {
        return shape(Operation::Unknown { to }, false);
    };
    let known = Known::of(told);
    let (operation, function) = match &invoked {
        Invoked::Function(function) => return shape(Operation::Call(function.clone()), false),
        Invoked::Call(request) => called(told, known, &ask(*request)?)?,
        Invoked::Cast(request) => cast(told, known, &ask(*request)?)?,
    };
    // To whom it goes stands behind what it is.
    if seen(hands::has_end(&asked), walk)?.is_none() && !hands::is_delivery(&invoked)? {
        return shape(Operation::Unknown { to }, function);
    }
    shape(operation, function)
}

fn nested<'a>(to: To<'a>, mut walk: Walk<'a>, depth: u8) -> Result<Shape<'a>> {
    let known = Known::of(to);
    let Head::Tuple(arity @ 1..) = walk.head()? else {
        return Ok(known.otherwise(to).into());
    };
    let elements = walk;
    if let Some(first) = walk.atom()? {
        match (first.text().unwrap_or_default(), arity) {
            ("$gen_call", 3) => return gen_call(to, known, walk),
            ("$gen_cast", 2) => return gen_cast(to, known, walk),
            ("system", 3) => {
                let operation = if looks(walk)? {
                    Operation::Inspect { to }
                } else {
                    Operation::SystemMessage { to }
                };
                return Ok(Shape {
                    // A message without anybody who waits is one all the same.
                    request: seen(request(walk), walk)?.flatten(),
                    ..operation.into()
                });
            }
            ("EXIT", 3) => return Ok(Operation::Exit { to }.into()),
            ("io_request", 4) => {
                let request = seen(io_from(walk), walk)?.flatten();
                walk.skip()?;
                walk.skip()?;
                let asked = io_request(to, walk, depth)?;
                return Ok(Shape {
                    request,
                    ..asked.unwrap_or_else(|| known.otherwise(to)).into()
                });
            }
            (first @ ("$with_state" | "timeout"), 3)
                if matches!(known, Known::Unnamed | Known::Other) =>
            {
                if let Some(called) = hands::plain(first, walk)? {
                    return Ok(Operation::Call(called).into());
                }
            }
            // The registrar, the resolvers and the locker of `global`, which are told so by their own node alone: what they
            // are told to call is any function.
            ("trans_all_known" | "resolve", 3) | ("cancel", 4)
                if known == Known::Unnamed
                    && methods::of(walk, arity.saturating_sub(1))? != Methods::Own =>
            {
                return Ok(Operation::Unknown { to }.into());
            }
            _ => {}
        }
    }
    let operation = match known {
        Known::Rex if arity == 2 => return to_rex(to, elements, depth),
        Known::Init if arity == 2 => to_init(to, elements)?,
        Known::Unnamed if arity == 2 => seen(from_c_node(elements), elements)?
            .flatten()
            .unwrap_or(Operation::Send { to }),
        Known::Alarms if arity == 2 || arity == 3 => {
            if arity == 3 && changes_handlers(elements)? {
                Operation::Supervise { to }
            } else {
                let called = hands::registered(elements, arity)?;
                called.map_or(Operation::Send { to }, Operation::Call)
            }
        }
        Known::Events if arity == 3 && changes_handlers(elements)? => Operation::Supervise { to },
        Known::Unnamed | Known::Other if arity == 3 => {
            // What stands before the request is ignored by an event manager, and may be large. To wait for what is
            // behind it, and to refuse what does not come, would refuse large messages of all kinds.
            if seen(changes_handlers(elements), elements)?.unwrap_or(false) {
                Operation::Supervise { to }
            } else {
                Operation::Send { to }
            }
        }
        _ => known.otherwise(to),
    };
    Ok(Shape {
        // `gen_event` marks its calls with the pid of whoever calls.
        request: match arity {
            2 => seen(bare_from(elements), elements)?.flatten(),
            3 => seen(event_from(elements), elements)?.flatten(),
            _ => None,
        },
        ..operation.into()
    })
}

/// `{'$gen_call', From, Request}`; the cursor stands at `From`.
fn gen_call<'a>(to: To<'a>, known: Known, mut walk: Walk<'a>) -> Result<Shape<'a>> {
    let request = request(walk)?;
    match &request {
        Some(request) => walk = request.behind,
        None => drop(walk.skip()?),
    }
    let (operation, function) = called(to, known, &ask(walk)?)?;
    Ok(Shape {
        operation,
        function,
        also: None,
        request,
    })
}

/// What a `gen_call` asks for, and whether it names a function in a form of its own.
fn called<'a>(to: To<'a>, known: Known, asked: &Ask<'a>) -> Result<(Operation<'a>, bool)> {
    let send = Operation::Send { to };
    let operation = match (known, asked.name(), asked.arity()) {
        (Known::Rex | Known::Unnamed, "call" | "block_call", 5) => {
            apply::function(asked.rest())?.map(Operation::Call)
        }
        (Known::NetKernel | Known::Unnamed, "spawn" | "spawn_link", 5)
        | (Known::NetKernel | Known::Unnamed, "spawn_opt", 7) => {
            apply::function(asked.rest())?.map(Operation::Spawn)
        }
        (
            Known::Timer | Known::Unnamed,
            "apply_once" | "apply_interval" | "apply_repeatedly",
            2,
        ) => apply::timer(asked.rest())?.map(Operation::Spawn),
        (Known::NetKernel, "is_auth", 2)
        | (Known::NetKernel, "allowed" | "longnames" | "nodename" | "ticktime", 0)
        | (Known::Timer, "cancel", 2)
        | (Known::Applications, "which_applications" | "info", 0)
        | (Known::Applications, "is_running", 2)
        | (Known::Global, "set_lock" | "del_lock" | "sync", 2)
        | (
            Known::Global,
            "get_known" | "get_synced" | "get_protocol_version" | "get_names_ext" | "info",
            0,
        ) => Some(send.clone()),
        (Known::Global, "register", 4)
        | (Known::Global, "unregister", 2)
        | (Known::Global, "register_ext", 5) => Some(Operation::RegisterGlobal { to }),
        (Known::GlobalGroup, "send", _) => Some(Operation::Unknown { to }),
        // `registrar`, a function that its own node alone has it call, `stop`, `disconnect`, and what is to come.
        (Known::Global | Known::Rex, ..) => Some(Operation::Unknown { to }),
        // By way of somebody else: whom it is for is found in what was sent alone.
        (Known::Delegate, "invoke", 3) => Some(Operation::Unknown { to }),
        (Known::MnesiaRpc, ..) => hands::by_mnesia(asked)?.map(Operation::Call),
        // More arguments for what the supervisor was made to start; one that starts what it is told refuses them.
        (Known::Unnamed | Known::Other, "start_child", 2) if List::at(asked.rest())?.is_some() => {
            Some(send)
        }
        (
            Known::Unnamed | Known::Other,
            "start_child" | "terminate_child" | "restart_child" | "delete_child",
            2,
        )
        // The same of Elixir's Task.Supervisor: `{start_task, {Owner, Callers, {M, F, Args}}, Restart, Shutdown}`.
        | (Known::Unnamed | Known::Other, "start_task", 4) => Some(Operation::Supervise { to }),
        // RabbitMQ's mirrored supervisors, one for another.
        (Known::Unnamed | Known::Other, "msg", 3)
            if asked.rest().atom()?.is_some_and(|first| first == "start_child") =>
        {
            Some(Operation::Supervise { to })
        }
        (Known::Unnamed | Known::Other, ..) => hands::called(asked)?.map(Operation::Call),
        _ => None,
    };
    let operation = operation.unwrap_or(match known {
        Known::Rex | Known::Logger => Operation::Unknown { to },
        known => known.otherwise(to),
    });
    let agent = matches!(
        (asked.name(), asked.arity()),
        ("get" | "update" | "get_and_update", 2)
    );
    Ok((operation, agent && apply::is_function(asked.rest())?))
}

/// `{'$gen_cast', Request}`; the cursor stands at the request.
fn gen_cast<'a>(to: To<'a>, known: Known, walk: Walk<'a>) -> Result<Shape<'a>> {
    let (operation, function) = cast(to, known, &ask(walk)?)?;
    Ok(Shape {
        operation,
        function,
        also: None,
        request: None,
    })
}

/// What a `gen_cast` asks for, and whether it names a function in a form of its own.
fn cast<'a>(to: To<'a>, known: Known, asked: &Ask<'a>) -> Result<(Operation<'a>, bool)> {
    let operation = match (known, asked.name(), asked.arity()) {
        (Known::Rex | Known::Unnamed, "cast", 5) => {
            apply::function(asked.rest())?.map(Operation::Cast)
        }
        (Known::Delegate, "invoke", 3) => Some(Operation::Unknown { to }),
        (Known::GlobalGroup, "send_res", _) => Some(Operation::Unknown { to }),
        (Known::Unnamed | Known::Other, "try_again_restart", 2) => {
            Some(Operation::Supervise { to })
        }
        (Known::Unnamed | Known::Other, ..) => hands::cast(asked)?.map(Operation::Cast),
        _ => None,
    };
    let operation = operation.unwrap_or(match known {
        Known::Rex | Known::Logger => Operation::Unknown { to },
        known => known.otherwise(to),
    });
    let agent = (asked.name(), asked.arity()) == ("cast", 2);
    Ok((operation, agent && apply::is_function(asked.rest())?))
}

/// Whether `{system, From, Request}` asks for what a process holds and changes nothing: `sys:get_state`, `sys:get_status`.
/// The cursor stands at `From`.
fn looks(mut walk: Walk<'_>) -> Result<bool> {
    walk.skip()?;
    let asked = ask(walk)?;
    Ok(asked.arity() == 0 && matches!(asked.name(), "get_state" | "get_status"))
}

/// `{From, Request}` to `rex`.
fn to_rex<'a>(to: To<'a>, mut walk: Walk<'a>, depth: u8) -> Result<Shape<'a>> {
    let from = walk;
    walk.skip()?;
    let asked = ask(walk)?;
    let mut rest = asked.rest();
    let mut request = bare_from(from)?;
    let operation = match (asked.name(), asked.arity()) {
        // What is no request is ignored; `features_request` is answered.
        (_, 0) => Some(Operation::Send { to }),
        ("call", 5) => apply::function(rest)?.map(Operation::Call),
        ("sbcast", 3) if depth > 0 => {
            if let Some(Cow::Borrowed(name)) = rest.atom()?.and_then(apply::text) {
                return Ok(Shape {
                    request,
                    ..nested(To::Name(name), rest, depth - 1)?
                });
            }
            None
        }
        // Passed on as `{From, Message}`.
        ("send", 3) => match (rest.atom()?.and_then(apply::text), from.clone().head()?) {
            (Some(Cow::Borrowed(name)), Head::Pid(_))
                if Known::of(To::Name(name)) == Known::Other =>
            {
                Some(Operation::Send { to: To::Name(name) })
            }
            _ => None,
        },
        _ => None,
    };
    if let (Some(request), "call", 5) = (&mut request, asked.name(), asked.arity()) {
        request.form = Form::Remote;
    }
    Ok(Shape {
        request,
        ..operation.unwrap_or(Operation::Unknown { to }).into()
    })
}

/// `{stop, Reason}` and `{From, Request}` to `init`.
fn to_init<'a>(to: To<'a>, mut walk: Walk<'a>) -> Result<Operation<'a>> {
    let mut first = walk;
    if first.atom()?.is_some_and(|first| first == "stop") {
        return Ok(Operation::StopNode { to });
    }
    walk.skip()?;
    let asked = ask(walk)?;
    Ok(match (asked.name(), asked.arity()) {
        ("", 0)
        | (
            "get_plain_arguments"
            | "get_arguments"
            | "get_status"
            | "script_id"
            | "fetch_loaded"
            | "get_script_name",
            0,
        )
        | ("get_argument" | "notify_when_started" | "ensure_loaded", 2) => Operation::Send { to },
        // `{make_permanent, Boot, Config}`, `{set_script_name, Name}` and their like decide how the node starts again.
        _ => Operation::StopNode { to },
    })
}

/// `{From, {call, M, F, Args, GroupLeader}}`, as C nodes say it to `rex`, to a pid that may be it.
fn from_c_node(mut walk: Walk<'_>) -> Result<Option<Operation<'_>>> {
    walk.skip()?;
    let asked = ask(walk)?;
    if (asked.name(), asked.arity()) == ("call", 5) {
        return Ok(apply::function(asked.rest())?.map(Operation::Call));
    }
    Ok(None)
}

/// `{From, Tag, {add_handler, Handler, Args}}` and its like, to an event manager.
fn changes_handlers(mut walk: Walk<'_>) -> Result<bool> {
    walk.skip()?;
    walk.skip()?;
    let asked = ask(walk)?;
    Ok(matches!(
        (asked.name(), asked.arity()),
        ("add_handler" | "delete_handler", 3)
            | ("add_sup_handler", 4)
            | ("swap_handler", 5)
            | ("swap_sup_handler", 6)
    ))
}

/// The functions that requests of the I/O protocol name: a group leader calls whatever they say. Those that `io`
/// itself names, and that can do no harm, are no operation of their own.
fn io_request<'a>(to: To<'a>, walk: Walk<'a>, depth: u8) -> Result<Option<Operation<'a>>> {
    let asked = ask(walk)?;
    let mut rest = asked.rest();
    // `get_until` has what was read before, and what has come, as the first two arguments.
    let (skipped, more) = match (asked.name(), asked.arity()) {
        ("put_chars", 4) => (0, 0),
        ("put_chars", 5) => (1, 0),
        ("get_until", 5) => (1, 2),
        ("get_until", 6) => (2, 2),
        ("requests", 2) if depth == 0 => return Ok(Some(Operation::Unknown { to })),
        ("requests", 2) => {
            let mut found = None;
            apply::each(rest, |request| {
                if let Some(more) = io_request(to, request, depth - 1)? {
                    found = Some(match found.take() {
                        // One question for the policy: several functions are none that it could be asked about.
                        Some(other) if other != more => Operation::Unknown { to },
                        _ => more,
                    });
                }
                Ok(())
            })?;
            return Ok(found);
        }
        _ => return Ok(None),
    };
    for _ in 0..skipped {
        rest.skip()?;
    }
    let harmless = |module: &str, function: &str| {
        matches!(
            (module, function),
            ("io_lib", "format" | "fwrite" | "print" | "write" | "fread") | ("erl_scan", "tokens")
        )
    };
    Ok(apply::function(rest)?
        .filter(|called| !harmless(&called.module, &called.function))
        .map(|called| {
            Operation::Call(Function {
                arity: called.arity.saturating_add(more),
                ..called
            })
        }))
}

/// `{Pid, Request}`: who asks has said nothing of how it is to be answered.
fn bare_from(mut walk: Walk<'_>) -> Result<Option<Request<'_>>> {
    let Head::Pid(from) = walk.head()? else {
        return Ok(None);
    };
    Ok(Some(Request {
        from,
        tag: &[],
        monitor: None,
        form: Form::Bare,
        behind: walk,
    }))
}

/// `{Pid, From, …}`, as `gen_event` calls.
fn event_from<'a>(mut walk: Walk<'a>) -> Result<Option<Request<'a>>> {
    match walk.head()? {
        Head::Pid(_) => request(walk),
        _ => Ok(None),
    }
}

/// `From, ReplyAs, …`, as `io` asks: the tag is the monitor that it has on whom it asks.
fn io_from<'a>(mut walk: Walk<'a>) -> Result<Option<Request<'a>>> {
    let Head::Pid(from) = walk.head()? else {
        return Ok(None);
    };
    let before = walk;
    let Head::Reference(reference) = walk.head()? else {
        return Ok(None);
    };
    Ok(Some(Request {
        from,
        tag: before.until(&walk),
        monitor: Some(reference),
        form: Form::Tagged,
        behind: walk,
    }))
}

/// `{Pid, Tag}`, as `gen:call` writes it.
fn request<'a>(mut walk: Walk<'a>) -> Result<Option<Request<'a>>> {
    let Head::Tuple(2) = walk.head()? else {
        return Ok(None);
    };
    let Head::Pid(from) = walk.head()? else {
        return Ok(None);
    };
    let before = walk;
    let mut behind = walk;
    let monitor = monitor(&mut walk)?;
    // What has been read in full need not be passed over again.
    if monitor.is_some() {
        behind = walk;
    } else {
        behind.skip()?;
    }
    let tag = before.until(&behind);
    Ok(Some(Request {
        from,
        tag,
        monitor,
        form: Form::Tagged,
        behind,
    }))
}

/// The monitor that a tag names: `Mon`, `[alias | Mon]` since OTP 24, and `[[alias | Alias] | Mon]` of `gen_server:multi_call`
/// since OTP 26.
fn monitor<'a>(walk: &mut Walk<'a>) -> Result<Option<Reference<'a>>> {
    let mut head = walk.head()?;
    if head == Head::List(1) {
        let mut inner = *walk;
        if inner.head()? == Head::List(1) {
            if !is_alias(&mut inner)? || !matches!(inner.head()?, Head::Reference(_)) {
                return Ok(None);
            }
            *walk = inner;
        } else if !is_alias(walk)? {
            return Ok(None);
        }
        head = walk.head()?;
    }
    Ok(match head {
        Head::Reference(reference) => Some(reference),
        _ => None,
    })
}

fn is_alias(walk: &mut Walk<'_>) -> Result<bool> {
    Ok(walk.atom()?.is_some_and(|first| first == "alias"))
}

/// What will never be shown is not found.
fn seen<T>(found: Result<T>, walk: Walk<'_>) -> Result<Option<T>> {
    match found {
        Err(error @ Error::Truncated { .. }) if !walk.is_cut(&error) => Ok(None),
        found => found.map(Some),
    }
}

impl<'a> From<Operation<'a>> for Shape<'a> {
    fn from(operation: Operation<'a>) -> Self {
        Self {
            operation,
            function: false,
            also: None,
            request: None,
        }
    }
}
