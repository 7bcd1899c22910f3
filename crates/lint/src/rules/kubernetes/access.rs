//! RBAC: what the ServiceAccount of a node may do, and what it may make of it. Roles by themselves are in `roles`.

use super::{at, items, nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
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

fn binds(binding: &Object, account: &str, workload: &Object) -> bool {
    items(&binding.node, &["subjects"]).iter().any(|subject| {
        let namespace = subject.text(&["namespace"]);
        let near = match (namespace, workload.namespace.as_deref()) {
            (Some(one), Some(other)) => one == other,
            _ => true,
        };
        subject.text(&["kind"]) == Some("ServiceAccount")
            && subject.text(&["name"]) == Some(account)
            && near
    })
}

/// The bindings of the ServiceAccount of a workload.
fn bindings_of<'c>(context: &Context<'c>, workload: &Object) -> Vec<&'c Object> {
    let account = account(workload);
    bindings(context)
        .filter(|binding| binding.kind == "ClusterRoleBinding" || binding.near(workload))
        .filter(|binding| binds(binding, account, workload))
        .collect()
}

/// What the ServiceAccount of a workload may do, as far as the set says it: the role and each of its rules.
pub(super) fn rules_of<'c>(
    context: &Context<'c>,
    workload: &Object,
) -> Vec<(&'c Object, &'c Node)> {
    bindings_of(context, workload)
        .into_iter()
        .filter_map(|binding| {
            let kind = binding.node.text(&["roleRef", "kind"])?;
            let name = binding.node.text(&["roleRef", "name"])?;
            context.set.objects.iter().find(|role| {
                role.kind == kind
                    && role.name == name
                    && (kind == "ClusterRole" || role.near(binding))
            })
        })
        .flat_map(|role| {
            items(&role.node, &["rules"])
                .iter()
                .map(move |rule| (role, rule))
        })
        .collect()
}

/// The same, if the set has all roles that are bound to it.
pub(in crate::rules) fn known_rules_of<'c>(
    context: &Context<'c>,
    workload: &Object,
) -> Option<Vec<(&'c Object, &'c Node)>> {
    let there = |binding: &Object| {
        let name = binding.node.text(&["roleRef", "name"]);
        context.set.objects.iter().any(|role| {
            matches!(role.kind.as_str(), "Role" | "ClusterRole") && Some(role.name.as_str()) == name
        })
    };
    bindings_of(context, workload)
        .into_iter()
        .all(there)
        .then(|| rules_of(context, workload))
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
    let mut seen: Vec<Place> = Vec::new();
    for (unit, workload) in nodes(context) {
        if !has_token(context, workload) {
            continue;
        }
        for binding in bindings_of(context, workload) {
            if binding.node.text(&["roleRef", "name"]) == Some("cluster-admin") {
                let place = at(binding, &["roleRef", "name"]);
                found
                    .add(place, format!("{} owns the cluster", unit.title))
                    .related(workload.head(), "the node");
            }
        }
        for (role, rule) in rules_of(context, workload) {
            let place = role.key(rule, "resources");
            if let Some(power) = power(rule).filter(|_| !seen.contains(&place)) {
                seen.push(place);
                found
                    .add(place, format!("{} {power}", unit.title))
                    .related(workload.head(), "the node");
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

fn without_token(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        if has_token(context, workload) {
            continue;
        }
        let shared = context.set.workloads().any(|other| {
            other.near(workload) && account(other) == account(workload) && has_token(context, other)
        });
        if let Some(binding) = bindings_of(context, workload).first().filter(|_| !shared) {
            found
                .add(
                    binding.head(),
                    format!("{} has no token to use this with", workload.title()),
                )
                .related(workload.head(), "the pods");
        }
    }
}
