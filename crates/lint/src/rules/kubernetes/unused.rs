//! ConfigMaps that nothing refers to.

use std::collections::HashSet;

use super::at;
use super::references::{is_builtin, only_watches};
use crate::document::Content;
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::rules::build::resolve;
use crate::yaml::{Kind, Node};

pub(super) const RULES: &[Rule] = &[rule!(
    XREF005,
    "config-map-unused",
    High,
    Beam,
    unused,
    "Nothing refers to a ConfigMap that holds variables or files of Erlang.",
    "What stands in it has no effect, though it looks like the configuration.",
    "`envFrom` or a volume in the workload that is meant."
)];

/// Names of ConfigMaps that anything refers to.
fn named_config_maps<'c>(context: &Context<'c>) -> HashSet<&'c str> {
    let mut named: HashSet<&str> = HashSet::new();
    for object in &context.set.objects {
        let own = object
            .node
            .path(&["metadata", "name"])
            .map(|name| name.span);
        for node in object.node.all() {
            for field in ["configMap", "configMapRef", "configMapKeyRef"] {
                named.extend(node.text(&[field, "name"]));
            }
            // What a resource of somebody else says by a name is not known.
            if let Kind::Scalar(text, _) = &node.kind
                && !is_builtin(object)
                && !only_watches(object)
                && Some(node.span) != own
            {
                named.insert(text);
            }
        }
        for container in object.containers() {
            let values = container
                .env()
                .iter()
                .filter_map(|one| one.text(&["value"]));
            for text in container.command().filter_map(Node::as_str).chain(values) {
                named.extend(
                    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.'),
                );
            }
        }
    }
    named
}

/// Whether a kustomization builds with a ConfigMap: what it adds to it is not known before it is rendered. One that
/// stands beside it does, and one that names its file; one of Flux may, wherever it stands.
fn kustomized(context: &Context<'_>, map: &Object) -> bool {
    let name = |source| context.set.sources.get(source).name.as_str();
    let file = name(map.source);
    context.set.of_kind("Kustomization").any(|kustomization| {
        if kustomization.group() != "kustomize.config.k8s.io" {
            return true;
        }
        let own = name(kustomization.source);
        let beside = own
            .rsplit_once('/')
            .is_none_or(|(directory, _)| file.starts_with(&format!("{directory}/")));
        let named = || {
            let texts = kustomization.node.all();
            let paths = texts.into_iter().filter_map(Node::as_str);
            paths
                .map(|path| resolve(own, path))
                .any(|path| file == path || file.starts_with(&format!("{path}/")))
        };
        beside || named()
    })
}

fn unused(context: &Context<'_>, found: &mut Findings<'_>) {
    let named = named_config_maps(context);
    for (number, map) in context.set.objects.iter().enumerate() {
        if map.kind != "ConfigMap" || named.contains(map.name.as_str()) {
            continue;
        }
        // Sidecars and operators find theirs by a label.
        let found_by_label = map
            .node
            .path(&["metadata", "labels"])
            .is_some_and(|labels| {
                labels
                    .entries()
                    .iter()
                    .filter_map(|(key, _)| key.as_str())
                    .any(|key| !key.starts_with("app") && !key.starts_with("helm.sh"))
            });
        let keys = map.node.get("data").map_or(&[][..], Node::entries);
        let variables = !keys.is_empty()
            && keys.iter().filter_map(|(key, _)| key.as_str()).all(|key| {
                key.chars()
                    .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
            });
        let of_node = context.set.embedded.iter().any(|file| {
            let content = context
                .set
                .document(file.document)
                .map(|document| &document.content);
            file.object == number
                && matches!(
                    content,
                    Some(Content::VmArgs(_) | Content::Terms(..) | Content::RabbitMq(_))
                )
        });
        let workload = context.set.workloads().find(|one| one.near(map));
        if let Some(workload) = workload
            && (variables || of_node)
            && !found_by_label
            && !kustomized(context, map)
        {
            found
                .add(
                    at(map, &["metadata", "name"]),
                    "nothing refers to this ConfigMap",
                )
                .related(workload.head(), "a workload beside it");
        }
    }
}
