//! Objects of Kubernetes that run nodes, and files in ConfigMaps.

use skans_erlconf::flags::Word;
use skans_erlconf::shell;

use super::content::{add_document, add_flags, word};
use super::{Draft, Product};
use crate::kubernetes::{Container, Object};
use crate::set::Set;
use crate::units::{COOKIE_VARIABLES, From, Variable, commands};
use crate::yaml::Node;

/// Images and what runs in them.
pub(super) const IMAGES: &[(&str, Product)] = &[
    ("rabbitmq", Product::RabbitMq),
    ("emqx", Product::Emqx),
    ("ejabberd", Product::Ejabberd),
    ("vernemq", Product::VerneMq),
    ("couchdb", Product::CouchDb),
];

/// What runs in an image, by the last part of its name. What only watches or manages a product is none of it.
fn product(last: &str) -> Option<Product> {
    const OTHERS: &[&str] = &[
        "operator",
        "exporter",
        "topology",
        "controller",
        "manager",
        "updater",
        "proxy",
        "cli",
        "admin",
        "ui",
        "backup",
        "init",
        "benchmark",
        "perf",
        "client",
        "ctl",
    ];
    let name = last.split([':', '@']).next().unwrap_or(last);
    let parts: Vec<&str> = name.split(['-', '_']).collect();
    if parts.iter().any(|part| OTHERS.contains(part)) {
        return None;
    }
    IMAGES
        .iter()
        .find(|(known, _)| parts.contains(known))
        .map(|(_, product)| *product)
}

/// The node of an object that makes pods. The ConfigMaps that it mounts are added to `mounted`.
pub(super) fn workload(set: &mut Set, number: usize, mounted: &mut Vec<usize>) -> Option<Draft> {
    let object = set.objects.get(number)?;
    let rabbit = object.kind == "RabbitmqCluster";
    if object.pod().is_none() && !rabbit {
        return None;
    }
    let mut draft = Draft::new(object.title(), object.head());
    draft.object = Some(number);
    if rabbit {
        draft.product = Some(Product::RabbitMq);
        draft.is_node = true;
    }
    let mut files = Vec::new();
    if rabbit {
        for file in set.embedded.iter().filter(|file| file.object == number) {
            files.push((format!("/etc/rabbitmq/{}", file.key), file.document));
        }
        mounted.push(number);
    }
    let mut variables = Vec::new();
    let mut lists = Vec::new();
    for container in object.containers() {
        if container.init && !container.is_sidecar() {
            continue;
        }
        let image = container.image().and_then(Node::as_str).unwrap_or_default();
        let repository = image.split('@').next().unwrap_or_default();
        let last = repository.rsplit('/').next().unwrap_or_default();
        if last.contains("skans") {
            draft.guarded = container.image().map(|image| object.place(image));
            continue;
        }
        // A job with the image of a product runs its tools.
        let lasts = !matches!(object.kind.as_str(), "Job" | "CronJob");
        if let Some(product) = product(last).filter(|_| lasts) {
            draft.product.get_or_insert(product);
            draft.is_node = true;
        }
        if lasts && (last.starts_with("erlang") || last.starts_with("elixir")) {
            draft.is_node = true;
        }
        variables.extend(container_variables(set, object, container));
        let list: Vec<Word> = container.command().filter_map(word).collect();
        lists.push(list);
        mounts(
            set,
            object,
            container,
            &mut files,
            &mut draft.whole_directories,
            mounted,
        );
    }
    let object_source = object.source;
    for list in lists {
        let words = commands::of_list(&list).or_else(|| {
            // `sh -c "exec erl …"`: words stand in the argument.
            let script = list
                .iter()
                .find(|word| word.text.contains("erl ") || word.text.contains("elixir "))?;
            let parsed = shell::parse(&script.text).ok()?;
            let (_, words) = parsed.commands.iter().find_map(commands::of_shell)?;
            let same = |word: Word| Word {
                span: script.span,
                ..word
            };
            Some(words.into_iter().map(same).collect())
        });
        if let Some(words) = words {
            draft.is_node = true;
            draft
                .command
                .extend(words.into_iter().map(|word| (word, object_source)));
        }
    }
    for (variable, pieces) in variables {
        if let Some(value) = &variable.value {
            add_flags(
                &mut set.sources,
                &mut draft,
                &variable.name,
                value,
                variable.place,
                pieces,
            );
        }
        let name = variable.name.as_str();
        if name.starts_with("RELEASE_") {
            draft.product.get_or_insert(Product::Mix);
        }
        draft.is_node |= name.starts_with("RELEASE_")
            || name.starts_with("RELX_")
            || COOKIE_VARIABLES.contains(&name)
            || name == "VMARGS_PATH";
        if name == "EMQX_CLUSTER__PROTO_DIST"
            && let Some(value) = &variable.value
        {
            for text in ["-proto_dist", value] {
                let word = Word {
                    text: text.to_owned(),
                    span: variable.place.span,
                };
                draft.command.push((word, variable.place.source));
            }
        }
        draft.variables.push(variable);
    }
    for (path, document) in files {
        add_document(set, &mut draft, document, path);
    }
    Some(draft)
}

/// What the environment of a container says, ConfigMaps that are in the set looked up.
pub(super) fn container_variables(
    set: &Set,
    object: &Object,
    container: Container<'_>,
) -> Vec<(Variable, Vec<(usize, usize)>)> {
    let mut found = Vec::new();
    for from in container.node.get("envFrom").map_or(&[][..], Node::items) {
        let Some(name) = from.text(&["configMapRef", "name"]) else {
            continue;
        };
        let prefix = from.text(&["prefix"]).unwrap_or_default();
        let Some(map) = set.named("ConfigMap", name, object) else {
            continue;
        };
        for (key, value) in map.node.get("data").map_or(&[][..], Node::entries) {
            let (Some(key), Some(text)) = (key.as_str(), value.as_str()) else {
                continue;
            };
            let variable = Variable {
                name: format!("{prefix}{key}"),
                value: Some(text.to_owned()),
                place: map.place(value),
                from: From::Reference,
            };
            found.push((variable, value.pieces(set.sources.text(map.source))));
        }
    }
    for entry in container.env() {
        let Some(name) = entry.text(&["name"]) else {
            continue;
        };
        let source = set.sources.text(object.source);
        let (value, node, from) = if let Some(value) = entry.get("value") {
            (value.as_str(), value, From::Manifest)
        } else if let Some(secret) = entry.path(&["valueFrom", "secretKeyRef"]) {
            (None, secret, From::Secret)
        } else if let Some(reference) = entry.path(&["valueFrom", "configMapKeyRef"]) {
            let value = reference.text(&["name"]).and_then(|name| {
                let map = set.named("ConfigMap", name, object)?;
                map.node
                    .get("data")?
                    .get(reference.text(&["key"])?)?
                    .as_str()
            });
            (value, reference, From::Reference)
        } else {
            (None, entry, From::Reference)
        };
        let variable = Variable {
            name: name.to_owned(),
            value: value.map(str::to_owned),
            place: object.place(node),
            from,
        };
        found.push((variable, node.pieces(source)));
    }
    found
}

/// Files of ConfigMaps and Secrets, as a container sees them.
pub(super) fn mounts(
    set: &Set,
    object: &Object,
    container: Container<'_>,
    files: &mut Vec<(String, usize)>,
    whole: &mut Vec<String>,
    mounted: &mut Vec<usize>,
) {
    let volumes = object
        .pod()
        .and_then(|pod| pod.get("volumes"))
        .map_or(&[][..], Node::items);
    for mount in container
        .node
        .get("volumeMounts")
        .map_or(&[][..], Node::items)
    {
        let (Some(name), Some(path)) = (mount.text(&["name"]), mount.text(&["mountPath"])) else {
            continue;
        };
        let Some(volume) = volumes
            .iter()
            .find(|volume| volume.text(&["name"]) == Some(name))
        else {
            continue;
        };
        let projected = volume
            .path(&["projected", "sources"])
            .map_or(&[][..], Node::items);
        let direct = std::slice::from_ref(volume);
        for holder in direct.iter().chain(projected) {
            let map = holder
                .text(&["configMap", "name"])
                .map(|name| ("ConfigMap", name, "configMap"))
                .or_else(|| {
                    let secret = holder
                        .text(&["secret", "secretName"])
                        .or_else(|| holder.text(&["secret", "name"]))?;
                    Some(("Secret", secret, "secret"))
                });
            let Some((kind, name, field)) = map else {
                continue;
            };
            let Some(number) = set.number_of(kind, name, object) else {
                continue;
            };
            mounted.push(number);
            let items = holder.path(&[field, "items"]).map_or(&[][..], Node::items);
            let path = path.trim_end_matches('/');
            if mount.get("subPath").is_none() && kind == "ConfigMap" && projected.is_empty() {
                whole.push(path.to_owned());
            }
            for file in set.embedded.iter().filter(|file| file.object == number) {
                let item = items
                    .iter()
                    .find(|item| item.text(&["key"]) == Some(&file.key));
                if !items.is_empty() && item.is_none() {
                    continue;
                }
                let relative = item
                    .and_then(|item| item.text(&["path"]))
                    .unwrap_or(&file.key);
                let full = match mount.text(&["subPath"]) {
                    Some(sub) if sub == relative => path.to_owned(),
                    Some(_) => continue,
                    None => format!("{path}/{relative}"),
                };
                files.push((full, file.document));
            }
        }
    }
}

/// Files in a ConfigMap that nothing in the set mounts: it may be all that was given to look at.
pub(super) fn config_map(set: &mut Set, number: usize) -> Option<Draft> {
    let object = set.objects.get(number)?;
    if object.kind != "ConfigMap" && object.kind != "Secret" {
        return None;
    }
    let mut draft = Draft::new(object.title(), object.head());
    let files: Vec<_> = set
        .embedded
        .iter()
        .filter(|file| file.object == number)
        .map(|file| (file.key.clone(), file.document))
        .collect();
    for (path, document) in files {
        add_document(set, &mut draft, document, path);
    }
    draft.is_node.then_some(draft)
}
