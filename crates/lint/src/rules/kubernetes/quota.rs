//! Quotas against what workloads ask for.

use super::{at, items};
use crate::kubernetes::{Container, Object, quantity};
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        QUO001,
        "no-resources-under-quota",
        Blocker,
        Beam,
        no_resources,
        "A container states no resources in a namespace whose quota counts them.",
        "No pod is ever made: `forbidden: failed quota: must specify limits.memory, requests.cpu`. Init containers and sidecars count, too.",
        "`resources` on every container; or a LimitRange with `default` and `defaultRequest`."
    ),
    rule!(
        QUO002,
        "replicas-exceed-quota",
        Blocker,
        Beam,
        exceeded,
        "All replicas together ask for more than the quota of their namespace has.",
        "The last pods are never made: `forbidden: exceeded quota`. The cluster runs with fewer nodes than it was planned for.",
        "A quota of at least replicas times limits, with room for jobs and for one pod more while rolling."
    ),
    rule!(
        QUO003,
        "quota-incomplete",
        Medium,
        All,
        incomplete,
        "A quota counts CPU or memory, and neither storage nor addresses to the outside.",
        "One workload fills the storage, or opens itself to the Internet by a Service of type LoadBalancer.",
        "`requests.storage`, `requests.ephemeral-storage`, `services.loadbalancers: \"0\"` and `services.nodeports: \"0\"`, too."
    ),
];

/// What a quota counts, the request or the limit of which resource.
const COUNTED: &[(&str, &str, &str)] = &[
    ("requests.cpu", "requests", "cpu"),
    ("cpu", "requests", "cpu"),
    ("requests.memory", "requests", "memory"),
    ("memory", "requests", "memory"),
    ("limits.cpu", "limits", "cpu"),
    ("limits.memory", "limits", "memory"),
];

/// The quotas that count all pods of their namespace, with what they count.
fn quotas<'c>(context: &Context<'c>) -> impl Iterator<Item = (&'c Object, &'c Node)> {
    context
        .set
        .of_kind("ResourceQuota")
        .filter(|quota| {
            let scoped = ["scopes", "scopeSelector"]
                .iter()
                .any(|key| quota.node.path(&["spec", key]).is_some());
            !scoped
        })
        .filter_map(|quota| Some((quota, quota.node.path(&["spec", "hard"])?)))
}

/// What a container states; a request that is missing is taken from the limit.
fn stated<'o>(container: &Container<'o>, side: &str, resource: &str) -> Option<&'o Node> {
    let of = |side| container.node.path(&["resources", side, resource]);
    of(side).or_else(|| of("limits").filter(|_| side == "requests"))
}

fn has_defaults(context: &Context<'_>, workload: &Object) -> bool {
    context
        .set
        .of_kind("LimitRange")
        .filter(|range| range.near(workload))
        .flat_map(|range| items(&range.node, &["spec", "limits"]))
        .any(|limit| limit.text(&["type"]) == Some("Container") && limit.get("default").is_some())
}

fn no_resources(context: &Context<'_>, found: &mut Findings<'_>) {
    for (quota, hard) in quotas(context) {
        for workload in context.set.workloads().filter(|one| one.near(quota)) {
            if has_defaults(context, workload) {
                continue;
            }
            for container in workload.containers() {
                let missing: Vec<_> = COUNTED
                    .iter()
                    .filter(|(key, ..)| hard.get(key).is_some())
                    .filter(|(_, side, resource)| stated(&container, side, resource).is_none())
                    .map(|(key, ..)| *key)
                    .collect();
                if missing.is_empty() {
                    continue;
                }
                let place = container
                    .node
                    .get("name")
                    .map_or_else(|| workload.head(), |name| workload.place(name));
                found
                    .add(
                        place,
                        format!(
                            "{:?} does not state {}, which the quota counts",
                            container.name(),
                            missing.join(", ")
                        ),
                    )
                    .related(quota.head(), "the quota");
            }
        }
    }
}

/// What one pod of a workload counts for: containers and sidecars together, or the largest of what runs before them.
fn of_pod(workload: &Object, side: &str, resource: &str) -> f64 {
    let (mut together, mut before): (f64, f64) = (0.0, 0.0);
    for container in workload.containers() {
        let value = stated(&container, side, resource)
            .and_then(Node::as_str)
            .and_then(quantity)
            .unwrap_or(0.0);
        if container.init && !container.is_sidecar() {
            before = before.max(value);
        } else {
            together += value;
        }
    }
    together.max(before)
}

fn exceeded(context: &Context<'_>, found: &mut Findings<'_>) {
    for (quota, hard) in quotas(context) {
        let workloads: Vec<&Object> = context
            .set
            .workloads()
            .filter(|one| one.near(quota) && one.is_lasting() && one.kind != "DaemonSet")
            .collect();
        for (key, side, resource) in COUNTED {
            let Some((limit, node)) = hard
                .get(key)
                .and_then(|node| Some((quantity(node.as_str()?)?, node)))
            else {
                continue;
            };
            let needs: Vec<(f64, &Object)> = workloads
                .iter()
                .map(|one| {
                    let replicas = u32::try_from(one.replicas()).unwrap_or(0);
                    (of_pod(one, side, resource) * f64::from(replicas), *one)
                })
                .collect();
            let sum: f64 = needs.iter().map(|(need, _)| need).sum();
            let largest = needs
                .iter()
                .max_by(|(one, _), (other, _)| one.total_cmp(other));
            let Some((_, workload)) = largest.filter(|_| sum > limit * 1.000_001) else {
                continue;
            };
            found
                .add(
                    at(workload, &["spec", "replicas"]),
                    format!(
                        "all pods together ask for {} of {key}, the quota has {}",
                        show(sum, resource),
                        node.as_str().unwrap_or_default()
                    ),
                )
                .related(quota.place(node), "the quota");
            break;
        }
    }
}

fn show(value: f64, resource: &str) -> String {
    const GIB: f64 = 1_073_741_824.0;
    if resource == "memory" {
        format!("{:.1}Gi", value / GIB)
    } else {
        format!("{value}")
    }
}

fn incomplete(context: &Context<'_>, found: &mut Findings<'_>) {
    for quota in context.set.of_kind("ResourceQuota") {
        let Some(hard) = quota.node.path(&["spec", "hard"]) else {
            continue;
        };
        let in_any = |key: &str| {
            context
                .set
                .of_kind("ResourceQuota")
                .filter(|other| other.near(quota))
                .any(|other| {
                    other
                        .node
                        .path(&["spec", "hard"])
                        .is_some_and(|hard| hard.get(key).is_some())
                })
        };
        let compute = COUNTED.iter().any(|(key, ..)| hard.get(key).is_some());
        let missing: Vec<_> = [
            "requests.storage",
            "services.loadbalancers",
            "services.nodeports",
        ]
        .into_iter()
        .filter(|key| !in_any(key))
        .collect();
        if compute && !missing.is_empty() {
            found.add(
                at(quota, &["spec", "hard"]),
                format!("nothing bounds {}", missing.join(", ")),
            );
        }
    }
}
