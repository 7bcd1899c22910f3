//! What keeps a cluster up while nodes of Kubernetes come and go.

use super::{at, distributed, items, nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::units::Product;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        HA004,
        "ordered-ready",
        Medium,
        Beam,
        ordered,
        "Nodes of a cluster start one after the other, each when the one before is ready.",
        "After a power cut the first node waits for tables or a quorum of nodes that are not started before it is ready: the cluster never comes back by itself.",
        "`podManagementPolicy: Parallel`. It cannot be changed later without making the StatefulSet anew."
    ),
    rule!(
        HA006,
        "pdb-twice",
        High,
        Beam,
        pdb_twice,
        "Two PodDisruptionBudgets mean the same pods.",
        "No pod of them can be evicted at all: the API refuses each eviction, and a drain hangs until somebody forces it.",
        "One PodDisruptionBudget for each set of pods."
    ),
    rule!(
        HA007,
        "pdb-blocks-drain",
        High,
        Beam,
        pdb_blocks,
        "A PodDisruptionBudget allows no disruption at all.",
        "Nodes cannot be drained; whoever upgrades them ends the pods by force, all at once.",
        "`maxUnavailable: 1`, and as many replicas as it takes."
    ),
    rule!(
        HA008,
        "pdb-selects-nothing",
        High,
        Beam,
        pdb_nothing,
        "A PodDisruptionBudget selects labels that the pods have with another value.",
        "A drain takes as many of them as it likes.",
        "The labels of the pod template."
    ),
    rule!(
        HA001,
        "no-topology-spread",
        High,
        All,
        no_spread,
        "Nothing keeps all replicas from one host.",
        "One host that fails takes the majority with it.",
        "`topologySpreadConstraints` over `kubernetes.io/hostname` with `DoNotSchedule`, and over zones."
    ),
    rule!(
        HA002,
        "no-pdb",
        High,
        All,
        no_pdb,
        "Several replicas and no PodDisruptionBudget.",
        "A drain of two hosts at a time takes two nodes at a time.",
        "A PodDisruptionBudget with `maxUnavailable: 1` and `unhealthyPodEvictionPolicy: AlwaysAllow`."
    ),
    rule!(
        HA003,
        "no-graceful-stop",
        Medium,
        All,
        no_grace,
        "Nodes have the default of 30 seconds to stop, and nothing that they do before.",
        "What is in flight is lost; peers wait for `net_ticktime` before they notice.",
        "`terminationGracePeriodSeconds` of 60 to 120, and a `preStop` that leaves the cluster or sleeps until endpoints have changed."
    ),
    rule!(
        HA005,
        "rollout-controls",
        Low,
        All,
        rollout,
        "Nodes are rolled out as if they had no state.",
        "The next node goes down as soon as the one before is up; under pressure these pods are the first to be evicted.",
        "`minReadySeconds`, `priorityClassName`, `persistentVolumeClaimRetentionPolicy`, `enableServiceLinks: false`."
    ),
];

fn ordered(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, object) in distributed(context) {
        // Joins by a leader that has to be there first.
        if matches!(unit.product, Product::Ejabberd | Product::VerneMq) {
            continue;
        }
        let policy = object.node.path(&["spec", "podManagementPolicy"]);
        let parallel = policy.and_then(Node::as_str) == Some("Parallel");
        if object.kind == "StatefulSet"
            && object.replicas() > 1
            && !parallel
            && unit.guarded.is_none()
        {
            found
                .add(
                    at(object, &["spec", "podManagementPolicy"]),
                    format!("{} nodes wait for each other", object.replicas()),
                )
                .fix("podManagementPolicy: Parallel");
        }
    }
}

fn budgets<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context.set.of_kind("PodDisruptionBudget")
}

fn pdb_twice(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads().filter(|one| one.is_lasting()) {
        let mine: Vec<_> = budgets(context)
            .filter(|budget| budget.selects(&["spec", "selector"], workload))
            .collect();
        if let [first, second, ..] = mine.as_slice() {
            found
                .add(
                    second.head(),
                    format!(
                        "{} and {} both mean the pods of {}",
                        first.name,
                        second.name,
                        workload.title()
                    ),
                )
                .related(first.head(), "the other");
        }
    }
}

fn pdb_blocks(context: &Context<'_>, found: &mut Findings<'_>) {
    for budget in budgets(context) {
        let zero = |node: &&Node| matches!(node.as_str(), Some("0" | "0%"));
        if let Some(none) = budget.node.path(&["spec", "maxUnavailable"]).filter(zero) {
            found.add(budget.place(none), "no pod may ever be evicted");
            continue;
        }
        let Some(least) = budget.node.path(&["spec", "minAvailable"]) else {
            continue;
        };
        let pods: Vec<_> = context
            .set
            .workloads()
            .filter(|one| one.is_lasting() && budget.selects(&["spec", "selector"], one))
            .collect();
        let replicas: i64 = pods.iter().map(|one| one.replicas()).sum();
        // A HorizontalPodAutoscaler decides how many there are.
        let scaled = context
            .set
            .of_kind("HorizontalPodAutoscaler")
            .any(|scaler| {
                let name = scaler.node.text(&["spec", "scaleTargetRef", "name"]);
                pods.iter().any(|one| name == Some(one.name.as_str()))
            });
        let all = least.as_str() == Some("100%")
            || least
                .as_int()
                .is_some_and(|least| least >= replicas && !pods.is_empty());
        if all && !scaled {
            found.add(
                budget.place(least),
                format!("of {replicas} pods none may ever be evicted"),
            );
        }
    }
}

fn pdb_nothing(context: &Context<'_>, found: &mut Findings<'_>) {
    for budget in budgets(context) {
        let wanted = budget
            .node
            .path(&["spec", "selector", "matchLabels"])
            .map_or(&[][..], Node::entries);
        let any = context
            .set
            .workloads()
            .any(|one| budget.selects(&["spec", "selector"], one));
        if wanted.is_empty() || any {
            continue;
        }
        let nearly = context.set.workloads().find_map(|workload| {
            let labels = workload
                .pod_labels()
                .filter(|_| budget.near(workload) && workload.is_lasting())?;
            let wrong: Vec<_> = wanted
                .iter()
                .filter(|(key, value)| {
                    key.as_str()
                        .and_then(|key| labels.get(key))
                        .and_then(Node::as_str)
                        != value.as_str()
                })
                .collect();
            let [(key, value)] = wrong.as_slice() else {
                return None;
            };
            let label = labels.get(key.as_str()?)?.as_str()?;
            let same = wanted.len() > 1 || workload.name == budget.name;
            same.then_some((workload, value, label))
        });
        if let Some((workload, value, label)) = nearly {
            found
                .add(
                    budget.place(value),
                    format!(
                        "the pods of {} have the value {label:?} here",
                        workload.title()
                    ),
                )
                .related(workload.head(), "the pods that are meant");
        }
    }
}

/// Workloads with several pods.
fn replicated<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context.set.workloads().filter(|one| {
        matches!(one.kind.as_str(), "Deployment" | "StatefulSet") && one.replicas() > 1
    })
}

fn no_spread(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in replicated(context) {
        let Some(pod) = workload.pod() else { continue };
        let spread = pod.get("topologySpreadConstraints").is_some();
        let apart = pod
            .path(&[
                "affinity",
                "podAntiAffinity",
                "requiredDuringSchedulingIgnoredDuringExecution",
            ])
            .is_some();
        if !spread && !apart {
            found.add(
                at(workload, &["spec", "replicas"]),
                format!("{} pods, and all may be on one host", workload.replicas()),
            );
        }
    }
}

fn no_pdb(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in replicated(context) {
        if !budgets(context).any(|budget| budget.selects(&["spec", "selector"], workload)) {
            found.add(
                at(workload, &["spec", "replicas"]),
                format!(
                    "{} pods, and a drain may take all at once",
                    workload.replicas()
                ),
            );
        }
    }
}

fn no_grace(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, object) in nodes(context).filter(|(_, object)| object.is_lasting()) {
        let Some(pod) = object.pod() else { continue };
        let hook = object
            .containers()
            .iter()
            .any(|container| container.node.path(&["lifecycle", "preStop"]).is_some());
        if pod.get("terminationGracePeriodSeconds").is_none() && !hook {
            found.add(object.head(), "30 seconds to stop, and no preStop");
        }
    }
}

fn rollout(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, object) in nodes(context).filter(|(_, object)| object.kind == "StatefulSet") {
        let (Some(spec), Some(pod)) = (object.spec(), object.pod()) else {
            continue;
        };
        let claims = !items(spec, &["volumeClaimTemplates"]).is_empty();
        let missing: Vec<_> = [
            (spec.get("minReadySeconds").is_none(), "minReadySeconds"),
            (
                claims && spec.get("persistentVolumeClaimRetentionPolicy").is_none(),
                "persistentVolumeClaimRetentionPolicy",
            ),
            (pod.get("priorityClassName").is_none(), "priorityClassName"),
            (
                pod.get("enableServiceLinks").is_none(),
                "enableServiceLinks",
            ),
        ]
        .into_iter()
        .filter_map(|(missing, name)| missing.then_some(name))
        .collect();
        if missing.len() > 1 {
            found.add(object.head(), format!("neither {}", missing.join(" nor ")));
        }
    }
}
