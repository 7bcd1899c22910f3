//! The directory of a learned set, file by file: each line with what was seen of it.

mod files;

use std::collections::{BTreeMap, BTreeSet};

use super::blocks::{self, Block};
use super::fit::{self, Roles};
use super::permits::{Item, Items, Kind};
use super::seen::{Ask, Evidence, Heard, What};
use super::shape::Piece;
use super::{MAX_PERMITS, text};
use crate::action::Action;
use crate::problem::{Problem, Problems};
use crate::source::{Kind as IdKind, Selector};

/// A role that is bound.
struct Bound {
    role: &'static str,
    servers: Vec<String>,
    principals: Vec<Selector>,
    on: Vec<Selector>,
    requests: usize,
    evidence: Evidence,
}

/// A policy of its own.
struct Line {
    permits: bool,
    from: Side,
    to: Side,
    actions: BTreeSet<Action>,
    what: Resource,
    /// `context.carriesFunction` has to be this.
    carries: Option<bool>,
    /// Who may do it owns the node.
    owns: bool,
    evidence: Evidence,
}

/// One end of a line: one ID, or a group of `entities.yaml`.
#[derive(Clone)]
struct Side {
    scope: String,
    cli: Option<bool>,
}

/// What a line is about, in Cedar.
enum Resource {
    /// The receiving nodes.
    Node,
    /// One thing by its name: type and ID.
    Is(&'static str, String),
    /// A group of processes or functions: type and name of the group.
    In(&'static str, String),
    /// Processes whose names have this shape.
    Like(Vec<Piece>),
}

/// A set that is being written.
pub(super) struct Draft {
    bound: Vec<Bound>,
    lines: Vec<Line>,
    forbids: Vec<Line>,
    /// Groups of `entities.yaml`: key, and names, each with what was seen of it.
    groups: BTreeMap<String, (&'static str, BTreeMap<String, Option<Evidence>>)>,
}

impl Draft {
    pub(super) fn of(heard: &Heard, roles: &Roles, items: &Items) -> Result<Self, Problems> {
        let mut draft = Self {
            bound: Vec::new(),
            lines: Vec::new(),
            forbids: Vec::new(),
            groups: BTreeMap::new(),
        };
        for ((role, servers), pairs) in &roles.bound {
            for block in blocks::of(heard, &pairs.keys().copied().collect()) {
                draft.bind(heard, (role, servers), &block, pairs);
            }
        }
        for (list, actions) in lists(items) {
            for block in blocks::of(heard, &list.pairs) {
                draft.line(heard, &list, &actions, &block, items);
            }
        }
        if draft.lines.len() > MAX_PERMITS {
            let found = format!("{} permits", draft.lines.len());
            let wanted =
                format!("at most {MAX_PERMITS}: a shorter period, or fewer workloads at a time");
            return Err(Problem::new("", found, wanted).into());
        }
        Ok(draft)
    }

    pub(super) const fn permits(&self) -> usize {
        self.lines.len()
    }

    pub(super) const fn roles(&self) -> usize {
        self.bound.len()
    }

    fn bind(
        &mut self,
        heard: &Heard,
        (role, servers): (&'static str, &[String]),
        block: &Block,
        pairs: &BTreeMap<(usize, usize), (usize, Evidence)>,
    ) {
        let within = pairs
            .iter()
            .filter(|((from, to), _)| block.from.contains(from) && block.to.contains(to));
        let mut seen: Option<(usize, Evidence)> = None;
        for (_, (requests, evidence)) in within {
            match &mut seen {
                Some((sum, known)) => {
                    *sum += requests;
                    known.add(evidence);
                }
                None => seen = Some((*requests, evidence.clone())),
            }
        }
        let selectors = |parties: &BTreeSet<usize>| {
            parties
                .iter()
                .map(|&party| fit::selector(heard, party))
                .collect()
        };
        if let Some((requests, evidence)) = seen {
            self.bound.push(Bound {
                role,
                servers: servers.to_vec(),
                principals: selectors(&block.from),
                on: selectors(&block.to),
                requests,
                evidence,
            });
        }
    }

    fn line(
        &mut self,
        heard: &Heard,
        list: &List,
        actions: &BTreeSet<Action>,
        block: &Block,
        items: &Items,
    ) {
        let mut names: BTreeMap<String, Option<Evidence>> = BTreeMap::new();
        let mut all: Option<Evidence> = None;
        for item in list.items(actions) {
            let pairs = items.get(&item).into_iter().flatten();
            for (_, evidence) in
                pairs.filter(|((from, to), _)| block.from.contains(from) && block.to.contains(to))
            {
                merge(&mut all, evidence);
                merge(names.entry(item.name.clone()).or_default(), evidence);
            }
        }
        let Some(evidence) = all else { return };
        let what = match (&list.kind, names.len()) {
            (Kind::Connect | Kind::Node, _) => Resource::Node,
            (Kind::Plumbing, _) => Resource::In("Process", "skans:plumbing".to_owned()),
            (Kind::Pattern, _) => Resource::Like(list.shape.clone()),
            (kind, 1) => {
                let name = names.into_keys().next().unwrap_or_default();
                Resource::Is(entity_type(kind), name)
            }
            (kind, _) => {
                let key = if *kind == Kind::Function {
                    "functions"
                } else {
                    "processes"
                };
                Resource::In(entity_type(kind), self.group(key, names))
            }
        };
        let carries = (list.kind != Kind::Connect && list.kind != Kind::Service && !list.carries)
            .then_some(false);
        let line = Line {
            permits: true,
            from: self.side(heard, &block.from),
            to: self.side(heard, &block.to),
            actions: actions.clone(),
            what,
            carries,
            owns: list.owns,
            evidence,
        };
        self.lines.push(line);
    }

    /// What a role would let through, though the set in force forbids it.
    pub(super) fn forbid(&mut self, heard: &Heard, from: usize, to: usize, ask: &Ask) {
        let Some(evidence) = heard.evidence(from, to, ask) else {
            return;
        };
        let what = match &ask.what {
            What::Node => Resource::Node,
            What::Process(name) => Resource::Is("Process", name.clone()),
            What::Service(name) => Resource::Is("Service", name.clone()),
            What::Function(module, function, arity) => {
                let name = crate::name::function(module, function, *arity);
                Resource::Is("Function", name)
            }
        };
        let line = Line {
            permits: false,
            from: self.side(heard, &BTreeSet::from([from])),
            to: self.side(heard, &BTreeSet::from([to])),
            actions: BTreeSet::from([ask.action]),
            what,
            carries: (ask.action != Action::Connect).then_some(ask.carries),
            owns: false,
            evidence: evidence.clone(),
        };
        self.forbids.push(line);
    }

    fn side(&mut self, heard: &Heard, parties: &BTreeSet<usize>) -> Side {
        let cli = parties.first().and_then(|&party| heard.cli(party));
        let ids: BTreeMap<String, IdKind> = parties
            .iter()
            .map(|&party| (heard.party(party).id, heard.party(party).kind()))
            .collect();
        let mut only = ids.iter();
        let scope = match (only.next(), only.next()) {
            (Some((id, kind)), None) => {
                format!("Skans::{}::{}", kind.entity_type(), text::cedar(id))
            }
            _ => {
                let names = ids.into_keys().map(|id| (id, None)).collect();
                format!("Skans::Group::{}", text::cedar(&self.group("nodes", names)))
            }
        };
        Side { scope, cli }
    }

    /// The group of these names: one for each list, however many lines name it.
    fn group(&mut self, key: &'static str, names: BTreeMap<String, Option<Evidence>>) -> String {
        let known = self
            .groups
            .iter_mut()
            .find(|(_, (kind, known))| *kind == key && known.keys().eq(names.keys()));
        if let Some((name, (_, known))) = known {
            for (name, evidence) in names {
                if let (Some(into), Some(evidence)) = (known.get_mut(&name), evidence) {
                    merge(into, &evidence);
                }
            }
            return name.clone();
        }
        let of_kind = self
            .groups
            .values()
            .filter(|(kind, _)| *kind == key)
            .count();
        let name = format!("{key}-{}", of_kind + 1);
        self.groups.insert(name.clone(), (key, names));
        name
    }
}

fn merge(into: &mut Option<Evidence>, evidence: &Evidence) {
    match into {
        Some(known) => known.add(evidence),
        None => *into = Some(evidence.clone()),
    }
}

const fn entity_type(kind: &Kind) -> &'static str {
    match kind {
        Kind::Function => "Function",
        Kind::Service => "Service",
        Kind::Connect | Kind::Node => "Node",
        Kind::Plumbing | Kind::Process | Kind::Pattern => "Process",
    }
}

/// Items that are one line: of one kind, between the same pairs.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct List {
    kind: Kind,
    pairs: BTreeSet<(usize, usize)>,
    carries: bool,
    owns: bool,
    names: BTreeSet<String>,
    shape: Vec<Piece>,
}

impl List {
    fn items(&self, actions: &BTreeSet<Action>) -> Vec<Item> {
        let item = |&action, name: &String| Item {
            kind: self.kind.clone(),
            action,
            carries: self.carries,
            name: name.clone(),
            shape: self.shape.clone(),
        };
        let all = actions
            .iter()
            .flat_map(|action| self.names.iter().map(move |name| item(action, name)));
        all.collect()
    }
}

/// Lists, each with the actions that are the same for it.
fn lists(items: &Items) -> Vec<(List, BTreeSet<Action>)> {
    type Alike = (
        Kind,
        BTreeSet<(usize, usize)>,
        [bool; 2],
        Vec<Piece>,
        Action,
        String,
    );
    let mut named: BTreeMap<Alike, BTreeSet<String>> = BTreeMap::new();
    for (item, pairs) in items {
        // What a group would take for a pattern, or has no place for, stands alone.
        let alone = item.kind == Kind::Service || item.name.ends_with('*');
        let apart = if alone {
            item.name.clone()
        } else {
            String::new()
        };
        let pairs = pairs.keys().copied().collect();
        let key = (
            item.kind.clone(),
            pairs,
            [item.carries, item.owns()],
            item.shape.clone(),
            item.action,
            apart,
        );
        named.entry(key).or_default().insert(item.name.clone());
    }
    let mut lists: BTreeMap<List, BTreeSet<Action>> = BTreeMap::new();
    for ((kind, pairs, [carries, owns], shape, action, _), names) in named {
        let list = List {
            kind,
            pairs,
            carries,
            owns,
            names,
            shape,
        };
        lists.entry(list).or_default().insert(action);
    }
    lists.into_iter().collect()
}
