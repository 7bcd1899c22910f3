//! Roles by themselves: what they allow besides what they say.

use super::access::{READS, bindings, lists, power};
use super::{at, items};
use crate::kubernetes::Object;
use crate::rule::{Context, Findings, Rule};
use crate::yaml::Node;

pub(super) const RULES: &[Rule] = &[
    rule!(
        RBC004,
        "rbac-wildcard",
        High,
        All,
        wildcard,
        "A role allows every verb or every resource.",
        "It allows what nobody meant, today and with each resource that is added later: secrets, exec, roles.",
        "The verbs and resources that are used, by name."
    ),
    rule!(
        RBC005,
        "rbac-escalates",
        Critical,
        All,
        escalates,
        "A role allows `bind`, `escalate` or `impersonate`, or to write roles and bindings.",
        "Whoever has it can make itself whatever exists: these verbs are what otherwise keeps roles from growing.",
        "Leave them out; where an operator must make roles, `resourceNames` for those."
    ),
    rule!(
        RBC006,
        "rbac-reads-secrets",
        High,
        All,
        reads_secrets,
        "A role may read all Secrets of a namespace or of the cluster.",
        "Every cookie, key and token is as safe as the weakest pod with this role. `list` and `watch` show the content, too, and `resourceNames` does not restrict them in all tools.",
        "`get` with `resourceNames`."
    ),
    rule!(
        RBC007,
        "rbac-cluster-admin",
        Critical,
        All,
        cluster_admin,
        "A ServiceAccount is bound to `cluster-admin`.",
        "Whoever reads its token owns the cluster.",
        "A role of its own, with what is used."
    ),
    rule!(
        RBC008,
        "rbac-runs-in-pods",
        High,
        All,
        runs_in_pods,
        "A role may run commands in pods, or make pods.",
        "It has what every pod of the namespace has: their ServiceAccounts, Secrets and volumes.",
        "Leave out `pods/exec`, `pods/attach` and `create` of pods; an API of the application instead of exec."
    ),
    rule!(
        RBC002,
        "endpoints-deprecated",
        Low,
        All,
        endpoints,
        "A role asks for `endpoints`.",
        "Deprecated since Kubernetes 1.33: each use brings a warning, and large Services are cut at 1,000 addresses.",
        "`endpointslices` of `discovery.k8s.io`, where the client can; DNS otherwise."
    ),
];

fn roles<'c>(context: &Context<'c>) -> impl Iterator<Item = &'c Object> {
    context
        .set
        .objects
        .iter()
        .filter(|object| object.group() == "rbac.authorization.k8s.io")
        .filter(|object| matches!(object.kind.as_str(), "Role" | "ClusterRole"))
}

fn each_rule<'c>(context: &Context<'c>) -> impl Iterator<Item = (&'c Object, &'c Node)> {
    roles(context).flat_map(|role| {
        items(&role.node, &["rules"])
            .iter()
            .map(move |rule| (role, rule))
    })
}

fn wildcard(context: &Context<'_>, found: &mut Findings<'_>) {
    for (role, rule) in each_rule(context) {
        for key in ["verbs", "resources"] {
            let star = items(rule, &[key])
                .iter()
                .find(|one| one.as_str() == Some("*"));
            if let Some(star) = star {
                found.add(role.place(star), format!("all {key}"));
                break;
            }
        }
    }
}

fn escalates(context: &Context<'_>, found: &mut Findings<'_>) {
    for (role, rule) in each_rule(context) {
        let verb = items(rule, &["verbs"])
            .iter()
            .find(|verb| matches!(verb.as_str(), Some("bind" | "escalate" | "impersonate")));
        let named = rule.get("resourceNames").is_some();
        if let Some(verb) = verb.filter(|_| !named) {
            found.add(
                role.place(verb),
                format!(
                    "{:?} lets it take what it was not given",
                    verb.as_str().unwrap_or_default()
                ),
            );
        } else if matches!(power(rule), Some("may write roles and bindings")) && !is_all(rule) {
            found.add(role.key(rule, "resources"), "may write roles and bindings");
        }
    }
}

fn is_all(rule: &Node) -> bool {
    ["verbs", "resources"].iter().any(|key| {
        items(rule, &[key])
            .iter()
            .any(|one| one.as_str() == Some("*"))
    })
}

fn reads_secrets(context: &Context<'_>, found: &mut Findings<'_>) {
    for (role, rule) in each_rule(context) {
        if is_all(rule) || rule.get("resourceNames").is_some() {
            continue;
        }
        let secrets = items(rule, &["resources"])
            .iter()
            .find(|one| one.as_str() == Some("secrets"));
        if let Some(secrets) = secrets.filter(|_| lists(rule, "verbs", READS)) {
            found.add(role.place(secrets), "all Secrets may be read");
        }
    }
}

fn cluster_admin(context: &Context<'_>, found: &mut Findings<'_>) {
    for binding in bindings(context) {
        let account = items(&binding.node, &["subjects"])
            .iter()
            .any(|subject| subject.text(&["kind"]) == Some("ServiceAccount"));
        if account && binding.node.text(&["roleRef", "name"]) == Some("cluster-admin") {
            found.add(
                at(binding, &["roleRef", "name"]),
                "a ServiceAccount owns the cluster",
            );
        }
    }
}

fn runs_in_pods(context: &Context<'_>, found: &mut Findings<'_>) {
    for (role, rule) in each_rule(context) {
        if !is_all(rule)
            && let Some(power) = power(rule).filter(|power| power.contains("pod"))
        {
            found.add(role.key(rule, "resources"), power);
        }
    }
}

fn endpoints(context: &Context<'_>, found: &mut Findings<'_>) {
    for (role, rule) in each_rule(context) {
        let old = items(rule, &["resources"])
            .iter()
            .find(|one| one.as_str() == Some("endpoints"));
        if let Some(old) = old {
            found.add(role.place(old), "endpoints are deprecated");
        }
    }
}
