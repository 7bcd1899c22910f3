//! Ports that are scraped and that clients use, too; and whether anybody is told.

use super::scraping::{scraped, services};
use super::{endpoints, items, monitors};
use crate::document::Content;
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};

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

/// The ports of a workload that clients from outside reach.
fn client_ports<'c>(context: &Context<'c>, workload: &'c Object) -> Vec<(i64, &'c Object)> {
    let mut all = Vec::new();
    let containers = workload.containers();
    for service in context.set.services(workload) {
        let open = matches!(
            service.node.text(&["spec", "type"]),
            Some("LoadBalancer" | "NodePort")
        );
        let routed = context
            .set
            .objects
            .iter()
            .filter(|object| matches!(object.kind.as_str(), "Ingress" | "HTTPRoute"))
            .find(|route| {
                route.near(service)
                    && route.node.all().iter().any(|node| {
                        node.text(&["service", "name"]) == Some(service.name.as_str())
                            || node.get("port").is_some()
                                && node.text(&["name"]) == Some(service.name.as_str())
                    })
            });
        if !open && routed.is_none() {
            continue;
        }
        for port in items(&service.node, &["spec", "ports"]) {
            let target = port.get("targetPort").or_else(|| port.get("port"));
            let number = target.and_then(|target| {
                target.as_int().or_else(|| {
                    containers
                        .iter()
                        .find_map(|container| container.port(target.as_str()?))
                })
            });
            all.extend(number.map(|number| (number, routed.unwrap_or(service))));
        }
    }
    all
}

fn app_port(context: &Context<'_>, found: &mut Findings<'_>) {
    for monitor in monitors(context) {
        for workload in scraped(context, monitor) {
            let clients = client_ports(context, workload);
            let containers = workload.containers();
            for endpoint in endpoints(monitor) {
                let Some(port) = endpoint.get("port") else {
                    continue;
                };
                let name = port.as_str().unwrap_or_default();
                let of_service = services(context, monitor)
                    .into_iter()
                    .flat_map(|service| items(&service.node, &["spec", "ports"]))
                    .find(|port| port.text(&["name"]) == Some(name))
                    .and_then(|port| port.get("targetPort").or_else(|| port.get("port")));
                let number = of_service
                    .and_then(|target| {
                        target.as_int().or_else(|| {
                            containers
                                .iter()
                                .find_map(|container| container.port(target.as_str()?))
                        })
                    })
                    .or_else(|| containers.iter().find_map(|container| container.port(name)));
                let open = clients.iter().find(|(client, _)| Some(*client) == number);
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
