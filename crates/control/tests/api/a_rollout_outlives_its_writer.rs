//! Whichever replica dies in the middle of a roll-out: what agents found is not lost, another goes on with it, and each step is made once.

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::a_set_is_rolled_out_in_steps::{Compiled, KINDS, Sim, set};
use crate::cluster::Cluster;
use crate::replicas::{Replica, Replicas};
use crate::support::{PATIENCE, eventually};

async fn rollout(replica: &Replica) -> Value {
    replica.get("/v1/rollout").await
}

/// Everybody calls everybody, and tells of it, until it is so.
async fn until(sims: &[Sim], at: &Replica, what: &str, is: impl Fn(&Value) -> bool) -> Value {
    let deadline = Instant::now() + PATIENCE;
    loop {
        for (from, to) in [(0, 1), (1, 0)] {
            let hosts = [from, to].map(|n| format!("host-{n}"));
            for kind in 0..KINDS {
                sims[from].judge(&hosts[0], &hosts[1], Some(kind), 1);
                sims[to].judge(&hosts[0], &hosts[1], Some(kind), 1);
            }
        }
        for sim in sims {
            sim.report().await;
        }
        let found = rollout(at).await;
        if is(&found) {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: {found}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
}

async fn begin(replica: &Replica, number: u64, candidate: impl Iterator<Item = usize>) {
    let source = set("next", candidate, &[]).to_canonical();
    let made = replica
        .post("/v1/policies", json!({ "source": source }))
        .await;
    assert_eq!(made["n"], number);
    let plan =
        json!({ "dry_run": 0, "cohorts": "host-0", "time": 1, "decisions": 1000, "trigger": 100 });
    replica
        .post(&format!("/v1/policies/{number}/rollout"), plan)
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_goes_on_with_it_and_with_what_agents_found() {
    let mut replicas = Replicas::new(Cluster::shared(), "rollout", 3).await;
    let compiled = Compiled::default();
    let mut sims = Vec::new();
    // Both at the last one, which is there to the end.
    for n in 0..2 {
        let host = format!("host-{n}");
        let mut agent = replicas.all[0].agent(&host).await;
        agent.address = replicas.all[2].address();
        sims.push(Sim::of(agent, &host, &compiled).await);
    }
    begin(&replicas.all[0], 2, 0..KINDS).await;
    eventually("the cohort has it", || async {
        (sims[0].number(), sims[1].number()) == (2, 1)
    })
    .await;
    assert_eq!(rollout(&replicas.all[2]).await["stage"], "cohort-1");
    let status: Value = replicas.all[0].get("/v1/status").await;
    assert_eq!(status["writer"], "c1");
    replicas.all[0].stop().await;
    let over = |found: &Value| found["outcome"] != "";
    let done = until(&sims, &replicas.all[2], "it is done", over).await;
    assert_eq!(
        (&done["outcome"], &done["held"]),
        (&json!("done"), &json!(""))
    );
    eventually("both have it", || async {
        sims.iter().all(|sim| sim.number() == 2)
    })
    .await;

    // One that breaks what is good; the next one dies as soon as that was told.
    begin(&replicas.all[1], 3, 1..KINDS).await;
    eventually("the cohort has it", || async { sims[0].number() == 3 }).await;
    let told = |found: &Value| found["weight"].as_u64() > Some(0);
    let before = until(&sims, &replicas.all[1], "it is heard", told).await;
    replicas.all[1].stop().await;
    let stands = |found: &Value| found["held"] != "" || found["outcome"] != "";
    let held = until(&sims, &replicas.all[2], "it stands still", stands).await;
    assert_eq!(
        (&held["outcome"], &held["stage"]),
        (&json!(""), &json!("cohort-1")),
        "two nodes take nothing back: {held}"
    );
    assert!(held["weight"].as_u64() >= before["weight"].as_u64());
    assert_eq!(sims[1].number(), 2, "no further than its cohort");
    // The first set by whoever made the control plane, the second by the one who was the writer then.
    for (kind, times) in [
        ("policy.rollout.started", 2),
        ("policy.activated", 2),
        ("policy.rollout.held", 1),
    ] {
        let events = replicas.all[2].events(kind).await;
        assert_eq!(events.len(), times, "{kind}: {events:?}");
    }
    replicas.stop().await;
}
