//! Probes: what they ask, and whether it can answer.

use skans_erlconf::shell;

use super::{items, nodes};
use crate::document::Content;
use crate::kubernetes::Container;
use crate::rule::{Context, Findings, Rule};
use crate::units::{Carrier, Product, Unit};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        PRB001,
        "exec-ping-with-tls-dist",
        Blocker,
        Beam,
        exec_ping,
        "A probe or hook speaks distribution to its own node, without the flags that TLS needs.",
        "Every probe fails, and the kubelet restarts the pod for ever: start scripts forward `-proto_dist` at most, not the option file. Each one starts a VM, too.",
        "An HTTP endpoint (`/livez`) or `tcpSocket`; if it must be a command, `-proto_dist` and `-ssl_dist_optfile` in `ERL_FLAGS`, `remote.vm.args` or `RABBITMQ_CTL_ERL_ARGS`."
    ),
    rule!(
        PRB004,
        "http-probe-of-tls-port",
        Blocker,
        Beam,
        http_of_tls,
        "A probe speaks plain HTTP to a port of TLS.",
        "It never succeeds: the pod is not ready, or restarted for ever.",
        "`scheme: HTTPS`, which does not check the certificate; `tcpSocket` where the server demands one of the client."
    ),
    rule!(
        PRB002,
        "no-startup-probe",
        Medium,
        All,
        no_startup,
        "A liveness probe waits a fixed time for the start.",
        "A slow start (Mnesia loads tables, a queue is recovered) is killed in the middle, over and over; a fast one waits for nothing.",
        "A `startupProbe` with a generous `failureThreshold`, and no `initialDelaySeconds`."
    ),
];

const PROBES: &[&[&str]] = &[
    &["livenessProbe"],
    &["readinessProbe"],
    &["startupProbe"],
    &["lifecycle", "preStop"],
    &["lifecycle", "postStart"],
];

/// The commands of probes and hooks of a container that speak distribution: their words.
fn own_commands<'o>(container: Container<'o>) -> Vec<(&'o Node, String)> {
    let mut all = Vec::new();
    for path in PROBES {
        let Some(probe) = container.node.path(path) else {
            continue;
        };
        let words = items(probe, &["exec", "command"]);
        let texts: Vec<String> = words
            .iter()
            .filter_map(Node::as_str)
            .map(str::to_owned)
            .collect();
        if let Some(first) = words.first() {
            all.push((first, speaks(&texts)));
        }
    }
    all.retain(|(_, program)| !program.is_empty());
    all
}

/// The program of a command that connects to the node over distribution; empty if it does not.
fn speaks(words: &[String]) -> String {
    const RELEASE: &[&str] = &[
        "ping",
        "rpc",
        "eval",
        "remote",
        "remote_console",
        "attach",
        "pid",
        "stop",
        "status",
    ];
    let [program, rest @ ..] = words else {
        return String::new();
    };
    let name = program.rsplit('/').next().unwrap_or(program);
    if matches!(name, "sh" | "bash" | "ash") {
        return rest
            .iter()
            .filter_map(|text| shell::parse(text).ok())
            .flat_map(|script| script.commands)
            .map(|command| {
                command
                    .words
                    .into_iter()
                    .map(|word| word.text)
                    .collect::<Vec<_>>()
            })
            .map(|words| speaks(&words))
            .find(|program| !program.is_empty())
            .unwrap_or_default();
    }
    let tool = matches!(
        name,
        "rabbitmqctl"
            | "rabbitmq-diagnostics"
            | "emqx_ctl"
            | "ejabberdctl"
            | "vmq-admin"
            | "erl_call"
            | "nodetool"
    );
    // The start script of a release lies in its `bin`, and has one of a few verbs.
    let verb = rest.iter().find(|word| !word.starts_with('-'));
    let release = program.contains("bin/")
        && !matches!(name, "test" | "curl" | "wget" | "grpc_health_probe")
        && verb.is_some_and(|verb| RELEASE.contains(&verb.as_str()));
    if tool || release {
        name.to_owned()
    } else {
        String::new()
    }
}

/// Whether what starts on the node gets the flags of TLS, too.
fn inherits(context: &Context<'_>, unit: &Unit) -> bool {
    let set = context.set;
    let by_environment = [
        "ERL_FLAGS",
        "ERL_AFLAGS",
        "ERL_ZFLAGS",
        "RABBITMQ_CTL_ERL_ARGS",
    ]
    .into_iter()
    .filter_map(|name| unit.variable(name))
    .any(|variable| match &variable.value {
        Some(value) => value.contains("-ssl_dist_optfile") || value.contains("-ssl_dist_opt "),
        None => true,
    });
    let remote = unit.product == Product::Mix
        && set.documents.iter().any(|document| {
            let name = set.sources.get(document.source).file_name();
            name.starts_with("remote.vm.args")
                && matches!(&document.content, Content::VmArgs(words)
                    if words.iter().any(|word| word.text == "-ssl_dist_optfile"))
        });
    by_environment || remote
}

fn exec_ping(context: &Context<'_>, found: &mut Findings<'_>) {
    for (unit, object) in nodes(context) {
        let Carrier::Tls(carrier) = unit.carrier() else {
            continue;
        };
        // The tools of other products read their own configuration.
        let ours = matches!(
            unit.product,
            Product::Erlang | Product::Mix | Product::RabbitMq
        );
        if unit.guarded.is_some() || !ours || inherits(context, unit) {
            continue;
        }
        for container in object.containers() {
            for (place, program) in own_commands(container) {
                found
                    .add(
                        object.place(place),
                        format!("{program} connects to the node, and has no options of TLS"),
                    )
                    .related(carrier, "distribution is carried by TLS");
            }
        }
    }
}

fn http_of_tls(context: &Context<'_>, found: &mut Findings<'_>) {
    for workload in context.set.workloads() {
        for container in workload.containers() {
            for path in PROBES {
                let Some(get) = container
                    .node
                    .path(path)
                    .and_then(|probe| probe.get("httpGet"))
                else {
                    continue;
                };
                let Some(port) = get.get("port") else {
                    continue;
                };
                let scheme = get.text(&["scheme"]).unwrap_or("HTTP");
                if scheme == "HTTP" && is_tls(port, container) {
                    found
                        .add(
                            workload.place(port),
                            "this port speaks TLS, and the probe plain HTTP",
                        )
                        .fix("scheme: HTTPS");
                }
            }
        }
    }
}

/// Whether a port is known by its name to be one of HTTPS.
fn is_tls(port: &Node, container: Container<'_>) -> bool {
    let named =
        |name: &str| name == "https" || name.starts_with("https-") || name.ends_with("-https");
    match port.as_int() {
        None => port.as_str().is_some_and(named),
        Some(number) => container.ports().iter().any(|one| {
            one.get("containerPort").and_then(Node::as_int) == Some(number)
                && one.text(&["name"]).is_some_and(named)
        }),
    }
}

fn no_startup(context: &Context<'_>, found: &mut Findings<'_>) {
    /// Seconds. What is shorter is no waiting for a start.
    const LONG: i64 = 15;
    for workload in context.set.workloads() {
        for container in workload.containers() {
            let delay = container
                .node
                .path(&["livenessProbe", "initialDelaySeconds"]);
            let seconds = delay.and_then(Node::as_int).unwrap_or(0);
            if let Some(delay) = delay.filter(|_| seconds >= LONG)
                && container.node.get("startupProbe").is_none()
            {
                found.add(
                    workload.place(delay),
                    format!("{seconds} seconds, and no startupProbe"),
                );
            }
        }
    }
}
