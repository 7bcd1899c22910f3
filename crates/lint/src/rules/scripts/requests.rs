//! What scripts ask the API server for: whether they may, and whether names are names.

use super::{arguments, scripts};
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
    let mut asked = access::Asked::default();
    for script in scripts(context) {
        let Some(object) = script.object else {
            continue;
        };
        let account = access::account(object);
        let brought = context
            .set
            .named("ServiceAccount", account, object)
            .is_some();
        let Some(roles) = access::known_roles_of(context, object).filter(|_| brought) else {
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
            let may = roles
                .iter()
                .any(|role| asked.any(role, (verb, resource), |rule| allows(rule, verb, resource)));
            if !may {
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
