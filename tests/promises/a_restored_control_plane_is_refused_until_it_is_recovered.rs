//! A control plane that was restored from a backup knows less than its agents: they refuse it, and go on with what they
//! know. Once its root says that it counts from now on, they accept it, whatever came after the backup.

use std::time::Duration;

use serde_json::{Value, json};
use skans_agent::admin::ControlView;
use skans_lab::traffic::Traffic;
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;

/// An agent asks again after 10 s at the longest.
const AGAIN: Duration = Duration::from_secs(40);

async fn stands(cluster: &Cluster, host: usize) -> ControlView {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    status.control.unwrap()
}

async fn renewals(cluster: &Cluster, host: usize) -> u64 {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    status.renewals
}

/// Adds a second root; waits until both agents have said that they use it.
async fn add_root(plane: &Plane, directory: &std::path::Path) {
    let pem = std::fs::read_to_string(directory.join("root.pem")).unwrap();
    let owner = plane.owner();
    let _: Value = owner
        .send("POST", "/v1/roots", &json!({"certificate": pem}))
        .await
        .unwrap();
    until(PATIENCE, "both agents have two roots", async || {
        let agents: Value = owner.get("/v1/agents").await.unwrap();
        let agents = agents["items"].as_array().unwrap().iter();
        match agents.filter(|one| one["bundle_version"] == 2).count() {
            2 => Ok(()),
            have => Err(format!("{have} do")),
        }
    })
    .await
    .unwrap();
}

/// How many roots an agent keeps.
fn roots(plane: &Plane, label: &str) -> usize {
    let text = std::fs::read_to_string(plane.state(label).join("bundle.json")).unwrap();
    text.matches("BEGIN CERTIFICATE").count()
}

#[tokio::test]
async fn agents_refuse_what_was_restored_and_accept_what_was_recovered() {
    let mut plane = Plane::start(&json!({})).await;
    // Renewed every 20 s or so; long enough to sit out what follows.
    let short = json!({"identity": {"control": {"leafLifetime": "120s"}}});
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &short).await);
    }
    let cluster = lab.start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let backup = plane.backup().await;

    // What the backup does not know: a revocation, and a root.
    let spread = plane.deny("n9@n9.lab", 30).await;
    assert_eq!(spread["acknowledged"], 2, "{spread}");
    let next = plane.make_root("next");
    add_root(&plane, &next).await;
    let marks = [0, 1].map(|host| cluster.agent(host).unwrap().log_mark());
    plane.stop().await;
    plane.restore(&backup).await;
    plane.restart().await;
    let status: Value = plane.owner().get("/v1/status").await.unwrap();
    assert!(status["read_only"].is_string(), "{status}");

    for (host, mark) in marks.into_iter().enumerate() {
        let what = "what was restored is refused";
        let agent = cluster.agent(host).unwrap();
        agent
            .wait_log(mark, what, AGAIN, |line| {
                line["reason"] == "unverifiable"
                    && line["message"]
                        .as_str()
                        .is_some_and(|text| text.contains("wanted one up to 1 or later"))
            })
            .await
            .unwrap();
        let now = stands(&cluster, host).await;
        assert_eq!((now.epoch, now.deny_sequence), (1, 1), "host {host}");
        assert_eq!(roots(&plane, ["n1", "n2"][host]), 2);
    }
    let before = [renewals(&cluster, 0).await, renewals(&cluster, 1).await];

    plane.recover().await;
    for host in 0..2 {
        until(AGAIN, "it is accepted", async || {
            let now = stands(&cluster, host).await;
            let roots = roots(&plane, ["n1", "n2"][host]);
            match (now.epoch, now.deny_sequence, now.acknowledged, roots) {
                (2, 0, 0, 1) => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
        until(AGAIN, "certificates are renewed again", async || {
            let count = renewals(&cluster, host).await;
            if count > before[host] {
                Ok(())
            } else {
                Err(format!("{count} so far"))
            }
        })
        .await
        .unwrap();
    }
    // What was lost is done again, under numbers that agents knew in the epoch before.
    let spread = plane.deny("n9@n9.lab", 30).await;
    assert_eq!(
        (&spread["agents"], &spread["acknowledged"]),
        (&json!(2), &json!(2)),
        "{spread}"
    );
    add_root(&plane, &next).await;
    for label in ["n1", "n2"] {
        assert_eq!(roots(&plane, label), 2);
    }
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!(
        (counts.nodedowns, counts.lost, counts.misplaced),
        (0, 0, 0),
        "{counts:?}"
    );
    cluster.stop().await.unwrap();
}
