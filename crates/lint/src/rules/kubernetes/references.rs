//! References that lead nowhere, and what nothing refers to.
//!
//! A set is seldom all of a namespace. So what is missing counts only where the set brings others of its kind.

use std::collections::HashSet;

use super::access::account;
use super::{Namespaces, items};
use crate::document::Content;
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        XREF002,
        "secret-not-defined",
        Blocker,
        Beam,
        secret,
        "A workload needs a Secret that nothing makes, in a set that brings its other Secrets.",
        "The pod stays in `CreateContainerConfigError` or `ContainerCreating`.",
        "An ExternalSecret, a Certificate or whatever makes the others, for this one, too; `optional: true` if the pod can do without."
    ),
    rule!(
        XREF006,
        "configmap-not-defined",
        Blocker,
        Beam,
        config_map,
        "A workload needs a ConfigMap that nothing makes, in a set that brings its other ConfigMaps.",
        "The pod stays in `CreateContainerConfigError` or `ContainerCreating`.",
        "The ConfigMap, or its right name."
    ),
    rule!(
        XREF007,
        "key-not-in-object",
        Blocker,
        Beam,
        key,
        "A workload asks for a key that the ConfigMap or Secret of that name does not have.",
        "The pod stays in `CreateContainerConfigError`, or a volume is not mounted: `references non-existent config key`.",
        "The key as it is written there."
    ),
    rule!(
        XREF004,
        "service-account-not-defined",
        Blocker,
        Beam,
        service_account,
        "A workload runs as a ServiceAccount that nothing makes, in a set that brings others.",
        "No pod is made: `error looking up service account`.",
        "The ServiceAccount, and a Role with what it is to do."
    ),
    rule!(
        XREF003,
        "storage-class-not-defined",
        Medium,
        Beam,
        storage_class,
        "A claim names a StorageClass that is not among those of the set.",
        "The claim, and its pod, stay `Pending`.",
        "A StorageClass of that name, with `volumeBindingMode: WaitForFirstConsumer`; or the name of one that is there."
    ),
];

/// Groups of Kubernetes itself. Of others, any object may make a Secret or ConfigMap of whatever name stands in it.
pub(super) fn is_builtin(object: &Object) -> bool {
    let group = object.group();
    !group.contains('.') || group.ends_with(".k8s.io") && !group.contains("gateway")
}

/// What says which metrics there are and what is made of them makes no object, whatever it names.
pub(super) fn only_watches(object: &Object) -> bool {
    object.group() == "monitoring.coreos.com"
        && matches!(
            object.kind.as_str(),
            "ServiceMonitor" | "PodMonitor" | "PrometheusRule" | "Probe"
        )
}

/// What objects of other kinds may make: names that stand in them, and what begins with theirs, since operators make
/// `NAME-default-user`.
struct Makers<'c> {
    said: HashSet<&'c str>,
    beginnings: HashSet<&'c str>,
}

impl<'c> Makers<'c> {
    fn new(context: &Context<'c>) -> Self {
        let mut makers = Self {
            said: HashSet::new(),
            beginnings: HashSet::new(),
        };
        for object in context
            .set
            .objects
            .iter()
            .filter(|object| !is_builtin(object) && !only_watches(object))
        {
            // These say the name that they make.
            let exact = matches!(
                object.kind.as_str(),
                "ExternalSecret" | "SealedSecret" | "Certificate"
            );
            if !exact && !object.name.is_empty() {
                makers.beginnings.insert(&object.name);
            }
            makers
                .said
                .extend(object.node.all().into_iter().filter_map(Node::as_str));
        }
        makers
    }

    fn may_make(&self, name: &str) -> bool {
        self.said.contains(name)
            || name.match_indices('-').any(|(at, _)| {
                name.get(..at)
                    .is_some_and(|start| self.beginnings.contains(start))
            })
    }
}

/// Names that `secretGenerator` or `configMapGenerator` of a kustomization make.
fn generated(context: &Context<'_>, field: &str, name: &str) -> bool {
    context.set.documents.iter().any(|document| {
        let Content::Yaml(node) = &document.content else {
            return false;
        };
        items(node, &[field])
            .iter()
            .any(|one| one.text(&["name"]) == Some(name))
    }) || context
        .set
        .of_kind("Kustomization")
        .flat_map(|object| items(&object.node, &[field]))
        .any(|one| one.text(&["name"]) == Some(name))
}

/// Whether a kustomization that is not rendered changes the names of what it has.
fn renames(context: &Context<'_>) -> bool {
    let prefixes =
        |node: &Node| node.get("namePrefix").is_some() || node.get("nameSuffix").is_some();
    context
        .set
        .of_kind("Kustomization")
        .any(|one| prefixes(&one.node))
        || context
            .set
            .documents
            .iter()
            .any(|document| matches!(&document.content, Content::Yaml(node) if prefixes(node)))
}

fn is_template(name: &str) -> bool {
    name.is_empty() || name.contains(['{', '$', '<'])
}

/// A reference of a workload to an object of a kind: the name, and the keys that are asked for.
struct Reference<'o> {
    name: &'o Node,
    keys: Vec<&'o Node>,
}

/// The references of a workload that must be there.
fn references<'o>(workload: &'o Object, kind: &str) -> Vec<Reference<'o>> {
    let secret = kind == "Secret";
    let (key_ref, env_ref, volume, volume_name) = if secret {
        ("secretKeyRef", "secretRef", "secret", "secretName")
    } else {
        ("configMapKeyRef", "configMapRef", "configMap", "name")
    };
    let mut all = Vec::new();
    let mut add = |of: Option<&'o Node>, field: &str, keys: Vec<&'o Node>| {
        let Some(of) = of else { return };
        let optional = of.get("optional").and_then(Node::as_bool) == Some(true);
        if let Some(name) = of.get(field).filter(|_| !optional)
            && !is_template(name.as_str().unwrap_or_default())
        {
            all.push(Reference { name, keys });
        }
    };
    for container in workload.containers() {
        for variable in container.env() {
            let of = variable.path(&["valueFrom", key_ref]);
            add(
                of,
                "name",
                of.and_then(|of| of.get("key")).into_iter().collect(),
            );
        }
        for from in items(container.node, &["envFrom"]) {
            add(from.get(env_ref), "name", Vec::new());
        }
    }
    for one in workload
        .pod()
        .map_or(&[][..], |pod| items(pod, &["volumes"]))
    {
        let keys = |of: &'o Node| {
            items(of, &["items"])
                .iter()
                .filter_map(|item| item.get("key"))
        };
        let of = one.get(volume);
        add(of, volume_name, of.into_iter().flat_map(keys).collect());
        for source in items(one, &["projected", "sources"]) {
            let of = source.get(volume);
            add(of, "name", of.into_iter().flat_map(keys).collect());
        }
    }
    all
}

fn not_made(context: &Context<'_>, found: &mut Findings<'_>, kind: &str, generator: &str) {
    let brings: Namespaces<'_> = context
        .set
        .objects
        .iter()
        .filter(|object| {
            object.kind == kind
                || kind == "Secret"
                    && matches!(
                        object.kind.as_str(),
                        "ExternalSecret" | "SealedSecret" | "Certificate"
                    )
        })
        .collect();
    if renames(context) {
        return;
    }
    let makers = Makers::new(context);
    let mut seen: HashSet<Place> = HashSet::new();
    for workload in context.set.workloads() {
        if !brings.any_near(workload) {
            continue;
        }
        for reference in references(workload, kind) {
            let name = reference.name.as_str().unwrap_or_default();
            let place = workload.place(reference.name);
            let known = context.set.named(kind, name, workload).is_some()
                || name == "kube-root-ca.crt"
                || generated(context, generator, name)
                || makers.may_make(name);
            if !known && seen.insert(place) {
                found.add(place, format!("nothing makes a {kind} {name:?}"));
            }
        }
    }
}

fn secret(context: &Context<'_>, found: &mut Findings<'_>) {
    not_made(context, found, "Secret", "secretGenerator");
}

fn config_map(context: &Context<'_>, found: &mut Findings<'_>) {
    not_made(context, found, "ConfigMap", "configMapGenerator");
}

fn key(context: &Context<'_>, found: &mut Findings<'_>) {
    let makers = Makers::new(context);
    for workload in context.set.workloads() {
        for kind in ["ConfigMap", "Secret"] {
            for reference in references(workload, kind) {
                let name = reference.name.as_str().unwrap_or_default();
                let Some(object) = context.set.named(kind, name, workload) else {
                    continue;
                };
                // Who else writes into it, such as cert-manager, is not known from it.
                if makers.may_make(name) || has_no_keys(object) {
                    continue;
                }
                for key in reference.keys {
                    let text = key.as_str().unwrap_or_default();
                    let there = ["data", "stringData", "binaryData"].iter().any(|field| {
                        object
                            .node
                            .get(field)
                            .is_some_and(|data| data.entry(text).is_some())
                    });
                    if !there {
                        found
                            .add(
                                workload.place(key),
                                format!("{} has no key {text:?}", object.title()),
                            )
                            .related(object.head(), "what it has stands here");
                    }
                }
            }
        }
    }
}

/// An empty object is filled by somebody else.
fn has_no_keys(object: &Object) -> bool {
    ["data", "stringData", "binaryData"].iter().all(|field| {
        object
            .node
            .get(field)
            .is_none_or(|data| data.entries().is_empty())
    })
}

fn service_account(context: &Context<'_>, found: &mut Findings<'_>) {
    if renames(context) {
        return;
    }
    let makers = Makers::new(context);
    let brings: Namespaces<'_> = context.set.of_kind("ServiceAccount").collect();
    for workload in context.set.workloads() {
        let name = account(workload);
        let known = name == "default"
            || is_template(name)
            || context
                .set
                .named("ServiceAccount", name, workload)
                .is_some()
            || makers.may_make(name);
        let place = workload.pod().and_then(|pod| {
            pod.get("serviceAccountName")
                .or_else(|| pod.get("serviceAccount"))
        });
        if let Some(place) = place.filter(|_| brings.any_near(workload) && !known) {
            found.add(
                workload.place(place),
                format!("nothing makes a ServiceAccount {name:?}"),
            );
        }
    }
}

fn storage_class(context: &Context<'_>, found: &mut Findings<'_>) {
    let classes: HashSet<&str> = context
        .set
        .of_kind("StorageClass")
        .map(|class| class.name.as_str())
        .collect();
    if classes.is_empty() {
        return;
    }
    for object in &context.set.objects {
        let claims = items(&object.node, &["spec", "volumeClaimTemplates"]).iter();
        let own = (object.kind == "PersistentVolumeClaim").then_some(&object.node);
        for claim in claims.chain(own) {
            let Some(class) = claim.path(&["spec", "storageClassName"]) else {
                continue;
            };
            let name = class.as_str().unwrap_or_default();
            if !classes.contains(name) && !is_template(name) {
                found.add(
                    object.place(class),
                    format!("there is no StorageClass {name:?}"),
                );
            }
        }
    }
}
