//! A control plane whose log stands still issues and changes nothing any more, but for what denies; once the log goes on, all that happened is in
//! it, and changes are taken again.

use std::time::Duration;

use serde_json::{Value, json};
use skans_lab::until;
use skans_promises::PATIENCE;

use crate::plane::Plane;

/// The settings wait ten seconds, and it is looked every two.
const LONG: Duration = Duration::from_secs(60);

async fn grant(plane: &Plane, user: &str) -> Result<(), String> {
    let grant = json!({"user": user, "role": "viewer"});
    let sent = plane
        .owner()
        .send::<Value>("POST", "/v1/grants", &grant)
        .await;
    sent.map(drop).map_err(|error| error.to_string())
}

#[tokio::test]
async fn but_what_denies() {
    let mut plane = Plane::start(&json!({"events": {"placeWithin": "10s"}})).await;
    grant(&plane, "before").await.unwrap();
    plane.stop().await;
    // Such as a disk that takes some writes and not others, or a key of the log that cannot be opened.
    plane.sql("CREATE TRIGGER stuck BEFORE UPDATE ON logs BEGIN SELECT RAISE(ABORT, 'stuck'); END");
    plane.restart().await;
    grant(&plane, "at-first").await.unwrap();
    let why = until(LONG, "changes are refused", async || {
        match grant(&plane, "meanwhile").await {
            Err(why) => Ok(why),
            Ok(()) => {
                // Not more of them than one page holds.
                tokio::time::sleep(Duration::from_millis(200)).await;
                Err("taken".to_owned())
            }
        }
    })
    .await
    .unwrap();
    assert!(why.contains("events.placeWithin"), "{why}");
    let token = json!({"register": {"name": "x", "names": ["x@x.lab"], "workload": "lab"}});
    let issued = plane
        .owner()
        .send::<Value>("POST", "/v1/tokens", &token)
        .await;
    assert!(issued.is_err(), "{issued:?}");
    let denied = plane.deny("x@x.lab", 0).await;
    assert!(denied["seq"].as_u64() > Some(0), "{denied}");

    plane.stop().await;
    plane.sql("DROP TRIGGER stuck");
    plane.restart().await;
    grant(&plane, "after").await.unwrap();
    let told: Value = plane.owner().get("/v1/events?limit=1000").await.unwrap();
    let told = told["items"].as_array().unwrap();
    let denials = told.iter().filter(|one| one["kind"] == "identity.denied");
    assert_eq!(denials.count(), 1);
    let last = told.last().unwrap()["seq"].as_u64().unwrap();
    until(PATIENCE, "all of it is in the log", async || {
        let path = format!("/v1/audit/events/{last}");
        let placed: Value = plane.owner().get(&path).await.unwrap();
        match placed["entry"].as_u64() {
            Some(entry) if entry + 1 == told.len() as u64 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await
    .unwrap();
}
