//! What a message carries besides what it asks for: functions, literal atoms, pids and references.

use std::borrow::Cow;

use super::walk::{Head, Walk};
use crate::error::{Error, Result};
use crate::gate::Shown;
use crate::term::{Pid, Reference, tag};

/// How many pids and references are told of one message: a request hands out one to three.
pub const MAX_HANDLES: usize = 16;

/// What a message hands out: its receiver can send to it from then on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Handle<'a> {
    /// A process.
    Pid(Pid<'a>),
    /// A reference, which may be an alias of a process.
    Reference(Reference<'a>),
}

/// What was found in a payload.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Scan {
    /// It holds a function.
    pub(super) function: bool,
    /// How many atoms stand literally in what was seen.
    pub(super) atoms: usize,
    /// Nothing that has not been seen can hold a function.
    pub(super) ended: bool,
    /// Whether showing more of it may change that.
    pub(super) may_end: bool,
}

/// Looks through what is there of the payload.
pub(super) fn of_payload(message: &Shown<'_>) -> Result<Scan> {
    let mut scan = Scan::default();
    let mut walk = Walk::new(message);
    let mut open = 1_u64;
    loop {
        open = walk.pass_plain(open);
        if open == 0 {
            break;
        }
        let before = walk;
        open -= 1;
        match walk.step() {
            Ok(step) => {
                scan.atoms += step.atoms;
                scan.function |= matches!(step.tag, tag::NEW_FUN | tag::EXPORT);
                open = open.saturating_add(step.children);
            }
            Err(error @ Error::Truncated { .. }) if !message.whole => {
                let leaf = matches!(
                    before.peek(),
                    Ok(tag::BINARY
                        | tag::BIT_BINARY
                        | tag::STRING
                        | tag::SMALL_BIG
                        | tag::LARGE_BIG)
                );
                scan.ended = leaf && open == 0;
                scan.may_end = walk.is_cut(&error);
                return Ok(scan);
            }
            Err(error) => return Err(error),
        }
    }
    scan.ended = true;
    Ok(scan)
}

/// Tells each atom that stands literally in the control message and in what is there of the payload, those inside pids,
/// ports, references and funs included: each may be new to the receiver, and never leaves its atom table again.
///
/// # Errors
/// What is wrong with the payload.
pub fn literal_atoms<'a>(message: &Shown<'a>, visit: &mut impl FnMut(Cow<'a, str>)) -> Result<()> {
    let mut tell = |tag: u8, text: &'a [u8]| {
        let latin1 = matches!(tag, tag::ATOM | tag::SMALL_ATOM);
        visit(if latin1 && !text.is_ascii() {
            text.iter().map(|byte| char::from(*byte)).collect()
        } else {
            String::from_utf8_lossy(text)
        });
    };
    for bytes in [message.control_bytes, message.payload] {
        let mut walk = Walk::over(bytes, message.atoms);
        let mut open = u64::from(!bytes.is_empty());
        while open > 0 {
            match walk.step_over(&mut tell) {
                Ok(step) => open = (open - 1).saturating_add(step.children),
                Err(Error::Truncated { .. }) if !message.whole => break,
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

/// Tells which pids and references stand in the control message and in what is there of the payload, in their order,
/// [`MAX_HANDLES`] at most.
///
/// # Errors
/// What is wrong with the payload.
pub fn handed_out<'a>(message: &Shown<'a>, visit: &mut impl FnMut(Handle<'a>)) -> Result<()> {
    let mut left = MAX_HANDLES;
    for bytes in [message.control_bytes, message.payload] {
        let mut walk = Walk::over(bytes, message.atoms);
        let mut open = u64::from(!bytes.is_empty());
        while open > 0 && left > 0 {
            let passed = match walk.peek() {
                Ok(tag::NEW_PID | tag::PID)
                | Ok(tag::NEWER_REFERENCE | tag::NEW_REFERENCE | tag::REFERENCE) => {
                    left -= 1;
                    walk.head()
                        .map(|head| match head {
                            Head::Pid(pid) => visit(Handle::Pid(pid)),
                            Head::Reference(reference) => visit(Handle::Reference(reference)),
                            _ => {}
                        })
                        .map(|()| 0)
                }
                _ => walk.children(),
            };
            let children = match passed {
                Ok(children) => children,
                Err(Error::Truncated { .. }) if !message.whole => break,
                Err(error) => return Err(error),
            };
            open = (open - 1).saturating_add(children);
        }
    }
    Ok(())
}
