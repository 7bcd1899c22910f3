//! Everything that is looked at together: files, what stands in them, objects, and the nodes that all of it configures.
//! No rules.

mod matches;
#[cfg(test)]
mod tests;

use skans_erlconf::term;

use crate::document::{self, Content, Document, Terms, Unread, YamlText};
use crate::kubernetes::{self, Object};
use crate::source::{Place, SourceId, Sources};
use crate::units::{self, Unit};
use crate::yaml::{self, Node};

pub use matches::Bindings;
pub(crate) use matches::{MAX_EACH, MAX_PAIRS};

/// Everything of a run.
#[derive(Debug, Default)]
pub struct Set {
    /// The texts.
    pub sources: Sources,
    /// The texts as what they are, files first in each object.
    pub documents: Vec<Document>,
    /// The Kubernetes objects.
    pub objects: Vec<Object>,
    /// Files that stand in ConfigMaps and Secrets: the object, the key, and which document it is.
    pub embedded: Vec<Embedded>,
    /// Scripts that containers give to a shell.
    pub scripts: Vec<Inline>,
    /// The nodes, as far as it can be told which files and objects belong together.
    pub units: Vec<Unit>,
    /// What could not be read.
    pub unread: Vec<Unread>,
    /// How many nodes of YAML may still be read.
    nodes_left: usize,
    matches: matches::Matches,
}

/// A file in an object.
#[derive(Debug, Clone)]
pub struct Embedded {
    /// The object.
    pub object: usize,
    /// The key.
    pub key: String,
    /// The document.
    pub document: usize,
}

/// A script in an object.
#[derive(Debug, Clone)]
pub struct Inline {
    /// The object.
    pub object: usize,
    /// The image that runs it.
    pub image: String,
    /// What the shell is told besides: `-ec`.
    pub flags: String,
    /// The document.
    pub document: usize,
}

impl Set {
    /// Reads files: path and text of each.
    #[must_use]
    pub fn read(files: Vec<(String, String)>) -> Self {
        let mut set = Self {
            nodes_left: yaml::MAX_OF_RUN,
            ..Self::default()
        };
        for (name, text) in files {
            let source = set.sources.add(name.clone(), text);
            match document::read(&set.sources, source, &name, &mut set.unread) {
                Ok(content) => set.documents.push(Document { source, content }),
                Err(YamlText) => set.read_yaml(source),
            }
        }
        for number in 0..set.objects.len() {
            set.embed(number);
            set.embed_scripts(number);
        }
        set.units = units::gather(&mut set);
        set
    }

    fn read_yaml(&mut self, source: SourceId) {
        let text = self.sources.text(source);
        let file = yaml::parse_within(text, &mut self.nodes_left);
        let template = text.contains("{{");
        let is_json = self.sources.get(source).name.ends_with(".json");
        for fault in file.faults {
            let reason = if template {
                format!(
                    "{}; it seems to be a template: render it first",
                    fault.reason
                )
            } else {
                fault.reason
            };
            self.unread.push(Unread {
                place: Place {
                    source,
                    span: fault.span,
                },
                reason,
                // A text that is nothing to a cluster may be broken on purpose.
                broken: !template && (text.contains("apiVersion") || !is_json),
            });
        }
        for node in file.documents {
            let is_object = node.get("apiVersion").is_some() && node.get("kind").is_some();
            if is_object {
                self.objects.extend(kubernetes::objects(source, node));
            } else {
                self.documents.push(Document {
                    source,
                    content: Content::Yaml(node),
                });
            }
        }
    }

    /// Reads the files that stand in an object.
    fn embed(&mut self, number: usize) {
        let Some(object) = self.objects.get(number) else {
            return;
        };
        let mut files: Vec<(String, &Node)> = Vec::new();
        let mut add = |key: &str, value| files.push((key.to_owned(), value));
        match object.kind.as_str() {
            "ConfigMap" | "Secret" => {
                let key = if object.kind == "Secret" {
                    "stringData"
                } else {
                    "data"
                };
                for (key, value) in object.node.get(key).map_or(&[][..], Node::entries) {
                    if let Some(key) = key.as_str() {
                        add(key, value);
                    }
                }
            }
            "GrafanaDashboard" => {
                if let Some(value) = object.node.path(&["spec", "json"]) {
                    add("dashboard.json", value);
                }
            }
            "RabbitmqCluster" => {
                for (field, name) in [
                    ("additionalConfig", "rabbitmq.conf"),
                    ("advancedConfig", "advanced.config"),
                    ("envConfig", "rabbitmq-env.conf"),
                ] {
                    if let Some(value) = object.node.path(&["spec", "rabbitmq", field]) {
                        add(name, value);
                    }
                }
            }
            _ => {}
        }
        let title = object.title();
        // All that is needed of the object, which must not be borrowed while others are added.
        let outer = self.sources.text(object.source);
        let files: Vec<_> = files
            .into_iter()
            .filter_map(|(key, value)| {
                let text = value.as_str()?.to_owned();
                Some((key, text, object.place(value), value.pieces(outer)))
            })
            .collect();
        for (key, text, place, pieces) in files {
            let source = self
                .sources
                .embed(format!("{title}, {key}"), text, place, pieces);
            let content = document::read(&self.sources, source, &key, &mut self.unread);
            let document = self.documents.len();
            match content {
                Ok(content) => self.documents.push(Document { source, content }),
                // YAML and JSON within YAML: dashboards, rules. Read where a rule asks for it.
                Err(YamlText) => {
                    let file = yaml::parse_within(self.sources.text(source), &mut self.nodes_left);
                    match file.documents.into_iter().next() {
                        Some(node) => self.documents.push(Document {
                            source,
                            content: Content::Yaml(node),
                        }),
                        None => continue,
                    }
                }
            }
            self.embedded.push(Embedded {
                object: number,
                key,
                document,
            });
        }
    }

    /// Reads the scripts that the containers of an object give to a shell.
    fn embed_scripts(&mut self, number: usize) {
        const SHELLS: &[&str] = &["sh", "bash", "ash", "dash"];
        let Some(object) = self.objects.get(number) else {
            return;
        };
        let mut found = Vec::new();
        for container in object.containers() {
            let words: Vec<&Node> = container.command().collect();
            let shell = words
                .first()
                .and_then(|word| word.as_str()?.rsplit('/').next())
                .is_some_and(|name| SHELLS.contains(&name));
            let flag = words.iter().position(|word| {
                word.as_str()
                    .is_some_and(|word| word.starts_with('-') && word.ends_with('c'))
            });
            let Some((flag, node)) = flag
                .filter(|_| shell)
                .and_then(|at| Some((words.get(at)?, words.get(at + 1)?)))
            else {
                continue;
            };
            let (Some(text), Some(flags)) = (node.as_str(), flag.as_str()) else {
                continue;
            };
            found.push((
                format!("{}, script of {}", object.title(), container.name()),
                text.to_owned(),
                object.place(node),
                node.pieces(self.sources.text(object.source)),
                container
                    .image()
                    .and_then(Node::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                flags.to_owned(),
            ));
        }
        for (name, text, place, pieces, image, flags) in found {
            let Ok(script) = skans_erlconf::shell::parse(&text) else {
                continue;
            };
            let source = self.sources.embed(name, text, place, pieces);
            self.scripts.push(Inline {
                object: number,
                image,
                flags,
                document: self.documents.len(),
            });
            self.documents.push(Document {
                source,
                content: Content::Shell(document::Shell::Script, script),
            });
        }
    }

    /// A document.
    #[must_use]
    pub fn document(&self, number: usize) -> Option<&Document> {
        self.documents.get(number)
    }

    /// The files of Erlang terms of a kind.
    pub fn terms(&self, kind: Terms) -> impl Iterator<Item = (SourceId, &term::Document)> {
        self.documents
            .iter()
            .filter_map(move |document| match &document.content {
                Content::Terms(found, terms) if *found == kind => Some((document.source, terms)),
                _ => None,
            })
    }

    /// The file under a key of an object.
    #[must_use]
    pub fn file_in(&self, object: usize, key: &str) -> Option<usize> {
        self.embedded
            .iter()
            .find(|file| file.object == object && file.key == key)
            .map(|file| file.document)
    }
}
