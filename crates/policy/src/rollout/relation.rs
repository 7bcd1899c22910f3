//! What a candidate is to the set in force: whether it can only permit more, only less, both, or neither. Found out from what the
//! two say, not by trying: what is not proven to go one way goes both.

#[cfg(test)]
pub(super) mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::meaning::Meaning;
use crate::engine::Engine;
use crate::problem::Problems;
use crate::source::{Group, Mode, Source};

/// What a candidate is to the set in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// It decides alike.
    Same,
    /// It denies nothing that is permitted.
    Relax,
    /// It permits nothing that is denied.
    Tighten,
    /// It may do both.
    Mixed,
}

impl Relation {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Same, Self::Relax, Self::Tighten, Self::Mixed];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Same => "same",
            Self::Relax => "relax",
            Self::Tighten => "tighten",
            Self::Mixed => "mixed",
        }
    }

    const fn and(self, way: Way) -> Self {
        match (self, way) {
            (Self::Same | Self::Relax, Way::Relaxes) => Self::Relax,
            (Self::Same | Self::Tighten, Way::Tightens) => Self::Tighten,
            _ => Self::Mixed,
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which way a change goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// It can only permit more.
    Relaxes,
    /// It can only permit less.
    Tightens,
    /// It may do both.
    Either,
}

impl Way {
    /// As it is written, in the words of [`Relation`].
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Relaxes => "relax",
            Self::Tightens => "tighten",
            Self::Either => "mixed",
        }
    }
}

/// One reason for a relation.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Change {
    /// Which way it goes.
    pub way: Way,
    /// What was done, such as `permit added`.
    pub what: &'static str,
    /// To what: the `@id` of a policy, the name that a role gives to one, a group, `mode`. Empty where there is nothing to name.
    pub which: String,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.way.as_str(), self.what)?;
        if !self.which.is_empty() {
            write!(f, " ({})", self.which)?;
        }
        Ok(())
    }
}

/// A relation with its reasons.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Related {
    /// What the candidate is to the set in force.
    pub relation: Relation,
    /// Why; nothing if they decide alike. As many as the two sets have policies and groups, at most.
    pub changes: Vec<Change>,
}

/// What a candidate is to the set in force.
///
/// # Errors
/// [`Problems`] if one of the two does not compile.
pub fn relate(active: &Source, candidate: &Source) -> Result<Related, Problems> {
    let (before, after) = (meanings(active)?, meanings(candidate)?);
    let mut changes = Vec::new();
    mode(active.mode, candidate.mode, &mut changes);
    policies(&before, &after, &mut changes);
    entities(active, candidate, &before, &after, &mut changes);
    if active.links != candidate.links {
        // Beside what they forbid, they say what a permit can be about at all.
        add(&mut changes, Way::Either, "links changed", "");
    }
    changes.sort();
    let ways = changes.iter().map(|change| change.way);
    Ok(Related {
        relation: ways.fold(Relation::Same, Relation::and),
        changes,
    })
}

/// All policies of a set, those of its roles included; those of links are told of elsewhere.
pub(super) fn meanings(source: &Source) -> Result<Vec<Meaning>, Problems> {
    let engine = Engine::compile(source)?;
    let all = engine.policies.iter().map(Meaning::of);
    Ok(all.filter(|meaning| !meaning.bound).collect())
}

fn add(changes: &mut Vec<Change>, way: Way, what: &'static str, which: &str) {
    changes.push(Change {
        way,
        what,
        which: which.to_owned(),
    });
}

fn mode(before: Mode, after: Mode, changes: &mut Vec<Change>) {
    // From when on what is refused is refused.
    let enforced = |mode| match mode {
        Mode::Enforce => 0,
        Mode::DryRun { until } => until,
    };
    let way = match enforced(after).cmp(&enforced(before)) {
        std::cmp::Ordering::Equal => return,
        std::cmp::Ordering::Greater => Way::Relaxes,
        std::cmp::Ordering::Less => Way::Tightens,
    };
    let what = match after {
        Mode::Enforce => "it is enforced",
        Mode::DryRun { .. } => "the dry run ends at another time",
    };
    add(changes, way, what, "mode");
}

fn policies(before: &[Meaning], after: &[Meaning], changes: &mut Vec<Change>) {
    fn texts(all: &[Meaning]) -> BTreeSet<&str> {
        all.iter().map(|meaning| meaning.text.as_str()).collect()
    }
    let (had, has) = (texts(before), texts(after));
    for gone in before.iter().filter(|one| !has.contains(&*one.text)) {
        let (way, what) = match (gone.permits, gone.may_fail()) {
            (false, _) => (Way::Relaxes, "forbid removed"),
            // What it could not evaluate it denied.
            (true, true) => (Way::Either, "permit removed that could fail"),
            (true, false) => (Way::Tightens, "permit removed"),
        };
        add(changes, way, what, &gone.id);
    }
    for new in after.iter().filter(|one| !had.contains(&*one.text)) {
        let (way, what) = match (new.permits, new.may_fail()) {
            (false, _) => (Way::Tightens, "forbid added"),
            (true, true) => (Way::Either, "permit added that can fail"),
            (true, false) => (Way::Relaxes, "permit added"),
        };
        add(changes, way, what, &new.id);
    }
}

/// Labels and groups decide only where a policy asks for them.
fn entities(
    active: &Source,
    candidate: &Source,
    before: &[Meaning],
    after: &[Meaning],
    changes: &mut Vec<Change>,
) {
    let (old, new) = (&active.entities, &candidate.entities);
    if old == new {
        return;
    }
    let labels = |one: &crate::Entities| {
        let one = one.clone();
        (one.nodes, one.processes, one.functions, one.services)
    };
    let all = || before.iter().chain(after);
    if labels(old) != labels(new) && all().any(Meaning::reads_labels) {
        add(changes, Way::Either, "labels changed", "");
    }
    let mut uses = BTreeMap::<String, Uses>::new();
    for meaning in all() {
        let (scope, conditions) = meaning.groups();
        for group in scope {
            let uses = uses.entry(group).or_default();
            if meaning.permits {
                uses.permits = true;
            } else {
                uses.forbids = true;
            }
        }
        for group in conditions {
            uses.entry(group).or_default().conditions = true;
        }
    }
    let nobody = Group::default();
    let names: BTreeSet<&String> = old.groups.keys().chain(new.groups.keys()).collect();
    for name in names {
        let (was, is) = (
            old.groups.get(name).unwrap_or(&nobody),
            new.groups.get(name).unwrap_or(&nobody),
        );
        let Some(uses) = uses.get(name).filter(|_| was != is) else {
            continue;
        };
        let (way, what) = match (within(was, is), within(is, was), uses) {
            (
                _,
                _,
                Uses {
                    conditions: true, ..
                },
            ) => (Way::Either, "group changed that conditions ask for"),
            (
                true,
                _,
                Uses {
                    permits: true,
                    forbids: false,
                    ..
                },
            ) => (Way::Relaxes, "group of permits grown"),
            (true, _, Uses { permits: false, .. }) => (Way::Tightens, "group of forbids grown"),
            (
                _,
                true,
                Uses {
                    permits: true,
                    forbids: false,
                    ..
                },
            ) => (Way::Tightens, "group of permits shrunk"),
            (_, true, Uses { permits: false, .. }) => (Way::Relaxes, "group of forbids shrunk"),
            _ => (Way::Either, "group changed"),
        };
        add(changes, way, what, name);
    }
}

/// Where a group is asked for.
#[derive(Clone, Copy, Debug, Default)]
struct Uses {
    permits: bool,
    forbids: bool,
    conditions: bool,
}

fn within(one: &Group, other: &Group) -> bool {
    one.nodes.is_subset(&other.nodes)
        && one.processes.is_subset(&other.processes)
        && one.functions.is_subset(&other.functions)
        && one.services.is_subset(&other.services)
}
