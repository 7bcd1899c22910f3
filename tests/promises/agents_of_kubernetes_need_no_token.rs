//! On Kubernetes an agent enrols with the token that the kubelet gives its pod, and trusts the roots of a ConfigMap. The API
//! server is a real one.

use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::{HostPlan, NodePlan, until};
use skans_promises::{PATIENCE, plan};

use crate::kubernetes::Kubernetes;
use crate::plane::Plane;

#[tokio::test]
async fn a_pod_gets_the_names_that_its_service_account_may_carry() {
    let server = Kubernetes::start();
    server.service_account("skans");
    server.may_review("skans");
    let own = server.token("skans", "https://kubernetes.default.svc", None);
    let plane = Plane::start(&json!({"kubernetes": {
        "address": server.address(),
        "authorities": server.authorities(),
        "token": private(&server, "control", &own),
        "audience": "skans",
    }}))
    .await;
    let mut lab = plan();
    for label in ["n1", "n2"] {
        server.service_account(label);
        let name = format!("{label}@{label}.lab");
        let body = json!({
            "name": label, "kubernetes": format!("tests/{label}"),
            "names": [name], "workload": "lab", "cli": true,
        });
        let _: Value = plane
            .owner()
            .send("POST", "/v1/registrations", &body)
            .await
            .unwrap();
        let uid = server.pod(label, label);
        let token = server.token(label, "skans", Some((label, &uid)));
        let node = NodePlan::new(&name).config(&json!({"workload": "lab"}));
        lab = lab.host(HostPlan::new(label).node(node).config(&json!({"identity": {
            "authority": null,
            "control": {
                "addresses": [plane.address().to_string()],
                "stateDirectory": plane.state(label),
                "kubernetes": {
                    "tokenFile": private(&server, &format!("{label}.token"), &token),
                    "bundleFile": plane.root(),
                },
            },
        }})));
    }
    let cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}

/// Another control plane with a good certificate of its own, or a token for somebody else, is not believed.
#[tokio::test]
async fn neither_a_stranger_nor_a_token_for_a_stranger_is_believed() {
    let plane = Plane::start(&json!({})).await;
    let stranger = Plane::start(&json!({})).await;
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "not.a.token").unwrap();
    let agent = |addresses: String, label: &str| {
        let node = NodePlan::new("n1@n1.lab").not_started();
        HostPlan::new("n1").node(node).config(&json!({"identity": {
            "authority": null,
            "control": {
                "addresses": [addresses], "stateDirectory": directory.path().join(label),
                "kubernetes": {"tokenFile": token, "bundleFile": plane.root()},
            },
        }}))
    };
    let cases = [
        (agent(stranger.address().to_string(), "a"), "unknown issuer"),
        (
            agent(plane.address().to_string(), "b"),
            "Kubernetes is not configured here",
        ),
    ];
    for (host, why) in cases {
        let cluster = plan().host(host).start().await.unwrap();
        let status = until(Duration::from_secs(20), "the agent says why", async || {
            let status = cluster.agent(0).unwrap().status().await.unwrap();
            let control = status.control.unwrap();
            control
                .trouble
                .ok_or_else(|| format!("{:?}", control.identity))
        })
        .await
        .unwrap();
        assert!(status.contains(why), "{status}");
        cluster.stop().await.unwrap();
    }
}

/// A file that nobody else can read.
fn private(server: &Kubernetes, name: &str, text: &str) -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let path = server.file(name, text);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}
