//! Whether distribution is protected at all: what carries it, where it listens, who can find it.

use std::collections::HashSet;

use crate::document::{Content, Script, Terms};
use crate::rule::{Context, Findings, Rule};
use crate::setting::{Origin, Setting, Value};
use crate::source::Place;
use crate::units::{Carrier, Distribution, Product, Unit};

pub(super) const RULES: &[Rule] = &[
    rule!(
        ERL012,
        "distribution-in-clear",
        Critical,
        Beam,
        in_clear,
        "Distribution is on and nothing encrypts it.",
        "Every message between nodes can be read and changed on the network, and whoever reaches the port and has the cookie runs any code on every node.",
        "`-proto_dist inet_tls` with an option file that demands certificates, or a Skans agent beside the node; `RELEASE_DISTRIBUTION=none` for a release that needs no other nodes."
    ),
    rule!(
        ERL001,
        "proto-dist-not-a-flag",
        Critical,
        Beam,
        proto_dist_in_config,
        "`proto_dist` stands in the application environment, where nothing reads it.",
        "Distribution is in clear although the configuration seems to say TLS: `init:get_argument(proto_dist)` is `error`, and the node answers a plain handshake.",
        "`-proto_dist inet_tls` (for IPv6 `inet6_tls`) in `vm.args` or `ERL_FLAGS`."
    ),
    rule!(
        ERL002,
        "dist-tls-options-in-app-env",
        Critical,
        Beam,
        tls_options_in_config,
        "The options of TLS distribution stand in the application environment, where nothing reads them.",
        "All of them are ignored: no certificate is verified.",
        "A file `[{server, [{certfile, ...}, ...]}, {client, [...]}].`, named by `-ssl_dist_optfile`."
    ),
    rule!(
        ERL013,
        "proto-dist-twice",
        Critical,
        Beam,
        proto_dist_twice,
        "`-proto_dist` reaches `erl` more than once.",
        "OTP 25 then ignores all of them and speaks plain TCP, without a word; OTP 27 warns and takes the first. It happens when both `vm.args` and `ERL_FLAGS` say it.",
        "Say it in one place: `ERL_FLAGS`, which tools inherit, or `vm.args`."
    ),
    rule!(
        ERL014,
        "kernel-config-at-runtime",
        Blocker,
        Beam,
        kernel_at_runtime,
        "`config/runtime.exs` configures `:kernel` or `:stdlib`.",
        "The release aborts its boot: `Cannot configure :kernel because :reboot_system_after_config has been set to false`.",
        "Flags in `vm.args.eex` (`-kernel inet_dist_listen_min 9100`), or `config/config.exs`; or `reboot_system_after_config: true` in the release of `mix.exs`, which starts the VM twice."
    ),
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
    rule!(
        ERL011,
        "ssl-not-in-release",
        Medium,
        Beam,
        ssl_not_in_release,
        "Distribution is carried by TLS, and the release does not list `ssl`.",
        "In embedded mode the carrier cannot be loaded, and the node does not start its distribution.",
        "`ssl`, `crypto` and `public_key` among the applications of the release."
    ),
];

fn in_clear(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Distribution::On(place, why) = unit.distribution() else {
            continue;
        };
        if unit.guarded.is_some() {
            continue;
        }
        let (place, message) = match unit.carrier() {
            Carrier::Plain => (
                place,
                format!("{why}, and nothing encrypts what nodes say to each other"),
            ),
            Carrier::SaidPlain(said) => {
                (said, "distribution is carried by TCP, in clear".to_owned())
            }
            _ => continue,
        };
        found
            .add(place, message)
            .fix("-proto_dist inet_tls -ssl_dist_optfile FILE, or a Skans agent");
    }
}

/// The settings of all nodes, each once: several nodes may share a file.
pub(super) fn settings<'c>(context: &Context<'c>) -> Vec<(&'c Unit, &'c Setting)> {
    let mut seen: HashSet<Place> = HashSet::new();
    let mut all = Vec::new();
    for unit in &context.set.units {
        for setting in &unit.settings {
            if seen.insert(setting.place) {
                all.push((unit, setting));
            }
        }
    }
    all
}

fn proto_dist_in_config(context: &Context<'_>, found: &mut Findings<'_>) {
    for (_, setting) in settings(context) {
        if setting.key == "proto_dist" && setting.origin != Origin::Flag {
            let value = setting.value.text().unwrap_or("inet_tls");
            found
                .add(
                    setting.place,
                    format!("proto_dist of {} is read by nothing", setting.app),
                )
                .fix(format!("-proto_dist {value} in vm.args or ERL_FLAGS"));
        }
    }
}

fn tls_options_in_config(context: &Context<'_>, found: &mut Findings<'_>) {
    const KEYS: &[&str] = &[
        "inet_tls_dist",
        "inet_tls",
        "ssl_dist_opt",
        "ssl_dist_opts",
        "ssl_dist_optfile",
        "ssl_dist",
        "dist_tls",
    ];
    for (_, setting) in settings(context) {
        let app = matches!(setting.app.as_str(), "kernel" | "ssl" | "inet_tls_dist");
        if app && KEYS.contains(&setting.key.as_str()) && setting.origin != Origin::Flag {
            found.add(
                setting.place,
                format!("{} of {} is read by nothing", setting.key, setting.app),
            );
        }
    }
}

fn proto_dist_twice(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        let Carrier::Twice(places) = unit.carrier() else {
            continue;
        };
        if let Some((last, others)) = places.split_last()
            && unit.guarded.is_none()
        {
            let mut adding = found.add(
                *last,
                format!(
                    "-proto_dist is given {} times to the same node",
                    places.len()
                ),
            );
            for place in others {
                adding = adding.related(*place, "also here");
            }
        }
    }
}

fn kernel_at_runtime(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, setting) in settings(context) {
        let early = matches!(setting.app.as_str(), "kernel" | "stdlib");
        if !early || setting.origin != Origin::Runtime || unit.product != Product::Mix {
            continue;
        }
        let reboots = unit.files.iter().any(|(_, number)| {
            context
                .set
                .document(*number)
                .is_some_and(|document| match &document.content {
                    Content::Elixir(Script::Mix, file) => file.all().any(|expr| {
                        expr.get("reboot_system_after_config")
                            .is_some_and(|value| value.is_atom("true"))
                    }),
                    _ => false,
                })
        });
        if !reboots {
            found
                .add(
                    setting.place,
                    format!(
                        "{} of :{} is set when {} has started already",
                        setting.key, setting.app, setting.app
                    ),
                )
                .fix(if setting.key == "proto_dist" {
                    "-proto_dist inet_tls in vm.args.eex".to_owned()
                } else {
                    format!("-{} {} VALUE in vm.args.eex", setting.app, setting.key)
                });
        }
    }
}

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
        let Some(object) = unit
            .object
            .and_then(|number| context.set.objects.get(number))
        else {
            continue;
        };
        let own = matches!(unit.product, Product::Erlang | Product::Mix);
        let on = matches!(unit.distribution(), Distribution::On(..));
        // Only who shows the project can be told that something is missing in it.
        let project = unit
            .files
            .iter()
            .filter_map(|(_, number)| context.set.document(*number));
        let mut shown = false;
        let mut connects = false;
        for document in project {
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

fn ssl_not_in_release(context: &Context<'_>, found: &mut Findings<'_>) {
    for unit in &context.set.units {
        if !matches!(unit.carrier(), Carrier::Tls(_) | Carrier::Twice(_)) {
            continue;
        }
        for (source, terms) in unit.terms(context.set, Terms::Rebar) {
            let releases = terms
                .terms
                .iter()
                .filter_map(|term| {
                    let [key, value] = term.elements()? else {
                        return None;
                    };
                    key.is_atom("relx").then_some(value)
                })
                .flat_map(|relx| relx.items())
                .filter_map(|item| match item.elements()? {
                    [key, _, apps, ..] if key.is_atom("release") => Some(apps),
                    _ => None,
                });
            for apps in releases {
                let lists = apps.items().iter().any(|app| {
                    let name = app.elements().and_then(<[_]>::first).unwrap_or(app);
                    name.is_atom("ssl")
                });
                if !lists {
                    let place = Place {
                        source,
                        span: apps.span,
                    };
                    found.add(
                        place,
                        "the release does not list ssl, which carries its distribution",
                    );
                }
            }
        }
    }
}
