//! From what agents saw to the smallest readable set that permits it, and a list of what was left out and why: requests in, the
//! texts of a set's directory out. No I/O and no clock: the same requests give the same bytes, in whatever order they come.
//!
//! Whoever is watched writes what is learned from. So what owns a node is never learned from anybody but the short-lived nodes
//! of a host, what was seen once is not learned at all, and no name becomes syntax.

mod blocks;
mod fit;
mod judge;
mod permits;
mod seen;
mod shape;
#[cfg(test)]
mod tests;
mod text;
mod write;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::engine::Engine;
use crate::problem::{Problem, Problems};
use crate::source::{File, Source};
use judge::Class;
pub use judge::Why;
use permits::{Item, Kind};
use seen::{Ask, Evidence, Heard};
pub use seen::{By, Said, Seen, Told, What};
use shape::Shapes;

/// Most different requests of one period: some 100 MB. A peer has room for 1,024 an hour in the events of an agent, so who
/// invents names does not get here alone.
pub const MAX_DIFFERENT: usize = 200_000;
/// Most lines of `learned.cedar`. A set has at most 5,000 policies, those of its roles included.
pub const MAX_PERMITS: usize = 2_000;
/// Most that is listed as left out one by one; the rest is counted.
pub const MAX_LISTED: usize = 1_000;
/// So many that are alike are listed before others of their kind.
const ALIKE: usize = 5;

/// What is wanted.
#[derive(Clone, Debug)]
pub struct Options {
    /// What the set is called.
    pub name: String,
    /// The day at whose start its dry run ends, `YYYY-MM-DD`.
    pub until: String,
    /// Numbers of what was left out that is to be permitted all the same, after somebody has looked at it.
    pub include: BTreeSet<usize>,
    /// Learn requests that carry functions, too.
    pub functions: bool,
}

/// What was learned.
#[derive(Clone, Debug)]
pub struct Learned {
    /// The set's directory.
    pub files: Vec<File>,
    /// What it does not permit, by number.
    pub left_out: Vec<LeftOut>,
    /// Of what was left out, how much is not listed one by one.
    pub unlisted: usize,
    /// How many roles are bound.
    pub roles: usize,
    /// How many permits there are beside them.
    pub permits: usize,
    /// How many different requests it was learned from, those left out not counted.
    pub requests: usize,
}

/// Something that the set does not permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    /// Its number: the same as long as the requests are the same.
    pub n: usize,
    /// Why.
    pub why: Why,
    /// The request, in words, escaped and cut.
    pub request: String,
    /// How often it was seen: on a link, or again on it after ten minutes, is once.
    pub count: u64,
    /// When it was seen first, in seconds since 1970.
    pub first: u64,
    /// And last.
    pub last: u64,
    asked: Option<(usize, usize, Ask)>,
}

/// Learns a set.
///
/// # Errors
/// [`Problems`]: nothing or too much was seen, a number to be included is none that may be, or the name or day is not one.
pub fn learn(told: impl IntoIterator<Item = Told>, options: &Options) -> Result<Learned, Problems> {
    let heard = Heard::of(told, MAX_DIFFERENT)?;
    if heard.is_empty() {
        let wanted = "events of agents whose set is a dry run, or that have events.observe";
        return Err(Problem::new("", "no request in what was read", wanted).into());
    }
    let mut sorted = Sorted::of(&heard, options);
    let shapes = Shapes::of(sorted.good.iter().map(|(_, _, ask)| ask));
    sorted.leave_out_what_was_seen_once(&heard, &shapes);
    let roles = fit::roles(&heard, &shapes, &sorted.good);
    let mut left = Vec::new();
    let mut items = BTreeMap::new();
    for (&(from, to), asks) in &heard.pairs {
        for (ask, evidence) in asks {
            let why = sorted.why.get(&(from, to, ask.clone())).copied();
            if why.is_some_and(Why::is_final) || !roles.covers(from, to, ask) {
                match why {
                    Some(why) => left.push((why, from, to, ask, evidence)),
                    None => permits::add(&mut items, (from, to), &shapes.item(ask), evidence),
                }
            }
        }
    }
    let mut left_out = list(&heard, left);
    for n in &options.include {
        let Some(at) = left_out.iter().position(|one| one.n == *n) else {
            let found = format!("--include {n}: of {}", left_out.len());
            return Err(
                Problem::new("", found, "the number of something that was left out").into(),
            );
        };
        let one = left_out.remove(at);
        let Some((from, to, ask)) = one.asked.filter(|_| one.why.is_for_people()) else {
            let found = format!("--include {n}: {}, since {}", one.request, one.why.as_str());
            let wanted = "something that was seen once or carries a function; write a policy for anything else";
            return Err(Problem::new("", found, wanted).into());
        };
        for (from, to, ask) in sorted.with_its_link(from, to, ask) {
            if let Some(evidence) = heard.evidence(from, to, &ask) {
                permits::add(&mut items, (from, to), &Item::exactly(&ask), evidence);
                sorted.good.insert((from, to, ask.clone()));
                sorted.why.remove(&(from, to, ask));
            }
        }
    }
    left_out.retain(|one| {
        let asked = one.asked.as_ref();
        asked.is_none_or(|key| !sorted.good.contains(key))
    });
    let spoke: BTreeSet<_> = sorted
        .good
        .iter()
        .map(|(from, to, _)| (*from, *to))
        .collect();
    permits::both_ways(&mut items, &heard, |from, to| spoke.contains(&(from, to)));
    let written = write::Draft::of(&heard, &roles, &items)?;
    finish(&heard, &sorted, written, left_out, options)
}

/// What makes and keeps a link.
fn of_a_link(ask: &Ask) -> bool {
    matches!(Kind::of(ask), Kind::Connect | Kind::Plumbing)
}

/// What may be learned, and why the rest may not.
struct Sorted {
    good: BTreeSet<(usize, usize, Ask)>,
    why: BTreeMap<(usize, usize, Ask), Why>,
}

impl Sorted {
    fn of(heard: &Heard, options: &Options) -> Self {
        let mut sorted = Self {
            good: BTreeSet::new(),
            why: BTreeMap::new(),
        };
        for (&(from, to), asks) in &heard.pairs {
            for (ask, evidence) in asks {
                let key = (from, to, ask.clone());
                let cli = heard.party(from).cli;
                match judge::class(ask, evidence, cli, options.functions) {
                    Class::Learn => {
                        sorted.good.insert(key);
                    }
                    Class::Leave(why) => {
                        sorted.why.insert(key, why);
                    }
                }
            }
        }
        sorted
    }

    /// What somebody takes in, and the link that it needs, if that was left out as well.
    fn with_its_link(&self, from: usize, to: usize, ask: Ask) -> Vec<(usize, usize, Ask)> {
        let both = |from: usize, to: usize| (from.min(to), from.max(to));
        let link = self.why.iter().filter(|((one, other, part), why)| {
            **why == Why::Once && both(*one, *other) == both(from, to) && of_a_link(part)
        });
        let mut all: Vec<_> = link.map(|(key, _)| key.clone()).collect();
        all.push((from, to, ask));
        all
    }

    /// What one link saw once, from a node that no other resembles: a mistake, or somebody who tries. All nodes make links in the
    /// same way, so that says nothing of who they are: a link stays if it was seen again, or if both of its ends did something by a name that stays.
    fn leave_out_what_was_seen_once(&mut self, heard: &Heard, shapes: &Shapes) {
        // Any two processes speak to each other, monitor and link.
        let says_who = |ask: &Ask| !of_a_link(ask) && Kind::of(ask) != Kind::Node;
        let both = |from: usize, to: usize| (from.min(to), from.max(to));
        // By item and party: which nodes asked for it, of that party or of others from it.
        let mut nodes: BTreeMap<(Item, usize), BTreeSet<&str>> = BTreeMap::new();
        let mut counts: BTreeMap<(Item, usize, usize), u64> = BTreeMap::new();
        let mut again = BTreeSet::new();
        for (from, to, ask) in &self.good {
            let Some(evidence) = heard.evidence(*from, *to, ask) else {
                continue;
            };
            if !says_who(ask) && (evidence.count() > 1 || evidence.from.len() > 1) {
                again.insert(both(*from, *to));
            }
            if of_a_link(ask) {
                continue;
            }
            let item = shapes.item(ask);
            for party in [from, to] {
                let nodes = nodes.entry((item.clone(), *party)).or_default();
                nodes.extend(evidence.from.iter().map(String::as_str));
            }
            let count = counts.entry((item, *from, *to)).or_default();
            *count = count.saturating_add(evidence.count());
        }
        // A node resembles another that asks for the same, of the same or with it: not one that has nothing to do with either of the two.
        let often = |from: usize, to: usize, ask: &Ask| {
            let item = shapes.item(ask);
            let [one, other] = [from, to].map(|party| nodes.get(&(item.clone(), party)));
            let mut nodes = one.into_iter().chain(other).flatten();
            let first = nodes.next();
            nodes.any(|node| Some(node) != first)
                || counts
                    .get(&(item, from, to))
                    .is_some_and(|&count| count > 1)
        };
        let known: BTreeSet<usize> = self
            .good
            .iter()
            .filter(|(from, to, ask)| says_who(ask) && often(*from, *to, ask))
            .flat_map(|&(from, to, _)| [from, to])
            .collect();
        let once: Vec<_> = self
            .good
            .iter()
            .filter(|(from, to, ask)| {
                let link =
                    again.contains(&both(*from, *to)) || known.contains(from) && known.contains(to);
                let stays = match () {
                    () if of_a_link(ask) => link,
                    () if says_who(ask) => often(*from, *to, ask),
                    () => link && often(*from, *to, ask),
                };
                !stays
            })
            .cloned()
            .collect();
        for key in once {
            self.good.remove(&key);
            self.why.insert(key, Why::Once);
        }
    }
}

/// Numbers what was left out.
fn list(heard: &Heard, left: Vec<(Why, usize, usize, &Ask, &Evidence)>) -> Vec<LeftOut> {
    let mut all: Vec<LeftOut> = left
        .into_iter()
        .map(|(why, from, to, ask, evidence)| LeftOut {
            n: 0,
            why,
            request: text::request(heard, from, to, ask),
            count: evidence.count(),
            first: evidence.first,
            last: evidence.last,
            asked: Some((from, to, ask.clone())),
        })
        .collect();
    all.extend(heard.strange.iter().map(|((why, request), times)| LeftOut {
        n: 0,
        why: *why,
        request: request.clone(),
        count: times.count,
        first: times.first,
        last: times.last,
        asked: None,
    }));
    all.sort_by(|a, b| (a.why, &a.request, &a.asked).cmp(&(b.why, &b.request, &b.asked)));
    for (n, one) in all.iter_mut().enumerate() {
        one.n = n + 1;
    }
    all
}

/// Those that are listed one by one, of each kind some: who does very much of one thing does not hide another by it.
fn listed(left_out: &[LeftOut]) -> Vec<&LeftOut> {
    if left_out.len() <= MAX_LISTED {
        return left_out.iter().collect();
    }
    let mut alike = BTreeMap::new();
    let (first, rest): (Vec<_>, Vec<_>) = left_out.iter().partition(|one| {
        let of = one.asked.as_ref().map(|(from, to, ask)| match &ask.what {
            What::Function(module, ..) => (*from, *to, ask.action, module.as_str()),
            _ => (*from, *to, ask.action, ""),
        });
        let count = alike.entry((one.why, of)).or_insert(0);
        *count += 1;
        *count <= ALIKE
    });
    let mut shown: Vec<_> = first.into_iter().chain(rest).take(MAX_LISTED).collect();
    shown.sort_by_key(|one| one.n);
    shown
}

/// Tries the set on everything that it was learned from, and adds what forbids where a role would let through what the set in force
/// forbids. What is handed out has been decided by the engine that agents use.
fn finish(
    heard: &Heard,
    sorted: &Sorted,
    mut draft: write::Draft,
    mut left_out: Vec<LeftOut>,
    options: &Options,
) -> Result<Learned, Problems> {
    let permits = draft.permits();
    let engine = compile(&draft.files(heard, &[], options))?;
    let permitted = |engine: &Arc<Engine>, from: usize, to: usize, ask: &Ask| {
        let evidence = heard.evidence(from, to, ask);
        evidence.is_some_and(|evidence| seen::permits(engine, &evidence.example, ask))
    };
    let mut through = BTreeSet::new();
    for one in &left_out {
        let Some((from, to, ask)) = &one.asked else {
            continue;
        };
        if permitted(&engine, *from, *to, ask) {
            if one.why.is_final() {
                draft.forbid(heard, *from, *to, ask);
            } else {
                through.insert(one.n);
            }
        }
    }
    // What a line for others lets through as well is not left out.
    left_out.retain(|one| !through.contains(&one.n));
    let files = draft.files(heard, &left_out, options);
    let engine = compile(&files)?;
    for (from, to, ask) in &sorted.good {
        if !permitted(&engine, *from, *to, ask) {
            return Err(wrong(
                heard,
                *from,
                *to,
                ask,
                "does not permit what it was learned from",
            ));
        }
    }
    for one in &left_out {
        if let Some((from, to, ask)) = &one.asked
            && permitted(&engine, *from, *to, ask)
        {
            return Err(wrong(heard, *from, *to, ask, "permits what was left out"));
        }
    }
    let shown: Vec<LeftOut> = listed(&left_out).into_iter().cloned().collect();
    Ok(Learned {
        files,
        unlisted: left_out.len() - shown.len(),
        left_out: shown,
        roles: draft.roles(),
        permits,
        requests: sorted.good.len(),
    })
}

fn compile(files: &[File]) -> Result<Arc<Engine>, Problems> {
    Ok(Arc::new(Engine::compile(&Source::read(files)?)?))
}

fn wrong(heard: &Heard, from: usize, to: usize, ask: &Ask, what: &str) -> Problems {
    let found = format!(
        "the learned set {what}: {}",
        text::request(heard, from, to, ask)
    );
    Problem::new("", found, "a defect of this program: please report it").into()
}
