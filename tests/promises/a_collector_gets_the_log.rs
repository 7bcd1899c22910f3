//! A collector gets a copy of the log as it grows: each entry once and in its order, whatever is down meanwhile, without what must not leave;
//! and what it will never have can be seen by the numbers.

use std::collections::BTreeMap;
use std::net::TcpListener;

use serde_json::{Value, json};
use skans_lab::until;
use skans_promises::PATIENCE;

use crate::collector::{Collector, Record};
use crate::plane::Plane;

async fn grant(plane: &Plane, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let grant = json!({"user": format!("user-{number}"), "role": "viewer"});
        let owner = plane.owner();
        let _: Value = owner.send("POST", "/v1/grants", &grant).await.unwrap();
    }
}

/// One of its counters, whatever its labels; 0 while there is none.
async fn counted(plane: &Plane, name: &str) -> u64 {
    let text = plane.metrics().await;
    let lines = text.lines().filter(|line| line.starts_with(name));
    let last = |line: &str| line.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    lines.map(last).sum()
}

/// Waits until nothing is on its way. Gives what has arrived, by the numbers of the entries.
async fn all(plane: &Plane, collector: &Collector) -> BTreeMap<u64, Record> {
    until(PATIENCE, "the collector has what there is", async || {
        let newest: Value = plane.owner().get("/v1/audit/events?limit=1").await.unwrap();
        let path = format!("/v1/audit/events/{}", newest["items"][0]["seq"]);
        let placed: Value = plane.owner().get(&path).await.unwrap();
        let last = placed["entry"].as_u64().ok_or("no place yet")?;
        let copied = counted(plane, "skans_control_log_copied_entries").await;
        if copied > last {
            Ok(())
        } else {
            Err(format!("{copied} of {last}"))
        }
    })
    .await
    .unwrap();
    let mut found = BTreeMap::new();
    for record in collector.records() {
        let (origin, index) = record.entry.clone();
        assert_eq!(origin, "lab.test/cluster/lab/audit/1");
        assert!(found.insert(index, record).is_none(), "{index} came twice");
    }
    found
}

#[tokio::test]
async fn each_entry_once_without_what_must_not_leave() {
    let collector = Collector::default();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let root = tempfile::NamedTempFile::new().unwrap();
    let address = listener.local_addr().unwrap();
    std::fs::write(root.path(), collector.serve_tls(listener)).unwrap();
    let rules = tempfile::NamedTempFile::new().unwrap();
    let text = "apiVersion: skans.io/v1alpha1\nredact: [{field: /entity/name, by: erase, kinds: [role.granted]}]\n";
    std::fs::write(rules.path(), text).unwrap();
    collector.refuse(503);
    let copy = json!({
        "otlp": {"endpoint": format!("https://{address}"), "roots": root.path()},
        "redact": rules.path(),
    });
    let mut plane = Plane::start(&json!({"events": {"copy": copy}})).await;
    grant(&plane, 0..3).await;
    until(
        PATIENCE,
        "the collector refuses it",
        async || match counted(&plane, "skans_control_log_copy_failures_total").await {
            0 => Err("not yet".to_owned()),
            _ => Ok(()),
        },
    )
    .await
    .unwrap();
    assert!(collector.records().is_empty());
    collector.refuse(0);
    grant(&plane, 3..300).await;
    all(&plane, &collector).await;
    plane.stop().await;
    plane.restart().await;
    grant(&plane, 300..310).await;

    let records = all(&plane, &collector).await;
    let numbers: Vec<u64> = records.keys().copied().collect();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let told: Value = plane.owner().get("/v1/events?limit=1000").await.unwrap();
    let told = told["items"].as_array().unwrap();
    assert!(told.len() > 310, "{}", told.len());
    for (number, (record, event)) in records.values().zip(told).enumerate() {
        let body = &event["body"];
        assert_eq!(record.by, ("skans-control".to_owned(), "lab".to_owned()));
        assert_eq!(record.name, event["kind"].as_str().unwrap(), "{number}");
        assert_eq!(record.time / 1_000_000, body["time"].as_u64().unwrap());
        assert!(record.severity >= 9, "{number}: {}", record.severity);
        if record.name == "role.granted" {
            assert!(record.body["entity"]["name"].is_null(), "{}", record.body);
            assert!(record.body["metadata"]["redacted"].is_array());
            assert_eq!(record.body["time"], body["time"]);
        } else {
            assert_eq!(&record.body, body);
        }
    }
    assert_eq!(counted(&plane, "skans_control_log_copy_lost").await, 0);

    // What it says that it will never take is passed over, and told by the numbers.
    collector.refuse(400);
    grant(&plane, 400..403).await;
    until(
        PATIENCE,
        "the collector rejects them",
        async || match counted(&plane, "skans_control_log_copy_lost").await {
            3 => Ok(()),
            other => Err(other.to_string()),
        },
    )
    .await
    .unwrap();
    collector.refuse(0);
    grant(&plane, 403..404).await;
    let after: Vec<u64> = all(&plane, &collector).await.into_keys().collect();
    let whole = numbers.len() as u64;
    let wanted: Vec<u64> = (0..whole).chain([whole + 3]).collect();
    assert_eq!(after, wanted);
}
