//! What becomes a permit: requests that no role covers, as items of one kind each, with the pairs that they were seen between.

use std::collections::{BTreeMap, BTreeSet};

use super::seen::{Ask, Evidence, Heard, What};
use super::shape::Piece;
use crate::action::Action;
use crate::catalogue;

/// What a line is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// A link.
    Connect,
    /// `skans:plumbing`: what keeps two nodes in step.
    Plumbing,
    /// Processes without a name.
    Node,
    /// Processes by name.
    Process,
    /// Processes whose names have a shape.
    Pattern,
    /// Functions.
    Function,
    /// Services.
    Service,
}

impl Kind {
    pub(super) fn of(ask: &Ask) -> Self {
        let plumbing = |name: &str| {
            matches!(ask.action, Action::Send | Action::Monitor) && PLUMBING.contains(&name)
        };
        match &ask.what {
            What::Service(_) => Self::Service,
            What::Node if ask.action == Action::Connect => Self::Connect,
            What::Node => Self::Node,
            What::Process(name) if plumbing(name) => Self::Plumbing,
            What::Process(_) => Self::Process,
            What::Function(..) => Self::Function,
        }
    }

    pub(super) fn is_plumbing(&self) -> bool {
        *self == Self::Plumbing
    }
}

/// `skans:plumbing`. A test holds it against the group.
pub(super) const PLUMBING: [&str; 6] = [
    "rex",
    "net_kernel",
    "global_name_server",
    "global_group",
    "init",
    "application_controller",
];

/// One thing that a line permits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Item {
    pub(super) kind: Kind,
    pub(super) action: Action,
    /// Functions may be in it.
    pub(super) carries: bool,
    /// A name, as it is; nothing for nodes and plumbing.
    pub(super) name: String,
    /// The shape of a name, for patterns.
    pub(super) shape: Vec<Piece>,
}

impl Item {
    pub(super) fn of(ask: &Ask) -> Self {
        let kind = Kind::of(ask);
        let name = match &ask.what {
            _ if kind.is_plumbing() => String::new(),
            What::Node => String::new(),
            What::Process(name) | What::Service(name) => name.clone(),
            What::Function(module, function, arity) => {
                crate::name::function(module, function, *arity)
            }
        };
        Self {
            kind,
            action: ask.action,
            carries: ask.carries,
            name,
            shape: Vec::new(),
        }
    }

    /// Who may do it owns the node.
    pub(super) fn owns(&self) -> bool {
        let named = match self.kind {
            Kind::Process if self.action != Action::Monitor => {
                catalogue::process(&self.name).administrative
            }
            Kind::Function => crate::name::parse(&self.name)
                .is_some_and(|(m, f, arity)| catalogue::function(&m, &f, arity).must_be_named()),
            _ => false,
        };
        named || self.action.is_administrative()
    }

    /// Somebody has looked at this one, and at no other.
    pub(super) fn exactly(ask: &Ask) -> Self {
        Self::of(ask)
    }

    pub(super) fn pattern(ask: &Ask, shape: Vec<Piece>) -> Self {
        Self {
            kind: Kind::Pattern,
            shape,
            name: String::new(),
            ..Self::of(ask)
        }
    }
}

/// Where each item was seen.
pub(super) type Items = BTreeMap<Item, BTreeMap<(usize, usize), Evidence>>;

/// Takes a request in.
pub(super) fn add(items: &mut Items, pair: (usize, usize), item: &Item, evidence: &Evidence) {
    let pairs = items.entry(item.clone()).or_default();
    match pairs.get_mut(&pair) {
        Some(known) => known.add(evidence),
        None => drop(pairs.insert(pair, evidence.clone())),
    }
}

/// Who of two nodes makes the link between them is chance, and so is who speaks first: what a link needs is permitted both ways where
/// messages went both ways. Not towards the short-lived nodes of a host, which nobody calls. And what may carry functions may be
/// without.
pub(super) fn both_ways(items: &mut Items, heard: &Heard, spoke: impl Fn(usize, usize) -> bool) {
    for (item, pairs) in items.iter_mut() {
        let of_a_link = item.kind == Kind::Connect
            || (item.kind == Kind::Plumbing && item.action == Action::Send && !item.carries);
        if !of_a_link {
            continue;
        }
        let back: Vec<_> = pairs
            .iter()
            .filter(|((from, to), _)| {
                let cli = heard.party(*from).cli || heard.party(*to).cli;
                !cli && spoke(*to, *from)
            })
            .map(|(&(from, to), evidence)| ((to, from), evidence.turned()))
            .collect();
        for (pair, evidence) in back {
            pairs.entry(pair).or_insert(evidence);
        }
    }
    let wider: BTreeSet<(Item, (usize, usize))> = items
        .iter()
        .filter(|(item, _)| item.carries)
        .flat_map(|(item, pairs)| pairs.keys().map(|pair| (item.clone(), *pair)))
        .collect();
    for (wide, pair) in wider {
        let narrow = Item {
            carries: false,
            ..wide.clone()
        };
        let Some(evidence) = items.get_mut(&narrow).and_then(|pairs| pairs.remove(&pair)) else {
            continue;
        };
        add(items, pair, &wide, &evidence);
    }
    items.retain(|_, pairs| !pairs.is_empty());
}
