//! What scripts do to a cluster that runs.

use super::{arguments, has_flag, scripts};
use crate::document::Content;
use crate::rule::{Context, Findings, Rule};
use crate::source::Place;

pub(super) const RULES: &[Rule] = &[
    rule!(
        OPS002,
        "imperative-restart",
        Medium,
        Beam,
        restart,
        "A job restarts workloads by `kubectl rollout restart`.",
        "It writes into an object that Git owns: Argo CD and Flux show a drift or take it back; and a restart of all nodes is what a cluster should not need.",
        "Files that are read again without a restart; an annotation with a hash of what changed, in Git."
    ),
    rule!(
        OPS004,
        "s-client-no-verify",
        Medium,
        Beam,
        s_client,
        "`openssl s_client` without `-verify_return_error`.",
        "It exits with 0 though the certificate is wrong, so that the check never fails; without `</dev/null` it waits for ever.",
        "`openssl s_client -connect HOST:PORT -verify_return_error -verify_hostname HOST </dev/null`."
    ),
    rule!(
        OPS001,
        "ping-as-monitor",
        Low,
        Beam,
        ping,
        "A script watches the cluster by `net_adm:ping` or `net_kernel:node_info`.",
        "A ping makes the connection that it looks for, so that a partition is never seen; `node_info` is not documented.",
        "`erlang:nodes(connected)` on each node, or the metrics `erlang_vm_dist_*`."
    ),
];

fn restart(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context) {
        if script.object.is_none_or(|object| object.kind != "CronJob") {
            continue;
        }
        for command in script.kubectl("rollout") {
            if arguments(command).get(1) == Some(&"restart") {
                found.add(script.place(command), "a restart that Git knows nothing of");
            }
        }
    }
}

fn s_client(context: &Context<'_>, found: &mut Findings<'_>) {
    /// Who asks for these looks at what is shown, or tries what a server does.
    const OTHER: &[&str] = &[
        "-verify_return_error",
        "-showcerts",
        "-brief",
        "-cipher",
        "-ciphersuites",
        "-tls1",
        "-tls1_1",
        "-tls1_2",
    ];
    for script in scripts(context) {
        let commands = &script.script.commands;
        for (at, command) in commands.iter().enumerate() {
            let openssl = command
                .program()
                .is_some_and(|word| word.text.ends_with("openssl"));
            let asks = openssl && arguments(command).first() == Some(&"s_client");
            let read = commands.get(at + 1).is_some_and(|next| next.joined == "|");
            if asks && !read && !has_flag(command, OTHER) {
                found.add(
                    script.place(command),
                    "this succeeds whatever the certificate is",
                );
            }
        }
    }
}

fn ping(context: &Context<'_>, found: &mut Findings<'_>) {
    for document in &context.set.documents {
        let Content::Shell(_, script) = &document.content else {
            continue;
        };
        for command in &script.commands {
            let asks = command.words.iter().any(|word| {
                word.text.contains("net_adm:ping(") || word.text.contains("net_kernel:node_info(")
            });
            if asks {
                let place = Place {
                    source: document.source,
                    span: command.span,
                };
                found.add(place, "this makes the connections that it looks for");
            }
        }
    }
}
