//! What resembles a mistake and is none: right configuration, in which nothing is found. Each text is named after the
//! rules that it must not wake.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use skans_lint::{Options, Profile, check};

const IMAGE: &str =
    "registry.example/shop@sha256:0000000000000000000000000000000000000000000000000000000000000000";
const TLS: &str = "-proto_dist inet_tls -ssl_dist_optfile /etc/shop/ssl_dist.conf -start_epmd false -erl_epmd_port 9100";

/// What is found in a text, by the ids of rules.
fn found(name: &str, text: &str) -> Vec<&'static str> {
    let text = text.replace("@IMAGE", IMAGE).replace("@TLS", TLS);
    let options = Options {
        profile: Profile::Beam,
    };
    let checked = check(vec![(name.to_owned(), text)], &options);
    checked
        .findings
        .iter()
        .map(|finding| finding.rule.id)
        .collect()
}

#[track_caller]
fn clean(text: &str) {
    assert_eq!(found("shop.yaml", text), [""; 0], "\n{text}");
}

/// A pod that talks to others, and a policy for it.
fn with_policy(policy: &str) -> String {
    format!(
        "apiVersion: v1
kind: Pod
metadata: {{name: shop, namespace: shop, labels: {{app: shop}}}}
spec:
  containers:
    - name: shop
      image: @IMAGE
      ports: [{{name: dist, containerPort: 9100}}, {{name: http, containerPort: 8080}}]
      env:
        - {{name: RELEASE_DISTRIBUTION, value: name}}
        - {{name: ERL_FLAGS, value: @TLS}}
---
{policy}"
    )
}

#[test]
fn policies_that_open_the_port_in_another_way() {
    let policy = |spec: &str| {
        with_policy(&format!(
            "apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: a, namespace: shop}}\nspec:\n  podSelector: {{matchLabels: {{app: shop}}}}\n{spec}"
        ))
    };
    // By name, by a range, by all ports, by a peer without ports.
    clean(&policy("  ingress: [{ports: [{port: dist}]}]"));
    clean(&policy(
        "  ingress: [{ports: [{port: 9000, endPort: 9200}]}]",
    ));
    clean(&policy("  ingress: [{}]"));
    clean(&policy("  ingress: [{from: [{podSelector: {}}]}]"));
    // Only egress is said, and all of it is open.
    clean(&policy("  policyTypes: [Egress]\n  egress: [{}]"));
    // Another namespace, another pod.
    clean(
        &policy("  ingress: [{ports: [{port: dist}]}]")
            .replace("{name: a, namespace: shop}", "{name: a, namespace: other}"),
    );
    // A default deny, with what is allowed in another policy.
    clean(&format!(
        "{}\n---\napiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: deny, namespace: shop}}\nspec: {{podSelector: {{}}, policyTypes: [Ingress]}}",
        policy("  ingress: [{ports: [{port: dist}]}]")
    ));
}

#[test]
fn policies_of_others_may_open_what_these_do_not() {
    clean(&with_policy(
        "apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: shop}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: dist, namespace: shop}
spec: {}",
    ));
}

#[test]
fn resolvers_at_other_ports_and_destinations_by_address() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: shop, labels: {app: a}}\nspec: {containers: [{name: a, image: \"@IMAGE\"}]}\n---\n";
    let policy = |egress: &str| {
        format!(
            "{pod}apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {{name: a, namespace: shop}}\nspec: {{podSelector: {{}}, policyTypes: [Egress], egress: [{egress}]}}"
        )
    };
    clean(&policy(
        "{ports: [{port: 53, protocol: UDP}]}, {to: [{podSelector: {}}], ports: [{port: 5432}]}",
    ));
    clean(&policy(
        "{ports: [{port: dns, protocol: UDP}]}, {to: [{podSelector: {}}], ports: [{port: 5432}]}",
    ));
    clean(&policy(
        "{ports: [{port: 5353, protocol: UDP}]}, {to: [{podSelector: {}}], ports: [{port: 5432}]}",
    ));
    clean(&policy(
        "{to: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 5432}]}",
    ));
    clean(&policy(""));
}

#[test]
fn services_whose_pods_are_made_by_others() {
    // Of whoever leads, by a label that is set later; by an operator; of one pod; without a selector.
    for selector in [
        "{app: shop, role: primary}",
        "{cnpg.io/cluster: database}",
        "{app: shop, statefulset.kubernetes.io/pod-name: shop-0}",
        "{}",
    ] {
        clean(&format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop, namespace: shop}}
spec: {{template: {{metadata: {{labels: {{app: shop}}}}, spec: {{containers: [{{name: a, image: \"@IMAGE\"}}]}}}}}}
---
apiVersion: v1
kind: Service
metadata: {{name: shop-rw, namespace: shop}}
spec: {{selector: {selector}, ports: [{{port: 80, targetPort: 8080}}]}}"
        ));
    }
}

#[test]
fn secrets_that_others_make() {
    let pod = |name: &str, other: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: shop, namespace: shop}}
spec:
  containers: [{{name: a, image: \"@IMAGE\"}}]
  volumes: [{{name: a, secret: {{secretName: {name}}}}}]
---
apiVersion: v1
kind: Secret
metadata: {{name: mine, namespace: shop}}
---
{other}"
        )
    };
    // By cert-manager, by an operator, by one that says the name, in another namespace's set, optional.
    clean(&pod(
        "tls",
        "apiVersion: cert-manager.io/v1\nkind: Certificate\nmetadata: {name: a, namespace: shop}\nspec: {secretName: tls, issuerRef: {name: a, kind: Issuer}}",
    ));
    clean(&pod(
        "db-app",
        "apiVersion: postgresql.cnpg.io/v1\nkind: Cluster\nmetadata: {name: db, namespace: shop}",
    ));
    clean(&pod(
        "from-vault",
        "apiVersion: secrets.hashicorp.com/v1beta1\nkind: VaultStaticSecret\nmetadata: {name: a, namespace: shop}\nspec: {destination: {name: from-vault}}",
    ));
    clean(&pod(
        "x, optional: true",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop}",
    ));
}

#[test]
fn objects_that_say_nothing_of_their_namespace_or_bring_nothing_of_a_kind() {
    // Nobody brings Secrets, ConfigMaps or accounts: they are kept elsewhere.
    clean(
        "apiVersion: v1
kind: Pod
metadata: {name: shop}
spec:
  serviceAccountName: shop
  containers:
    - name: a
      image: \"@IMAGE\"
      envFrom: [{configMapRef: {name: shop}}, {secretRef: {name: shop}}]",
    );
}

#[test]
fn budgets_that_let_a_pod_go() {
    let budget = |spec: &str| {
        format!(
            "apiVersion: apps/v1
kind: Deployment
metadata: {{name: shop, namespace: shop}}
spec: {{replicas: 3, template: {{metadata: {{labels: {{app: shop}}}}, spec: {{containers: [{{name: a, image: \"@IMAGE\"}}]}}}}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {{name: shop, namespace: shop}}
spec: {{{spec}, selector: {{matchLabels: {{app: shop}}}}}}"
        )
    };
    clean(&budget("maxUnavailable: 1"));
    clean(&budget("minAvailable: 2"));
    clean(&budget("minAvailable: 50%"));
    // How many there are is decided by somebody else.
    clean(&format!(
        "{}\n---\napiVersion: autoscaling/v2\nkind: HorizontalPodAutoscaler\nmetadata: {{name: shop, namespace: shop}}\nspec: {{scaleTargetRef: {{kind: Deployment, name: shop}}, minReplicas: 5, maxReplicas: 9}}",
        budget("minAvailable: 3")
    ));
}

#[test]
fn quotas_with_defaults_or_for_some_pods_only() {
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: shop, namespace: shop}\nspec: {containers: [{name: a, image: \"@IMAGE\"}]}\n---\n";
    clean(&format!(
        "{pod}apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: a, namespace: shop}}\nspec: {{hard: {{limits.memory: 1Gi}}}}\n---\napiVersion: v1\nkind: LimitRange\nmetadata: {{name: a, namespace: shop}}\nspec: {{limits: [{{type: Container, default: {{memory: 1Gi}}}}]}}"
    ));
    clean(&format!(
        "{pod}apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: a, namespace: shop}}\nspec: {{scopes: [BestEffort], hard: {{pods: 3}}}}"
    ));
    clean(&format!(
        "{pod}apiVersion: v1\nkind: ResourceQuota\nmetadata: {{name: a, namespace: shop}}\nspec: {{hard: {{count/configmaps: 30}}}}"
    ));
}

#[test]
fn modes_as_numbers_that_are_meant() {
    for mode in ["0400", "256", "288", "420", "0o400"] {
        clean(&format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nspec: {{containers: [{{name: a, image: \"@IMAGE\"}}], volumes: [{{name: a, secret: {{secretName: settings, defaultMode: {mode}}}}}]}}"
        ));
    }
}

#[test]
fn probes_that_have_what_they_need() {
    let probe = |flags: &str, probe: &str| {
        format!(
            "apiVersion: v1
kind: Pod
metadata: {{name: shop}}
spec:
  containers:
    - name: shop
      image: @IMAGE
      env: [{{name: RELEASE_DISTRIBUTION, value: name}}, {{name: {flags}, value: @TLS}}]
      livenessProbe: {probe}"
        )
    };
    // Flags in the environment are inherited; a port, a file and another program need none.
    clean(&probe(
        "ERL_FLAGS",
        "{exec: {command: [/app/bin/shop, rpc, '1']}}",
    ));
    clean(&probe(
        "ERL_AFLAGS",
        "{exec: {command: [/app/bin/shop, ping]}}",
    ));
    clean(&probe("ELIXIR_ERL_OPTIONS", "{tcpSocket: {port: 4000}}"));
    clean(&probe(
        "ELIXIR_ERL_OPTIONS",
        "{exec: {command: [cat, /tmp/healthy]}}",
    ));
    clean(&probe(
        "ELIXIR_ERL_OPTIONS",
        "{httpGet: {path: /, port: https, scheme: HTTPS}}",
    ));
}

#[test]
fn cookies_that_are_no_cookies_of_erlang() {
    assert!(found("config.yaml", "session: {cookie: sid, maxAge: 3600}").is_empty());
    assert!(
        found(
            "values.yaml",
            "auth: {erlangCookie: \"\", existingErlangSecret: cookie}"
        )
        .is_empty()
    );
    assert!(found("values.yaml", "cookie: '{{ .Values.cookie }}'").is_empty());
}

#[test]
fn expressions_over_metrics_that_are_there() {
    for expression in [
        "erlang_vm_memory_bytes_total{kind='processes'}",
        "sum(erlang_vm_memory_processes_bytes{usage='used'})",
        "rate(erlang_vm_msacc_emulator_seconds_total[5m])",
        "{__name__=~'erlang_vm_.*'}",
        "job:erlang_vm_links:count",
        "sum(up{job='shop'}) < 3",
        "count(up{job='shop'} == 1) or vector(0)",
    ] {
        clean(&format!(
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata: {{name: a}}\nspec: {{groups: [{{name: a, rules: [{{alert: A, expr: \"{expression}\"}}]}}]}}"
        ));
    }
}

#[test]
fn names_that_other_tools_allow() {
    clean("apiVersion: backstage.io/v1alpha1\nkind: Component\nmetadata: {name: My_Component}");
    clean(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: 'system:Shop_Reader'}",
    );
    clean("apiVersion: v1\nkind: Namespace\nmetadata: {name: '{{ .Release.Name }}_x'}");
}

/// A workload of a name that others say, too, with a reference to a ConfigMap.
fn with_map(reference: &str, others: &str) -> Vec<&'static str> {
    found(
        "shop.yaml",
        &format!(
            "apiVersion: v1
kind: ConfigMap
metadata: {{name: web, namespace: shop}}
data: {{LOG_LEVEL: info}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: web, namespace: shop}}
spec:
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      containers:
        - name: web
          image: @IMAGE
          env: [{{name: LOG_LEVEL, {reference}}}]
---
{others}"
        ),
    )
}

#[test]
fn what_watches_a_workload_makes_nothing_for_it_and_an_operator_may() {
    let monitor = "apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata: {name: web, namespace: shop}
spec: {groups: [{name: web, rules: []}]}";
    let operator = "apiVersion: example.com/v1\nkind: Application\nmetadata: {name: a, namespace: shop}\nspec: {settings: web}";
    let wrong_key = "valueFrom: {configMapKeyRef: {name: web, key: log_level}}";
    assert_eq!(with_map(wrong_key, monitor), ["XREF007"]);
    assert_eq!(with_map(wrong_key, operator), [""; 0]);
    assert_eq!(with_map("value: info", monitor), ["XREF005"]);
    assert_eq!(with_map("value: info", operator), [""; 0]);
}

#[test]
fn a_kustomization_may_use_what_it_lists_and_not_what_is_elsewhere() {
    let map = |path: &str| {
        let text = "apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: shop}
data: {LOG_LEVEL: info}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop}
spec: {automountServiceAccountToken: false, containers: [{name: web, image: @IMAGE}]}";
        (path.to_owned(), text.replace("@IMAGE", IMAGE))
    };
    let kustomization = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../listed/web.yaml]";
    for (path, wanted) in [
        ("base/web.yaml", 0),
        ("listed/web.yaml", 0),
        ("elsewhere/web.yaml", 1),
    ] {
        let files = vec![
            map(path),
            (
                "base/kustomization.yaml".to_owned(),
                kustomization.to_owned(),
            ),
        ];
        let checked = check(files, &Options::default());
        let unused = checked
            .findings
            .iter()
            .filter(|found| found.rule.id == "XREF005");
        assert_eq!(unused.count(), wanted, "{path}");
    }
}
