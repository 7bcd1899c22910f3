//! Certificates that live fifteen seconds are replaced while nodes talk: nobody reloads or restarts anything, no node
//! sees another go, and new links use the new certificate.

use std::collections::BTreeMap;

use serde_json::json;
use skans_lab::{Cluster, until};

use skans_promises::{PATIENCE, plan};

async fn ends(cluster: &Cluster, host: usize) -> BTreeMap<String, u64> {
    let status = cluster.agent(host).unwrap().status().await.unwrap();
    let certificates = status.certificates.into_iter();
    certificates
        .map(|certificate| (certificate.node, certificate.not_after))
        .collect()
}

#[tokio::test]
async fn the_embedded_authority_renews_before_the_end_and_no_node_notices() {
    let short = json!({"identity": {"authority": {"leafLifetime": "15s"}}});
    let cluster = plan().nodes(2).config(&short).start().await.unwrap();
    let n1 = cluster.node(0).unwrap();
    let watch = "register(watch, spawn(fun() -> net_kernel:monitor_nodes(true), \
        (fun L(N) -> receive {nodedown, _} -> L(N + 1); {seen, P} -> P ! {downs, N}, L(N) end end)(0) end)), ok";
    assert_eq!(n1.eval(watch, PATIENCE).await.unwrap(), "ok");
    let first = ends(&cluster, 0).await;
    let serial = |links: Vec<skans_agent::admin::LinkView>| links[0].serial.clone();
    let old = serial(cluster.agent(1).unwrap().links().await.unwrap());
    assert_eq!(first.len(), 2, "n1 and the tools of its host");

    // Past the end of every certificate that there was at the start.
    let budget = until(PATIENCE, "each certificate is another one", async || {
        let status = cluster.agent(0).unwrap().status().await.unwrap();
        let replaced = status
            .certificates
            .iter()
            .all(|certificate| first[&certificate.node] + 3 < certificate.not_after);
        let budget = status.outage_budget_seconds.unwrap();
        if replaced && status.renewals >= 4 {
            Ok(budget)
        } else {
            Err(format!("{} renewals, budget {budget}", status.renewals))
        }
    })
    .await
    .unwrap();
    assert!((10..=15).contains(&budget), "{budget} of 15 s remain");

    let downs = "watch ! {seen, self()}, receive {downs, N} -> N end";
    assert_eq!(n1.eval(downs, PATIENCE).await.unwrap(), "0");
    n1.wait_for("erlang:disconnect_node('n2@n2.lab')", "true", PATIENCE)
        .await
        .unwrap();
    n1.wait_for("net_adm:ping('n2@n2.lab')", "pong", PATIENCE)
        .await
        .unwrap();
    let new = serial(cluster.agent(1).unwrap().links().await.unwrap());
    assert_ne!(old, new, "a new link shows the new certificate");
    cluster.stop().await.unwrap();
}
