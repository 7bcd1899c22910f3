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

async fn until_refused(plane: &Plane) {
    let mut number = 0;
    let why = until(LONG, "changes are refused", async || {
        number += 1;
        match grant(plane, &format!("meanwhile-{number}")).await {
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
}

/// The key of the log cannot be opened any more: places are given, and nobody signs for them.
async fn lose_the_key(plane: &mut Plane) {
    until(PATIENCE, "there is a log", async || {
        let logs: Value = plane.owner().get("/v1/audit/logs").await.unwrap();
        match logs["items"][0]["signed"].as_u64() {
            Some(1..) => Ok(()),
            _ => Err(logs.to_string()),
        }
    })
    .await
    .unwrap();
    plane.stop().await;
    plane.sql("UPDATE logs SET sealed_key = X'00'");
    plane.restart().await;
}

#[tokio::test]
async fn nor_where_it_cannot_be_signed() {
    let mut plane = Plane::start(&json!({"events": {"placeWithin": "10s"}})).await;
    grant(&plane, "before").await.unwrap();
    lose_the_key(&mut plane).await;
    until_refused(&plane).await;
    plane.deny("x@x.lab", 0).await;
}

/// Of an hour's patience, two are gone when the process that waited is replaced.
#[tokio::test]
async fn nor_where_a_process_before_has_waited_for_it_to_be_signed() {
    let mut plane = Plane::start(&json!({"events": {"placeWithin": "1h"}})).await;
    lose_the_key(&mut plane).await;
    grant(&plane, "unsigned").await.unwrap();
    until(PATIENCE, "it has its place", async || {
        let events: Value = plane.owner().get("/v1/events?limit=1000").await.unwrap();
        let last = &events["items"].as_array().unwrap().last().unwrap()["seq"];
        let path = format!("/v1/audit/events/{last}");
        let placed: Value = plane.owner().get(&path).await.unwrap();
        match placed["entry"].as_u64() {
            Some(_) => Ok(()),
            None => Err(placed.to_string()),
        }
    })
    .await
    .unwrap();
    plane.stop().await;
    plane.sql(
        "UPDATE events SET body = json_set(body, '$.time', json_extract(body, '$.time') - 7200000)",
    );
    plane.restart().await;
    until_refused(&plane).await;
    plane.deny("x@x.lab", 0).await;
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
    until_refused(&plane).await;
    let token = json!({"register": {"name": "x", "names": ["x@x.lab"], "workload": "lab"}});
    let issued = plane
        .owner()
        .send::<Value>("POST", "/v1/tokens", &token)
        .await;
    assert!(issued.is_err(), "{issued:?}");
    let denied = plane.deny("x@x.lab", 0).await;
    assert!(denied["seq"].as_u64() > Some(0), "{denied}");
    // What denies can be done, and nothing is let in again.
    let path = format!("/v1/denials/{}", denied["seq"]);
    let owner = plane.owner();
    let allowed = owner.send::<Value>("DELETE", &path, &json!({})).await;
    let why = allowed.unwrap_err().to_string();
    assert!(why.contains("events.placeWithin"), "{why}");
    // Another process knows for how long it has stood still.
    plane.stop().await;
    plane.restart().await;
    until(PATIENCE, "changes are refused at once", async || {
        let status: Value = plane.owner().get("/v1/status").await.unwrap();
        match status["read_only"].as_str() {
            Some(why) if why.contains("events.placeWithin") => Ok(()),
            _ => Err(status.to_string()),
        }
    })
    .await
    .unwrap();

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
