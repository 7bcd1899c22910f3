//! Events are kept within bounds, and what is decided by is kept whatever becomes of them.

use serde_json::json;
use skans_api::v1::watch_reply::Message;

use crate::support::{Plane, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn events_have_a_bound_and_denials_do_not_hang_on_them() {
    let plane = Plane::with("events: { atMost: 100 }\n").await;
    let mut agent = plane.agent("host-a").await;
    let denial = json!({ "kind": "node", "target": "x@host-x", "reason": "test" });
    plane.post("/v1/denials", denial).await;
    assert_eq!(plane.events("identity.denied").await.len(), 1);
    for number in 0..600 {
        let grant = json!({ "user": format!("user-{number}"), "role": "viewer" });
        plane.post("/v1/grants", grant).await;
    }
    eventually("the oldest are gone", || async {
        let all = plane.get("/v1/events?limit=1000").await;
        // Whole bundles go, of 256.
        all["items"].as_array().unwrap().len() < 100 + 256
    })
    .await;
    assert!(plane.events("identity.denied").await.is_empty());
    assert!(plane.events("role.granted").await.len() >= 90);
    let removed = plane.metric("skans_control_events_removed_total").await;
    assert!(removed.is_some_and(|count| count >= 256), "{removed:?}");
    // The denial is in force, and told to who comes now; certificates are issued and known as before.
    let mut watch = agent.watch().await;
    let denied = watch.until(|message| match message {
        Message::DenySnapshot(snapshot) => Some(snapshot.entries.len()),
        Message::DenyDelta(delta) => Some(delta.entries.len()),
        _ => None,
    });
    assert_eq!(denied.await, 1);
    agent.renew().await.unwrap();
    let row = plane
        .get(&format!(
            "/v1/identities/{}",
            agent.credential.identity().serial
        ))
        .await;
    assert_eq!(row["state"], "valid");
}
