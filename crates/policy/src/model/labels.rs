//! Labels and groups of a set and of the roles, turned round: from a name to what it has.

use std::collections::{BTreeMap, HashMap};

use cedar_policy::EntityUid;

use super::Model;
use crate::source::Entities;

/// Labels and groups, ready to be looked up. Equal if every question gets the same from both: what is built in is.
#[derive(Debug)]
pub(crate) struct Labels {
    pub(super) entities: Entities,
    pub(super) processes: Index,
    pub(super) functions: Index,
    pub(super) services: Index,
    groups: Vec<String>,
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.entities == other.entities
    }
}

impl Eq for Labels {}

impl Labels {
    pub(crate) fn new(model: &Model, entities: &Entities) -> Self {
        let mut labels = Self {
            entities: entities.clone(),
            processes: Index::default(),
            functions: Index::default(),
            services: Index::default(),
            groups: Vec::new(),
        };
        for (name, group) in crate::role::groups() {
            labels.add(model, &name, &group.processes, &group.functions);
        }
        for (name, group) in &entities.groups {
            labels.add(model, name, &group.processes, &group.functions);
            for service in &group.services {
                labels.services.add(service, &model.group(name));
            }
        }
        labels
    }

    fn add<'a>(
        &mut self,
        model: &Model,
        name: &str,
        processes: impl IntoIterator<Item = &'a String>,
        functions: impl IntoIterator<Item = &'a String>,
    ) {
        let group = model.group(name);
        self.groups.push(name.to_owned());
        for name in processes {
            self.processes.add(name, &group);
        }
        for name in functions {
            self.functions.add(name, &group);
        }
    }

    pub(crate) fn group_names(&self) -> impl Iterator<Item = &str> + Clone {
        self.groups.iter().map(String::as_str)
    }
}

/// From a name to its groups.
#[derive(Debug, Default)]
pub(super) struct Index {
    exact: HashMap<String, Vec<EntityUid>>,
    /// `module:function/*`, by `module:function/`. Roles have hundreds of them.
    any_arity: HashMap<String, Vec<EntityUid>>,
    starts: Vec<(String, EntityUid)>,
}

impl Index {
    fn add(&mut self, name: &str, group: &EntityUid) {
        let Some(start) = name.strip_suffix('*') else {
            let groups = self.exact.entry(name.to_owned()).or_default();
            groups.push(group.clone());
            return;
        };
        if start.ends_with('/') {
            let groups = self.any_arity.entry(start.to_owned()).or_default();
            groups.push(group.clone());
        } else {
            self.starts.push((start.to_owned(), group.clone()));
        }
    }

    /// The groups that have the name as it is.
    pub(super) fn naming(&self, name: &str) -> &[EntityUid] {
        self.exact.get(name).map_or(&[], Vec::as_slice)
    }

    /// The groups that have a pattern for it.
    pub(super) fn matching(&self, name: &str) -> impl Iterator<Item = &EntityUid> {
        let arity = name.rfind('/').and_then(|at| name.get(..=at));
        let any_arity = arity.and_then(|start| self.any_arity.get(start));
        let starts = self.starts.iter();
        let starts = starts.filter(|(start, _)| name.starts_with(start.as_str()));
        any_arity
            .into_iter()
            .flatten()
            .chain(starts.map(|(_, group)| group))
    }
}

/// The labels of a name: exact ones win over patterns, longer patterns over shorter ones.
pub(super) fn labelled<'a>(
    labels: &'a BTreeMap<String, BTreeMap<String, String>>,
    name: &str,
) -> BTreeMap<&'a str, &'a str> {
    if labels.is_empty() {
        return BTreeMap::new();
    }
    let patterns = labels.iter().filter_map(|(key, labels)| {
        let start = key.strip_suffix('*')?;
        name.starts_with(start).then_some((start.len(), labels))
    });
    let mut patterns: Vec<_> = patterns.collect();
    patterns.sort_by_key(|&(length, _)| length);
    let all = patterns.into_iter().map(|(_, labels)| labels);
    let all = all.chain(labels.get(name)).flatten();
    all.map(|(key, value)| (key.as_str(), value.as_str()))
        .collect()
}
