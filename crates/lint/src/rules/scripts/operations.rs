//! What scripts and jobs do to a cluster that runs.

use super::{arguments, has_flag, scripts};
use crate::document::Content;
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::rules::kubernetes::access;
use crate::source::Place;
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        RBC003,
        "missing-permission",
        Blocker,
        Beam,
        permission,
        "A script runs `kubectl` for what its ServiceAccount may not do.",
        "`Error from server (Forbidden)`: the job fails each time it runs.",
        "A Role with the verb and the resource, bound to that ServiceAccount; with `resourceNames` where names are known."
    ),
    rule!(
        NAM001,
        "invalid-name",
        Blocker,
        Beam,
        name,
        "A name of an object has characters that names do not have.",
        "The API server refuses it: `a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.'`.",
        "Lower case letters, digits and `-`; of times, `date +%Y%m%d-%H%M%S`."
    ),
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
    rule!(
        OPS005,
        "openssl-verify-incomplete",
        Low,
        All,
        verify,
        "`openssl verify` without purpose or name.",
        "It says OK of a certificate that is for another host, or for nothing that nodes do.",
        "`openssl verify -CAfile CA -untrusted CHAIN -purpose sslserver -verify_hostname HOST CERTIFICATE`."
    ),
    rule!(
        SH003,
        "no-strict-mode",
        Medium,
        All,
        strict,
        "A script goes on after a command has failed.",
        "What comes next works with what is not there; the job ends with success.",
        "`set -eu`, and with bash `set -o pipefail`."
    ),
    rule!(
        JOB001,
        "cronjob-controls",
        Low,
        All,
        controls,
        "A CronJob does not say what is to happen when it is late, long or twice.",
        "Runs pile up, or a hundred missed ones stop it for ever; its time is that of the controller.",
        "`timeZone`, `concurrencyPolicy: Forbid`, `startingDeadlineSeconds`, and `activeDeadlineSeconds` of the job."
    ),
];

/// The verb of RBAC for a command of `kubectl`.
fn verb(command: &str) -> Option<&'static str> {
    Some(match command {
        "get" | "describe" | "wait" => "get",
        "annotate" | "label" | "patch" | "scale" | "set" | "rollout" => "patch",
        "delete" => "delete",
        "create" => "create",
        _ => return None,
    })
}

/// The plural of a resource as `kubectl` takes it.
fn resource(word: &str) -> Option<&'static str> {
    let kind = word.split('/').next().unwrap_or_default();
    let kind = kind.split('.').next().unwrap_or_default();
    Some(match kind {
        "certificate" | "certificates" | "cert" | "certs" => "certificates",
        "secret" | "secrets" => "secrets",
        "statefulset" | "statefulsets" | "sts" => "statefulsets",
        "deployment" | "deployments" | "deploy" => "deployments",
        "pod" | "pods" | "po" => "pods",
        "configmap" | "configmaps" | "cm" => "configmaps",
        "job" | "jobs" => "jobs",
        "service" | "services" | "svc" => "services",
        "pvc" | "persistentvolumeclaim" | "persistentvolumeclaims" => "persistentvolumeclaims",
        _ => return None,
    })
}

fn allows(rule: &Node, verb: &str, resource: &str) -> bool {
    let lists = |key: &str, wanted: &str| {
        rule.get(key)
            .map_or(&[][..], Node::items)
            .iter()
            .filter_map(Node::as_str)
            .any(|found| found == "*" || found == wanted)
    };
    // `kubectl get` without a name lists; who may list sees as much.
    let verbs = lists("verbs", verb) || verb == "get" && lists("verbs", "list");
    verbs && lists("resources", resource)
}

fn permission(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context) {
        let Some(object) = script.object else {
            continue;
        };
        let account = access::account(object);
        let brought = context
            .set
            .named("ServiceAccount", account, object)
            .is_some();
        let Some(rules) = access::known_rules_of(context, object).filter(|_| brought) else {
            continue;
        };
        for command in script.script.runs("kubectl") {
            let words = arguments(command);
            let mut words = words.iter();
            let Some(verb) = words.next().and_then(|word| verb(word)) else {
                continue;
            };
            let Some(resource) = words.find_map(|word| resource(word)) else {
                continue;
            };
            // `create job --from=cronjob/x` needs `get` of the CronJob, too; the first lack is enough.
            if !rules.iter().any(|(_, rule)| allows(rule, verb, resource)) {
                found.add(
                    script.place(command),
                    format!("{account:?} may not {verb} {resource}"),
                );
            }
        }
    }
}

fn is_valid(name: &str) -> bool {
    let edge = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    name.len() <= 253
        && name.starts_with(edge)
        && name.ends_with(edge)
        && name.chars().all(|c| edge(c) || matches!(c, '-' | '.'))
}

/// Whether an object is one of Kubernetes or of what is known to follow its names. Other tools have files of the same
/// form, and names of their own.
fn is_ours(object: &Object) -> bool {
    let group = object.group();
    !group.contains('.')
        || group.ends_with(".k8s.io")
        || [
            "cert-manager.io",
            "monitoring.coreos.com",
            "rabbitmq.com",
            "external-secrets.io",
        ]
        .contains(&group)
}

fn name(context: &Context<'_>, found: &mut Findings<'_>) {
    for object in &context.set.objects {
        // Names of roles are parts of a path: `system:node`.
        let path = object.group() == "rbac.authorization.k8s.io" || !is_ours(object);
        let template = object.name.contains(['{', '$', '<', '(', '%', '@']);
        if !object.name.is_empty() && !path && !template && !is_valid(&object.name) {
            found.add(object.head(), format!("{:?} is no name", object.name));
        } else if object.kind == "CronJob" && object.name.len() > 52 {
            found.add(
                object.head(),
                "the name of a CronJob has at most 52 characters: its jobs get eleven more",
            );
        }
    }
    for script in scripts(context) {
        for assignment in script.script.assignments() {
            let Some((_, format)) = assignment.value.text.split_once("date +") else {
                continue;
            };
            let format = format.split(')').next().unwrap_or_default();
            // What stands behind a percent sign is replaced by digits, of the usual ones.
            let mut letters = format.trim_matches(['"', '\'']).chars();
            let mut bad = false;
            while let Some(c) = letters.next() {
                if c == '%' {
                    letters.next();
                } else {
                    bad |= c == '_' || c == ':' || c.is_ascii_uppercase();
                }
            }
            let text = context.set.sources.text(script.source);
            let uses = [
                format!("${{{}}}", assignment.name),
                format!("${}", assignment.name),
            ];
            let named = text.lines().any(|line| {
                let line = line.trim().trim_start_matches("- ");
                (line.starts_with("name:") || line.contains("kubectl create job"))
                    && uses.iter().any(|one| line.contains(one.as_str()))
            });
            if bad && named {
                let place = Place {
                    source: script.source,
                    span: assignment.value.span,
                };
                found
                    .add(place, "this time becomes a part of a name, and has characters that names do not have")
                    .fix("date +%Y%m%d-%H%M%S");
            }
        }
    }
}

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

fn verify(context: &Context<'_>, found: &mut Findings<'_>) {
    for script in scripts(context) {
        for command in script.script.runs("openssl") {
            let asks = arguments(command).first() == Some(&"verify");
            let said = has_flag(
                command,
                &["-purpose", "-verify_hostname", "-verify_ip", "-x509_strict"],
            );
            if asks && !said {
                found.add(script.place(command), "for which purpose, and which host?");
            }
        }
    }
}

fn strict(context: &Context<'_>, found: &mut Findings<'_>) {
    /// A script of fewer commands has nothing to go on with.
    const FEW: usize = 3;
    for script in scripts(context) {
        let commands = &script.script.commands;
        let sets = script.flags.contains('e')
            || commands.iter().any(|command| {
                let mut words = command.words.iter().map(|word| word.text.as_str());
                words.next() == Some("set")
                    && words.any(|word| {
                        word == "errexit" || word.starts_with('-') && word.contains('e')
                    })
            });
        let shebang = context
            .set
            .sources
            .text(script.source)
            .lines()
            .next()
            .is_some_and(|line| line.starts_with("#!") && line.contains(" -e"));
        if let Some(first) = commands
            .first()
            .filter(|_| commands.len() >= FEW && !sets && !shebang)
        {
            found.add(
                script.place(first),
                "nothing stops this script when a command fails",
            );
        }
    }
}

fn controls(context: &Context<'_>, found: &mut Findings<'_>) {
    for job in context.set.of_kind("CronJob") {
        let Some(spec) = job.spec() else { continue };
        let deadline = job
            .node
            .path(&["spec", "jobTemplate", "spec", "activeDeadlineSeconds"]);
        let missing: Vec<_> = [
            (spec.get("timeZone").is_none(), "timeZone"),
            (spec.get("concurrencyPolicy").is_none(), "concurrencyPolicy"),
            (
                spec.get("startingDeadlineSeconds").is_none(),
                "startingDeadlineSeconds",
            ),
            (deadline.is_none(), "activeDeadlineSeconds"),
        ]
        .into_iter()
        .filter_map(|(missing, name)| missing.then_some(name))
        .collect();
        if missing.len() > 1 {
            found.add(
                Object::head(job),
                format!("neither {}", missing.join(" nor ")),
            );
        }
    }
}
