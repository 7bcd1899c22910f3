use super::{Carrier, Distribution, Product};
use crate::set::Set;
use crate::verdict::{self, Model};

fn set(files: &[(&str, &str)]) -> Set {
    Set::read(
        files
            .iter()
            .map(|(name, text)| ((*name).to_owned(), (*text).to_owned()))
            .collect(),
    )
}

fn models(set: &Set) -> Vec<(String, Model)> {
    verdict::of(set)
        .into_iter()
        .map(|verdict| (verdict.unit, verdict.model))
        .collect()
}

const OPTIONS: &str = "[{server, [{verify, verify_peer}, {fail_if_no_peer_cert, true}]}, {client, [{verify, verify_peer}]}].";

#[test]
fn the_carrier_may_come_from_anywhere() {
    let tls = "-proto_dist inet_tls";
    for files in [
        vec![("rel/vm.args", "-name a@b\n-proto_dist inet_tls\n")],
        vec![
            ("rel/vm.args.eex", "+S 1"),
            (
                "rel/env.sh.eex",
                "export ERL_FLAGS=\"$ERL_FLAGS -proto_dist inet_tls\"",
            ),
        ],
        vec![
            ("rel/vm.args.eex", "+S 1"),
            ("rel/env.sh.eex", "export ERL_AFLAGS='-proto_dist inet_tls'"),
        ],
        vec![
            ("rel/vm.args.eex", "+S 1"),
            (
                "rel/env.sh.eex",
                "export ELIXIR_ERL_OPTIONS='-proto_dist inet_tls'",
            ),
        ],
        vec![(
            "Dockerfile",
            "FROM a\nENV ERL_FLAGS=\"-proto_dist inet_tls\"\nCMD [\"erl\", \"-name\", \"a@b\"]\n",
        )],
        vec![("run.sh", "exec erl -name a@b -proto_dist inet_tls\n")],
        vec![(
            "run.sh",
            "exec iex --name a@b --erl \"-proto_dist inet_tls\"\n",
        )],
        vec![(
            "pod.yaml",
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: x, command: [erl, -name, a@b, -proto_dist, inet_tls]}]}}",
        )],
        vec![(
            "pod.yaml",
            "{apiVersion: v1, kind: Pod, metadata: {name: a}, spec: {containers: [{name: a, image: rabbitmq, env: [{name: RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS, value: -proto_dist inet_tls}]}]}}",
        )],
        vec![(
            "emqx.conf",
            "node { name = a }\ncluster { proto_dist = inet_tls }",
        )],
    ] {
        let set = set(&files);
        assert_eq!(set.units.len(), 1, "{files:?}");
        assert!(
            matches!(set.units[0].carrier(), Carrier::Tls(_)),
            "{files:?}"
        );
        let Carrier::Tls(place) = set.units[0].carrier() else {
            panic!()
        };
        let text = set.sources.at(set.sources.in_file(place));
        assert!(
            text.contains("inet_tls") || tls.contains(text),
            "{text} in {files:?}"
        );
    }
}

#[test]
fn what_a_workload_mounts_and_says_is_one_node() {
    let manifest = format!(
        "apiVersion: v1
kind: ConfigMap
metadata: {{name: erl, namespace: shop}}
data:
  vm.args: |
    -name a@b
    -ssl_dist_optfile /etc/erl/ssl.conf
  ssl.conf: '{OPTIONS}'
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {{name: shop, namespace: shop}}
spec:
  template:
    spec:
      containers:
      - name: erlang
        image: shop:1
        env: [{{name: ERL_FLAGS, value: -proto_dist inet_tls}}]
        volumeMounts: [{{name: c, mountPath: /etc/erl/}}]
      volumes: [{{name: c, configMap: {{name: erl}}}}]
"
    );
    let set = set(&[("all.yaml", &manifest)]);
    assert_eq!(
        models(&set),
        [("StatefulSet shop/shop".to_owned(), Model::MutualTls)]
    );
}

#[test]
fn the_only_project_runs_in_the_workload() {
    let pod = "{apiVersion: apps/v1, kind: Deployment, metadata: {name: shop}, spec: {template: {spec: {containers: [{name: a, image: shop, env: [{name: RELEASE_DISTRIBUTION, value: name}]}]}}}}";
    let set = set(&[
        ("shop/mix.exs", "defmodule A do\nend"),
        (
            "shop/rel/vm.args.eex",
            "-proto_dist inet_tls\n-ssl_dist_optfile rel/ssl.conf\n",
        ),
        ("shop/rel/ssl.conf", OPTIONS),
        ("k8s/shop.yaml", pod),
    ]);
    assert_eq!(
        models(&set),
        [("Deployment shop".to_owned(), Model::MutualTls)]
    );
    assert_eq!(set.units[0].product, Product::Mix);
}

#[test]
fn the_four_models_are_told_apart() {
    let mix = |env: &str| {
        let set = set(&[("rel/env.sh.eex", env)]);
        models(&set)[0].1
    };
    assert_eq!(mix("export RELEASE_DISTRIBUTION=name"), Model::Cookie);
    assert_eq!(mix("export A=b"), Model::Cookie);
    assert_eq!(mix("export RELEASE_DISTRIBUTION=none"), Model::Off);
    assert_eq!(mix("export ERL_FLAGS='-proto_dist inet_tls'"), Model::Tls);
    assert_eq!(
        mix("set -a; . /run/skans/env/shop.env; set +a"),
        Model::Skans
    );
    assert_eq!(
        mix("export ERL_FLAGS='-proto_dist inet_tls -ssl_dist_optfile /elsewhere'"),
        Model::Unclear
    );
    assert_eq!(
        mix(
            "export ERL_FLAGS='-proto_dist inet_tls -ssl_dist_opt server_verify verify_peer server_fail_if_no_peer_cert true'"
        ),
        Model::MutualTls
    );
    assert_eq!(
        mix("export ERL_FLAGS='-proto_dist inet_tls'\nexport ERL_AFLAGS='-proto_dist inet_tls'"),
        Model::Cookie
    );
    let rabbit = set(&[("rabbitmq.conf", "a = b")]);
    assert_eq!(models(&rabbit)[0].1, Model::Cookie);
}

#[test]
fn several_files_of_flags_are_several_nodes() {
    let set = set(&[
        ("a/vm.args", "-name a@b"),
        ("a/sys.config", "[{kernel, [{inet_dist_listen_min, 1}]}]."),
        ("b/vm.args", "-sname c"),
        ("rebar.config", "{deps, []}."),
    ]);
    let titles: Vec<_> = set.units.iter().map(|unit| unit.title.as_str()).collect();
    assert_eq!(titles, ["a/vm.args", "b/vm.args"]);
    assert!(set.units[0].kernel("inet_dist_listen_min").is_some());
    assert!(set.units[1].kernel("inet_dist_listen_min").is_none());
    assert!(matches!(set.units[1].distribution(), Distribution::On(..)));
}

#[test]
fn what_watches_or_manages_a_product_is_no_node() {
    let units = |kind: &str, image: &str| {
        let text = format!(
            "apiVersion: apps/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {{template: {{spec: {{containers: [{{name: a, image: \"{image}\"}}]}}}}}}"
        );
        set(&[("a.yaml", &text)]).units.len()
    };
    for node in [
        "rabbitmq:4.1-management",
        "docker.io/bitnami/rabbitmq:4.1",
        "emqx/emqx-enterprise:6.0",
        "ghcr.io/sando38/helm-ejabberd:25.04-k8s1",
        "erlang:27",
    ] {
        assert_eq!(units("StatefulSet", node), 1, "{node}");
    }
    for other in [
        "bitnami/rabbitmq-cluster-operator:2.0",
        "kbudde/rabbitmq-exporter:1.0",
        "rabbitmqoperator/messaging-topology-operator:1.0",
        "emqx/emqx-operator-controller:2.2",
        "postgres:17",
    ] {
        assert_eq!(units("Deployment", other), 0, "{other}");
    }
    assert_eq!(units("Job", "rabbitmq:4.1-management"), 0);
}
