//! Several replicas over one PostgreSQL: any of them enrols, issues and revokes; what one writes, agents of all hear of.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_api::v1::watch_reply::Message;
use skans_identity::policy_set::{PolicySet, SignedSet};
use skans_policy::Source;
use tokio::task::JoinSet;

use crate::cluster::Cluster;
use crate::replicas::{Replica, Replicas};
use crate::support::{PATIENCE, eventually};

async fn status(replica: &Replica) -> Value {
    replica.owner().get("/v1/status").await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_writes_agents_of_all_hear_of() {
    let mut replicas = Replicas::new(Cluster::shared(), "hear", 3).await;
    let mut agents = Vec::new();
    let mut watches = Vec::new();
    for (number, replica) in replicas.all.iter().enumerate() {
        // Enrolled at one, served by another.
        let mut agent = replica.agent(&format!("host-{number}")).await;
        agent.address = replicas.all[(number + 1) % 3].address();
        agent.renew().await.unwrap();
        let mut watch = agent.watch().await;
        watch
            .until(|message| matches!(message, Message::Head(_)).then_some(()))
            .await;
        agents.push(agent);
        watches.push(watch);
    }
    let mut slowest = Duration::ZERO;
    for (number, replica) in replicas.all.iter().enumerate() {
        let began = Instant::now();
        let node = format!("x{number}@host-x");
        replica
            .post(
                "/v1/denials",
                json!({ "kind": "node", "target": node, "reason": "test" }),
            )
            .await;
        for watch in &mut watches {
            watch
                .until(|message| matches!(message, Message::DenyDelta(_)).then_some(()))
                .await;
            watch
                .until(|message| matches!(message, Message::Head(_)).then_some(()))
                .await;
        }
        slowest = slowest.max(began.elapsed());
    }
    // A policy set: proposed at one, put in force at another, countersigned by each.
    let source = Source {
        name: "second".into(),
        ..Source::same_cluster_members("lab.test", "main")
    };
    let body = json!({ "source": source.to_canonical() });
    let made = replicas.all[0].post("/v1/policies", body).await;
    let path = format!("/v1/policies/{}/activate", made["n"]);
    let began = Instant::now();
    replicas.all[1].post(&path, json!({})).await;
    for watch in &mut watches {
        let signed = watch
            .until(|message| match message {
                Message::Policy(set) => Some(set.signed),
                _ => None,
            })
            .await;
        let set = SignedSet::decode(&signed).unwrap().set;
        assert_eq!(PolicySet::decode(&set).unwrap().version.n, 2);
    }
    println!("a policy set over three replicas: {:?}", began.elapsed());
    println!("slowest of three revocations over three replicas: {slowest:?}");
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    for replica in &replicas.all {
        assert_eq!(status(replica).await["deny_seq"], 3);
    }
    replicas.stop().await;
}

/// Nothing twice, nothing that was acknowledged lost, and revocations go on, while the writer dies and is replaced.
#[tokio::test(flavor = "multi_thread")]
async fn the_writer_dies_under_load() {
    let mut replicas = Replicas::new(Cluster::shared(), "dies", 3).await;
    let first = status(&replicas.all[1]).await["writer"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(first, "c1");
    let agent = Arc::new(replicas.all[1].agent("host-a").await);
    let over = Arc::new(AtomicBool::new(false));
    let issued = Arc::new(AtomicUsize::new(0));
    let mut load = JoinSet::new();
    for number in 0..4 {
        let (agent, over, issued) = (Arc::clone(&agent), Arc::clone(&over), Arc::clone(&issued));
        load.spawn(async move {
            let mut serials = Vec::new();
            while !over.load(Ordering::Relaxed) {
                let name = format!("n{number}@host-a");
                let got = agent
                    .issue(&[&name], "host-a")
                    .await
                    .unwrap()
                    .remove(0)
                    .unwrap();
                serials.push(got.identity().serial.clone());
                issued.fetch_add(1, Ordering::Relaxed);
            }
            serials
        });
    }
    let some = |least: usize| {
        let issued = Arc::clone(&issued);
        async move { issued.load(Ordering::Relaxed) >= least }
    };
    eventually("load", || some(10)).await;
    replicas.all[0].stop().await;
    // The others take the fence at once when they need it, not when the silence is noticed.
    let began = Instant::now();
    replicas.all[2]
        .post(
            "/v1/denials",
            json!({ "kind": "node", "target": "x@y", "reason": "test" }),
        )
        .await;
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(status(&replicas.all[2]).await["writer"], "c3");
    let so_far = issued.load(Ordering::Relaxed);
    eventually("more load", || some(so_far + 10)).await;
    over.store(true, Ordering::Relaxed);
    let mut serials: Vec<String> = load.join_all().await.into_iter().flatten().collect();
    let count = serials.len();
    serials.sort();
    serials.dedup();
    assert_eq!(serials.len(), count, "a serial number twice");
    for serial in &serials {
        let row: Value = replicas.all[2]
            .owner()
            .get(&format!("/v1/identities/{serial}"))
            .await
            .unwrap();
        assert_eq!(row["serial"], *serial);
    }
    replicas.stop().await;
}

/// PostgreSQL goes and comes back: who watches stays, what cannot be kept is not handed out, and all goes on by itself.
#[tokio::test(flavor = "multi_thread")]
async fn the_database_goes_and_comes_back() {
    let cluster = Cluster::start();
    let mut replicas = Replicas::new(&cluster, "goes", 1).await;
    let replica = &replicas.all[0];
    let mut agent = replica.agent("host-a").await;
    let mut watch = agent.watch().await;
    watch
        .until(|message| matches!(message, Message::Head(_)).then_some(()))
        .await;
    tokio::task::block_in_place(|| cluster.stop());
    let refused = tokio::time::timeout(PATIENCE, agent.renew()).await.unwrap();
    assert!(refused.is_err());
    let wanted = json!({ "kind": "node", "target": "x@y", "reason": "" }).to_string();
    assert!(
        replica
            .owner()
            .call("POST", "/v1/denials", Some(wanted))
            .await
            .is_err()
    );
    tokio::task::block_in_place(|| cluster.resume());
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = agent.renew().await {
        assert!(Instant::now() < deadline, "{error}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    replica
        .post(
            "/v1/denials",
            json!({ "kind": "node", "target": "x@y", "reason": "test" }),
        )
        .await;
    watch
        .until(|message| matches!(message, Message::DenyDelta(_)).then_some(()))
        .await;
    replicas.stop().await;
}
