//! An agent whose disk is full counts what it cannot keep, says so when there is room, and revokes as ever; one of class `strict`, or that
//! requires its events, opens no new links meanwhile.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;
use crate::small_disk::{SmallDisk, or_skip};

const COME: &str = "net_kernel:connect_node('n2@n2.lab')";
const GO: &str = "erlang:disconnect_node('n2@n2.lab')";

/// Writes until nothing more can be written.
fn fill(path: &Path) {
    let mut options = File::options();
    let mut file = options.create(true).append(true).open(path).unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

/// Two hosts; the first one's state is on a disk of its own.
async fn start(disk: &SmallDisk, own: &Value) -> (Plane, Cluster) {
    let plane = Plane::start(&json!({})).await;
    let small = json!({
        "identity": {"control": {"stateDirectory": disk.path().join("state")}},
        "events": {"spool": 1024 * 1024},
    });
    let first = plane.host("n1", &small).await.config(own);
    let second = plane.host("n2", &json!({})).await;
    let cluster = plan().host(first).host(second).start().await.unwrap();
    (plane, cluster)
}

async fn eval(cluster: &Cluster, node: usize, what: &str) -> String {
    let node = cluster.node(node).unwrap();
    node.eval(what, PATIENCE).await.unwrap()
}

/// The standing of the first host's events.
async fn standing(cluster: &Cluster) -> skans_agent::admin::EventsView {
    let status = cluster.agent(0).unwrap().status().await.unwrap();
    status.control.unwrap().events.unwrap()
}

async fn comes_and_goes(cluster: &Cluster) {
    eval(cluster, 0, COME).await;
    eval(cluster, 0, GO).await;
}

#[tokio::test]
async fn what_is_lost_is_counted_and_revocations_hold() {
    if !or_skip("an agent with a full disk") {
        return;
    }
    let disk = SmallDisk::new(4);
    let (mut plane, cluster) = start(&disk, &json!({})).await;
    comes_and_goes(&cluster).await;
    plane.stop().await;
    let filler = disk.path().join("somebody-elses");
    until(
        Duration::from_secs(120),
        "an event to be lost",
        async || {
            fill(&filler);
            for _ in 0..20 {
                comes_and_goes(&cluster).await;
            }
            let standing = standing(&cluster).await;
            if standing.lost > 0 {
                Ok(())
            } else {
                Err(format!("{standing:?}"))
            }
        },
    )
    .await
    .unwrap();
    // Class available: links go on, and new ones come.
    assert_eq!(eval(&cluster, 0, COME).await, "true");
    assert_eq!(cluster.agent(0).unwrap().links().await.unwrap().len(), 1);

    // Revocations are in force all the same.
    plane.restart().await;
    fill(&filler);
    let wanted = json!({"kind": "node", "target": "n2@n2.lab", "reason": "test"});
    let _: Value = plane
        .owner()
        .send("POST", "/v1/denials", &wanted)
        .await
        .unwrap();
    until(PATIENCE, "the link to end", async || {
        let links = cluster.agent(0).unwrap().links().await;
        match links.map_err(|error| error.to_string())?.as_slice() {
            [] => Ok(()),
            some => Err(format!("{some:?}")),
        }
    })
    .await
    .unwrap();

    std::fs::remove_file(&filler).unwrap();
    until(Duration::from_secs(90), "all to be told", async || {
        let standing = standing(&cluster).await;
        let said = said(&cluster);
        let unkept = unkept(&cluster);
        if standing.can_be_kept && standing.waiting == 0 && said >= unkept && unkept > 0 {
            Ok(())
        } else {
            Err(format!("{standing:?}, {said} of {unkept} said"))
        }
    })
    .await
    .unwrap();
    assert_eq!(said(&cluster), unkept(&cluster), "as many as there were");
    // And in the log as in the file: what was kept, what was lost, and the revocation.
    let page: Value = plane.owner().get("/v1/events?limit=1000").await.unwrap();
    let items = page["items"].as_array().unwrap();
    let lost = items
        .iter()
        .filter(|one| one["kind"] == "agent.events.lost");
    let lost = lost.filter_map(|one| one["body"]["count"].as_u64());
    assert_eq!(lost.sum::<u64>(), unkept(&cluster));
    let revoked = |one: &Value| one["kind"] == "agent.revocation.in_force";
    assert!(items.iter().any(revoked), "{items:#?}");
    cluster.stop().await.unwrap();
}

/// Events in the file that no spool has.
fn unkept(cluster: &Cluster) -> u64 {
    let events = cluster.agent(0).unwrap().events().unwrap();
    let without = events.iter().filter(|one| one["metadata"]["uid"].is_null());
    without.count() as u64
}

/// How many were said to be lost.
fn said(cluster: &Cluster) -> u64 {
    let events = cluster.agent(0).unwrap().events().unwrap();
    let lost = events
        .iter()
        .filter(|one| one["activity_name"] == "Events lost");
    lost.filter_map(|one| one["count"].as_u64()).sum()
}

#[tokio::test]
async fn class_strict_opens_no_new_links_until_there_is_room() {
    if or_skip("an agent of class strict with a full disk") {
        opens_no_new_links(&json!({"identity": {"control": {"class": "strict"}}})).await;
    }
}

#[tokio::test]
async fn whoever_requires_events_opens_no_new_links_until_there_is_room() {
    if or_skip("an agent that requires its events with a full disk") {
        opens_no_new_links(&json!({"events": {"required": true}})).await;
    }
}

async fn opens_no_new_links(own: &Value) {
    let disk = SmallDisk::new(4);
    let (mut plane, cluster) = start(&disk, own).await;
    plane.stop().await;
    let filler = disk.path().join("somebody-elses");
    until(
        Duration::from_secs(120),
        "a link to be refused",
        async || {
            fill(&filler);
            for _ in 0..20 {
                comes_and_goes(&cluster).await;
            }
            let standing = standing(&cluster).await;
            if standing.can_be_kept {
                Err(format!("{standing:?}"))
            } else {
                Ok(())
            }
        },
    )
    .await
    .unwrap();
    assert_eq!(eval(&cluster, 0, COME).await, "false");
    let why = |line: &Value| line["reason"] == "no_room_for_events";
    let agent = cluster.agent(0).unwrap();
    agent.wait_log(0, "why", PATIENCE, why).await.unwrap();
    std::fs::remove_file(&filler).unwrap();
    until(PATIENCE, "a new link", async || {
        match eval(&cluster, 0, COME).await.as_str() {
            "true" => Ok(()),
            other => Err(other.to_owned()),
        }
    })
    .await
    .unwrap();
    cluster.stop().await.unwrap();
}
