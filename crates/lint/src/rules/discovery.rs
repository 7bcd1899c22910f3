//! How the nodes of a release find each other.

use super::kubernetes::access;
use crate::rule::{Context, Findings, Rule};
use crate::setting::{Origin, Setting, Value};
use crate::source::Place;
use crate::units::Unit;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        EXS002,
        "libcluster-gossip-open",
        High,
        Beam,
        gossip,
        "`Cluster.Strategy.Gossip` without a secret.",
        "Whoever is on the network announces a node by a datagram, and the others connect to it.",
        "`secret: System.fetch_env!(\"GOSSIP_SECRET\")`; a strategy by DNS where there is one."
    ),
    rule!(
        EXS003,
        "discovery-service-unknown",
        High,
        Beam,
        unknown_service,
        "Nodes look each other up by a Service that is not there, or that has an address of its own.",
        "The lookup gives nothing, or the address of the Service: each node stays alone.",
        "The name of a Service with `clusterIP: None` that selects the nodes."
    ),
    rule!(
        EXS004,
        "discovery-without-permission",
        High,
        Beam,
        without_permission,
        "`Cluster.Strategy.Kubernetes` asks the API for peers, and the ServiceAccount may not.",
        "403 for each lookup; each node stays alone, and only a warning in its log says so.",
        "A Role that may `list` endpoints or pods; or `Cluster.Strategy.Kubernetes.DNS`, which needs none."
    ),
];

/// The topologies of libcluster in a setting: each with its strategy and configuration.
fn topologies<'v>(value: &'v Value, all: &mut Vec<(&'v str, &'v Value)>) {
    if let Some(strategy) = value.get("strategy").and_then(Value::text) {
        all.push((strategy, value.get("config").unwrap_or(value)));
        return;
    }
    if let Value::List(items) | Value::Tuple(items) = value {
        for item in items {
            topologies(item, all);
        }
    }
}

/// The topologies of all nodes, each once.
fn strategies<'c>(context: &Context<'c>) -> Vec<(&'c Unit, &'c Setting, &'c str, &'c Value)> {
    super::once::settings(context)
        .into_iter()
        .flat_map(|(unit, setting)| {
            let mut all = Vec::new();
            topologies(&setting.value, &mut all);
            all.into_iter()
                .map(move |(strategy, config)| (unit, setting, strategy, config))
        })
        .collect()
}

fn gossip(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, setting, strategy, config) in strategies(context) {
        let file = context.set.sources.get(setting.place.source).file_name();
        let for_work = matches!(file, "dev.exs" | "test.exs");
        let known = matches!(setting.origin, Origin::Build | Origin::Runtime) && !for_work;
        if strategy.ends_with("Cluster.Strategy.Gossip") && config.get("secret").is_none() && known
        {
            found.add(
                setting.place,
                "whoever is on the network may announce a node",
            );
        }
    }
}

/// The text of a value, be it that of a variable that the workload sets.
fn text_of<'v>(unit: &'v Unit, value: &'v Value) -> Option<&'v str> {
    match value {
        Value::Variable(name, _) => unit.variable(name)?.value.as_deref(),
        _ => value.text(),
    }
}

fn unknown_service(context: &Context<'_>, found: &mut Findings<'_>) {
    let mut asked: Vec<(&Unit, Place, &str)> = Vec::new();
    for (unit, setting, strategy, config) in strategies(context) {
        let key = match strategy.rsplit("Strategy.").next() {
            Some("Kubernetes.DNS" | "Kubernetes.DNSSRV") => "service",
            Some("DNSPoll") => "query",
            _ => continue,
        };
        if let Some(name) = config.get(key).and_then(|value| text_of(unit, value)) {
            asked.push((unit, setting.place, name));
        }
    }
    for unit in &context.set.units {
        // What dns_cluster of Phoenix is told.
        if let Some(variable) = unit.variable("DNS_CLUSTER_QUERY")
            && let Some(name) = variable.value.as_deref()
        {
            asked.push((unit, variable.place, name));
        }
    }
    for (unit, place, name) in asked {
        let Some(object) = unit.object(context.set) else {
            continue;
        };
        let service = name.split('.').next().unwrap_or_default();
        let brings = context.set.of_kind("Service").any(|one| one.near(object));
        if service.contains(['$', '{', '<']) || !brings {
            continue;
        }
        let namespace = name.split('.').nth(1);
        let elsewhere = namespace
            .zip(object.namespace.as_deref())
            .is_some_and(|(asked, own)| asked != own && !asked.contains('$'));
        match context.set.named("Service", service, object) {
            None if !elsewhere => {
                found.add(place, format!("there is no Service {service:?}"));
            }
            Some(known) if !known.is_headless() && !elsewhere => {
                found
                    .add(
                        place,
                        format!("Service {service:?} has an address of its own"),
                    )
                    .related(known.head(), "the Service")
                    .fix("clusterIP: None in that Service");
            }
            _ => {}
        }
    }
}

fn without_permission(context: &Context<'_>, found: &mut Findings<'_>) {
    let mut asked = access::Asked::default();
    for (unit, setting, strategy, config) in strategies(context) {
        if !strategy.ends_with("Cluster.Strategy.Kubernetes") {
            continue;
        }
        let Some(object) = unit.object(context.set) else {
            continue;
        };
        let account = access::account(object);
        let brought = account == "default"
            || context
                .set
                .named("ServiceAccount", account, object)
                .is_some();
        let pods = config
            .get("kubernetes_ip_lookup_mode")
            .is_some_and(|mode| mode.is_atom("pods"));
        let wanted = if pods { "pods" } else { "endpoints" };
        let Some(roles) = access::known_roles_of(context, object).filter(|_| brought) else {
            continue;
        };
        let lists = |rule: &Node, key: &str, wanted: &str| {
            rule.get(key)
                .map_or(&[][..], Node::items)
                .iter()
                .filter_map(Node::as_str)
                .any(|found| found == "*" || found == wanted)
        };
        let may = roles.iter().any(|role| {
            asked.any(role, ("list", wanted), |rule| {
                lists(rule, "resources", wanted) && lists(rule, "verbs", "list")
            })
        });
        if !may {
            found
                .add(
                    setting.place,
                    format!("ServiceAccount {account:?} may not list {wanted}"),
                )
                .related(object.head(), "the nodes");
        }
    }
}
