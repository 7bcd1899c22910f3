//! From what a message asks for to what the policy is asked. Bytes and verdicts are elsewhere.

use std::borrow::Cow;

use skans_dist::operation::{Function, Operation, To};
use skans_dist::term::{Pid, Reference};
use skans_policy::{Action, Resource};

/// What the policy is asked about a message.
#[derive(Clone, Copy, Debug)]
pub enum Asked<'a> {
    /// Nothing: it passes.
    Nothing,
    /// Something of a node or of a process with a name.
    Of(Action, Resource<'a>),
    /// A message to a process or an alias without a name, or a monitor of one: free if it was handed out.
    Bare(Action, Bare<'a>),
    /// A function.
    Function(Action, &'a Function<'a>),
    /// Something that no policy knows.
    Unknown(Resource<'a>),
}

/// Whom a message is for that is for nobody by name.
#[derive(Clone, Copy, Debug)]
pub enum Bare<'a> {
    Pid(&'a Pid<'a>),
    Alias(&'a Reference<'a>),
}

/// Reads it off.
pub fn of<'a>(operation: &'a Operation<'a>) -> Asked<'a> {
    let of = |action, to: &To<'a>| Asked::Of(action, resource(*to));
    match operation {
        Operation::Housekeeping => Asked::Nothing,
        // Nobody can have this name: what the other agent has refused, and told of.
        Operation::Send {
            to: To::Name("undefined"),
        } => Asked::Nothing,
        Operation::Send { to: To::Pid(pid) } => Asked::Bare(Action::SendPid, Bare::Pid(pid)),
        Operation::Send {
            to: To::Alias(alias),
        } => Asked::Bare(Action::SendPid, Bare::Alias(alias)),
        Operation::Send { to: To::Told } => Asked::Of(Action::SendPid, Resource::Node),
        Operation::Send { to } => of(Action::Send, to),
        Operation::Call(function) => Asked::Function(Action::Call, function),
        Operation::Cast(function) => Asked::Function(Action::Cast, function),
        Operation::Spawn(function) => Asked::Function(Action::Spawn, function),
        Operation::Link { to } => of(Action::Link, to),
        // Word of an end, and no more. A link would be another thing: it ends what takes no notice of ends.
        Operation::Monitor { to: To::Pid(pid) } => Asked::Bare(Action::Monitor, Bare::Pid(pid)),
        Operation::Monitor { to } => of(Action::Monitor, to),
        Operation::Exit { to } => of(Action::Exit, to),
        // Of whatever process: the policy knows nodes here.
        Operation::GroupLeader { .. } => Asked::Of(Action::GroupLeader, Resource::Node),
        // Asked of nobody else; without a name nobody can tell.
        Operation::RegisterGlobal { to: To::Name(name) } => {
            Asked::Of(Action::RegisterGlobal, Resource::Process(name))
        }
        Operation::ManageCode { to } => of(Action::ManageCode, to),
        Operation::AccessFiles { to } => of(Action::AccessFiles, to),
        Operation::StopNode { to } => of(Action::StopNode, to),
        Operation::ManageApplications { to } => of(Action::ManageApplications, to),
        Operation::Supervise { to } => of(Action::Supervise, to),
        Operation::Inspect { to } => of(Action::Inspect, to),
        Operation::SystemMessage { to } => of(Action::SystemMessage, to),
        Operation::RegisterGlobal { to } | Operation::Unknown { to } => {
            Asked::Unknown(resource(*to))
        }
        // What is to come is not known here.
        _ => Asked::Unknown(Resource::Node),
    }
}

/// The functions that have to be permitted. Where the list of arguments was not seen to its end, there may be more of them:
/// a permit for one arity is none for that.
pub fn functions<'a>(function: &'a Function<'a>) -> impl Iterator<Item = Resource<'a>> {
    /// No function has more (`MAX_ARG`, `erl_vm.h`).
    const MOST: u32 = 255;
    let seen = function.arity;
    let more = [seen.saturating_add(1), MOST];
    let more = more.into_iter().filter(move |_| function.open);
    std::iter::once(seen)
        .chain(more)
        .map(move |arity| Resource::Function {
            module: text(&function.module),
            function: text(&function.function),
            arity,
        })
}

fn text<'a>(text: &'a Cow<'a, str>) -> &'a str {
    text
}

fn resource(to: To<'_>) -> Resource<'_> {
    match to {
        To::Name(name) => Resource::Process(name),
        To::Pid(_) | To::Alias(_) | To::Told => Resource::Node,
    }
}
