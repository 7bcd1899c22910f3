//! Rules over objects of Kubernetes, one file for each family. What several families ask stands here.

pub(in crate::rules) mod access;
mod availability;
mod certificates;
mod modes;
mod network;
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
    context.set.units.iter().filter_map(|unit| {
        let object = context.set.objects.get(unit.object?)?;
        Some((unit, object))
    })
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
