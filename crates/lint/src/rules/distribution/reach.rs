//! How nodes are reached and found: addresses and ports, epmd, names, who connects them, and who starts them again.

use crate::document::{Content, Script, Terms};
use crate::rule::{Context, Findings, Rule};
use crate::rules::once::settings;
use crate::setting::Value;
use crate::units::{Carrier, Distribution, Product};

pub(in crate::rules) const RULES: &[Rule] = &[
    rule!(
        ERL003,
        "dist-binds-any",
        Medium,
        Beam,
        binds_any,
        "Distribution is told to listen on every address.",
        "The port is open on networks that have nothing to do with the cluster.",
        "The address of the host or pod in `inet_dist_use_interface`; loopback with a Skans agent."
    ),
    rule!(
        ERL004,
        "dist-port-range",
        Medium,
        Beam,
        port_range,
        "Distribution may listen on any port of a range.",
        "A node needs one port. Remote shells and second nodes take the next ones, and firewalls and policies have to allow them all.",
        "The same port as minimum and maximum, or `-erl_epmd_port PORT -start_epmd false`, which needs no epmd."
    ),
    rule!(
        ERL010,
        "epmd-exposed",
        High,
        Beam,
        epmd_exposed,
        "The node registers with an epmd that others reach.",
        "epmd speaks in clear and asks nobody who they are: it tells names and ports of all nodes, and whoever registers a name first has it.",
        "`-erl_epmd_port PORT -start_epmd false` and no port 4369; or `ERL_EPMD_ADDRESS=127.0.0.1` where nodes find each other otherwise; or a Skans agent."
    ),
    rule!(
        ERL007,
        "heart-in-container",
        Medium,
        Beam,
        heart_in_container,
        "`-heart` in a container.",
        "It restarts what the kubelet should: crashes are hidden from it, its back-off and probes are defeated; without `HEART_COMMAND` it only kills.",
        "Leave it out: the kubelet restarts the container."
    ),
    rule!(
        ERL008,
        "hard-coded-cluster-domain",
        Low,
        Beam,
        cluster_domain,
        "The node name has the domain `cluster.local` written into it.",
        "The cluster does not form where the domain is another one, and certificates do not match.",
        "A variable: `${POD_NAME}.SERVICE.${NAMESPACE}.svc.${CLUSTER_DOMAIN}`."
    ),
    rule!(
        ERL009,
        "no-discovery",
        High,
        Beam,
        no_discovery,
        "Several replicas, and nothing connects them.",
        "Each runs alone: `nodes()` is empty, locks and registries are per pod, and nobody is told.",
        "libcluster or dns_cluster, `sync_nodes_optional` of kernel, or a module that looks up the headless Service."
    ),
];

fn binds_any(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, setting) in settings(context) {
        let interface = setting.app == "kernel" && setting.key == "inet_dist_use_interface";
        let Value::Tuple(numbers) = &setting.value else {
            continue;
        };
        let any = numbers.iter().all(|number| number.integer() == Some(0));
        if interface && any && !numbers.is_empty() && unit.guarded.is_none() {
            found.add(setting.place, "distribution listens on every address");
        }
    }
}

fn port_range(context: &Context<'_>, found: &mut Findings<'_>) {
    let mut seen = Vec::new();
    for unit in &context.set.units {
        if let Some((low, high, place)) = unit.listen_ports()
            && high > low
            && !seen.contains(&place)
        {
            seen.push(place);
            found
                .add(
                    place,
                    format!(
                        "{} ports, {low} to {high}, where one is enough",
                        high - low + 1
                    ),
                )
                .fix(format!(
                    "inet_dist_listen_min and inet_dist_listen_max {low}"
                ));
        }
    }
}

fn epmd_exposed(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Distribution::On(place, _) = unit.distribution() else {
            continue;
        };
        let address = unit
            .variable("ERL_EPMD_ADDRESS")
            .and_then(|variable| variable.value.as_deref());
        let local = address.is_some_and(|address| {
            address
                .split(',')
                .all(|address| address.starts_with("127.") || address == "::1")
        });
        // Who has no TLS has a worse problem, which is another rule.
        let cares = matches!(unit.carrier(), Carrier::Tls(_) | Carrier::Twice(_));
        if unit.guarded.is_some() || local || !cares || !unit.uses_epmd() {
            continue;
        }
        found.add(
            place,
            "this node registers with epmd, which whoever reaches port 4369 may ask",
        );
    }
}

fn heart_in_container(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        if unit.object.is_none() {
            continue;
        }
        if let Some(flag) = unit.line.flags("-heart").next() {
            found.add(unit.flag_place(flag), "-heart competes with the kubelet");
        }
    }
}

fn cluster_domain(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let flags = unit
            .line
            .flags("-name")
            .filter(|flag| {
                flag.values
                    .iter()
                    .any(|value| value.text.contains(".svc.cluster.local"))
            })
            .map(|flag| unit.flag_place(flag));
        let variables = unit
            .variables
            .iter()
            .filter(|variable| {
                matches!(
                    variable.name.as_str(),
                    "RELEASE_NODE" | "RABBITMQ_NODENAME" | "NODE_NAME"
                )
            })
            .filter(|variable| {
                variable
                    .value
                    .as_deref()
                    .is_some_and(|value| value.contains(".svc.cluster.local"))
            })
            .map(|variable| variable.place);
        for place in flags.chain(variables) {
            found.add(place, "the domain of this cluster is part of the node name");
        }
    }
}

fn no_discovery(context: &Context<'_>, found: &mut Findings<'_>) {
    const SIGNS: &[&str] = &[
        "libcluster",
        "dns_cluster",
        "sync_nodes_",
        "net_kernel:connect_node",
        "Node.connect",
        "net_adm:ping",
        "peer_discovery",
        "partisan",
        "horde",
        "swarm",
    ];
    for unit in &context.set.units {
        let Some(object) = unit.object(context.set) else {
            continue;
        };
        let own = matches!(unit.product, Product::Erlang | Product::Mix);
        let on = matches!(unit.distribution(), Distribution::On(..));
        // Only who shows the project can be told that something is missing in it.
        let mut shown = false;
        let mut connects = false;
        for document in unit.documents(context.set) {
            shown |= matches!(
                document.content,
                Content::Elixir(Script::Mix, _) | Content::Terms(Terms::Rebar, _)
            );
            let text = context.set.sources.text(document.source);
            connects |= SIGNS.iter().any(|sign| text.contains(sign));
        }
        let replicas = object.replicas();
        if own && on && shown && !connects && replicas > 1 {
            let place = object
                .spec()
                .map_or_else(|| object.head(), |spec| object.key(spec, "replicas"));
            found.add(
                place,
                format!("{replicas} nodes, and nothing in the project connects them"),
            );
        }
    }
}
