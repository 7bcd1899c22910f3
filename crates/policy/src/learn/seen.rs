//! What agents saw, added up: who asked whom for what, how often, when, and which agents say so. Workloads are taken as one
//! unless their nodes do different things.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::judge::Why;
use super::text;
use crate::action::Action;
use crate::decision::Verdict;
use crate::engine::Engine;
use crate::problem::{Problem, Problems};
use crate::request::{Request, Resource, Subject};
use crate::source::Kind;

/// One line of what agents told.
// They come one by one: none is kept for long.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A request.
    Seen(Seen),
    /// What is no request that a set could be asked about.
    Strange {
        /// Why not.
        why: Why,
        /// What was told, in words. Whoever is watched may have chosen them.
        words: String,
        /// How often.
        count: u64,
        /// When first, in seconds since 1970.
        first: u64,
        /// And last.
        last: u64,
    },
}

/// A request that an agent saw.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Who asked.
    pub from: Subject,
    /// Who was asked.
    pub to: Subject,
    /// For what.
    pub action: Action,
    /// Of what.
    pub what: What,
    /// A function was in it, or it was not seen to its end.
    pub carries_function: bool,
    /// What became of it.
    pub said: Said,
    /// Which agent says so.
    pub by: By,
    /// How often.
    pub count: u64,
    /// When first, in seconds since 1970.
    pub first: u64,
    /// And last.
    pub last: u64,
}

/// [`Resource`], kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum What {
    /// The receiving node.
    Node,
    /// A registered process.
    Process(String),
    /// `module:function/arity`.
    Function(String, String, u32),
    /// A service.
    Service(String),
}

/// What the set in force said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// It passed: permitted, or by a dry run.
    Passed,
    /// A policy forbids it.
    Forbidden,
    /// It was refused.
    Refused,
}

/// Which agent says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By {
    /// The one beside the sender.
    Sender,
    /// The one beside the receiver.
    Receiver,
    /// One of the two, which did not tell everything: eight names in ten seconds.
    Either,
}

/// A question, whoever asks it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ask {
    pub(super) action: Action,
    pub(super) what: What,
    pub(super) carries: bool,
}

impl Ask {
    /// Hands it to the engine's words.
    pub(super) fn request(&self) -> Request<'_> {
        let resource = match &self.what {
            What::Node => Resource::Node,
            What::Process(name) => Resource::Process(name),
            What::Service(name) => Resource::Service(name),
            What::Function(module, function, arity) => Resource::Function {
                module,
                function,
                arity: *arity,
            },
        };
        Request {
            carries_function: self.carries,
            now: (self.action == Action::Connect).then_some(0),
            ..Request::new(self.action, resource)
        }
    }
}

/// Whether a set permits it, between these two.
pub(super) fn permits(engine: &Arc<Engine>, ends: &(Subject, Subject), ask: &Ask) -> bool {
    let pair = engine.pair(&ends.0, &ends.1, 0);
    pair.decide(&ask.request()).verdict == Verdict::Permit
}

/// How often something was seen, by whom.
#[derive(Clone, Debug)]
pub(super) struct Evidence {
    sender: u64,
    receiver: u64,
    either: u64,
    pub(super) first: u64,
    pub(super) last: u64,
    /// Nodes that asked: `name@host`.
    pub(super) from: BTreeSet<String>,
    /// Nodes that were asked.
    pub(super) to: BTreeSet<String>,
    /// Hosts whose agents say so.
    pub(super) agents: BTreeSet<String>,
    pub(super) forbidden: bool,
    pub(super) refused: bool,
    /// Two nodes that it was between: the first in order.
    pub(super) example: (Subject, Subject),
}

impl Evidence {
    fn of(seen: &Seen) -> Self {
        let (from, to) = (&seen.from, &seen.to);
        let of = |by| if seen.by == by { seen.count } else { 0 };
        let agents = match seen.by {
            By::Sender => Some(from.host.clone()),
            By::Receiver => Some(to.host.clone()),
            By::Either => None,
        };
        Self {
            sender: of(By::Sender),
            receiver: of(By::Receiver),
            either: of(By::Either),
            first: seen.first,
            last: seen.last,
            from: BTreeSet::from([from.name()]),
            to: BTreeSet::from([to.name()]),
            agents: agents.into_iter().collect(),
            forbidden: seen.said == Said::Forbidden,
            refused: seen.said == Said::Refused,
            example: (from.clone(), to.clone()),
        }
    }

    /// Both agents of a link see the same: the one that saw more counts.
    pub(super) fn count(&self) -> u64 {
        match self.sender.max(self.receiver) {
            0 => self.either,
            seen => seen,
        }
    }

    /// The other way, in which it was not seen.
    pub(super) fn turned(&self) -> Self {
        Self {
            sender: 0,
            receiver: 0,
            either: 0,
            from: BTreeSet::new(),
            to: BTreeSet::new(),
            agents: BTreeSet::new(),
            example: (self.example.1.clone(), self.example.0.clone()),
            ..self.clone()
        }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.sender = self.sender.saturating_add(other.sender);
        self.receiver = self.receiver.saturating_add(other.receiver);
        self.either = self.either.saturating_add(other.either);
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.from.extend(other.from.iter().cloned());
        self.to.extend(other.to.iter().cloned());
        self.agents.extend(other.agents.iter().cloned());
        self.forbidden |= other.forbidden;
        self.refused |= other.refused;
        if key(&other.example) < key(&self.example) {
            self.example.clone_from(&other.example);
        }
    }
}

fn key(ends: &(Subject, Subject)) -> (String, String) {
    (ends.0.id_at_host(), ends.1.id_at_host())
}

/// Who is taken as one: a workload, or its nodes of one name where they do different things; the short-lived nodes apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Party {
    /// The ID of a workload, or of a node without its host.
    pub(super) id: String,
    pub(super) cli: bool,
}

impl Party {
    pub(super) fn kind(&self) -> Kind {
        Kind::of(&self.id).unwrap_or(Kind::Workload)
    }
}

/// How often something strange was told, and when.
#[derive(Clone, Debug)]
pub(super) struct Times {
    pub(super) count: u64,
    pub(super) first: u64,
    pub(super) last: u64,
}

fn note(strange: &mut BTreeMap<(Why, String), Times>, key: (Why, String), times: &Times) {
    let known = strange.entry(key).or_insert(Times {
        count: 0,
        ..times.clone()
    });
    known.count = known.count.saturating_add(times.count);
    known.first = known.first.min(times.first);
    known.last = known.last.max(times.last);
}

fn is_node(subject: &Subject) -> bool {
    crate::test::subject(&subject.id_at_host()).as_ref() == Some(subject)
}

/// Everything that was told.
pub(super) struct Heard {
    parties: Vec<Party>,
    /// By party: nodes that were seen of it.
    nodes: Vec<BTreeSet<String>>,
    pub(super) pairs: BTreeMap<(usize, usize), BTreeMap<Ask, Evidence>>,
    pub(super) strange: BTreeMap<(Why, String), Times>,
}

/// Fewer nodes of one workload than this with names of their own may be taken apart: more are made by something that gives names.
const MOST_NAMES: usize = 16;
/// Nodes of one workload that share less than one in so many of what they ask for do different things.
const ALIKE: usize = 4;

impl Heard {
    pub(super) fn of(told: impl IntoIterator<Item = Told>, most: usize) -> Result<Self, Problems> {
        let mut raw: BTreeMap<(String, String, Ask), Evidence> = BTreeMap::new();
        let mut strange: BTreeMap<(Why, String), Times> = BTreeMap::new();
        for one in told {
            match one {
                // Whoever is told of under an ID that no certificate has is nobody.
                Told::Seen(seen) if !(is_node(&seen.from) && is_node(&seen.to)) => {
                    let words = format!("{} {} {}", seen.from.id(), seen.action, seen.to.id());
                    let times = Times {
                        count: seen.count,
                        first: seen.first,
                        last: seen.last,
                    };
                    note(&mut strange, (Why::Spoofed, text::shown(&words)), &times);
                }
                Told::Seen(seen) => {
                    let ask = Ask {
                        action: seen.action,
                        what: seen.what.clone(),
                        carries: seen.carries_function,
                    };
                    let evidence = Evidence::of(&seen);
                    let key = (seen.from.id(), seen.to.id(), ask);
                    match raw.get_mut(&key) {
                        Some(known) => known.add(&evidence),
                        None => drop(raw.insert(key, evidence)),
                    }
                }
                Told::Strange {
                    why,
                    words,
                    count,
                    first,
                    last,
                } => {
                    let times = Times { count, first, last };
                    note(&mut strange, (why, text::shown(&words)), &times);
                }
            }
            if raw.len() + strange.len() > most {
                let found = format!("more than {most} different requests");
                let wanted = "fewer: a shorter period (--since, --for), or fewer files";
                return Err(Problem::new("", found, wanted).into());
            }
        }
        Ok(Self::grouped(raw, strange))
    }

    fn grouped(
        raw: BTreeMap<(String, String, Ask), Evidence>,
        strange: BTreeMap<(Why, String), Times>,
    ) -> Self {
        let apart = apart(&raw);
        let party = |subject: &Subject| {
            let workload = subject.workload_id();
            let id = if apart.contains(&workload) && !subject.is_cli() {
                subject.id()
            } else {
                workload
            };
            Party {
                id,
                cli: subject.is_cli(),
            }
        };
        let mut nodes: BTreeMap<Party, BTreeSet<String>> = BTreeMap::new();
        for evidence in raw.values() {
            let (from, to) = &evidence.example;
            nodes
                .entry(party(from))
                .or_default()
                .extend(evidence.from.iter().cloned());
            nodes
                .entry(party(to))
                .or_default()
                .extend(evidence.to.iter().cloned());
        }
        let (parties, nodes): (Vec<_>, Vec<_>) = nodes.into_iter().unzip();
        // Sorted, as they come out of a map.
        let number = |subject: &Subject| parties.binary_search(&party(subject)).unwrap_or(0);
        let mut pairs: BTreeMap<(usize, usize), BTreeMap<Ask, Evidence>> = BTreeMap::new();
        for ((_, _, ask), evidence) in raw {
            let (from, to) = &evidence.example;
            let pair = pairs.entry((number(from), number(to))).or_default();
            match pair.get_mut(&ask) {
                Some(known) => known.add(&evidence),
                None => drop(pair.insert(ask, evidence)),
            }
        }
        Self {
            parties,
            nodes,
            pairs,
            strange,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty() && self.strange.is_empty()
    }

    pub(super) fn party(&self, number: usize) -> Party {
        let nobody = || Party {
            id: String::new(),
            cli: false,
        };
        self.parties.get(number).cloned().unwrap_or_else(nobody)
    }

    /// How a selector has to narrow it: short-lived nodes or others of a workload that was seen with both.
    pub(super) fn cli(&self, number: usize) -> Option<bool> {
        let party = self.party(number);
        let workload = |id: &str| id.split("/node/").next().map(str::to_owned);
        let both = || {
            self.parties
                .iter()
                .any(|other| other.cli && workload(&other.id) == workload(&party.id))
        };
        match party.cli {
            true => Some(true),
            // By the name of a node: none of the short-lived ones has it.
            false if party.kind() == Kind::Node => None,
            false => both().then_some(false),
        }
    }

    /// The nodes that were seen of it: `name@host`.
    pub(super) fn nodes(&self, number: usize) -> usize {
        self.nodes.get(number).map_or(0, BTreeSet::len)
    }

    pub(super) fn evidence(&self, from: usize, to: usize, ask: &Ask) -> Option<&Evidence> {
        self.pairs.get(&(from, to))?.get(ask)
    }
}

/// Workloads whose nodes do different things.
fn apart(raw: &BTreeMap<(String, String, Ask), Evidence>) -> BTreeSet<String> {
    type Does<'a> = BTreeSet<(bool, &'a Ask)>;
    let mut does: BTreeMap<String, BTreeMap<String, Does<'_>>> = BTreeMap::new();
    for ((_, _, ask), evidence) in raw {
        // All nodes ask for links, and for what keeps them in step.
        if ask.action == Action::Connect || super::permits::Kind::of(ask).is_plumbing() {
            continue;
        }
        let ends = [(true, &evidence.example.0), (false, &evidence.example.1)];
        for (asks, subject) in ends.into_iter().filter(|(_, subject)| !subject.is_cli()) {
            let names = does.entry(subject.workload_id()).or_default();
            names.entry(subject.id()).or_default().insert((asks, ask));
        }
    }
    let differs = |names: &BTreeMap<String, BTreeSet<(bool, &Ask)>>| {
        let all: Vec<_> = names.values().collect();
        all.iter().enumerate().any(|(n, one)| {
            all.iter().skip(n + 1).any(|other| {
                let common = one.intersection(other).count();
                let union = one.len() + other.len() - common;
                common * ALIKE < union
            })
        })
    };
    does.into_iter()
        .filter(|(_, names)| (2..=MOST_NAMES).contains(&names.len()) && differs(names))
        .map(|(workload, _)| workload)
        .collect()
}
