//! Services: what they lead to, and what nodes need of them.

use super::network::target;
use super::{at, distributed, items, nodes};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        SVC001,
        "headless-needs-not-ready",
        High,
        Beam,
        not_ready,
        "The headless Service of nodes gives names only to those that are ready.",
        "A node that starts finds no address for its peers, nor they for it: a cluster whose readiness needs peers never forms, and name checks of TLS fail at boot.",
        "`publishNotReadyAddresses: true`."
    ),
    rule!(
        SVC005,
        "service-name-wrong",
        High,
        Beam,
        service_name,
        "`serviceName` of a StatefulSet is not a headless Service.",
        "`POD.SERVICE.NAMESPACE.svc` does not resolve, so that no node reaches another by its name.",
        "The name of a Service with `clusterIP: None` that selects these pods."
    ),
    rule!(
        SVC006,
        "service-selects-nothing",
        High,
        Beam,
        selects_nothing,
        "A Service selects labels that the pods have with another value.",
        "It has no endpoints; every connection is refused.",
        "The labels of the pod template."
    ),
    rule!(
        SVC007,
        "target-port-unknown",
        High,
        Beam,
        target_unknown,
        "A Service leads to a named port that no container has.",
        "The port has no endpoints; every connection to it is refused.",
        "The name as it stands in `ports` of the container, or the number."
    ),
    rule!(
        SVC008,
        "service-selects-jobs",
        High,
        Beam,
        selects_jobs,
        "A Service selects the pods of a job besides those of the application.",
        "While the job runs, a part of the connections goes to it and fails.",
        "A label that only the application has, in the selector and in its template."
    ),
    rule!(
        SVC002,
        "useless-headless-ports",
        Low,
        Beam,
        useless_ports,
        "A headless Service lists the first and the last port of distribution.",
        "Nothing reads them: nodes look up addresses only. Who reads it takes it for a range that is open.",
        "One port, named after what it is: `tls-dist`."
    ),
    rule!(
        SVC004,
        "no-app-protocol",
        Low,
        All,
        app_protocol,
        "A port of a Service of nodes does not say what is spoken on it.",
        "Meshes and gateways guess, and take AMQP or distribution for HTTP.",
        "`appProtocol`, such as `http` or `tcp`."
    ),
];

fn not_ready(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, object) in distributed(context) {
        if object.kind != "StatefulSet" || object.replicas() < 2 || unit.guarded.is_some() {
            continue;
        }
        let Some(name) = object.node.text(&["spec", "serviceName"]) else {
            continue;
        };
        let Some(service) = context.set.named("Service", name, object) else {
            continue;
        };
        let publishes = service
            .node
            .path(&["spec", "publishNotReadyAddresses"])
            .and_then(Node::as_bool);
        if service.is_headless() && publishes != Some(true) {
            found
                .add(
                    at(service, &["spec", "publishNotReadyAddresses"]),
                    format!("nodes of {} have no name until they are ready", unit.title),
                )
                .fix("publishNotReadyAddresses: true")
                .related(object.head(), "the nodes");
        }
    }
}

fn service_name(context: &Context<'_>, found: &mut Findings<'_>) {
    let any = context.set.of_kind("Service").next().is_some();
    for (_, object) in distributed(context) {
        let Some(name) = object.node.path(&["spec", "serviceName"]) else {
            continue;
        };
        if object.kind != "StatefulSet" || object.replicas() < 2 || !any {
            continue;
        }
        let text = name.as_str().unwrap_or_default();
        match context.set.named("Service", text, object) {
            None if !text.contains('{') => {
                found.add(object.place(name), format!("there is no Service {text:?}"));
            }
            Some(service) if !service.is_headless() => {
                found
                    .add(
                        object.place(name),
                        format!(
                            "Service {text:?} has an address of its own, so that pods have no names"
                        ),
                    )
                    .related(service.head(), "the Service")
                    .fix("clusterIP: None in that Service");
            }
            _ => {}
        }
    }
}

fn services<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .of_kind("Service")
        .filter(|service| service.group().is_empty())
}

fn selects_nothing(context: &Context<'_>, found: &mut Findings<'_>) {
    for service in services(context) {
        let Some(selector) = service.node.path(&["spec", "selector"]) else {
            continue;
        };
        if selector.entries().is_empty() || context.set.workloads().any(|one| service.serves(one)) {
            continue;
        }
        // Of custom resources, other controllers make pods that nobody sees here. Only what is nearly right is wrong.
        let nearly = context.set.workloads().find_map(|workload| {
            let labels = workload.pod_labels().filter(|_| service.near(workload))?;
            let mut wrong = None;
            let mut right = 0;
            for (key, value) in selector.entries() {
                let label = labels.get(key.as_str()?).and_then(Node::as_str);
                // A label that is not in the template may be set by whoever leads.
                let label = label?;
                if Some(label) == value.as_str() {
                    right += 1;
                } else if wrong.replace((value, label)).is_some() {
                    return None;
                }
            }
            let (value, label) = wrong?;
            let only = right > 0 || workload.name == service.name;
            only.then_some((workload, value, label))
        });
        if let Some((workload, value, label)) = nearly {
            found
                .add(
                    service.place(value),
                    format!(
                        "the pods of {} have the value {label:?} here",
                        workload.title()
                    ),
                )
                .related(workload.head(), "the pods that are meant");
        }
    }
}

fn target_unknown(context: &Context<'_>, found: &mut Findings<'_>) {
    for service in services(context) {
        let containers: Vec<_> = context
            .set
            .workloads()
            .filter(|workload| service.serves(workload))
            .flat_map(Object::containers)
            .collect();
        if containers.is_empty() {
            continue;
        }
        for port in items(&service.node, &["spec", "ports"]) {
            let Some(named) = port
                .get("targetPort")
                .filter(|port| port.as_int().is_none())
            else {
                continue;
            };
            if target(port, &containers).is_none() {
                found.add(
                    service.place(named),
                    format!(
                        "no container has a port {:?}",
                        named.as_str().unwrap_or_default()
                    ),
                );
            }
        }
    }
}

fn selects_jobs(context: &Context<'_>, found: &mut Findings<'_>) {
    for service in services(context) {
        let served: Vec<_> = context
            .set
            .workloads()
            .filter(|workload| service.serves(workload))
            .collect();
        let job = served
            .iter()
            .find(|workload| matches!(workload.kind.as_str(), "Job" | "CronJob"));
        let lasting = served.iter().any(|workload| workload.is_lasting());
        if let Some(job) = job.filter(|_| lasting) {
            found
                .add(
                    at(service, &["spec", "selector"]),
                    format!("this selects the pods of {}, too", job.title()),
                )
                .related(job.head(), "the job");
        }
    }
}

fn useless_ports(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, object) in nodes(context) {
        let range = unit.listen_ports().filter(|(low, high, _)| low < high);
        for service in context.set.services(object).filter(|one| one.is_headless()) {
            let ends: Vec<_> = items(&service.node, &["spec", "ports"])
                .iter()
                .filter(|port| {
                    let number = port.get("port").and_then(Node::as_int).map(i128::from);
                    let named = port.text(&["name"]).is_some_and(|name| {
                        name.contains("dist")
                            && ["start", "end", "min", "max"]
                                .iter()
                                .any(|end| name.ends_with(end))
                    });
                    named
                        || range.is_some_and(|(low, high, _)| {
                            number == Some(low) || number == Some(high)
                        })
                })
                .collect();
            if let [first, _, ..] = ends.as_slice() {
                found.add(
                    service.place(first.get("port").unwrap_or(first)),
                    "two ports of a range, which a headless Service has no use for",
                );
            }
        }
    }
}

fn app_protocol(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, object) in nodes(context) {
        for service in context.set.services(object) {
            for port in items(&service.node, &["spec", "ports"]) {
                if port.get("appProtocol").is_none() {
                    found.add(
                        service.place(port.get("port").unwrap_or(port)),
                        "what is spoken on this port?",
                    );
                }
            }
        }
    }
}
