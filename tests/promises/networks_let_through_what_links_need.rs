//! `skans bundle status --network-policy` prints what the links in force need of a Kubernetes network; a real API server takes it as it is.

use std::path::Path;
use std::process::Stdio;

use serde_json::{Value, json};
use skans_lab::plan::find_skans;
use skans_policy::{File, Source};

use crate::kubernetes::Kubernetes;
use crate::plane::Plane;

const POLICIES: &str = "/apis/networking.k8s.io/v1/namespaces/tests/networkpolicies";

async fn printed(plane: &Plane, more: &[&str]) -> String {
    let done = tokio::process::Command::new(find_skans().unwrap())
        .args(["bundle", "status", "--network-policy"])
        .args(more)
        .env("SKANS_CONTROL_SOCKET", plane.socket())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let done = done.await.unwrap();
    assert!(done.status.success(), "{done:?}");
    String::from_utf8(done.stdout).unwrap()
}

/// Puts a set in force with a link to each of these control planes.
async fn link(plane: &Plane, scratch: &Path, others: &[(&str, &str)]) {
    let links: Vec<_> = others
        .iter()
        .map(|(name, control)| {
            let domain = format!("{name}.test");
            let day = std::time::Duration::from_secs(24 * 3600);
            let root = scratch.join(name);
            skans_control::root::init(&root, &domain, day).unwrap();
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            json!({
                "name": name, "trustDomain": domain, "cluster": name,
                "notAfter": now.unwrap().as_secs() + 86_400,
                "bundle": {
                    "url": format!("https://{control}/v1/federation/bundle"), "profile": "https_spiffe",
                    "endpointId": format!("spiffe://{domain}/skans/control/one"),
                    "roots": std::fs::read_to_string(root.join("root.pem")).unwrap(),
                },
                "gateways": [format!("spiffe://{domain}/skans/gateway/g1")],
                "forwards": [format!("spiffe://{domain}/cluster/{name}/ns/default/sa/*/node/*")],
                "exports": [{"node": "orders@host-a", "process": "order_server"}],
                "imports": [{"alias": format!("stock@{name}"), "node": "stock@host-a", "process": "stock_server"}],
            })
        })
        .collect();
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let set = "apiVersion: skans.io/v1alpha1\nname: linked\nmode: enforce\n";
    let permits = r#"@id("all") permit(principal, action, resource);"#;
    let source = Source::read(&[
        file("set.yaml", set),
        file("open.cedar", permits),
        file("links.yaml", &json!(links).to_string()),
    ]);
    let owner = plane.owner();
    let body = json!({ "source": source.unwrap().to_canonical() });
    let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
    let path = format!("/v1/policies/{}/activate", made["n"]);
    owner.call("POST", &path, None).await.unwrap();
}

#[tokio::test]
async fn a_real_server_takes_what_is_printed() {
    let server = Kubernetes::start();
    let plane = Plane::start(&json!({"trustDomain": "ours.test", "cluster": "ours"})).await;
    // Before anything is linked there is what denies.
    let text = printed(&plane, &[]).await;
    assert!(text.contains("there is none in force"), "{text}");
    let scratch = tempfile::tempdir().unwrap();
    let others = [
        ("theirs", "10.77.1.9:8443"),
        ("named", "skans.named.test:8443"),
    ];
    link(&plane, scratch.path(), &others).await;
    let gateway = json!({
        "apiVersion": "skans.io/v1alpha1", "trustDomain": "ours.test", "cluster": "ours",
        "gateway": {"name": "g1@gw", "routes": {
            "theirs": ["10.77.1.5:4371", "[fd77::5]:4371"], "named": ["gw.named.test:4371"],
        }},
        "identity": {"control": {"joinToken": "gateway.token"}},
    });
    let file = scratch.path().join("gateway.yaml");
    std::fs::write(&file, gateway.to_string()).unwrap();
    let text = printed(&plane, &["--gateway", file.to_str().unwrap()]).await;
    let made = server.apply(POLICIES, &text);
    let names: Vec<_> = made
        .iter()
        .map(|one| one["metadata"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "skans-gateway",
            "skans-agent",
            "skans-control",
            "skans-gateway-theirs",
            "skans-control-theirs",
            "skans-gateway-named",
            "skans-control-named"
        ]
    );
    // As the server understood it: what it does not know of a rule would be a rule for everybody.
    let spec = |name: &str| {
        let found = made.iter().find(|one| one["metadata"]["name"] == *name);
        found.unwrap()["spec"].clone()
    };
    let tcp = |port: u16| json!([{"protocol": "TCP", "port": port}]);
    let both = json!([{"ipBlock": {"cidr": "10.77.1.5/32"}}, {"ipBlock": {"cidr": "fd77::5/128"}}]);
    let theirs = spec("skans-gateway-theirs");
    assert_eq!(
        (&theirs["ingress"], &theirs["egress"]),
        (
            &json!([{"from": both, "ports": tcp(4371)}]),
            &json!([{"to": both, "ports": tcp(4371)}])
        )
    );
    for name in ["skans-gateway-named", "skans-control-named"] {
        // Only names are known there: no rule, and told. The server drops empty lists.
        let closed = spec(name);
        assert_eq!(closed["policyTypes"], json!(["Ingress", "Egress"]));
        assert!(
            closed["ingress"].is_null() && closed["egress"].is_null(),
            "{closed}"
        );
    }
    assert!(text.contains("# gw.named.test:4371 (gateway.routes) is a name"));
    assert!(text.contains("# skans.named.test:8443 (bundle.url of link named) is a name"));
    for one in &made {
        for rules in [&one["spec"]["ingress"], &one["spec"]["egress"]] {
            for rule in rules.as_array().into_iter().flatten() {
                // A rule without peers or ports is for all of them.
                let peers = rule["from"].as_array().or(rule["to"].as_array());
                assert!(peers.is_some_and(|peers| !peers.is_empty()), "{one}");
                assert!(rule["ports"].as_array().is_some(), "{one}");
            }
        }
    }
}
