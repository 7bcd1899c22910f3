//! Ports that are scraped and that clients use, too; and whether anybody is told.

use std::collections::HashMap;

use super::scraping::{scraped, services};
use super::{endpoints, items, monitors};
use crate::document::Content;
use crate::kubernetes::{Container, Object};
use crate::rule::{Context, Findings, Rule};
use crate::rules::kubernetes::network::target;
use crate::set::MAX_EACH;
use crate::source::Place;

pub(super) const RULES: &[Rule] = &[
    rule!(
        NET008,
        "metrics-on-app-port",
        Medium,
        All,
        app_port,
        "Metrics are scraped from the port that clients use.",
        "Whoever may call the application reads its metrics: names of nodes, queues, customers.",
        "A port of its own for metrics, which only Prometheus may reach."
    ),
    rule!(
        MON007,
        "no-alerts",
        High,
        All,
        no_alerts,
        "Metrics are scraped, and no alert is made of them.",
        "Nobody is told when a node, a link or a certificate is lost.",
        "A PrometheusRule: target absent, fewer links than n(n-1), certificate past its renewal, processes near their limit."
    ),
    rule!(
        MON006,
        "no-sample-limit",
        Low,
        All,
        no_limits,
        "A monitor bounds neither samples nor labels.",
        "One release with a label of too many values fills the memory of Prometheus, for everybody.",
        "`sampleLimit` and `labelLimit`."
    ),
];

/// What leads clients from outside to Services, by their names.
struct Routes<'c>(HashMap<&'c str, Vec<&'c Object>>);

impl<'c> Routes<'c> {
    fn new(context: &Context<'c>) -> Self {
        let mut all: HashMap<&str, Vec<&Object>> = HashMap::new();
        for kind in ["Ingress", "HTTPRoute"] {
            for route in context.set.of_kind(kind) {
                for node in route.node.all() {
                    // The backend of an Ingress, and the reference of a route.
                    let of_route = node.text(&["name"]).filter(|_| node.get("port").is_some());
                    for name in node.text(&["service", "name"]).into_iter().chain(of_route) {
                        let list = all.entry(name).or_default();
                        if list.len() < MAX_EACH {
                            list.push(route);
                        }
                    }
                }
            }
        }
        Self(all)
    }

    fn to(&self, service: &Object) -> Option<&'c Object> {
        let routes = self.0.get(service.name.as_str())?;
        routes.iter().find(|route| route.near(service)).copied()
    }
}

fn named(containers: &[Container<'_>], name: &str) -> Option<i64> {
    containers.iter().find_map(|container| container.port(name))
}

/// The ports of a workload that clients from outside reach, each with one of those that lead there.
fn client_ports<'c>(
    context: &Context<'c>,
    routes: &Routes<'c>,
    workload: &'c Object,
) -> HashMap<i64, &'c Object> {
    let mut all = HashMap::new();
    let containers = workload.containers();
    for service in context.set.services(workload) {
        let open = matches!(
            service.node.text(&["spec", "type"]),
            Some("LoadBalancer" | "NodePort")
        );
        let routed = routes.to(service);
        if !open && routed.is_none() {
            continue;
        }
        for port in items(&service.node, &["spec", "ports"]) {
            if let Some(number) = target(port, &containers) {
                all.entry(number).or_insert(routed.unwrap_or(service));
            }
        }
    }
    all
}

fn app_port(context: &Context<'_>, found: &mut Findings<'_>) {
    let routes = Routes::new(context);
    let mut clients: HashMap<Place, HashMap<i64, &Object>> = HashMap::new();
    for monitor in monitors(context) {
        let services = services(context, monitor);
        let workloads = scraped(context, monitor);
        for endpoint in endpoints(monitor) {
            let Some(port) = endpoint.get("port") else {
                continue;
            };
            let name = port.as_str().unwrap_or_default();
            let of_service = services
                .iter()
                .flat_map(|service| items(&service.node, &["spec", "ports"]))
                .find(|port| port.text(&["name"]) == Some(name));
            // One of its workloads is enough to say so.
            let open = workloads.iter().find_map(|workload| {
                let containers = workload.containers();
                let scraped = of_service
                    .and_then(|port| target(port, &containers))
                    .or_else(|| named(&containers, name))?;
                let clients = clients
                    .entry(workload.head())
                    .or_insert_with(|| client_ports(context, &routes, workload));
                Some((scraped, *clients.get(&scraped)?))
            });
            if let Some((number, by)) = open {
                found
                    .add(
                        monitor.place(port),
                        format!("port {number} is that of clients, too"),
                    )
                    .related(by.head(), "they come in here");
            }
        }
    }
}

fn no_alerts(context: &Context<'_>, found: &mut Findings<'_>) {
    let rules = context.set.of_kind("PrometheusRule").next().is_some()
        || context.set.documents.iter().any(|document| {
            matches!(&document.content, Content::Yaml(node)
                if items(node, &["groups"]).iter().any(|group| group.get("rules").is_some()))
        });
    if let Some(monitor) = monitors(context).next().filter(|_| !rules) {
        found.add(monitor.head(), "metrics of this, and no alert");
    }
}

fn no_limits(context: &Context<'_>, found: &mut Findings<'_>) {
    for monitor in monitors(context) {
        if monitor.node.path(&["spec", "sampleLimit"]).is_none() {
            found.add(monitor.head(), "no sampleLimit");
        }
    }
}
