//! What a cluster of Kubernetes serves, and what decides about what is let in.

use super::at;
use crate::rule::{Context, Findings, Rule};

pub(super) const RULES: &[Rule] = &[
    rule!(
        API001,
        "unserved-version",
        Blocker,
        Beam,
        unserved,
        "An object is of a version of its API that is not served any more.",
        "`no matches for kind`: it cannot be applied.",
        "The version that is served today."
    ),
    rule!(
        POL001,
        "fail-open",
        High,
        All,
        fail_open,
        "What decides about objects lets everything in when it cannot be asked.",
        "Whoever can keep it busy, or waits for its restart, gets in what it is to keep out.",
        "`failurePolicy: Fail`, several replicas, and its own namespace left out of its rules."
    ),
    rule!(
        API002,
        "retired-controller",
        High,
        All,
        retired,
        "Traffic goes through ingress-nginx, which was retired in March 2026.",
        "What is found in it is not mended any more.",
        "The Gateway API, with an implementation that is maintained."
    ),
];

/// Versions that are gone: `apiVersion`, kinds (none: all of them), what to write.
const GONE: &[(&str, &[&str], &str)] = &[
    ("external-secrets.io/v1beta1", &[], "external-secrets.io/v1"),
    (
        "external-secrets.io/v1alpha1",
        &[],
        "external-secrets.io/v1",
    ),
    ("cert-manager.io/v1alpha2", &[], "cert-manager.io/v1"),
    ("cert-manager.io/v1alpha3", &[], "cert-manager.io/v1"),
    ("cert-manager.io/v1beta1", &[], "cert-manager.io/v1"),
    ("certmanager.k8s.io/v1alpha1", &[], "cert-manager.io/v1"),
    ("policy/v1beta1", &[], "policy/v1"),
    ("batch/v1beta1", &[], "batch/v1"),
    ("batch/v2alpha1", &[], "batch/v1"),
    ("autoscaling/v2beta1", &[], "autoscaling/v2"),
    ("autoscaling/v2beta2", &[], "autoscaling/v2"),
    ("apps/v1beta1", &[], "apps/v1"),
    ("apps/v1beta2", &[], "apps/v1"),
    (
        "networking.k8s.io/v1beta1",
        &["Ingress", "IngressClass"],
        "networking.k8s.io/v1",
    ),
    (
        "extensions/v1beta1",
        &["Ingress", "NetworkPolicy"],
        "networking.k8s.io/v1",
    ),
    (
        "extensions/v1beta1",
        &["Deployment", "DaemonSet", "ReplicaSet"],
        "apps/v1",
    ),
    (
        "rbac.authorization.k8s.io/v1beta1",
        &[],
        "rbac.authorization.k8s.io/v1",
    ),
    (
        "rbac.authorization.k8s.io/v1alpha1",
        &[],
        "rbac.authorization.k8s.io/v1",
    ),
    (
        "apiextensions.k8s.io/v1beta1",
        &[],
        "apiextensions.k8s.io/v1",
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        &[
            "ValidatingWebhookConfiguration",
            "MutatingWebhookConfiguration",
        ],
        "admissionregistration.k8s.io/v1",
    ),
    (
        "storage.k8s.io/v1beta1",
        &[
            "CSIDriver",
            "CSINode",
            "StorageClass",
            "VolumeAttachment",
            "CSIStorageCapacity",
        ],
        "storage.k8s.io/v1",
    ),
    ("discovery.k8s.io/v1beta1", &[], "discovery.k8s.io/v1"),
    (
        "snapshot.storage.k8s.io/v1beta1",
        &[
            "VolumeSnapshot",
            "VolumeSnapshotClass",
            "VolumeSnapshotContent",
        ],
        "snapshot.storage.k8s.io/v1",
    ),
];

fn unserved(context: &Context<'_>, found: &mut Findings<'_>) {
    for object in &context.set.objects {
        let gone = GONE.iter().find(|(version, kinds, _)| {
            object.api_version == *version
                && (kinds.is_empty() || kinds.contains(&object.kind.as_str()))
        });
        if let Some((version, _, right)) = gone {
            found
                .add(
                    at(object, &["apiVersion"]),
                    format!("{version} is not served any more"),
                )
                .fix(*right);
        }
    }
}

fn fail_open(context: &Context<'_>, found: &mut Findings<'_>) {
    for object in &context.set.objects {
        match object.kind.as_str() {
            "ValidatingWebhookConfiguration" => {
                for webhook in super::items(&object.node, &["webhooks"]) {
                    if webhook.text(&["failurePolicy"]) == Some("Ignore") {
                        found.add(
                            object.key(webhook, "failurePolicy"),
                            "lets everything in when it cannot be asked",
                        );
                    }
                }
            }
            "ValidatingAdmissionPolicy" | "ClusterPolicy" | "ValidatingPolicy" => {
                let path = &["spec", "failurePolicy"];
                if object.node.text(path) == Some("Ignore") {
                    found.add(
                        at(object, path),
                        "lets everything in when it cannot be asked",
                    );
                }
            }
            _ => {}
        }
    }
}

fn retired(context: &Context<'_>, found: &mut Findings<'_>) {
    for object in &context.set.objects {
        let place = match object.kind.as_str() {
            "IngressClass"
                if object.node.text(&["spec", "controller"]) == Some("k8s.io/ingress-nginx") =>
            {
                at(object, &["spec", "controller"])
            }
            "Ingress" => {
                let class = object.node.text(&["spec", "ingressClassName"]);
                let annotations = object.node.path(&["metadata", "annotations"]);
                let old = annotations.and_then(|all| all.entry("kubernetes.io/ingress.class"));
                if class == Some("nginx") {
                    at(object, &["spec", "ingressClassName"])
                } else if let Some((key, _)) =
                    old.filter(|(_, value)| value.as_str() == Some("nginx"))
                {
                    object.place(key)
                } else {
                    continue;
                }
            }
            _ => continue,
        };
        found.add(place, "ingress-nginx was retired");
    }
}
