//! RBAC in sets that are made to be slow: bindings, roles and workloads that all mean each other.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::fmt::Write;

use crate::rule::{Context, Findings};
use crate::set::Set;
use crate::work::steps_of;

/// Rules that ask who may do what, and those that ask what else is in a namespace.
const RULES: &[&str] = &[
    "RBC001", "RBC003", "RBC009", "NET007", "EXS004", "XREF002", "XREF004", "XREF006", "NET005",
];

/// The looks that these rules take at a set, and what they find.
fn steps(text: String, rules: &[&str]) -> Vec<(&'static str, u64, usize)> {
    let set = Set::read(vec![("hostile.yaml".to_owned(), text)]);
    assert!(set.unread.is_empty(), "{:?}", set.unread.first());
    let run = |id: &&str| {
        let rule = crate::rules::find(id).unwrap();
        let mut found = Vec::new();
        let ((), steps) = steps_of(|| {
            (rule.check)(&Context { set: &set }, &mut Findings::new(rule, &mut found));
        });
        (rule.id, steps, found.len())
    };
    // Which policies are for which pods is bounded by itself, and is found out once.
    let _ = set.workloads().next().map(|one| set.policies(one).count());
    rules.iter().map(run).collect()
}

/// A pod that runs a node, and a job that asks the API server.
fn workloads(out: &mut String, name: usize, namespace: &str, account: &str) {
    let token = name.is_multiple_of(2);
    let _ = writeln!(
        out,
        "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {account}{namespace}}}
---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{name}{namespace}, labels: {{app: p{name}}}}}
spec: {{serviceAccountName: {account}, automountServiceAccountToken: {token}, containers: [{{name: a, image: erlang, volumeMounts: [{{name: c, mountPath: /c}}]}}], volumes: [{{name: c, configMap: {{name: c{name}}}}}]}}
---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c{name}{namespace}}}
data: {{sys.config: \"[{{libcluster, [{{topologies, [{{a, [{{strategy, 'Elixir.Cluster.Strategy.Kubernetes'}}]}}]}}]}}].\"}}
---\napiVersion: batch/v1\nkind: Job\nmetadata: {{name: j{name}{namespace}}}
spec: {{template: {{spec: {{serviceAccountName: {account}, containers: [{{name: a, image: a, command: [sh, -c, \"kubectl get pods; kubectl delete secret a; kubectl get cm\"]}}]}}}}}}
---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: n{name}{namespace}}}
spec: {{podSelector: {{matchLabels: {{app: p{name}}}}}, policyTypes: [Egress], egress: [{{ports: [{{port: 1}}]}}]}}"
    );
}

fn role(out: &mut String, kind: &str, name: &str, namespace: &str, rules: usize) {
    let rules = ["{apiGroups: [\"\"], resources: [widgets], verbs: [list]}"].repeat(rules);
    let _ = writeln!(
        out,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}\nrules: [{}]",
        rules.join(", ")
    );
}

fn binding(out: &mut String, kind: &str, name: &str, namespace: &str, role: &str, subject: &str) {
    let of = kind.trim_end_matches("Binding");
    let _ = writeln!(
        out,
        "---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}\nmetadata: {{name: {name}{namespace}}}
roleRef: {{kind: {of}, name: {role}}}\nsubjects: [{subject}]"
    );
}

/// All workloads have one account, and each binding is for it.
fn one_account(many: usize) -> String {
    let mut out = String::new();
    let namespace = ", namespace: shop";
    for number in 0..many {
        workloads(&mut out, number, namespace, "shop");
        let name = format!("r{number}");
        role(&mut out, "Role", &name, namespace, 1);
        let subject = "{kind: ServiceAccount, name: shop, namespace: shop}";
        binding(&mut out, "RoleBinding", &name, namespace, &name, subject);
    }
    out
}

/// Each workload has its account of the same name elsewhere, with a role of the same name.
fn many_namespaces(many: usize) -> String {
    let mut out = String::new();
    for number in 0..many {
        let namespace = format!(", namespace: n{number}");
        workloads(&mut out, number, &namespace, "shop");
        role(&mut out, "Role", "shop", &namespace, 1);
        let subject = format!("{{kind: ServiceAccount, name: shop{namespace}}}");
        binding(
            &mut out,
            "RoleBinding",
            "shop",
            &namespace,
            "shop",
            &subject,
        );
    }
    out
}

/// Nothing says its namespace, so that each may be that of each.
fn no_namespaces(many: usize) -> String {
    let mut out = String::new();
    for number in 0..many {
        workloads(&mut out, number, "", "shop");
        role(&mut out, "ClusterRole", "shop", "", 1);
        let subject = "{kind: ServiceAccount, name: shop}";
        let name = format!("b{number}");
        binding(&mut out, "ClusterRoleBinding", &name, "", "shop", subject);
    }
    out
}

/// Each account is bound to one role that is very long.
fn one_long_role(many: usize) -> String {
    let mut out = String::new();
    role(&mut out, "ClusterRole", "long", "", many);
    for number in 0..many {
        let namespace = format!(", namespace: n{number}");
        workloads(&mut out, number, &namespace, "shop");
        let subject = format!("{{kind: ServiceAccount, name: shop{namespace}}}");
        let name = format!("b{number}");
        binding(&mut out, "ClusterRoleBinding", &name, "", "long", &subject);
    }
    out
}

/// One binding is for all accounts, many times over.
fn many_subjects(many: usize) -> String {
    let mut out = String::new();
    let subjects: Vec<_> = (0..many)
        .map(|number| format!("{{kind: ServiceAccount, name: shop, namespace: n{number}}}"))
        .collect();
    role(&mut out, "ClusterRole", "shop", "", 1);
    binding(
        &mut out,
        "ClusterRoleBinding",
        "shop",
        "",
        "shop",
        &subjects.join(", "),
    );
    for number in 0..many {
        workloads(&mut out, number, &format!(", namespace: n{number}"), "shop");
    }
    out
}

/// A set of a size, and what it is.
type Shape = (&'static str, fn(usize) -> String);

#[test]
fn twice_as_many_take_twice_as_much() {
    const MANY: usize = 120;
    let shapes: [Shape; 5] = [
        ("one account", one_account),
        ("many namespaces", many_namespaces),
        ("no namespaces", no_namespaces),
        ("one long role", one_long_role),
        ("many subjects", many_subjects),
    ];
    let mut wrong = Vec::new();
    for (shape, make) in shapes {
        let (half, whole) = (steps(make(MANY), RULES), steps(make(2 * MANY), RULES));
        for ((rule, one, _), (_, two, found)) in half.into_iter().zip(whole) {
            println!("{shape}, {rule}: {one} looks, {two} at twice as many; {found} found");
            // Twice, and a little for what is cut off.
            if two > one * 5 / 2 + 100 {
                wrong.push(format!(
                    "{shape}, {rule}: {one} looks, {two} at twice as many"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Pods, Services, monitors and routes that all mean each other.
fn monitored(many: usize) -> String {
    let mut out = String::new();
    for number in 0..many {
        let _ = writeln!(
            out,
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: p{number}, namespace: a, labels: {{app: a}}}}
spec: {{containers: [{{name: a, image: a, ports: [{{name: http, containerPort: 1}}]}}]}}
---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{number}, namespace: a, labels: {{app: a}}}}
spec: {{selector: {{app: a}}, ports: [{{name: http, port: 1}}]}}
---\napiVersion: monitoring.coreos.com/v1\nkind: ServiceMonitor\nmetadata: {{name: m{number}, namespace: a}}
spec: {{selector: {{matchLabels: {{app: a}}}}, endpoints: [{{port: http}}]}}
---\napiVersion: networking.k8s.io/v1\nkind: Ingress\nmetadata: {{name: i{number}, namespace: a}}
spec: {{defaultBackend: {{service: {{name: s{number}, port: {{number: 1}}}}}}}}"
        );
    }
    out
}

/// Each is compared with each, which `MAX_PAIRS` bounds, and not with each of the others' others.
#[test]
fn monitors_take_no_more_than_each_with_each() {
    const MANY: usize = 60;
    const ASKED: &[&str] = &["NET008", "MON003", "MON004"];
    let (half, whole) = (
        steps(monitored(MANY), ASKED),
        steps(monitored(2 * MANY), ASKED),
    );
    for ((rule, one, _), (_, two, found)) in half.into_iter().zip(whole) {
        println!("{rule}: {one} looks, {two} at twice as many; {found} found");
        assert!(
            two < one * 9 / 2,
            "{rule}: {one} looks, {two} at twice as many"
        );
    }
}
