//! RBAC: what the ServiceAccount of a node may do, and what it may make of it. Roles by themselves are in `roles`.

#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use super::{at, items, nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::set::Bindings;
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        RBC009,
        "node-may-escalate",
        Critical,
        Beam,
        node_escalates,
        "The ServiceAccount of an Erlang node may take over more than the node.",
        "Whoever runs code on one node, which is all that distribution is about, reads the token and has the namespace or the cluster.",
        "No token (`automountServiceAccountToken: false`) with discovery by DNS; or a Role that lets it `list` endpointslices and nothing else."
    ),
    rule!(
        RBC001,
        "rbac-without-token",
        Medium,
        Beam,
        without_token,
        "A ServiceAccount has permissions, and its pods have no token to use them.",
        "Discovery through the API fails with 401; or the permission is a leftover that waits for the next one to mount a token.",
        "Drop the binding; or `automountServiceAccountToken: true` in the pod that needs it."
    ),
];

pub(super) fn bindings<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .objects
        .iter()
        .filter(|object| matches!(object.kind.as_str(), "RoleBinding" | "ClusterRoleBinding"))
}

/// The ServiceAccount of the pods of a workload.
pub(in crate::rules) fn account(workload: &Object) -> &str {
    let pod = workload.pod();
    pod.and_then(|pod| pod.text(&["serviceAccountName"]))
        .or_else(|| pod.and_then(|pod| pod.text(&["serviceAccount"])))
        .unwrap_or("default")
}

/// The bindings of the ServiceAccount of a workload.
fn bindings_of<'c>(context: &Context<'c>, workload: &Object) -> Bindings<'c> {
    context.set.bindings(account(workload), workload)
}

/// The role of a binding, if the set has it.
fn role_of<'c>(context: &Context<'c>, binding: &Object) -> Option<&'c Object> {
    let kind = binding.node.text(&["roleRef", "kind"])?;
    let name = binding.node.text(&["roleRef", "name"])?;
    let is_role = matches!(kind, "Role" | "ClusterRole");
    context.set.named(kind, name, binding).filter(|_| is_role)
}

/// The roles of the ServiceAccount of a workload, as far as the set says them, each once.
pub(super) fn roles_of<'c>(context: &Context<'c>, workload: &Object) -> Vec<&'c Object> {
    let mut seen = HashSet::new();
    bindings_of(context, workload)
        .known
        .into_iter()
        .filter_map(|binding| role_of(context, binding))
        .filter(|role| seen.insert(role.place(&role.node)))
        .collect()
}

/// The same, if the set has all roles that are bound to it.
pub(in crate::rules) fn known_roles_of<'c>(
    context: &Context<'c>,
    workload: &Object,
) -> Option<Vec<&'c Object>> {
    let bindings = bindings_of(context, workload);
    let there = |binding: &&Object| role_of(context, binding).is_some();
    (bindings.whole && bindings.known.iter().all(there)).then(|| roles_of(context, workload))
}

/// What roles were asked, each the same but once: one that is long may be bound to many.
#[derive(Default)]
pub(in crate::rules) struct Asked(HashMap<(Place, &'static str, &'static str), bool>);

impl Asked {
    /// Whether a role has a rule to which a question is answered with yes. The two words say which question it is.
    pub(in crate::rules) fn any(
        &mut self,
        role: &Object,
        question: (&'static str, &'static str),
        yes: impl FnMut(&Node) -> bool,
    ) -> bool {
        let key = (role.place(&role.node), question.0, question.1);
        *self
            .0
            .entry(key)
            .or_insert_with(|| items(&role.node, &["rules"]).iter().any(yes))
    }
}

pub(super) fn lists(rule: &Node, key: &str, wanted: &[&str]) -> bool {
    items(rule, &[key])
        .iter()
        .filter_map(Node::as_str)
        .any(|found| found == "*" || wanted.contains(&found))
}

pub(super) const READS: &[&str] = &["get", "list", "watch"];

const WRITES: &[&str] = &["create", "update", "patch"];

const MAKES_PODS: &[&str] = &[
    "pods",
    "deployments",
    "statefulsets",
    "daemonsets",
    "jobs",
    "cronjobs",
];

/// What somebody with this rule can make of it, if it is more than what it says.
pub(super) fn power(rule: &Node) -> Option<&'static str> {
    let named = rule.get("resourceNames").is_some();
    if lists(rule, "verbs", &["bind", "escalate", "impersonate"]) && !named {
        return Some("may make itself whatever it wants");
    }
    let roles = [
        "roles",
        "clusterroles",
        "rolebindings",
        "clusterrolebindings",
    ];
    if lists(rule, "resources", &roles) && lists(rule, "verbs", WRITES) && !named {
        return Some("may write roles and bindings");
    }
    if lists(rule, "resources", &["secrets"]) && lists(rule, "verbs", READS) && !named {
        return Some("may read all Secrets");
    }
    if lists(
        rule,
        "resources",
        &["pods/exec", "pods/attach", "pods/ephemeralcontainers"],
    ) && lists(rule, "verbs", &["create", "get"])
    {
        return Some("may run commands in every pod");
    }
    if lists(rule, "resources", MAKES_PODS) && lists(rule, "verbs", &["create"]) {
        return Some("may make pods with any Secret and ServiceAccount");
    }
    None
}

fn node_escalates(context: &Context<'_>, found: &mut Findings<'_>) {
    // Each place once, with the first node that it is about.
    let mut seen: HashSet<Place> = HashSet::new();
    for (unit, workload) in nodes(context) {
        if !has_token(context, workload) {
            continue;
        }
        for binding in bindings_of(context, workload).known {
            let place = at(binding, &["roleRef", "name"]);
            let owns = binding.node.text(&["roleRef", "name"]) == Some("cluster-admin");
            if owns && seen.insert(place) {
                found
                    .add(place, format!("{} owns the cluster", unit.title))
                    .related(workload.head(), "the node");
            }
        }
        for role in roles_of(context, workload) {
            if !seen.insert(role.place(&role.node)) {
                continue;
            }
            for rule in items(&role.node, &["rules"]) {
                if let Some(power) = power(rule) {
                    found
                        .add(
                            role.key(rule, "resources"),
                            format!("{} {power}", unit.title),
                        )
                        .related(workload.head(), "the node");
                }
            }
        }
    }
}

/// Whether the pods of a workload have a token of their ServiceAccount.
fn has_token(context: &Context<'_>, workload: &Object) -> bool {
    let Some(pod) = workload.pod() else {
        return false;
    };
    let projected = items(pod, &["volumes"]).iter().any(|volume| {
        items(volume, &["projected", "sources"])
            .iter()
            .any(|source| source.get("serviceAccountToken").is_some())
    });
    let own = pod
        .get("automountServiceAccountToken")
        .and_then(Node::as_bool);
    let of_account = || {
        context
            .set
            .named("ServiceAccount", account(workload), workload)
            .and_then(|account| account.node.get("automountServiceAccountToken"))
            .and_then(Node::as_bool)
    };
    projected || own.or_else(of_account).unwrap_or(true)
}

/// ServiceAccounts with pods that have their token, by name; and by the namespace, where that is said.
#[derive(Default)]
struct Holders<'c> {
    names: HashSet<&'c str>,
    places: HashSet<(&'c str, Option<&'c str>)>,
}

impl<'c> Holders<'c> {
    fn new(context: &Context<'c>) -> Self {
        let mut holders = Self::default();
        for workload in context.set.workloads() {
            if has_token(context, workload) {
                let name = account(workload);
                holders.names.insert(name);
                holders.places.insert((name, workload.namespace.as_deref()));
            }
        }
        holders
    }

    /// Whether pods near a workload have the token of its account.
    fn near(&self, workload: &Object) -> bool {
        let name = account(workload);
        match workload.namespace.as_deref() {
            None => self.names.contains(name),
            namespace => {
                self.places.contains(&(name, namespace)) || self.places.contains(&(name, None))
            }
        }
    }
}

fn without_token(context: &Context<'_>, found: &mut Findings<'_>) {
    let holders = Holders::new(context);
    for workload in context.set.workloads() {
        if has_token(context, workload) || holders.near(workload) {
            continue;
        }
        if let Some(binding) = bindings_of(context, workload).known.first() {
            found
                .add(
                    binding.head(),
                    format!("{} has no token to use this with", workload.title()),
                )
                .related(workload.head(), "the pods");
        }
    }
}
