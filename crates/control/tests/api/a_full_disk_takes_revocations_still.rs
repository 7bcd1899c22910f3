//! The disk is full: nothing is issued that cannot be kept, and revocations and forbids go on, to the last agent.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use skans_api::v1::watch_reply::Message;
use skans_audit::merkle;
use skans_control::root;
use skans_control::setup::{self, RootIs};
use tokio_util::sync::CancellationToken;

use crate::small_disk::{SmallDisk, or_skip};
use crate::support::{DOMAIN, Plane, configuration, eventually, reason};
use crate::the_log_can_be_checked::{self, entries, log};

/// Writes until nothing more can be written.
pub fn fill(path: &Path) {
    let mut file = File::options()
        .create(true)
        .append(true)
        .open(path)
        .unwrap();
    for size in [65_536, 4096, 1] {
        while file.write_all(&vec![0; size]).is_ok() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn revocations_reach_agents_and_nothing_is_half_done() {
    if !or_skip("revocation on a full disk") {
        return;
    }
    let disk = SmallDisk::new(160);
    let dir = tempfile::tempdir().unwrap();
    let root_dir = dir.path().join("root");
    root::init(&root_dir, DOMAIN, Duration::from_secs(86_400)).unwrap();
    let config = configuration(disk.path().join("control"), &root_dir, "");
    setup::init(&config, &RootIs::Here(root_dir)).await.unwrap();
    let stopping = CancellationToken::new();
    let running = skans_control::start(config.clone(), stopping.clone())
        .await
        .unwrap();
    let plane = Plane::of(dir, config, running, stopping);
    let agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    watch
        .until(|message| matches!(message, Message::Head(_)).then_some(()))
        .await;

    let filler = disk.path().join("somebody-elses");
    let mut last = None;
    loop {
        fill(&filler);
        match agent.issue(&["rabbit@host-a"], "host-a").await {
            Ok(mut got) => last = got.remove(0).ok(),
            Err(_) => break,
        }
    }
    fill(&filler);
    let refused = plane
        .owner()
        .call(
            "POST",
            "/v1/tokens",
            Some(json!({ "person": "mia" }).to_string()),
        )
        .await;
    assert_eq!(reason(refused), "disk_full");
    for number in 1..=5_u64 {
        fill(&filler);
        let wanted = json!({ "kind": "node", "target": format!("x{number}@y"), "reason": "test" });
        plane.post("/v1/denials", wanted).await;
        watch
            .until(|message| matches!(message, Message::DenyDelta(_)).then_some(()))
            .await;
        watch
            .until(|message| matches!(message, Message::Head(_)).then_some(()))
            .await;
        watch.ack(1, number, 1).await;
        eventually("acknowledged", || async {
            plane.get(&format!("/v1/denials/{number}")).await["acknowledged"] == 1
        })
        .await;
    }
    // What is forbidden reaches them as well.
    fill(&filler);
    let node = "spiffe://lab.test/cluster/main/ns/default/sa/host-a/node/stolen";
    let forbids =
        format!("@id(\"stop\") forbid (principal in Skans::Node::\"{node}\", action, resource);");
    let wanted = json!({ "policies": forbids, "reason": "test" });
    let forbidden = plane.post("/v1/policies/forbid", wanted).await;
    let set = watch.until(|message| match message {
        Message::Policy(set) => Some(set.signed),
        _ => None,
    });
    let set = String::from_utf8_lossy(&set.await).into_owned();
    assert!(set.contains(node), "{set}");
    let refused = agent.issue(&["rabbit@host-a"], "host-a").await;
    assert!(refused.is_err(), "the disk is still full");
    // What was handed out is there, and with space all goes on.
    if let Some(last) = last {
        plane
            .get(&format!("/v1/identities/{}", last.identity().serial))
            .await;
    }
    std::fs::remove_file(&filler).unwrap();
    eventually("it goes on", || async {
        agent.issue(&["rabbit@host-a"], "host-a").await.is_ok()
    })
    .await;
    // And all of it is in the log, once.
    let (log, checkpoint) = log(&plane).await;
    let entries = entries(&plane, &log).await;
    let leaves = entries.iter().map(|entry| merkle::leaf(entry));
    assert_eq!(the_log_can_be_checked::root(leaves), checkpoint.root);
    let mut urgent: Vec<_> = (1..=5)
        .map(|number| ("identity.denied", format!("x{number}@y")))
        .collect();
    urgent.push(("policy.forbidden", format!("{}", forbidden["n"])));
    for (kind, target) in urgent {
        let told = entries.iter().filter(|entry| {
            let event: Value = serde_json::from_slice(entry).unwrap();
            event["metadata"]["event_code"] == kind && event.to_string().contains(&target)
        });
        assert_eq!(told.count(), 1, "{kind} {target}");
    }
    let mut plane = plane;
    plane.stop().await;
}
