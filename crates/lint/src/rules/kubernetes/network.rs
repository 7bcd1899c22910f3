//! Policies of the network against the ports that nodes and services have.

use super::{distributed, items};
use crate::kubernetes::{Allowed, Container, Direction, Object};
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;
use crate::units::{Product, Unit};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        NET001,
        "range-as-two-ports",
        High,
        Beam,
        range_as_two,
        "A policy names the first and the last port of distribution, and not those between.",
        "A node that found the first port taken, a remote shell or a second node takes the next one, which is closed: it hangs until it gives up.",
        "`port: 9100` with `endPort: 9105`; better, one port for distribution."
    ),
    rule!(
        NET002,
        "dist-port-not-allowed",
        High,
        Beam,
        dist_port,
        "No policy lets the port of distribution through.",
        "Nodes do not find each other: each connection times out after seven seconds, and every node is a cluster of its own.",
        "A policy that selects the nodes and lets exactly this port through from and to the same pods."
    ),
    rule!(
        NET006,
        "service-port-unreachable",
        High,
        Beam,
        service_port,
        "A Service leads to a port that no policy opens for its clients.",
        "Every client times out, while probes pass and the Service looks healthy.",
        "An ingress rule with that port, from those that are to use it."
    ),
    rule!(
        NET011,
        "named-port-unknown",
        Medium,
        Beam,
        named_port,
        "A policy names a port that none of its pods has.",
        "The rule opens nothing.",
        "The number, or the name as it stands in `ports` of the container."
    ),
];

/// Ports on which a node listens for others: first and last; none if it is whichever is free.
fn listens(unit: &Unit) -> Option<(i64, i64, Place)> {
    if let Some((low, high, place)) = unit.listen_ports() {
        return Some((low.try_into().ok()?, high.try_into().ok()?, place));
    }
    // Products that set one themselves, by their documentation.
    let port = match unit.product {
        Product::RabbitMq => 25672,
        Product::Emqx => 4370,
        Product::CouchDb => 9100,
        _ => return None,
    };
    let said = ["RABBITMQ_DIST_PORT", "EMQX_NODE__DIST_LISTEN_MIN"]
        .into_iter()
        .find_map(|name| unit.variable(name));
    let port = said
        .and_then(|variable| variable.value.as_deref()?.parse().ok())
        .unwrap_or(port);
    Some((port, port, unit.place))
}

const DIRECTIONS: [Direction; 2] = [Direction::Ingress, Direction::Egress];

/// What policies close of the ports of a node.
struct Closed<'c> {
    unit: &'c Unit,
    policy: &'c Object,
    direction: Direction,
    low: i64,
    high: i64,
    missing: Vec<i64>,
}

/// Of each node and direction, the ports of its distribution that are closed.
fn closed<'c>(context: &Context<'c>) -> Vec<Closed<'c>> {
    /// What is wider than this is found by its ends.
    const MOST: i64 = 1000;
    let mut all = Vec::new();
    for (unit, object) in distributed(context).filter(|(unit, _)| unit.guarded.is_none()) {
        let Some((low, high, _)) = listens(unit) else {
            continue;
        };
        let containers = object.containers();
        for direction in DIRECTIONS {
            let allowed = Allowed::new(context.set.policies(object), direction);
            let missing: Vec<i64> = (low..=high.min(low.saturating_add(MOST)))
                .filter(|port| !allowed.is_open(*port, "TCP", &containers))
                .collect();
            if let Some(policy) = allowed.policies.first().filter(|_| !missing.is_empty()) {
                all.push(Closed {
                    unit,
                    policy,
                    direction,
                    low,
                    high,
                    missing,
                });
            }
        }
    }
    all
}

fn range_as_two(context: &Context<'_>, found: &mut Findings<'_>) {
    for closed in closed(context) {
        let (low, high) = (closed.low, closed.high);
        if closed.missing.contains(&low) || closed.missing.contains(&high) {
            continue;
        }
        let place = port_of(closed.policy, closed.direction, high);
        found
            .add(
                place.unwrap_or_else(|| closed.policy.head()),
                format!(
                    "{} of the {} ports of {} are closed: {low} and {high} are two ports, no range",
                    closed.missing.len(),
                    high - low + 1,
                    closed.unit.title
                ),
            )
            .fix(format!("port: {low}, endPort: {high}"));
    }
}

/// Where a policy names a port.
fn port_of(policy: &Object, direction: Direction, port: i64) -> Option<Place> {
    items(policy.spec()?, &[direction.field()])
        .iter()
        .flat_map(|rule| items(rule, &["ports"]))
        .filter_map(|one| one.get("port"))
        .find(|one| one.as_int() == Some(port))
        .map(|one| policy.place(one))
}

fn dist_port(context: &Context<'_>, found: &mut Findings<'_>) {
    for closed in closed(context) {
        let (low, high) = (closed.low, closed.high);
        if !closed.missing.contains(&low) && !closed.missing.contains(&high) {
            continue;
        }
        let ports = if low == high {
            format!("port {low}")
        } else {
            format!("ports {low} to {high}")
        };
        found
            .add(
                closed.policy.head(),
                format!(
                    "distribution of {} needs {ports}, and no {} rule opens them",
                    closed.unit.title,
                    closed.direction.field(),
                ),
            )
            .related(
                listens(closed.unit).map_or(closed.unit.place, |(.., place)| place),
                "the node",
            );
    }
}

/// The number that a port of a Service leads to.
pub(in crate::rules) fn target(port: &Node, containers: &[Container<'_>]) -> Option<i64> {
    let target = port.get("targetPort").or_else(|| port.get("port"))?;
    target.as_int().or_else(|| {
        let name = target.as_str()?;
        containers.iter().find_map(|container| container.port(name))
    })
}

fn service_port(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads().filter(|one| one.is_lasting()) {
        let allowed = Allowed::new(context.set.policies(workload), Direction::Ingress);
        if allowed.policies.is_empty() {
            continue;
        }
        let containers = workload.containers();
        // Of a headless one, ports are a matter of those who ask for it by name.
        for service in context
            .set
            .services(workload)
            .filter(|one| !one.is_headless())
        {
            for port in items(&service.node, &["spec", "ports"]) {
                let Some(number) = target(port, &containers) else {
                    continue;
                };
                let protocol = match port.text(&["protocol"]) {
                    Some("UDP") => "UDP",
                    Some("SCTP") => "SCTP",
                    _ => "TCP",
                };
                let mut by = allowed.by(number, protocol, &containers).peekable();
                let message = if by.peek().is_none() {
                    format!("no policy lets anybody reach port {number} of these pods")
                } else if !is_for_monitoring(port, service)
                    && by.all(|(_, rule)| from_monitoring(rule))
                {
                    format!("only monitoring may reach port {number} of these pods, no client")
                } else {
                    continue;
                };
                let place = service.place(port.get("port").unwrap_or(port));
                let mut adding = found.add(place, message);
                for policy in &allowed.policies {
                    adding = adding.related(policy.head(), "this policy means them");
                }
            }
        }
    }
}

const MONITORING: &[&str] = &["monitoring", "prometheus", "metrics", "observability"];

fn sounds_like_monitoring(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    MONITORING.iter().any(|word| text.contains(word))
}

fn is_for_monitoring(port: &Node, service: &Object) -> bool {
    port.text(&["name"]).is_some_and(sounds_like_monitoring)
        || sounds_like_monitoring(&service.name)
}

/// Whether all that a rule lets in is called monitoring.
fn from_monitoring(rule: &Node) -> bool {
    let from = items(rule, &["from"]);
    !from.is_empty()
        && from.iter().all(|peer| {
            peer.all()
                .iter()
                .filter_map(|node| node.as_str())
                .any(sounds_like_monitoring)
        })
}

fn named_port(context: &Context<'_>, found: &mut Findings<'_>) {
    for policy in context.set.of_kind("NetworkPolicy") {
        let names = |port: &Node| port.as_str().is_some() && port.as_int().is_none();
        let named = items(&policy.node, &["spec", "ingress"])
            .iter()
            .flat_map(|rule| items(rule, &["ports"]))
            .filter_map(|one| one.get("port"))
            .any(names);
        if !named {
            continue;
        }
        let pods: Vec<_> = context
            .set
            .workloads()
            .filter(|workload| policy.selects(&["spec", "podSelector"], workload))
            .flat_map(Object::containers)
            .collect();
        if pods.is_empty() {
            continue;
        }
        for rule in items(&policy.node, &["spec", "ingress"]) {
            for port in items(rule, &["ports"])
                .iter()
                .filter_map(|one| one.get("port"))
            {
                let Some(name) = port.as_str().filter(|_| port.as_int().is_none()) else {
                    continue;
                };
                if !pods.iter().any(|container| container.port(name).is_some()) {
                    found.add(
                        policy.place(port),
                        format!("none of the pods that this policy means has a port {name:?}"),
                    );
                }
            }
        }
    }
}
