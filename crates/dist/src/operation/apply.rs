//! Requests as OTP's processes take them apart, and the functions that they name.

use std::borrow::Cow;

use super::list::{IMPROPER, Item, List};
use super::walk::{Head, Walk};
use super::{Function, Operation};
use crate::error::Result;
use crate::term::Atom;

/// A request: an atom, a tuple that begins with one, or anything else.
#[derive(Debug, Clone)]
pub(super) struct Ask<'a> {
    name: Cow<'a, str>,
    arity: u32,
    rest: Walk<'a>,
}

impl<'a> Ask<'a> {
    /// The atom; empty if there is none.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// How many elements the tuple has; 0 if it is none.
    pub(super) const fn arity(&self) -> u32 {
        self.arity
    }

    /// The elements behind the atom.
    pub(super) const fn rest(&self) -> Walk<'a> {
        self.rest
    }
}

/// The request that stands here. The tuple `{Term, …}` is one without name.
pub(super) fn ask(mut walk: Walk<'_>) -> Result<Ask<'_>> {
    let head = walk.head()?;
    let (arity, atom) = match head {
        Head::Atom(atom) => (0, Some(atom)),
        Head::Tuple(arity @ 1..) => (arity, walk.atom()?),
        _ => (0, None),
    };
    Ok(Ask {
        name: atom.and_then(text).unwrap_or_default(),
        arity,
        rest: walk,
    })
}

/// The text of an atom.
pub(super) fn text(atom: Atom<'_>) -> Option<Cow<'_, str>> {
    match atom {
        Atom::Text(text) => Some(text),
        Atom::Cached(_) => None,
    }
}

/// The function that the next three terms name: module, function, list of arguments.
pub(super) fn function(mut walk: Walk<'_>) -> Result<Option<Function<'_>>> {
    let Some(module) = walk.atom()?.and_then(text) else {
        return Ok(None);
    };
    let Some(function) = walk.atom()?.and_then(text) else {
        return Ok(None);
    };
    applied(module, function, walk)
}

/// A function applied to the list that stands here; nothing can be applied to anything else.
fn applied<'a>(
    module: Cow<'a, str>,
    function: Cow<'a, str>,
    arguments: Walk<'a>,
) -> Result<Option<Function<'a>>> {
    let Some(list) = List::at(arguments)? else {
        return Ok(None);
    };
    match list.length() {
        Ok(length) => Ok(Some(Function {
            module,
            function,
            arity: length.count,
            open: length.open,
        })),
        Err(error) if error == IMPROPER => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether a tuple `{M, F, Args}` stands here.
pub(super) fn is_function(mut walk: Walk<'_>) -> Result<bool> {
    Ok(walk.head()? == Head::Tuple(3) && function(walk)?.is_some())
}

/// The function of a timer: `{Started, Time, {M, F, Args}}`, `{Started, Time, Pid, {M, F, Args}}`, and since OTP 27
/// `{Fun, Args}` in its place.
pub(super) fn timer(mut walk: Walk<'_>) -> Result<Option<Function<'_>>> {
    let skipped = match walk.head()? {
        Head::Tuple(3) => 2,
        Head::Tuple(4) => 3,
        _ => return Ok(None),
    };
    for _ in 0..skipped {
        walk.skip()?;
    }
    match walk.head()? {
        Head::Tuple(3) => function(walk),
        Head::Tuple(2) => Ok(Some(Function {
            module: Cow::Borrowed("erlang"),
            function: Cow::Borrowed("apply"),
            arity: 2,
            open: false,
        })),
        _ => Ok(None),
    }
}

/// Shows each element of a list, those in front of an improper tail included: who works through a list does so, too.
pub(super) fn each<'a>(
    walk: Walk<'a>,
    mut visit: impl FnMut(Walk<'a>) -> Result<()>,
) -> Result<()> {
    let Some(mut list) = List::at(walk)? else {
        return Ok(());
    };
    loop {
        match list.next() {
            Ok(Some(Item::Term(element))) => visit(element)?,
            Ok(Some(Item::Byte)) => {}
            Ok(None) => return Ok(()),
            Err(error) if error == IMPROPER => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// Whether a function does nothing but call another one, which is among its arguments.
pub(super) fn is_carrier(module: &str, function: &str) -> bool {
    module == "erpc" && matches!(function, "execute_call" | "execute_cast")
}

/// What it is to start a process with a function, applied to the list that is the payload. The number of arguments
/// in the control message says nothing: it is the list that the function is applied to
/// (`erts_internal:dist_spawn_init/1`).
pub(super) fn spawn<'a>(
    module: &'a str,
    function: &'a str,
    walk: Walk<'a>,
) -> Result<Operation<'a>> {
    let inner = match (module, function) {
        // `[Ref, M, F, Args]`; `[M, F, Args]`.
        ("erpc", "execute_call") => inner(walk, 4)?.map(Operation::Call),
        // `[M, F, Args]`.
        ("erpc", "execute_cast") => inner(walk, 3)?.map(Operation::Cast),
        _ => None,
    };
    if let Some(operation) = inner {
        return Ok(operation);
    }
    let (module, function) = (Cow::Borrowed(module), Cow::Borrowed(function));
    let spawned = applied(module.clone(), function.clone(), walk)?.unwrap_or(Function {
        module,
        function,
        arity: 0,
        open: false,
    });
    Ok(Operation::Spawn(spawned))
}

/// The function that the last three of the first three to `most` elements of a list name.
fn inner(walk: Walk<'_>, most: usize) -> Result<Option<Function<'_>>> {
    let Some(mut list) = List::at(walk)? else {
        return Ok(None);
    };
    let mut items: [Option<Walk<'_>>; 3] = [None; 3];
    for index in 0..most {
        let item = match list.next() {
            Ok(Some(Item::Term(element))) => Some(element),
            Ok(Some(Item::Byte)) => None,
            Ok(None) if index == 3 => break,
            Ok(None) => return Ok(None),
            Err(error) if error == IMPROPER => return Ok(None),
            Err(error) => return Err(error),
        };
        let [_, second, third] = items;
        items = [second, third, item];
    }
    let [Some(mut module), Some(mut function), Some(arguments)] = items else {
        return Ok(None);
    };
    let Some(module) = module.atom()?.and_then(text) else {
        return Ok(None);
    };
    let Some(function) = function.atom()?.and_then(text) else {
        return Ok(None);
    };
    applied(module, function, arguments)
}
