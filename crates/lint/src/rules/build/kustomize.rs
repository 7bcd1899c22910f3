//! Kustomizations: fields that are gone, generators without a base, tags that do not fit.

use super::split;
use crate::document::Content;
use crate::rule::{Context, Findings, Rule};
use crate::source::{Place, SourceId};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        KUS002,
        "merge-without-base",
        Blocker,
        Beam,
        without_base,
        "A generator merges into what no base generates.",
        "`kustomize build` fails: `does not exist; cannot merge or replace`.",
        "A generator of that name in the base, without `behavior`."
    ),
    rule!(
        IMG002,
        "tag-scheme",
        Medium,
        Beam,
        tag_scheme,
        "A kustomization sets a tag of another form than that of the manifests.",
        "`v1.2.3` and `1.2.3` are two tags, of which a registry has one: `ImagePullBackOff`.",
        "The tag as the build makes it; better, `digest`."
    ),
    rule!(
        KUS001,
        "deprecated-field",
        Low,
        Beam,
        deprecated,
        "A kustomization has fields that are deprecated.",
        "Each build warns, and a later release refuses them.",
        "`patches`, `labels`, `replacements` and `resources`; `kustomize edit fix` rewrites most."
    ),
];

/// The kustomizations of a set.
fn kustomizations<'c>(context: &Context<'c>) -> Vec<(SourceId, &'c Node)> {
    let files = context.set.documents.iter().filter_map(|document| {
        let Content::Yaml(node) = &document.content else {
            return None;
        };
        let name = context.set.sources.get(document.source).file_name();
        matches!(name, "kustomization.yaml" | "kustomization.yml")
            .then_some((document.source, node))
    });
    let objects = context
        .set
        .objects
        .iter()
        .filter(|object| object.group() == "kustomize.config.k8s.io")
        .map(|object| (object.source, &object.node));
    files.chain(objects).collect()
}

fn items<'n>(node: &'n Node, key: &str) -> &'n [Node] {
    node.get(key).map_or(&[], Node::items)
}

/// A path relative to the directory of a file, with `..` resolved.
pub(in crate::rules) fn resolve(file: &str, path: &str) -> String {
    let directory = file.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut parts: Vec<&str> = directory
        .split('/')
        .filter(|part| !part.is_empty())
        .collect();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

/// Whether all that a kustomization builds on is in the set.
fn is_whole(context: &Context<'_>, source: SourceId, node: &Node) -> bool {
    let name = &context.set.sources.get(source).name;
    ["resources", "bases", "components"]
        .iter()
        .flat_map(|key| items(node, key))
        .filter_map(Node::as_str)
        .all(|path| {
            let remote =
                path.contains("://") || path.starts_with("github.com") || path.contains('?');
            let resolved = resolve(name, path);
            !remote
                && context.set.sources.iter().any(|(_, source)| {
                    let known = source.name.trim_start_matches('/');
                    known == resolved || known.starts_with(&format!("{resolved}/"))
                })
        })
}

fn without_base(context: &Context<'_>, found: &mut Findings<'_>) {
    let all = kustomizations(context);
    for (source, node) in &all {
        for (field, kind) in [
            ("configMapGenerator", "ConfigMap"),
            ("secretGenerator", "Secret"),
        ] {
            for generator in items(node, field) {
                let Some(behavior) = generator.get("behavior") else {
                    continue;
                };
                let name = generator.text(&["name"]).unwrap_or_default();
                let merges = matches!(behavior.as_str(), Some("merge" | "replace"));
                let base = all.iter().any(|(_, other)| {
                    items(other, field).iter().any(|other| {
                        other.text(&["name"]) == Some(name)
                            && matches!(other.text(&["behavior"]), None | Some("create"))
                    })
                });
                let written = context.set.of_kind(kind).any(|object| object.name == name);
                if merges && !base && !written && is_whole(context, *source, node) {
                    let place = Place {
                        source: *source,
                        span: behavior.span,
                    };
                    found.add(place, format!("no base generates a {kind} {name:?}"));
                }
            }
        }
    }
}

fn tag_scheme(context: &Context<'_>, found: &mut Findings<'_>) {
    let is_version = |tag: &str| {
        tag.trim_start_matches('v')
            .starts_with(|c: char| c.is_ascii_digit())
    };
    for (source, node) in kustomizations(context) {
        for image in items(node, "images") {
            let (Some(name), Some(tag)) = (image.text(&["name"]), image.get("newTag")) else {
                continue;
            };
            let new = tag.as_str().unwrap_or_default();
            let other = context.set.workloads().find_map(|workload| {
                workload.containers().into_iter().find_map(|container| {
                    let image = container.image()?;
                    let (repository, old) = split(image.as_str()?);
                    let old = old?;
                    let differ = repository == name
                        && is_version(old)
                        && is_version(new)
                        && old.starts_with('v') != new.starts_with('v');
                    differ.then(|| (workload.place(image), old))
                })
            });
            if let Some((place, old)) = other {
                found
                    .add(
                        Place {
                            source,
                            span: tag.span,
                        },
                        format!("the manifests have tags like {old}"),
                    )
                    .related(place, "this one");
            }
        }
    }
}

fn deprecated(context: &Context<'_>, found: &mut Findings<'_>) {
    const OLD: &[(&str, &str)] = &[
        ("patchesStrategicMerge", "patches"),
        ("patchesJson6902", "patches"),
        ("commonLabels", "labels"),
        ("vars", "replacements"),
        ("bases", "resources"),
        ("imageTags", "images"),
    ];
    for (source, node) in kustomizations(context) {
        for (old, new) in OLD {
            if let Some((key, _)) = node.entry(old) {
                let place = Place {
                    source,
                    span: key.span,
                };
                found.add(place, format!("{old} is deprecated")).fix(*new);
            }
        }
    }
}
