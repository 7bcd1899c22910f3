//! An agent with a join token gets its nodes' certificates from the control plane, renews them unseen, lives through its
//! absence, and comes back from what it has kept.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::json;
use skans_agent::admin::ask;
use skans_lab::{Cluster, until};
use skans_promises::{PATIENCE, plan};

use crate::plane::Plane;

/// Counts the `nodedown`s that a node sees.
const COUNT: &str = "register(watch, spawn(fun() -> net_kernel:monitor_nodes(true), \
    (fun L(N) -> receive {nodedown, _} -> L(N + 1); {seen, P} -> P ! {downs, N}, L(N) end end)(0) end)), ok";
const DOWNS: &str = "watch ! {seen, self()}, receive {downs, N} -> N end";

async fn ends(cluster: &Cluster, host: usize) -> BTreeMap<String, u64> {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    let certificates = status.certificates.into_iter();
    certificates.map(|one| (one.node, one.not_after)).collect()
}

fn now() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

/// `skans_outage_budget_seconds`, as it is scraped.
async fn budget(cluster: &Cluster, host: usize) -> u64 {
    let socket = &cluster.agent(host).unwrap().files().socket;
    let metrics = ask(socket, "GET", "/metrics", "").await.unwrap();
    let value = metrics.lines().find_map(|line| {
        line.strip_prefix("skans_outage_budget_seconds ")?
            .parse()
            .ok()
    });
    value.unwrap_or_else(|| panic!("no budget in {metrics}"))
}

#[tokio::test]
async fn a_token_is_all_that_an_agent_needs() {
    let plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    assert_eq!(
        n1.eval("net_adm:ping('n2@n2.lab')", PATIENCE)
            .await
            .unwrap(),
        "pong"
    );
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    assert_eq!(
        links[0].identity,
        "spiffe://lab.test/cluster/lab/ns/default/sa/lab/node/n2"
    );
    // What stands on disk is nobody else's business.
    use std::os::unix::fs::MetadataExt;
    for entry in std::fs::read_dir(plane.state("n1")).unwrap() {
        let meta = entry.unwrap().metadata().unwrap();
        let wanted = if meta.is_dir() { 0o700 } else { 0o600 };
        assert_eq!(meta.mode() & 0o777, wanted);
    }
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn certificates_rotate_and_no_node_notices() {
    let plane = Plane::start(&json!({})).await;
    let short = json!({"identity": {"control": {"leafLifetime": "15s"}}});
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &short).await);
    }
    let cluster = lab.start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(COUNT, PATIENCE).await.unwrap(), "ok");
    let first = ends(&cluster, 0).await;
    until(
        Duration::from_secs(60),
        "two lives have passed",
        async || {
            let past = first.values().max().unwrap() + 20;
            if now() > past {
                Ok(())
            } else {
                Err(format!("until {past}"))
            }
        },
    )
    .await
    .unwrap();
    assert_eq!(n1.eval(DOWNS, PATIENCE).await.unwrap(), "0");
    let links = cluster.agent(0).unwrap().links().await.unwrap();
    assert_eq!(links.len(), 1);
    assert!(
        links[0].not_after > now(),
        "the link lives on certificates of today"
    );
    cluster.stop().await.unwrap();
}

#[tokio::test]
async fn an_absence_within_the_budget_breaks_nothing_and_one_beyond_it_heals() {
    let mut plane = Plane::start(&json!({})).await;
    let short = json!({"identity": {"control": {"leafLifetime": "20s"}}});
    let mut lab = plan();
    for label in ["n1", "n2"] {
        lab = lab.host(plane.host(label, &short).await);
    }
    let mut cluster = lab.start().await.unwrap();
    assert_eq!(
        cluster
            .node(0)
            .unwrap()
            .eval(COUNT, PATIENCE)
            .await
            .unwrap(),
        "ok"
    );
    plane.stop().await;
    // The two were not certified at the same time: whoever was first ends first, and what both need ends with it.
    let mut lives = Vec::new();
    for host in [0, 1] {
        let left = ends(&cluster, host).await;
        lives.push((*left.values().min().unwrap(), host));
    }
    let (first_end, first_host) = lives.into_iter().min().unwrap();
    // The metric counts down to the second, and everything goes on.
    let mut seen = BTreeSet::new();
    until(
        Duration::from_secs(40),
        "80 % of a life have passed",
        async || {
            let before = first_end.saturating_sub(now());
            let budget = budget(&cluster, first_host).await;
            let after = first_end.saturating_sub(now());
            assert!(
                (after..=before).contains(&budget),
                "{budget}, between {after} and {before}"
            );
            seen.insert(budget);
            // Four of twenty: certificates were younger than that when the control plane went.
            if budget <= 4 {
                Ok(())
            } else {
                Err(format!("{budget} s left"))
            }
        },
    )
    .await
    .unwrap();
    let (first, last) = (seen.first().unwrap(), seen.last().unwrap());
    assert!(last - first >= 10, "it was watched long enough: {seen:?}");
    let ping = "net_adm:ping('n2@n2.lab')";
    let n1 = cluster.node(0).unwrap();
    assert_eq!(n1.eval(ping, PATIENCE).await.unwrap(), "pong");
    assert_eq!(
        cluster
            .node(0)
            .unwrap()
            .eval(DOWNS, PATIENCE)
            .await
            .unwrap(),
        "0"
    );
    // Beyond it: refused.
    cluster
        .node(0)
        .unwrap()
        .wait_for("net_adm:ping('n2@n2.lab')", "pang", Duration::from_secs(40))
        .await
        .unwrap();
    assert!(now() >= first_end);
    assert_eq!(budget(&cluster, first_host).await, 0, "and not below");
    // And back, by itself.
    plane.restart().await;
    cluster
        .node(0)
        .unwrap()
        .wait_for("net_adm:ping('n2@n2.lab')", "pong", Duration::from_secs(60))
        .await
        .unwrap();
    until(
        PATIENCE,
        "the budget is there again",
        async || match budget(&cluster, 0).await {
            left if left > 10 => Ok(()),
            left => Err(format!("{left} s")),
        },
    )
    .await
    .unwrap();
    // An agent that starts with nobody there goes on with what it has.
    plane.stop().await;
    cluster.kill_agent(0).await.unwrap();
    cluster.start_agent(0).await.unwrap();
    cluster
        .node(0)
        .unwrap()
        .wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    cluster.stop().await.unwrap();
}
