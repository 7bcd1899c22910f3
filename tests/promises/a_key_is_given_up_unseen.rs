//! A node whose key may be known to somebody else gets another, its live links move to it, and then the old key is good for nothing:
//! no node notices. If the old key is denied before, the node is back with another at once.

use std::path::PathBuf;

use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use skans_identity::credential::Credential;
use skans_lab::traffic::Traffic;
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;

/// The certificate that the agent of a host keeps for its node.
fn kept(plane: &Plane, label: &str) -> Credential {
    let nodes = plane.state(label).join("nodes");
    let files = std::fs::read_dir(nodes).unwrap();
    let paths: Vec<PathBuf> = files.map(|entry| entry.unwrap().path()).collect();
    let kept = paths.iter().filter_map(|path| {
        let text = std::fs::read(path).ok()?;
        Credential::from_pem(&text, &text, UnixTime::now()).ok()
    });
    let end = format!("/node/{label}");
    let mut kept = kept.filter(|kept| kept.identity().id.as_str().ends_with(&end));
    kept.next().unwrap()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Has whoever has this key get another one, and then denies it.
async fn give_up(plane: &Plane, key: &[u8; 32]) {
    let body = json!({"kind": "key", "target": hex(key), "reason": "a test", "keep_links": true});
    let owner = plane.owner();
    let opened: Value = owner.send("POST", "/v1/incidents", &body).await.unwrap();
    assert_eq!(opened["state"], "renewing", "{opened}");
}

/// All links of all hosts: which host, its number there, and the serial number at the other end.
async fn links(cluster: &Cluster) -> Vec<(usize, u64, String, String)> {
    let mut all = Vec::new();
    for host in cluster.running_agents() {
        let links = cluster.agent(host).unwrap().links().await.unwrap();
        all.extend(
            links
                .into_iter()
                .map(|link| (host, link.id, link.peer, link.serial)),
        );
    }
    all.sort();
    all
}

async fn deny(plane: &Plane, key: &[u8; 32]) -> Value {
    let body = json!({"kind": "key", "target": hex(key), "reason": "a test"});
    let owner = plane.owner();
    let made: Value = owner.send("POST", "/v1/denials", &body).await.unwrap();
    let path = format!("/v1/denials/{}?wait=30", made["seq"]);
    owner.get(&path).await.unwrap()
}

#[tokio::test]
async fn a_key_is_given_up_under_traffic_and_then_denied_and_no_link_drops() {
    let plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2", "n3"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let before = links(&cluster).await;
    let stolen = kept(&plane, "n2").identity().clone();
    let marks: Vec<_> = (0..3)
        .map(|host| cluster.agent(host).unwrap().log_mark())
        .collect();
    give_up(&plane, &stolen.spki_sha256).await;
    until(PATIENCE, "no link shows the old key", async || {
        let now = links(&cluster).await;
        match now.iter().find(|(.., serial)| *serial == stolen.serial) {
            None => Ok(()),
            Some(link) => Err(format!("{link:?}")),
        }
    })
    .await
    .unwrap();
    // In its own time it would be renewed after ten minutes, and links would move after half an hour.
    let fresh = kept(&plane, "n2").identity().clone();
    assert_ne!(fresh.spki_sha256, stolen.spki_sha256);
    // Nobody else was renewed.
    for (host, mark) in marks.into_iter().enumerate() {
        let lines = cluster.agent(host).unwrap().log_since(mark).unwrap();
        let renewed = lines
            .iter()
            .filter(|line| line["message"] == "certificate renewed");
        let names: Vec<_> = renewed.map(|line| line["name"].as_str().unwrap()).collect();
        let wanted: &[&str] = if host == 1 { &["n2@n2.lab"] } else { &[] };
        assert_eq!(names, wanted, "host {host}");
    }
    let path = "/v1/incidents/1?wait=60";
    let ended: Value = plane.owner().get(path).await.unwrap();
    assert_eq!(ended["state"], "over", "{ended:#}");
    let after = links(&cluster).await;
    let same = |links: &[(usize, u64, String, String)]| {
        let kept = links
            .iter()
            .map(|(host, id, peer, _)| (*host, *id, peer.clone()));
        kept.collect::<Vec<_>>()
    };
    assert_eq!(same(&after), same(&before), "the same links as before");
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!(
        (counts.nodedowns, counts.lost, counts.misplaced),
        (0, 0, 0),
        "{counts:?}"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn who_is_denied_by_its_key_alone_has_another_at_once() {
    let plane = Plane::start(&json!({})).await;
    let silent = json!({"links": {"silence": "500ms"}});
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &silent).await);
    }
    let cluster = lab.start().await.unwrap();
    let stolen = kept(&plane, "n2").identity().clone();
    let spread = deny(&plane, &stolen.spki_sha256).await;
    assert_eq!(spread["acknowledged"], 2, "{spread}");
    until(PATIENCE, "another key", async || {
        let now = kept(&plane, "n2").identity().spki_sha256;
        (now != stolen.spki_sha256)
            .then_some(())
            .ok_or("the old one".to_owned())
    })
    .await
    .unwrap();
    let n1 = cluster.node(0).unwrap();
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}
