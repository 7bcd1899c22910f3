//! Sets that are made of others: what is in force again when a candidate is taken back, and what is in force with forbids more. None
//! ever forbids less than what it was made of, which is looked at once more before it is given out.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use cedar_policy::{Policy, PolicyId};
use serde_json::Value;

use super::meaning::Meaning;
use super::meaning::rename_groups;
use super::relation::meanings;
use crate::problem::Problems;
use crate::source::{File, Mode, Source, Version};

/// Why no set could be made of two of which it is proven that it forbids what both did.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unprovable {
    /// The candidate has other links: they are consents and forbid the rest, and have no form as policies.
    #[error("the candidate has other links to clusters than the set in force")]
    Links,
    /// The two have different labels, and a forbid asks for labels.
    #[error("the two sets have different labels, and the forbid {0:?} asks for labels")]
    Labels(String),
    /// The candidate enforces what the set in force does not.
    #[error("the candidate enforces what the set in force only tries out")]
    Mode,
    /// It is no set: too large, too many policies.
    #[error("together they are no set: {0}")]
    NoSet(String),
}

impl From<Problems> for Unprovable {
    fn from(problems: Problems) -> Self {
        Self::NoSet(problems.to_string())
    }
}

/// What is in force when a candidate is taken back that some agents have already: what was in force, and every forbid of the
/// candidate. Its version is that of `active`: whoever puts it in force gives it another one.
///
/// # Errors
/// [`Unprovable`]: then a person has to write what is to be.
pub fn going_back(active: &Source, candidate: &Source) -> Result<Source, Unprovable> {
    let enforced = |mode| match mode {
        Mode::Enforce => 0,
        Mode::DryRun { until } => until,
    };
    if enforced(candidate.mode) < enforced(active.mode) {
        return Err(Unprovable::Mode);
    }
    if active.links != candidate.links {
        return Err(Unprovable::Links);
    }
    let forbids = meanings(candidate)?.into_iter();
    let forbids = forbids.filter(|meaning| !meaning.permits).collect();
    carried(active, candidate, forbids)
}

/// A set with these policies of another one more, which mean what they mean there.
fn carried(to: &Source, from: &Source, policies: Vec<Meaning>) -> Result<Source, Unprovable> {
    let (old, new) = (&to.entities, &from.entities);
    let same_labels = old.nodes == new.nodes
        && old.processes == new.processes
        && old.functions == new.functions
        && old.services == new.services;
    if let Some(asks) = policies
        .iter()
        .find(|one| !same_labels && one.reads_labels())
    {
        return Err(Unprovable::Labels(asks.id.clone()));
    }
    // A group of the other one keeps its meaning under a name of its own.
    let differs = |name: &str| old.groups.get(name) != new.groups.get(name);
    let renamed = |name: &str| {
        let taken = |other: &str| {
            old.groups.contains_key(other) || (other != name && new.groups.contains_key(other))
        };
        differs(name).then(|| unused(name, taken))
    };
    let mut groups = old.groups.clone();
    let mut moved = Vec::new();
    for policy in &policies {
        let (scope, conditions) = policy.groups();
        let mut tree = policy.tree.clone();
        rename_groups(&mut tree, &renamed);
        for name in scope.union(&conditions) {
            if let (Some(other), Some(group)) = (renamed(name), new.groups.get(name)) {
                groups.insert(other, group.clone());
            }
        }
        moved.push((policy.id.clone(), tree));
    }
    let mut base = to.clone();
    base.entities.groups = groups;
    added(&base, moved)
}

/// A set with these forbids more, in Cedar's syntax, each with an `@id`.
///
/// # Errors
/// [`Problems`] if they are not forbids that could stand in the set.
pub fn with_forbids(source: &Source, forbids: &str) -> Result<Source, Problems> {
    with_forbids_of(source, source, forbids)
}

/// A set with these forbids more, which mean what they mean in another set: its groups, its labels.
///
/// # Errors
/// [`Problems`] if they are not forbids that could stand in both, or if it cannot be proven that they mean the same in both.
pub fn with_forbids_of(to: &Source, of: &Source, forbids: &str) -> Result<Source, Problems> {
    let alone = Source {
        policies: vec![File {
            name: "forbid.cedar".to_owned(),
            text: forbids.to_owned(),
        }],
        roles: Vec::new(),
        ..of.clone()
    };
    let more = meanings(&alone)?;
    if let Some(permit) = more.iter().find(|meaning| meaning.permits) {
        let found = format!("permit {:?}", permit.id);
        return Err(crate::Problem::new("forbid.cedar", found, "forbids alone").into());
    }
    carried(to, of, more).map_err(|problem| {
        crate::Problem::new(
            "forbid.cedar",
            problem.to_string(),
            "a set that can be signed",
        )
        .into()
    })
}

/// A set with these policies more, by what they are called and what they mean. What it has already is not added.
fn added(base: &Source, more: Vec<(String, Value)>) -> Result<Source, Unprovable> {
    let present = meanings(base)?;
    let mut ids: BTreeSet<String> = present.iter().map(|one| one.id.clone()).collect();
    let mut texts: BTreeSet<String> = present.into_iter().map(|one| one.text).collect();
    let mut wanted = texts.clone();
    let mut text = String::new();
    for (id, tree) in more {
        wanted.insert(tree.to_string());
        if !texts.insert(tree.to_string()) {
            continue;
        }
        // Roles call theirs what no author may.
        let id: String = id
            .chars()
            .map(|c| if matches!(c, '/' | '#') { '.' } else { c })
            .take(100)
            .collect();
        let id = unused(&id, |id| ids.contains(id));
        text += &written(&id, tree)?;
        ids.insert(id);
    }
    let mut source = base.clone();
    if !text.is_empty() {
        let taken = |stem: &str| {
            let name = format!("{stem}.cedar");
            source.policies.iter().any(|file| file.name == name)
        };
        let name = format!("{}.cedar", unused("kept", taken));
        source.policies.push(File { name, text });
    }
    source.policies.sort();
    // Read as an agent will read it.
    let read = Source::from_canonical(&source.to_canonical(), Version::default())?;
    let found: BTreeSet<String> = meanings(&read)?.into_iter().map(|one| one.text).collect();
    if !wanted.is_subset(&found) {
        return Err(Unprovable::NoSet("a policy got lost on the way".to_owned()));
    }
    Ok(source)
}

/// A policy in Cedar's syntax, under this name.
fn written(id: &str, mut tree: Value) -> Result<String, Unprovable> {
    let no_set = |error: String| Unprovable::NoSet(format!("{id}: {error}"));
    if let Some(tree) = tree.as_object_mut() {
        tree.insert("annotations".to_owned(), serde_json::json!({ "id": id }));
    }
    let policy = Policy::from_json(Some(PolicyId::new(id)), tree)
        .map_err(|error| no_set(error.to_string()))?;
    let text = policy.to_cedar();
    Ok(text.ok_or_else(|| no_set("has no text".to_owned()))? + "\n")
}

/// The name itself or, if it is taken, with the first number behind it that is not.
fn unused(name: &str, taken: impl Fn(&str) -> bool) -> String {
    if !taken(name) {
        return name.to_owned();
    }
    let numbered = (2_u32..).map(|n| format!("{name}-{n}"));
    numbered
        .into_iter()
        .find(|name| !taken(name))
        .unwrap_or_default()
}
