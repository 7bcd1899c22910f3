//! The authority that signs is replaced, tainted and revoked while nodes talk: nobody notices, and at the end what it
//! signed is good for nothing.

use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::traffic::Traffic;
use skans_lab::{Cluster, until};
use skans_promises::plan;

use crate::plane::Plane;

/// Agents spread a renewal over a minute, and move their links over the next.
const LIMIT: Duration = Duration::from_secs(200);

/// Who issued the certificates at the other ends of all links.
async fn issuers(cluster: &Cluster) -> Vec<String> {
    let mut all = Vec::new();
    for host in cluster.running_agents() {
        let links = cluster.agent(host).unwrap().links().await.unwrap();
        all.extend(links.into_iter().map(|link| link.issuer));
    }
    all
}

#[tokio::test]
async fn an_issuing_authority_goes_and_no_link_drops() {
    let plane = Plane::start(&json!({})).await;
    let mut lab = plan();
    for label in ["n1", "n2", "n3"] {
        lab = lab.host(plane.host(label, &json!({})).await);
    }
    let cluster = lab.start().await.unwrap();
    let traffic = Traffic::start(&cluster).await.unwrap();
    let before = issuers(&cluster).await;
    let old = before[0].clone();
    assert!(before.iter().all(|issuer| *issuer == old));

    let owner = plane.owner();
    let authorities: Value = owner.get("/v1/authorities").await.unwrap();
    let active = authorities["items"].as_array().unwrap().iter();
    let active = active.clone().find(|one| one["kind"] == "issuer").unwrap()["id"].clone();
    let next: Value = owner
        .send("POST", "/v1/authorities", &json!({}))
        .await
        .unwrap();
    let id = next["id"].as_str().unwrap();
    if let Some(request) = next["request"].as_str() {
        let certificate = plane.sign(request);
        let path = format!("/v1/authorities/{id}/certificate");
        let body = json!({"certificate": certificate}).to_string();
        owner.call("PUT", &path, Some(body)).await.unwrap();
    }
    let act = async |id: &str, what: &str| {
        let path = format!("/v1/authorities/{id}/{what}");
        owner.call("POST", &path, None).await.unwrap();
    };
    act(id, "activate").await;
    act(active.as_str().unwrap(), "taint").await;
    until(
        LIMIT,
        "no link lives on what the old authority signed",
        async || {
            let now = issuers(&cluster).await;
            match now.iter().filter(|issuer| **issuer == old).count() {
                0 => Ok(()),
                left => Err(format!("{left} of {} do", now.len())),
            }
        },
    )
    .await
    .unwrap();
    act(active.as_str().unwrap(), "revoke").await;
    // Links that live on the new one are not touched by that.
    let counts = traffic.end(&cluster).await.unwrap();
    assert_eq!(
        (counts.nodedowns, counts.lost, counts.misplaced),
        (0, 0, 0),
        "{counts:?}"
    );
    assert!(counts.received > 1000, "{counts:?}");
    cluster.stop().await.unwrap();
}
