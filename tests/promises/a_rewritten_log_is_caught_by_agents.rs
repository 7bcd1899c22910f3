//! Whoever has the control plane's database and its keys can write its log anew, with checkpoints that are valid. Where there is no
//! other witness, each agent is one: it remembers what it saw.

use std::time::Duration;

use serde_json::{Value, json};
use skans_agent::admin::ControlView;
use skans_lab::traffic::Traffic;
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;

/// A head comes every 10 s, and an agent looks for a control plane that was away after as many at the longest.
const A_HEAD: Duration = Duration::from_secs(40);

async fn stands(cluster: &Cluster, host: usize) -> ControlView {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    status.control.unwrap()
}

/// Waits until both agents have seen so many entries. Gives the least that one has seen.
async fn seen(cluster: &Cluster, least: u64) -> u64 {
    let mut seen = [0; 2];
    until(
        A_HEAD,
        "both agents have seen more of the log",
        async || {
            for (host, seen) in seen.iter_mut().enumerate() {
                *seen = stands(cluster, host).await.log_size;
            }
            if seen.iter().all(|seen| *seen >= least) {
                Ok(())
            } else {
                Err(format!("{seen:?}, wanted {least}"))
            }
        },
    )
    .await
    .unwrap();
    seen[0].min(seen[1])
}

#[tokio::test]
async fn an_agent_tells_of_a_log_that_no_longer_begins_as_it_did() {
    let mut plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let mut cluster = lab.start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let before = seen(&cluster, 1).await;

    // What only grows is nothing to tell of, also when its control plane was away.
    plane.stop().await;
    plane.restart().await;
    plane.deny("n9@n9.lab", 30).await;
    let grown = seen(&cluster, before + 1).await;
    for host in 0..2 {
        assert_eq!(stands(&cluster, host).await.log_forked, None);
    }

    // One event says something else, and the control plane, with its own key, makes a log of them as if nothing had been.
    plane.stop().await;
    let marks = [0, 1].map(|host| cluster.agent(host).unwrap().log_mark());
    plane.sql(
        "UPDATE events SET body = replace(body, 'time', 'emit') WHERE seq = (SELECT min(seq) FROM events);
         DELETE FROM log_tiles; DELETE FROM log_bundles;
         UPDATE logs SET size = 0, last_seq = after_seq, signed_size = 0, checkpoint = ''",
    );
    plane.restart().await;
    let made_anew: Value = plane.owner().get("/v1/audit/logs").await.unwrap();
    assert_eq!(
        made_anew["items"].as_array().unwrap().len(),
        1,
        "{made_anew}"
    );
    for (host, mark) in marks.into_iter().enumerate() {
        until(A_HEAD, "the agent tells of it", async || {
            let now = stands(&cluster, host).await;
            now.log_forked.map(drop).ok_or_else(|| format!("{now:?}"))
        })
        .await
        .unwrap();
        let agent = cluster.agent(host).unwrap();
        agent
            .wait_log(mark, "it says so", PATIENCE, |line| {
                line["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("was rewritten"))
            })
            .await
            .unwrap();
        // What it remembers is what it saw.
        assert!(stands(&cluster, host).await.log_size >= grown);
        let kept = std::fs::read_to_string(plane.state(["n1", "n2"][host]).join("checkpoint.json"));
        let kept: Value = serde_json::from_str(&kept.unwrap()).unwrap();
        assert_ne!(kept["fork"]["remembered"], kept["fork"]["shown"]);
        assert_eq!(kept["fork"]["remembered"], kept["checkpoint"]);
        let finding = |event: &Value| event["class_uid"] == 2004;
        agent
            .wait_event("it is an event", PATIENCE, finding)
            .await
            .unwrap();
    }
    // Links are another matter: who can rewrite a log could otherwise take a cluster down.
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!((counts.lost, counts.nodedowns), (0, 0), "{counts:?}");
    // And it is not forgotten.
    cluster.kill_agent(0).await.unwrap();
    cluster.start_agent(0).await.unwrap();
    assert!(stands(&cluster, 0).await.log_forked.is_some());
}

#[tokio::test]
async fn an_agent_tells_of_a_log_that_was_cut() {
    let mut plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let before = seen(&cluster, 1).await;
    for number in 0..20 {
        plane.deny(&format!("n9@n{number}.lab"), 30).await;
    }
    let grown = seen(&cluster, before + 20).await;
    plane.stop().await;
    // Its last events are gone, and nothing shows it.
    plane.sql(
        "DELETE FROM events WHERE seq > (SELECT min(seq) + 3 FROM events) AND seq < (SELECT max(seq) FROM events);
         DELETE FROM log_tiles; DELETE FROM log_bundles;
         UPDATE logs SET size = 0, last_seq = after_seq, signed_size = 0, checkpoint = ''",
    );
    plane.restart().await;
    for host in 0..2 {
        until(A_HEAD, "the agent tells of it", async || {
            let now = stands(&cluster, host).await;
            now.log_forked.map(drop).ok_or_else(|| format!("{now:?}"))
        })
        .await
        .unwrap();
        assert!(stands(&cluster, host).await.log_size >= grown);
    }
}
