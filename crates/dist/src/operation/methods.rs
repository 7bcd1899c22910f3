//! Functions that `global` is told of, and calls later: the methods that names are registered with, and what its processes
//! without a name are told to do. Which messages these are is in `shapes`.
//!
//! A method comes with `{register, …}`, and with all names when two nodes meet (`exchange`, `resolved`, `new_nodes`); whoever
//! settles a conflict calls it: `Method(Name, Pid1, Pid2)`. It is looked for in the whole of what is said, wherever it stands: a
//! later release may put it elsewhere. `{M, F}` is no function to any release since OTP 19, and `global:register_name/3` makes
//! `fun M:F/3` of it before it is sent.
//!
//! Source: `global.erl` of OTP 25 to 29.

use std::borrow::Cow;

use super::Function;
use super::apply::text;
use super::walk::{Fun, Walk};
use crate::error::{Error, Result};
use crate::term::tag;

/// What functions were found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Methods<'a> {
    /// None, or `global`'s own.
    Own,
    /// One other, which has a name.
    Named(Function<'a>),
    /// Several others, or one without a name, or one that no conflict calls.
    Foreign,
}

/// How many arguments a method has.
const ARITY: u8 = 3;

/// Stands for the methods of so many names that not all of them could be seen. No role permits it; whoever has more names than
/// that, and nobody in the cluster to fear, can.
pub(super) const UNSEEN: Function<'static> = Function {
    module: Cow::Borrowed("global"),
    function: Cow::Borrowed("fun"),
    arity: ARITY as u32,
    open: false,
};

/// Looks through the next `count` terms.
///
/// # Errors
/// [`Error::Truncated`] if a function may stand in what cannot be seen.
pub(super) fn of(mut walk: Walk<'_>, count: u32) -> Result<Methods<'_>> {
    let mut found = Methods::Own;
    let mut open = u64::from(count);
    while open > 0 {
        let before = walk;
        open -= 1;
        let step = match walk.step() {
            // Nothing stands behind it, and nothing in it.
            Err(Error::Truncated { .. })
                if open == 0 && matches!(before.peek(), Ok(tag::BINARY | tag::BIT_BINARY)) =>
            {
                break;
            }
            step => step?,
        };
        open = open.saturating_add(step.children);
        if !matches!(step.tag, tag::NEW_FUN | tag::EXPORT) {
            continue;
        }
        found = match (found, method(before)?) {
            (found, Methods::Own) => found,
            (Methods::Own, method) => method,
            (Methods::Named(one), Methods::Named(other)) if one == other => Methods::Named(one),
            _ => return Ok(Methods::Foreign),
        };
    }
    Ok(found)
}

/// What the function that stands here is.
fn method(mut walk: Walk<'_>) -> Result<Methods<'_>> {
    Ok(match walk.whole_fun()? {
        Some(Fun::Exported {
            module,
            function,
            arity: Some(ARITY),
        }) => match (text(module), text(function)) {
            (Some(module), Some(function)) if is_own(&module, &function) => Methods::Own,
            (Some(module), Some(function)) => Methods::Named(Function {
                module,
                function,
                arity: ARITY.into(),
                open: false,
            }),
            _ => Methods::Foreign,
        },
        // The default, `fun random_exit_name/3` as `global` itself writes it: the first of the funs in its code. Others there would
        // do as well for the arity, and disconnect a node, or with variables of a peer's choice do anything.
        Some(Fun::Closure {
            module,
            arity: ARITY,
            index: 0,
            free: 0,
        }) if module == "global" => Methods::Own,
        _ => Methods::Foreign,
    })
}

fn is_own(module: &str, function: &str) -> bool {
    module == "global"
        && matches!(
            function,
            "random_exit_name" | "random_notify_name" | "notify_all_name"
        )
}
