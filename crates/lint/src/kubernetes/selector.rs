//! Label selectors, and which objects they mean. No opinion.

use super::Object;
use crate::yaml::Node;

/// Labels that are set by a controller when a pod is made, so that no template has them.
const GENERATED: &[&str] = &[
    "statefulset.kubernetes.io/pod-name",
    "apps.kubernetes.io/pod-index",
    "controller-revision-hash",
    "pod-template-hash",
    "pod-template-generation",
    "job-name",
    "batch.kubernetes.io/job-name",
    "batch.kubernetes.io/controller-uid",
    "controller-uid",
];

/// Whether `matchLabels` and `matchExpressions` fit these labels. An empty selector fits all.
#[must_use]
pub fn fits(selector: &Node, labels: Option<&Node>) -> bool {
    let wanted = selector.get("matchLabels").map_or(&[][..], Node::entries);
    let expressions = selector
        .get("matchExpressions")
        .map_or(&[][..], Node::items);
    has_labels(wanted, labels) && expressions.iter().all(|one| expression(one, labels))
}

/// Whether a plain map of labels, such as that of a Service, fits these labels.
#[must_use]
pub fn has_labels(wanted: &[(Node, Node)], labels: Option<&Node>) -> bool {
    wanted.iter().all(|(key, value)| {
        let key = key.as_str().unwrap_or_default();
        if GENERATED.contains(&key) {
            return true;
        }
        let label = labels
            .and_then(|labels| labels.get(key))
            .and_then(Node::as_str);
        label.is_some() && label == value.as_str()
    })
}

fn expression(one: &Node, labels: Option<&Node>) -> bool {
    let Some(key) = one.text(&["key"]) else {
        return false;
    };
    let label = labels
        .and_then(|labels| labels.get(key))
        .and_then(Node::as_str);
    let among = || {
        let values = one.get("values").map_or(&[][..], Node::items);
        label.is_some_and(|label| values.iter().any(|value| value.as_str() == Some(label)))
    };
    match one.text(&["operator"]) {
        Some("In") => among(),
        Some("NotIn") => !among(),
        Some("Exists") => label.is_some(),
        Some("DoesNotExist") => label.is_none(),
        _ => false,
    }
}

impl Object {
    /// The labels of the pods that it makes.
    #[must_use]
    pub fn pod_labels(&self) -> Option<&Node> {
        if self.kind == "Pod" {
            return self.node.path(&["metadata", "labels"]);
        }
        self.pod_metadata()?.get("labels")
    }

    /// Whether a Service, which is `self`, sends to the pods of a workload.
    #[must_use]
    pub fn serves(&self, workload: &Self) -> bool {
        let wanted = self
            .node
            .path(&["spec", "selector"])
            .map_or(&[][..], Node::entries);
        !wanted.is_empty() && self.near(workload) && has_labels(wanted, workload.pod_labels())
    }

    /// Whether the selector at a path of `self` means the pods of a workload of the same namespace.
    #[must_use]
    pub fn selects(&self, path: &[&str], workload: &Self) -> bool {
        self.node
            .path(path)
            .is_some_and(|selector| self.near(workload) && fits(selector, workload.pod_labels()))
    }

    /// Whether a Service has no address of its own.
    #[must_use]
    pub fn is_headless(&self) -> bool {
        self.node.text(&["spec", "clusterIP"]) == Some("None")
    }

    /// Whether its pods go on until they are stopped.
    #[must_use]
    pub fn is_lasting(&self) -> bool {
        matches!(
            self.kind.as_str(),
            "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController"
        )
    }
}
