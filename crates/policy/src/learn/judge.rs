//! What is never learned by itself, and why. A role that fits may let it through all the same: who made the role has looked at it.

use super::permits::Kind;
use super::seen::{Ask, Evidence, What};
use crate::action::Action;
use crate::catalogue;

/// Why something was left out. The gravest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Why {
    /// Who may do it owns the node, or calls there what he likes.
    OwnsTheNode,
    /// It has the shape of an attack: it ends, redirects or looks into processes that nobody offered for it.
    Attack,
    /// A node was told of under a name that is not the one of its identity.
    Spoofed,
    /// A policy of the set in force forbids it.
    Forbidden,
    /// The set in force refused it.
    Refused,
    /// No policy can permit it: a request that nobody knows, or more than a bound allows.
    Unknown,
    /// Its name is longer than events show.
    CutShort,
    /// A function of OTP or Elixir that nobody has looked at: too many of them call what they are given.
    Standard,
    /// A function was in the message, or it was not seen to its end.
    CarriesFunction,
    /// One link saw it once, from a node that no other resembles.
    Once,
    /// More different requests than an agent tells of one peer.
    Untold,
}

impl Why {
    /// In words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OwnsTheNode => "who may do it owns the node",
            Self::Attack => "it has the shape of an attack",
            Self::Spoofed => "the node's name is not that of its identity",
            Self::Forbidden => "the set in force forbids it",
            Self::Refused => "the set in force refused it",
            Self::Unknown => "no policy can permit it",
            Self::CutShort => "its name is longer than events show",
            Self::Standard => "a function of OTP or Elixir: who may call it may own the node",
            Self::CarriesFunction => "it carries a function, or was not seen to its end",
            Self::Once => "one link saw it once, from a node that no other resembles",
            Self::Untold => "an agent saw more than it tells of one peer",
        }
    }

    /// As a label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::OwnsTheNode => "owns-the-node",
            Self::Attack => "attack",
            Self::Spoofed => "spoofed",
            Self::Forbidden => "forbidden",
            Self::Refused => "refused",
            Self::Unknown => "unknown",
            Self::CutShort => "cut-short",
            Self::Standard => "standard",
            Self::CarriesFunction => "carries-function",
            Self::Once => "once",
            Self::Untold => "untold",
        }
    }

    /// Not even a role lets it through. What was refused may have been refused by a forbid: events do not say.
    pub(super) const fn is_final(self) -> bool {
        matches!(self, Self::Forbidden | Self::Refused)
    }

    /// Somebody may look at it and take it in by its number.
    #[must_use]
    pub const fn is_for_people(self) -> bool {
        matches!(self, Self::Standard | Self::CarriesFunction | Self::Once)
    }
}

/// Whether something may be learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Learn,
    Leave(Why),
}

/// `cli`: the short-lived nodes of a host ask. Whoever starts those is the user that the node runs as.
pub(super) fn class(ask: &Ask, evidence: &Evidence, cli: bool, functions: bool) -> Class {
    if evidence.forbidden {
        return Class::Leave(Why::Forbidden);
    }
    if evidence.refused {
        return Class::Leave(Why::Refused);
    }
    if !is_askable(ask) {
        return Class::Leave(Why::Unknown);
    }
    if !cli && owns_the_node(ask) {
        return Class::Leave(Why::OwnsTheNode);
    }
    if !cli && is_shaped_like_an_attack(ask) {
        return Class::Leave(Why::Attack);
    }
    if !cli && is_standard(ask) {
        return Class::Leave(Why::Standard);
    }
    if ask.carries && !functions {
        return Class::Leave(Why::CarriesFunction);
    }
    Class::Learn
}

/// Whether a set can be asked about it, by the schema and by its text.
pub(super) fn is_askable(ask: &Ask) -> bool {
    let fits = match ask.action {
        Action::Publish | Action::SpawnRequest => false,
        Action::Connect => matches!(ask.what, What::Node | What::Service(_)),
        Action::Send | Action::RegisterGlobal => matches!(ask.what, What::Process(_)),
        Action::SendPid | Action::GroupLeader => matches!(ask.what, What::Node),
        Action::Call | Action::Cast | Action::Spawn => matches!(ask.what, What::Function(..)),
        _ => matches!(ask.what, What::Node | What::Process(_)),
    };
    fits && is_name(&ask.what)
}

fn is_name(what: &What) -> bool {
    match what {
        What::Function(module, function, arity) => {
            let text = crate::name::function(module, function, *arity);
            crate::name::parse(&text).is_some()
        }
        What::Process(name) => !name.is_empty(),
        What::Service(name) => crate::name::is_label(name),
        What::Node => true,
    }
}

/// Every link needs `skans:plumbing`, most of whose processes own the node: what is asked of them beyond that has actions of its own.
pub(super) fn owns_the_node(ask: &Ask) -> bool {
    if ask.action.is_administrative() {
        return true;
    }
    match &ask.what {
        _ if ask.action == Action::Monitor || Kind::of(ask).is_plumbing() => false,
        What::Process(name) => catalogue::process(name).administrative,
        What::Function(module, function, arity) => {
            catalogue::function(module, function, *arity).must_be_named()
        }
        What::Node | What::Service(_) => false,
    }
}

/// The catalogue knows which functions own a node, and not that the others do not: `error_handler:undefined_function/3` is one of hundreds that
/// call what they are given. Those that were looked at are in roles.
fn is_standard(ask: &Ask) -> bool {
    matches!(&ask.what, What::Function(module, ..) if catalogue::is_standard(module))
}

/// What the attacks on authorization are made of beside what owns a node: exit signals, group leaders, a look into processes, and
/// functions that have no name (`module:fun/N`).
fn is_shaped_like_an_attack(ask: &Ask) -> bool {
    match ask.action {
        Action::Exit | Action::GroupLeader | Action::Inspect => true,
        Action::Call | Action::Cast | Action::Spawn => {
            matches!(&ask.what, What::Function(_, function, _) if function == "fun")
        }
        _ => false,
    }
}
