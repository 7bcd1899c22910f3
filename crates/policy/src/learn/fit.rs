//! Which ready-made roles fit what was seen between two parties: those that let through less beside it than lines of their own
//! would take. Those that own a node, and the one that lets any name through, are for people to bind.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::permits::{Item, Kind};
use super::seen::{self, Ask, Evidence, Heard, What};
use super::shape::Shapes;
use crate::action::Action;
use crate::catalogue;
use crate::engine::Engine;
use crate::request::Subject;
use crate::role::{self, Role};
use crate::source::{
    Binding, ClusterLinks, Entities, Kind as IdKind, Mode, Selector, Source, Version,
};

/// Roles of nodes that are all alike: bound both ways, and only where both speak so.
const PEERS: [&str; 4] = [
    "global-member",
    "mnesia-peer",
    "pubsub-peer",
    "rabbitmq-peer",
];
/// Roles of the short-lived nodes of a host.
const TOOLS: [&str; 2] = ["cli-tool", SHELL];
/// Who is bound by it owns the node.
pub(super) const SHELL: &str = "remsh-operator";
/// Roles of others, one way.
const CLIENTS: [&str; 2] = ["metrics-reader", "named-client"];

/// What a line of its own costs. The costs decide between a role and lines: a role costs what it lets through besides.
const LINE: usize = 10;
/// What any role costs: a reader has to look it up.
const ROLE: usize = 20;
/// So many names that a role lists cost as much as one step; somebody has looked at them.
const NAMES: usize = 4;
/// What a role costs for processes by a pattern, and for ending processes.
const OPEN: usize = 20;
/// What each server of `named-client` costs.
const SERVER: usize = 2;
/// Most servers of one binding.
const MAX_SERVERS: usize = 32;
/// Requests that are typical of a role before it is thought of.
const TYPICAL: usize = 2;

/// A role and its servers.
type Bound = (&'static str, Vec<String>);
/// From whom to whom, with what was seen of it and how many different requests that are.
type Between = BTreeMap<(usize, usize), (usize, Evidence)>;

/// The roles that were chosen.
#[derive(Default)]
pub(super) struct Roles {
    /// Between whom each of them is.
    pub(super) bound: BTreeMap<Bound, Between>,
    covered: BTreeSet<(usize, usize, Ask)>,
}

impl Roles {
    /// Whether one of them lets it through.
    pub(super) fn covers(&self, from: usize, to: usize, ask: &Ask) -> bool {
        self.covered.contains(&(from, to, ask.clone()))
    }

    fn bind(&mut self, candidate: &Candidate, way: (usize, usize), evidence: &Evidence) {
        let bound = (candidate.role.name, candidate.servers.clone());
        let pairs = self.bound.entry(bound).or_default();
        match pairs.get_mut(&candidate.at(way)) {
            Some((requests, known)) => {
                *requests += 1;
                known.add(evidence);
            }
            None => drop(pairs.insert(candidate.at(way), (1, evidence.clone()))),
        }
    }

    fn is_bound(&self, candidate: &Candidate, way: (usize, usize)) -> bool {
        let bound = (candidate.role.name, candidate.servers.clone());
        let pairs = self.bound.get(&bound);
        pairs.is_some_and(|pairs| pairs.contains_key(&candidate.at(way)))
    }
}

/// A role between two, as it could be bound.
struct Candidate {
    role: &'static Role,
    servers: Vec<String>,
    pairs: Vec<(usize, usize)>,
    cost: usize,
}

impl Candidate {
    /// Where it is bound for what goes this way: a role that is bound one way lets through what goes back as well.
    fn at(&self, (from, to): (usize, usize)) -> (usize, usize) {
        if self.pairs.contains(&(from, to)) {
            (from, to)
        } else {
            (to, from)
        }
    }
}

/// Chooses, for each two parties, the roles that cost least together with the lines for the rest.
pub(super) fn roles(heard: &Heard, shapes: &Shapes, good: &BTreeSet<(usize, usize, Ask)>) -> Roles {
    let mut tried = Tried::default();
    let mut chosen = Roles::default();
    let twos: BTreeSet<(usize, usize)> = heard
        .pairs
        .keys()
        .map(|&(from, to)| (from.min(to), from.max(to)))
        .collect();
    for (a, b) in twos {
        let ways: &[(usize, usize)] = if a == b { &[(a, b)] } else { &[(a, b), (b, a)] };
        let asks: Vec<(usize, usize, &Ask, &Evidence)> = ways
            .iter()
            .filter_map(|way| Some((way, heard.pairs.get(way)?)))
            .flat_map(|(&(from, to), asks)| asks.iter().map(move |(ask, e)| (from, to, ask, e)))
            .collect();
        let wanted: Vec<_> = asks
            .iter()
            .filter(|(from, to, ask, _)| good.contains(&(*from, *to, (*ask).clone())))
            .map(|&(from, to, ask, _)| (from, to, ask))
            .collect();
        let candidates = candidates(heard, (a, b), &wanted, shapes, &mut tried);
        let best = cheapest(&candidates, &wanted, shapes, &mut tried);
        for candidate in &best {
            for &(from, to, ask, evidence) in &asks {
                let key = (from, to, ask.clone());
                if good.contains(&key)
                    && tried.covers(candidate, (from, to), ask)
                    && chosen.covered.insert(key)
                {
                    chosen.bind(candidate, (from, to), evidence);
                }
            }
        }
        for candidate in &best {
            for &(from, to, ask, evidence) in &asks {
                if !evidence.forbidden
                    && chosen.is_bound(candidate, (from, to))
                    && tried.covers(candidate, (from, to), ask)
                {
                    chosen.covered.insert((from, to, ask.clone()));
                }
            }
        }
    }
    chosen
}

fn candidates(
    heard: &Heard,
    (a, b): (usize, usize),
    wanted: &[(usize, usize, &Ask)],
    shapes: &Shapes,
    tried: &mut Tried,
) -> Vec<Candidate> {
    let mut found = Vec::new();
    let ways = if a == b {
        vec![(a, b)]
    } else {
        vec![(a, b), (b, a)]
    };
    let typical = |candidate: &Candidate, way: (usize, usize), tried: &mut Tried| {
        wanted
            .iter()
            .filter(|(from, to, ask)| {
                (*from, *to) == way && is_typical(ask) && tried.covers(candidate, way, ask)
            })
            .count()
    };
    let cli = |party: usize| heard.party(party).cli;
    if !cli(a) && !cli(b) {
        for role in PEERS.iter().filter_map(|name| role::get(name)) {
            let candidate = candidate(role, Vec::new(), ways.clone());
            let all = ways.iter().all(|&way| typical(&candidate, way, tried) > 0);
            let sum: usize = ways
                .iter()
                .map(|&way| typical(&candidate, way, tried))
                .sum();
            // Any two nodes with a group or a name are that.
            let global = role.name != "global-member"
                || wanted
                    .iter()
                    .any(|(_, _, ask)| ask.action == Action::RegisterGlobal);
            if all && sum >= TYPICAL && global {
                found.push(candidate);
            }
        }
    }
    for way in ways {
        let names: &[&str] = if cli(way.0) { &TOOLS } else { &CLIENTS };
        for role in names.iter().filter_map(|name| role::get(name)) {
            let servers = match role.name {
                "named-client" => servers(wanted, way, shapes),
                _ => Vec::new(),
            };
            if role.name == "named-client" && !(1..=MAX_SERVERS).contains(&servers.len()) {
                continue;
            }
            let candidate = candidate(role, servers, vec![way]);
            let least = if candidate.servers.is_empty() {
                TYPICAL
            } else {
                1
            };
            // To begin with a shell means to end as the node's owner.
            let shell = role.name != SHELL
                || wanted.iter().any(|(from, to, ask)| {
                    (*from, *to) == way
                        && super::judge::owns_the_node(ask)
                        && tried.covers(&candidate, way, ask)
                });
            if shell && typical(&candidate, way, tried) >= least {
                found.push(candidate);
            }
        }
    }
    found
}

fn candidate(role: &'static Role, servers: Vec<String>, pairs: Vec<(usize, usize)>) -> Candidate {
    let names: usize = role::groups()
        .filter(|(name, _)| role.policies.contains(&format!("\"{name}\"")))
        .map(|(_, group)| group.processes.len() + group.functions.len())
        .sum();
    let open = role
        .policies
        .matches("resource is Skans::Process in")
        .count()
        + role.policies.matches("Action::\"exit\"").count();
    Candidate {
        cost: ROLE + names / NAMES + OPEN * open + SERVER * servers.len(),
        role,
        servers,
        pairs,
    }
}

/// The subset of candidates that costs least with the lines for what it leaves; of two that cost the same the one with fewer roles.
fn cheapest<'a>(
    candidates: &'a [Candidate],
    wanted: &[(usize, usize, &Ask)],
    shapes: &Shapes,
    tried: &mut Tried,
) -> Vec<&'a Candidate> {
    // Which candidates let each item through, whatever it was seen as.
    let mut items: BTreeMap<(usize, usize, Item), u32> = BTreeMap::new();
    for (from, to, ask) in wanted {
        let mut mask = 0;
        for (n, candidate) in candidates.iter().enumerate() {
            mask |= u32::from(tried.covers(candidate, (*from, *to), ask)) << n;
        }
        let known = items.entry((*from, *to, shapes.item(ask))).or_insert(mask);
        *known &= mask;
    }
    let mut lines: BTreeMap<u32, usize> = BTreeMap::new();
    for mask in items.into_values() {
        *lines.entry(mask).or_default() += LINE;
    }
    let cost = |subset: u32| {
        let roles = candidates.iter().enumerate();
        let roles: usize = roles
            .filter(|(n, _)| subset >> n & 1 == 1)
            .map(|(_, one)| one.cost)
            .sum();
        let rest = lines.iter().filter(|(mask, _)| *mask & subset == 0);
        (
            roles + rest.map(|(_, lines)| lines).sum::<usize>(),
            subset.count_ones(),
            subset,
        )
    };
    let best = (0..1u32 << candidates.len()).min_by_key(|&subset| cost(subset));
    let best = best.unwrap_or(0);
    let all = candidates.iter().enumerate();
    all.filter(|(n, _)| best >> n & 1 == 1)
        .map(|(_, one)| one)
        .collect()
}

/// Not what any link needs, or any two processes do.
fn is_typical(ask: &Ask) -> bool {
    matches!(
        Kind::of(ask),
        Kind::Process | Kind::Function | Kind::Pattern
    ) && ask.action != Action::Monitor
}

/// The names that `named-client` would be for.
fn servers(wanted: &[(usize, usize, &Ask)], way: (usize, usize), shapes: &Shapes) -> Vec<String> {
    let names: BTreeSet<String> = wanted
        .iter()
        .filter(|(from, to, ask)| {
            let item = shapes.item(ask);
            (*from, *to) == way && item.kind == Kind::Process && item.action == Action::Send
        })
        .filter_map(|(_, _, ask)| match &ask.what {
            What::Process(name) if !catalogue::process(name).otp => Some(name.clone()),
            _ => None,
        })
        .collect();
    names.into_iter().collect()
}

/// A role, its servers, and whether both ends are of one workload.
type Tie = (&'static str, Vec<String>, bool);

/// Roles between two workloads that stand for any, and what they said.
#[derive(Default)]
struct Tried {
    engines: BTreeMap<Tie, Option<Arc<Engine>>>,
    said: BTreeMap<(Tie, bool), BTreeMap<Ask, bool>>,
}

impl Tried {
    fn covers(&mut self, candidate: &Candidate, (from, to): (usize, usize), ask: &Ask) -> bool {
        let same = from == to;
        let pairs = candidate.pairs.iter();
        let mut ways = pairs.filter_map(|pair| match *pair {
            (p, t) if (p, t) == (from, to) => Some(false),
            (p, t) if (p, t) == (to, from) => Some(true),
            _ => None,
        });
        ways.any(|back| self.says(candidate, same, back, ask))
    }

    fn says(&mut self, candidate: &Candidate, same: bool, back: bool, ask: &Ask) -> bool {
        let (name, servers) = (candidate.role.name, &candidate.servers);
        let said = self
            .said
            .entry(((name, servers.clone(), same), back))
            .or_default();
        if let Some(&said) = said.get(ask) {
            return said;
        }
        let engine = self
            .engines
            .entry((name, servers.clone(), same))
            .or_insert_with(|| engine(name, servers, same));
        let (p, t) = (
            workload("p", "a"),
            workload(if same { "p" } else { "t" }, "b"),
        );
        let ends = if back { (t, p) } else { (p, t) };
        let permits = engine
            .as_ref()
            .is_some_and(|engine| seen::permits(engine, &ends, ask));
        said.insert(ask.clone(), permits);
        permits
    }
}

fn engine(role: &str, servers: &[String], same: bool) -> Option<Arc<Engine>> {
    let selector = |name| Selector {
        workload: Some(workload(name, "a").workload_id()),
        ..Selector::default()
    };
    let source = Source {
        version: Version::default(),
        name: "tried".to_owned(),
        mode: Mode::Enforce,
        policies: Vec::new(),
        entities: Entities::default(),
        roles: vec![Binding {
            role: role.to_owned(),
            principals: vec![selector("p")],
            on: vec![selector(if same { "p" } else { "t" })],
            servers: servers.to_vec(),
        }],
        links: ClusterLinks::default(),
    };
    Engine::compile(&source).ok().map(Arc::new)
}

fn workload(name: &str, host: &str) -> Subject {
    Subject {
        trust_domain: "learn.invalid".to_owned(),
        cluster: "c".to_owned(),
        namespace: "n".to_owned(),
        workload: name.to_owned(),
        node: name.to_owned(),
        host: host.to_owned(),
    }
}

/// The selector of a party.
pub(super) fn selector(heard: &Heard, party: usize) -> Selector {
    let (cli, party) = (heard.cli(party), heard.party(party));
    let of = |kind| (party.kind() == kind).then(|| party.id.clone());
    Selector {
        workload: of(IdKind::Workload),
        node: of(IdKind::Node),
        cli,
        ..Selector::default()
    }
}
