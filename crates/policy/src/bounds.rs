//! What links to other clusters bound, whatever policies permit: between two clusters nothing passes but what a link exports or
//! imports (docs/decisions/0019). They become policies that forbid the rest, so that they are decided, remembered and told like any other.
//!
//! Two things are said beside them. Processes without a name cannot be exported: what a permit says of them counts only where a whole
//! node is; the others get no further than to what was handed out to them. And a dry run is not for other clusters.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use cedar_policy::{Policy, PolicyId};

use crate::request::Subject;
use crate::source::{ClusterLink, What};

#[cfg(test)]
mod tests;

/// The bounds of all links of a set.
#[derive(Debug, Default)]
pub(crate) struct Bounds(Vec<Bound>);

/// Of one link.
#[derive(Debug)]
struct Bound {
    name: String,
    trust_domain: String,
    cluster: String,
    given: Open,
    taken: Open,
}

/// What is open at the nodes of one side.
#[derive(Debug, Default)]
struct Open {
    /// All that are connected to, for whatever reason.
    nodes: BTreeSet<String>,
    /// Those that are open as a whole.
    whole: BTreeSet<String>,
    processes: BTreeSet<(String, String)>,
    functions: BTreeSet<(String, String, String, u8)>,
}

/// What a link says of a pair of nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reaches {
    /// Every process of the receiver, if policies permit it.
    All,
    /// Processes with the names that it says, and those that were handed out.
    Named,
}

impl Bounds {
    /// Of these links.
    pub(crate) fn of<'a>(links: impl Iterator<Item = ClusterLink<'a>>) -> Self {
        Self(links.map(Bound::of).collect())
    }

    /// What a link says of a pair; `None` if the two are of the same cluster, or no link speaks of them.
    pub(crate) fn between(&self, from: &Subject, to: &Subject) -> Option<Reaches> {
        let reaches = |open: &Open| {
            if open.whole.contains(&to.name()) {
                Reaches::All
            } else {
                Reaches::Named
            }
        };
        self.0.iter().find_map(|bound| match () {
            () if bound.is_with(from) => Some(reaches(&bound.given)),
            () if bound.is_with(to) => Some(reaches(&bound.taken)),
            () => None,
        })
    }

    /// What forbids all else.
    ///
    /// # Errors
    /// What Cedar finds wrong with one; in practice nothing.
    pub(crate) fn policies(&self) -> Result<Vec<Policy>, String> {
        let mut all = Vec::new();
        for bound in &self.0 {
            let theirs = format!(
                "Skans::Cluster::{}",
                text(&format!(
                    "spiffe://{}/cluster/{}",
                    bound.trust_domain, bound.cluster
                ))
            );
            for (side, open, principal, resource) in [
                (
                    "exports",
                    &bound.given,
                    format!(" in {theirs}"),
                    String::new(),
                ),
                (
                    "imports",
                    &bound.taken,
                    String::new(),
                    format!(" in {theirs}"),
                ),
            ] {
                for (what, action, kind, unless) in [
                    (
                        "node",
                        "== Skans::Action::\"connect\"",
                        "Node",
                        open.of_nodes(),
                    ),
                    (
                        "service",
                        "== Skans::Action::\"connect\"",
                        "Service",
                        String::new(),
                    ),
                    (
                        "process",
                        "in Skans::Action::\"message\"",
                        "Process",
                        open.of_processes(),
                    ),
                    (
                        "function",
                        "in Skans::Action::\"message\"",
                        "Function",
                        open.of_functions(),
                    ),
                ] {
                    let policy = format!(
                        "forbid (principal{principal}, action {action}, resource is Skans::{kind}{resource}){unless};"
                    );
                    let id = format!("link/{}/{side}/{what}", bound.name);
                    let parsed = Policy::parse(Some(PolicyId::new(&id)), &policy);
                    all.push(parsed.map_err(|error| format!("{id}: {error}"))?);
                }
            }
        }
        Ok(all)
    }
}

impl Bound {
    fn of(link: ClusterLink<'_>) -> Self {
        Self {
            name: link.name.to_owned(),
            trust_domain: link.trust_domain.to_owned(),
            cluster: link.cluster.to_owned(),
            given: Open::of(link.exports),
            taken: Open::of(link.imports),
        }
    }

    fn is_with(&self, node: &Subject) -> bool {
        node.trust_domain == self.trust_domain && node.cluster == self.cluster
    }
}

impl Open {
    fn of(items: Vec<(&str, What<'_>)>) -> Self {
        let mut open = Self::default();
        for (node, what) in items {
            let node = node.to_owned();
            open.nodes.insert(node.clone());
            match what {
                What::Node => {
                    open.whole.insert(node);
                }
                What::Process(name) => {
                    open.processes.insert((node, name.to_owned()));
                }
                What::Function(module, function, arity) => {
                    open.functions
                        .insert((node, module.to_owned(), function.to_owned(), arity));
                }
            }
        }
        open
    }

    fn of_nodes(&self) -> String {
        unless([within(
            self.nodes.iter().map(|node| text(node)),
            "resource.name",
        )])
    }

    /// A server is asked and watched. Who may end it, be linked to it or look into it has more of its node than one process of it.
    fn of_processes(&self) -> String {
        let items = self
            .processes
            .iter()
            .map(|(node, name)| format!("{{node: {}, name: {}}}", text(node), text(name)));
        let items = within(items, "{node: resource.node.name, name: resource.name}");
        let used = if items.is_empty() {
            items
        } else {
            format!("(action in [Skans::Action::\"send\", Skans::Action::\"monitor\"] && {items})")
        };
        unless([self.of_whole(), used])
    }

    fn of_functions(&self) -> String {
        let items = self
            .functions
            .iter()
            .map(|(node, module, function, arity)| {
                let [node, module, function] = [node, module, function].map(|part| text(part));
                format!("{{node: {node}, module: {module}, function: {function}, arity: {arity}}}")
            });
        unless([
            self.of_whole(),
            within(
                items,
                "{node: resource.node.name, module: resource.module, function: resource.function, arity: resource.arity}",
            ),
        ])
    }

    fn of_whole(&self) -> String {
        within(
            self.whole.iter().map(|node| text(node)),
            "resource.node.name",
        )
    }
}

/// Whether something is one of these; nothing if there are none, since Cedar has no type for an empty set.
fn within(items: impl Iterator<Item = String>, what: &str) -> String {
    let items: Vec<_> = items.collect();
    if items.is_empty() {
        return String::new();
    }
    format!("[{}].contains({what})", items.join(", "))
}

fn unless<const N: usize>(conditions: [String; N]) -> String {
    let mut out = String::new();
    for condition in conditions.iter().filter(|condition| !condition.is_empty()) {
        let before = if out.is_empty() { " unless { " } else { " || " };
        let _ = write!(out, "{before}{condition}");
    }
    if !out.is_empty() {
        out.push_str(" }");
    }
    out
}

/// A string as Cedar writes it.
fn text(text: &str) -> String {
    format!("\"{}\"", text.escape_debug())
}
