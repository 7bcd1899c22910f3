//! Rules over what watches a cluster: scraping, alerts, dashboards.

mod dashboards;
mod metrics;
mod ports;
mod scraping;

use crate::document::Content;
use crate::kubernetes::Object;
use crate::rule::{Context, Rule};
use crate::source::{Place, SourceId};
use crate::yaml::Node;

pub(super) const FAMILIES: &[&[Rule]] = &[
    scraping::RULES,
    ports::RULES,
    dashboards::RULES,
    metrics::RULES,
];

/// The monitors of the Prometheus operator.
fn monitors<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .objects
        .iter()
        .filter(|object| object.group() == "monitoring.coreos.com")
        .filter(|object| matches!(object.kind.as_str(), "ServiceMonitor" | "PodMonitor"))
}

/// What a monitor scrapes.
fn endpoints(monitor: &Object) -> &[Node] {
    let field = if monitor.kind == "PodMonitor" {
        "podMetricsEndpoints"
    } else {
        "endpoints"
    };
    items(&monitor.node, &["spec", field])
}

fn items<'n>(node: &'n Node, path: &[&str]) -> &'n [Node] {
    node.path(path).map_or(&[], Node::items)
}

/// A dashboard of Grafana.
struct Dashboard<'c> {
    source: SourceId,
    model: &'c Node,
    /// The key of the envelope, if it stands in one.
    envelope: Option<&'c Node>,
}

impl Dashboard<'_> {
    const fn place(&self, node: &Node) -> Place {
        Place {
            source: self.source,
            span: node.span,
        }
    }

    /// Where a key stands, so that not the whole value is marked.
    fn key(&self, node: &Node, key: &str) -> Place {
        node.entry(key)
            .map_or_else(|| self.place(node), |(key, _)| self.place(key))
    }
}

fn is_dashboard(node: &Node) -> bool {
    node.get("panels")
        .is_some_and(|panels| !panels.items().is_empty())
        && ["title", "schemaVersion", "uid", "templating", "time"]
            .iter()
            .any(|key| node.get(key).is_some())
}

fn dashboards<'c>(context: &Context<'c>) -> Vec<Dashboard<'c>> {
    context
        .set
        .documents
        .iter()
        .filter_map(|document| {
            let Content::Yaml(node) = &document.content else {
                return None;
            };
            let source = document.source;
            if is_dashboard(node) {
                return Some(Dashboard {
                    source,
                    model: node,
                    envelope: None,
                });
            }
            let (key, model) = node.entry("dashboard")?;
            is_dashboard(model).then_some(Dashboard {
                source,
                model,
                envelope: Some(key),
            })
        })
        .collect()
}

/// The panels of a dashboard, those within rows among them.
fn panels(model: &Node) -> Vec<&Node> {
    let mut all = Vec::new();
    for panel in items(model, &["panels"]) {
        all.push(panel);
        all.extend(items(panel, &["panels"]));
    }
    all
}

/// All expressions of PromQL of a set: of dashboards, of rules.
fn expressions<'c>(context: &Context<'c>) -> Vec<(Place, &'c str)> {
    let of = |source: SourceId, node: &'c Node| {
        node.all().into_iter().filter_map(move |inner| {
            let expression = inner.get("expr")?;
            let place = Place {
                source,
                span: expression.span,
            };
            Some((place, expression.as_str()?))
        })
    };
    let documents = context
        .set
        .documents
        .iter()
        .filter_map(|document| match &document.content {
            Content::Yaml(node) => Some((document.source, node)),
            _ => None,
        });
    let objects = context
        .set
        .of_kind("PrometheusRule")
        .map(|object| (object.source, &object.node));
    documents
        .chain(objects)
        .flat_map(|(source, node)| of(source, node))
        .collect()
}
