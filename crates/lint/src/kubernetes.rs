//! Kubernetes objects as rules ask for them: names, pod templates, containers, environment, volumes. Nothing is checked
//! here.

mod network;
mod quantity;
mod selector;

pub use network::{Allowed, Direction, policy_types};
pub use quantity::{duration, quantity};
pub use selector::{fits, has_labels};

use skans_erlconf::Span;

use crate::source::{Place, SourceId};
use crate::yaml::Node;

/// An object.
#[derive(Debug)]
pub struct Object {
    /// In which text it stands.
    pub source: SourceId,
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// `metadata.name`; empty if it has none.
    pub name: String,
    /// `metadata.namespace`, if it is written.
    pub namespace: Option<String>,
    /// All of it.
    pub node: Node,
}

/// A container of a pod.
#[derive(Debug, Clone, Copy)]
pub struct Container<'o> {
    /// All of it.
    pub node: &'o Node,
    /// Whether it runs before the others; native sidecars do, too.
    pub init: bool,
}

impl<'o> Container<'o> {
    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'o str {
        self.node.text(&["name"]).unwrap_or_default()
    }

    /// Its image.
    #[must_use]
    pub fn image(&self) -> Option<&'o Node> {
        self.node.get("image")
    }

    /// Its environment, as written.
    #[must_use]
    pub fn env(&self) -> &'o [Node] {
        self.node.get("env").map_or(&[], Node::items)
    }

    /// A variable of its environment.
    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&'o Node> {
        self.env()
            .iter()
            .rfind(|variable| variable.text(&["name"]) == Some(name))
    }

    /// `command` and `args`.
    pub fn command(&self) -> impl Iterator<Item = &'o Node> {
        let part = |key: &str| self.node.get(key).map_or(&[][..], Node::items);
        part("command").iter().chain(part("args"))
    }

    /// Whether it is a native sidecar: an init container that goes on.
    #[must_use]
    pub fn is_sidecar(&self) -> bool {
        self.init && self.node.text(&["restartPolicy"]) == Some("Always")
    }
}

/// Kinds that make pods, and where their template is.
const TEMPLATES: &[(&str, &[&str])] = &[
    ("Pod", &["spec"]),
    ("PodTemplate", &["template", "spec"]),
    ("Deployment", &["spec", "template", "spec"]),
    ("StatefulSet", &["spec", "template", "spec"]),
    ("DaemonSet", &["spec", "template", "spec"]),
    ("ReplicaSet", &["spec", "template", "spec"]),
    ("ReplicationController", &["spec", "template", "spec"]),
    ("Job", &["spec", "template", "spec"]),
    (
        "CronJob",
        &["spec", "jobTemplate", "spec", "template", "spec"],
    ),
    (
        "RabbitmqCluster",
        &[
            "spec",
            "override",
            "statefulSet",
            "spec",
            "template",
            "spec",
        ],
    ),
];

impl Object {
    /// Reads a document; none if it is no object.
    #[must_use]
    pub fn read(source: SourceId, node: Node) -> Option<Self> {
        let api_version = node.text(&["apiVersion"])?.to_owned();
        let kind = node.text(&["kind"])?.to_owned();
        Some(Self {
            source,
            api_version,
            kind,
            name: node
                .text(&["metadata", "name"])
                .unwrap_or_default()
                .to_owned(),
            namespace: node.text(&["metadata", "namespace"]).map(str::to_owned),
            node,
        })
    }

    /// `StatefulSet shop/erlang`.
    #[must_use]
    pub fn title(&self) -> String {
        match &self.namespace {
            Some(namespace) => format!("{} {namespace}/{}", self.kind, self.name),
            None => format!("{} {}", self.kind, self.name),
        }
    }

    /// The API group; empty for the core.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version
            .split_once('/')
            .map_or("", |(group, _)| group)
    }

    /// Whether it is of this group and kind.
    #[must_use]
    pub fn is(&self, group: &str, kind: &str) -> bool {
        self.group() == group && self.kind == kind
    }

    /// Whether both may be in the same namespace: what is not written may be any.
    #[must_use]
    pub fn near(&self, other: &Self) -> bool {
        crate::work::step();
        match (&self.namespace, &other.namespace) {
            (Some(one), Some(another)) => one == another,
            _ => true,
        }
    }

    /// The place of a node of this object.
    #[must_use]
    pub const fn place(&self, node: &Node) -> Place {
        Place {
            source: self.source,
            span: node.span,
        }
    }

    /// Where the object is named, or where it begins.
    #[must_use]
    pub fn head(&self) -> Place {
        let node = self
            .node
            .path(&["metadata", "name"])
            .or_else(|| self.node.get("kind"));
        match node {
            Some(node) => self.place(node),
            None => Place {
                source: self.source,
                span: Span::new(self.node.span.start, self.node.span.start),
            },
        }
    }

    /// The place of a key, so that a whole mapping is not marked; the head of the object if there is none.
    #[must_use]
    pub fn key(&self, within: &Node, key: &str) -> Place {
        within
            .entry(key)
            .map_or_else(|| self.head(), |(key, _)| self.place(key))
    }

    /// `spec`.
    #[must_use]
    pub fn spec(&self) -> Option<&Node> {
        self.node.get("spec")
    }

    /// The `spec` of the pods that it makes.
    #[must_use]
    pub fn pod(&self) -> Option<&Node> {
        let (_, path) = TEMPLATES.iter().find(|(kind, _)| *kind == self.kind)?;
        self.node.path(path)
    }

    /// The `metadata` of the pods that it makes.
    #[must_use]
    pub fn pod_metadata(&self) -> Option<&Node> {
        let (_, path) = TEMPLATES.iter().find(|(kind, _)| *kind == self.kind)?;
        let (_, parent) = path.split_last()?;
        self.node.path(parent)?.get("metadata")
    }

    /// The containers of its pods.
    #[must_use]
    pub fn containers(&self) -> Vec<Container<'_>> {
        let Some(pod) = self.pod() else {
            return Vec::new();
        };
        let of = |key, init| {
            pod.get(key)
                .map_or(&[][..], Node::items)
                .iter()
                .map(move |node| Container { node, init })
        };
        of("initContainers", true)
            .chain(of("containers", false))
            .collect()
    }

    /// How many pods of it run: `replicas`, 1 if it is not written.
    #[must_use]
    pub fn replicas(&self) -> i64 {
        self.node
            .path(&["spec", "replicas"])
            .and_then(Node::as_int)
            .unwrap_or(1)
    }

    /// Labels that a selector must have found: whether all of `selector` are in `labels`.
    #[must_use]
    pub fn matches(selector: &Node, labels: Option<&Node>) -> bool {
        let Some(labels) = labels else {
            return selector.entries().is_empty();
        };
        selector.entries().iter().all(|(key, value)| {
            key.as_str()
                .and_then(|key| labels.get(key))
                .and_then(Node::as_str)
                == value.as_str()
        })
    }
}

/// The objects of a document: itself, or those of a list.
#[must_use]
pub fn objects(source: SourceId, document: Node) -> Vec<Object> {
    let is_list = document
        .text(&["kind"])
        .is_some_and(|kind| kind.ends_with("List"))
        && document.get("items").is_some();
    if !is_list {
        return Object::read(source, document).into_iter().collect();
    }
    let items = document.get("items").map_or(&[][..], Node::items);
    items
        .iter()
        .filter_map(|item| Object::read(source, item.clone()))
        .collect()
}
