//! Rules over objects of Kubernetes, one file for each family. What several families ask stands here.

pub(in crate::rules) mod access;
mod availability;
mod certificates;
mod modes;
pub(in crate::rules) mod network;
mod platform;
mod pods;
mod policies;
mod probes;
mod quota;
mod references;
mod roles;
mod secrets;
mod services;
mod unused;
mod volumes;

use std::collections::HashSet;

use crate::kubernetes::Object;
use crate::rule::{Context, Rule};
use crate::source::Place;
use crate::units::{Distribution, Unit};
use crate::yaml::Node;

pub(super) const FAMILIES: &[&[Rule]] = &[
    access::RULES,
    availability::RULES,
    certificates::NAMES,
    certificates::RULES,
    certificates::KEYS,
    modes::RULES,
    network::RULES,
    platform::RULES,
    pods::RULES,
    policies::RULES,
    probes::RULES,
    quota::RULES,
    references::RULES,
    roles::RULES,
    secrets::RULES,
    services::RULES,
    unused::RULES,
    volumes::RULES,
];

/// The workloads that run Erlang nodes, each with its node.
fn nodes<'c>(context: &Context<'c>) -> impl Iterator<Item = (&'c Unit, &'c Object)> {
    context
        .set
        .units
        .iter()
        .filter_map(|unit| Some((unit, unit.object(context.set)?)))
}

/// The same, if they talk to others.
fn distributed<'c>(context: &Context<'c>) -> impl Iterator<Item = (&'c Unit, &'c Object)> {
    nodes(context).filter(|(unit, _)| matches!(unit.distribution(), Distribution::On(..)))
}

/// Where a value stands, or the head of the object.
fn at(object: &Object, path: &[&str]) -> Place {
    let Some((last, parents)) = path.split_last() else {
        return object.head();
    };
    object
        .node
        .path(parents)
        .map_or_else(|| object.head(), |parent| object.key(parent, last))
}

/// The items of a sequence behind a chain of keys.
fn items<'n>(node: &'n Node, path: &[&str]) -> &'n [Node] {
    node.path(path).map_or(&[], Node::items)
}

/// The namespaces that objects are in: whether one of them is near another object needs no look at each.
struct Namespaces<'c> {
    said: HashSet<&'c str>,
    /// Some do not say theirs.
    unsaid: bool,
}

impl<'c> FromIterator<&'c Object> for Namespaces<'c> {
    fn from_iter<I: IntoIterator<Item = &'c Object>>(objects: I) -> Self {
        let mut namespaces = Self {
            said: HashSet::new(),
            unsaid: false,
        };
        for object in objects {
            match object.namespace.as_deref() {
                Some(namespace) => _ = namespaces.said.insert(namespace),
                None => namespaces.unsaid = true,
            }
        }
        namespaces
    }
}

impl Namespaces<'_> {
    /// Whether one of the objects may be in the namespace of this one.
    fn any_near(&self, object: &Object) -> bool {
        self.unsaid
            || match object.namespace.as_deref() {
                Some(namespace) => self.said.contains(namespace),
                None => !self.said.is_empty(),
            }
    }
}
