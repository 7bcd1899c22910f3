//! Policies of the network by themselves: whom they mean, and what they forget.

use super::{Namespaces, access, items};
use crate::kubernetes::{Allowed, Direction, Object, fits, policy_types};
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        NET003,
        "namespace-name-label",
        High,
        Beam,
        name_label,
        "A policy finds a namespace by the label `name`, which nobody sets.",
        "It means no namespace, so that the rule opens nothing; or any that somebody labels so.",
        "`kubernetes.io/metadata.name`, which the API server sets itself, and a podSelector beside it."
    ),
    rule!(
        NET009,
        "egress-without-dns",
        High,
        Beam,
        without_dns,
        "Policies say where the pods may send to, and name resolution is not among it.",
        "No name can be resolved: nodes, databases and brokers are not found.",
        "An egress rule to kube-dns with port 53, UDP and TCP."
    ),
    rule!(
        NET007,
        "api-without-egress",
        Medium,
        Beam,
        api_egress,
        "The pods may ask the API server for their peers, and no policy lets them reach it.",
        "Discovery through the API times out, and the cluster does not form.",
        "An egress rule to the API server (port 443 or 6443); or discovery by DNS, without the permission."
    ),
    rule!(
        NET010,
        "same-namespace-only",
        Medium,
        Beam,
        same_namespace,
        "A policy means pods of another namespace by a podSelector alone.",
        "A podSelector without a namespaceSelector means pods of the policy's own namespace: those that are meant stay shut out.",
        "`namespaceSelector` beside `podSelector`, in the same item."
    ),
    rule!(
        NET005,
        "no-default-deny",
        High,
        All,
        default_deny,
        "Some pods of a namespace have policies, others have none that say who may reach them.",
        "Everybody reaches the latter, and through them what they can reach.",
        "A policy with `podSelector: {}` and `policyTypes: [Ingress, Egress]` first, then what is allowed."
    ),
    rule!(
        NET004,
        "dns-egress-any",
        Medium,
        All,
        dns_any,
        "Port 53 is open to every address.",
        "Data leaves through any resolver of the Internet, in names that are asked for.",
        "A namespaceSelector for `kube-system` and a podSelector for `k8s-app: kube-dns`, or the address of the node's resolver."
    ),
];

fn policies<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .of_kind("NetworkPolicy")
        .filter(|policy| policy.group() == "networking.k8s.io")
}

/// The rules of a policy in both directions, each with its peers.
fn peers(policy: &Object) -> impl Iterator<Item = (&Node, &[Node])> {
    let of = |field: &'static str, key: &'static str| {
        items(&policy.node, &["spec", field])
            .iter()
            .map(move |rule| (rule, items(rule, &[key])))
    };
    of("ingress", "from").chain(of("egress", "to"))
}

fn name_label(context: &Context<'_>, found: &mut Findings<'_>) {
    let labelled = context
        .set
        .of_kind("Namespace")
        .any(|one| one.node.path(&["metadata", "labels", "name"]).is_some());
    for policy in policies(context).filter(|_| !labelled) {
        for peer in peers(policy).flat_map(|(_, peers)| peers) {
            let labels = peer.path(&["namespaceSelector", "matchLabels"]);
            if let Some((key, value)) = labels.and_then(|labels| labels.entry("name")) {
                found
                    .add(
                        policy.place(key),
                        "Kubernetes sets no label of this name on namespaces",
                    )
                    .fix(format!(
                        "kubernetes.io/metadata.name: {}",
                        value.as_str().unwrap_or_default()
                    ));
            }
        }
    }
}

fn without_dns(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        let allowed = Allowed::new(context.set.policies(workload), Direction::Egress);
        let names = allowed.rules.iter().any(|(_, rule)| {
            let to = items(rule, &["to"]);
            to.is_empty() || to.iter().any(|peer| peer.get("ipBlock").is_none())
        });
        let own_resolver = workload
            .pod()
            .and_then(|pod| pod.text(&["dnsPolicy"]))
            .is_some_and(|policy| policy == "None");
        let containers = workload.containers();
        // 5353 is where the resolver of OpenShift listens; a name is that of the port of the resolver.
        let open = [53, 5353]
            .into_iter()
            .any(|port| allowed.is_open(port, "UDP", &containers))
            || names_port(&allowed, "dns");
        if names && !own_resolver && !open {
            let Some(policy) = allowed.policies.first() else {
                continue;
            };
            found
                .add(
                    policy.head(),
                    format!("no egress rule lets {} resolve names", workload.title()),
                )
                .related(workload.head(), "these pods");
        }
    }
}

/// Whether a rule names a port of those who are sent to: their containers are not known here.
fn names_port(allowed: &Allowed<'_>, beginning: &str) -> bool {
    allowed
        .rules
        .iter()
        .flat_map(|(_, rule)| items(rule, &["ports"]))
        .filter_map(|port| port.text(&["port"]))
        .any(|name| name.starts_with(beginning))
}

fn api_egress(context: &Context<'_>, found: &mut Findings<'_>) {
    const DISCOVERY: &[&str] = &["pods", "endpoints", "endpointslices", "services"];
    let mut asked = access::Asked::default();
    for workload in context.set.workloads() {
        let allowed = Allowed::new(context.set.policies(workload), Direction::Egress);
        let Some(policy) = allowed.policies.first() else {
            continue;
        };
        let asks = access::roles_of(context, workload)
            .into_iter()
            .find(|role| {
                asked.any(role, ("use", "discovery"), |rule| {
                    items(rule, &["resources"])
                        .iter()
                        .filter_map(Node::as_str)
                        .any(|resource| DISCOVERY.contains(&resource))
                })
            });
        let containers = workload.containers();
        let reaches = [443, 6443]
            .into_iter()
            .any(|port| allowed.is_open(port, "TCP", &containers))
            || names_port(&allowed, "https");
        if let Some(role) = asks.filter(|_| !reaches) {
            found
                .add(
                    policy.head(),
                    format!(
                        "{} may ask the API server and cannot reach it",
                        workload.title()
                    ),
                )
                .related(role.head(), "what it may ask");
        }
    }
}

fn same_namespace(context: &Context<'_>, found: &mut Findings<'_>) {
    for policy in policies(context).filter(|policy| policy.namespace.is_some()) {
        for peer in peers(policy).flat_map(|(_, peers)| peers) {
            let Some(selector) = peer.get("podSelector") else {
                continue;
            };
            if peer.get("namespaceSelector").is_some() || selector.entries().is_empty() {
                continue;
            }
            let meant: Vec<_> = context
                .set
                .workloads()
                .filter(|workload| fits(selector, workload.pod_labels()))
                .collect();
            let elsewhere = meant.iter().find(|workload| {
                workload.namespace.is_some() && workload.namespace != policy.namespace
            });
            if let Some(other) = elsewhere
                && !meant.iter().any(|workload| workload.near(policy))
            {
                found
                    .add(
                        policy.key(peer, "podSelector"),
                        format!(
                            "this means pods of its own namespace, and those are {}",
                            other.title()
                        ),
                    )
                    .related(other.head(), "the pods with these labels");
            }
        }
    }
}

fn default_deny(context: &Context<'_>, found: &mut Findings<'_>) {
    if context.set.objects.iter().any(is_other_policy) {
        return;
    }
    let others: Namespaces<'_> = policies(context).collect();
    for workload in context.set.workloads() {
        let host = workload
            .pod()
            .and_then(|pod| pod.get("hostNetwork"))
            .and_then(Node::as_bool);
        let covered = context
            .set
            .policies(workload)
            .any(|policy| policy_types(policy, Direction::Ingress));
        if others.any_near(workload) && !covered && host != Some(true) {
            found.add(workload.head(), "no policy says who may reach these pods");
        }
    }
}

/// Policies of Cilium, Calico and the like.
fn is_other_policy(object: &Object) -> bool {
    object.kind.ends_with("NetworkPolicy") && object.group() != "networking.k8s.io"
}

fn dns_any(context: &Context<'_>, found: &mut Findings<'_>) {
    for policy in policies(context) {
        for rule in items(&policy.node, &["spec", "egress"]) {
            let ports = items(rule, &["ports"]);
            let dns = !ports.is_empty()
                && ports
                    .iter()
                    .all(|port| port.get("port").and_then(Node::as_int) == Some(53));
            if dns && items(rule, &["to"]).is_empty() {
                found.add(
                    ports.first().map_or_else(
                        || policy.head(),
                        |port| policy.place(port.get("port").unwrap_or(port)),
                    ),
                    "port 53 of every address is open",
                );
            }
        }
    }
}
