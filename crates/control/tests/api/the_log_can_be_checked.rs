//! Everything that is told gets a place in a log that anybody can check, and that goes on after a restart, a restore and what is pruned.

use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_api::v1::watch_reply::Message;
use skans_audit::checkpoint::Checkpoint;
use skans_audit::merkle::{self, Hash};
use skans_audit::note::VerifyingKey;
use skans_audit::{proof, tile};
use skans_identity::head::Head;

use crate::support::{Plane, eventually};

/// The newest log, once everything is in it and signed.
pub async fn log(plane: &Plane) -> (Value, Checkpoint) {
    let newest = || async {
        let all = plane.get("/v1/audit/logs").await;
        all["items"].as_array().unwrap().last().cloned()
    };
    let last = plane.events_until_now().await;
    eventually("the log holds and signs everything", || async {
        let placed = plane.get(&format!("/v1/audit/events/{last}")).await;
        let log = newest().await;
        !placed["entry"].is_null() && log.is_some_and(|log| log["signed"] == log["size"])
    })
    .await;
    let log = newest().await.unwrap();
    let key = VerifyingKey::parse(log["key"].as_str().unwrap()).unwrap();
    let checkpoint =
        Checkpoint::open(log["checkpoint"].as_str().unwrap().as_bytes(), &key).unwrap();
    assert_eq!(checkpoint.origin, log["origin"].as_str().unwrap());
    assert_eq!(checkpoint.size, log["signed"].as_u64().unwrap());
    (log, checkpoint)
}

async fn octets(plane: &Plane, path: &str) -> Vec<u8> {
    plane.owner().octets(path).await.unwrap()
}

/// All entries that are still there, in their order.
pub async fn entries(plane: &Plane, log: &Value) -> Vec<Vec<u8>> {
    let (epoch, size) = (&log["epoch"], log["size"].as_u64().unwrap());
    let mut all = Vec::new();
    for n in log["pruned"].as_u64().unwrap() / 256..size.div_ceil(256) {
        let path = format!("/v1/audit/logs/{epoch}/entries/{n}");
        let bundle = octets(plane, &path).await;
        let width = u16::try_from((size - n * 256).min(256)).unwrap();
        let entries = tile::decode_bundle(&bundle, width).unwrap();
        all.extend(entries.into_iter().map(<[u8]>::to_vec));
    }
    all
}

pub fn root(leaves: impl Iterator<Item = Hash>) -> Hash {
    let mut frontier = merkle::Frontier::default();
    leaves.for_each(|leaf| drop(frontier.append(leaf)));
    frontier.root()
}

async fn grants(plane: &Plane, numbers: std::ops::Range<u32>) {
    for number in numbers {
        let grant = json!({ "user": format!("user-{number}"), "role": "viewer" });
        plane.post("/v1/grants", grant).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_is_in_a_signed_log_that_only_grows() {
    let mut plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let (first, before) = log(&plane).await;
    grants(&plane, 0..300).await;
    let (now, after) = log(&plane).await;
    assert!(after.size >= before.size + 300);
    let found = entries(&plane, &now).await;
    let told = plane.get("/v1/events?limit=1000").await;
    let told: Vec<Value> = told["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["body"].clone())
        .collect();
    let logged: Vec<Value> = found
        .iter()
        .map(|entry| serde_json::from_slice(entry).unwrap())
        .collect();
    assert_eq!(logged, told);
    let leaves = || found.iter().map(|entry| merkle::leaf(entry));
    assert_eq!(root(leaves()), after.root);
    let old = usize::try_from(before.size).unwrap();
    assert_eq!(root(leaves().take(old)), before.root);
    assert_eq!(
        (&first["key"], &first["origin"]),
        (&now["key"], &now["origin"])
    );
    // An agent that remembers the first is shown that it is the beginning of the other.
    let channel = agent.channel().await.unwrap();
    let mut client = AgentsClient::new(channel);
    let mut asked = v1::LogConsistencyRequest {
        epoch: 1,
        old_size: before.size,
        new_size: after.size,
    };
    let shown = client.log_consistency(asked).await.unwrap().into_inner();
    let hashes: Vec<Hash> = shown
        .hashes
        .into_iter()
        .map(|hash| hash.try_into().unwrap())
        .collect();
    assert!(proof::is_consistent(
        (before.size, before.root),
        (after.size, after.root),
        &hashes
    ));
    asked.new_size = u64::MAX;
    assert!(client.log_consistency(asked).await.is_err());
    // The next process goes on with the same log.
    plane.stop().await;
    plane.start().await;
    grants(&plane, 300..301).await;
    let (again, grown) = log(&plane).await;
    assert!(grown.size > after.size);
    assert_eq!(again["key"], now["key"]);
    let found = entries(&plane, &again).await;
    let after_size = usize::try_from(after.size).unwrap();
    let leaves = || found.iter().map(|entry| merkle::leaf(entry));
    assert_eq!(root(leaves().take(after_size)), after.root);
    assert_eq!(root(leaves()), grown.root);
}

#[tokio::test(flavor = "multi_thread")]
async fn agents_hear_of_the_log_with_each_head() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let (now, _) = log(&plane).await;
    let mut watch = agent.watch().await;
    let said = watch.until(|message| match message {
        Message::Head(signed) => Head::decode(&signed.head)
            .ok()
            .filter(|head| !head.checkpoint.is_empty()),
        _ => None,
    });
    let said = said.await.checkpoint;
    let key = VerifyingKey::parse(now["key"].as_str().unwrap()).unwrap();
    let checkpoint = Checkpoint::open(said.as_bytes(), &key).unwrap();
    assert!(checkpoint.size > 0 && checkpoint.origin == now["origin"].as_str().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_proved_by_what_is_left() {
    let plane = Plane::with("events: { atMost: 100 }\n").await;
    let (_, first) = log(&plane).await;
    grants(&plane, 0..650).await;
    eventually("the oldest are gone", || async {
        let all = plane.get("/v1/audit/logs").await;
        all["items"][0]["pruned"] == 512
    })
    .await;
    let (now, checkpoint) = log(&plane).await;
    assert_eq!(
        plane.events("log.pruned").await.last().unwrap()["body"]["unmapped"]["to"],
        512
    );
    let gone = plane.owner().octets("/v1/audit/logs/1/entries/0").await;
    assert!(gone.is_err());
    // The hashes of what is gone, and the entries that are there, make up what is signed.
    let mut leaves = Vec::new();
    for n in 0..2 {
        let tile = octets(&plane, &format!("/v1/audit/logs/1/tiles/0/{n}")).await;
        leaves.extend(tile.as_chunks::<32>().0.to_vec());
    }
    leaves.extend(
        entries(&plane, &now)
            .await
            .iter()
            .map(|entry| merkle::leaf(entry)),
    );
    assert_eq!(leaves.len() as u64, checkpoint.size);
    assert_eq!(root(leaves.iter().copied()), checkpoint.root);
    let first_size = usize::try_from(first.size).unwrap();
    assert_eq!(root(leaves.into_iter().take(first_size)), first.root);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_asked_for_is_found_newest_first() {
    let plane = Plane::new().await;
    grants(&plane, 0..10).await;
    let find = |query: &'static str| {
        let plane = &plane;
        async move {
            let found = plane.get(&format!("/v1/audit/events?{query}")).await;
            let items = found["items"].as_array().unwrap().clone();
            let objects = items
                .iter()
                .map(|one| one["object"].as_str().unwrap().to_owned());
            (objects.collect::<Vec<_>>(), found["next"].clone())
        }
    };
    let (some, next) = find("kind=role.granted&limit=2").await;
    assert_eq!(some, ["user-9", "user-8"]);
    let path = format!(
        "/v1/audit/events?kind=role.granted&limit=2&after={}",
        next.as_str().unwrap()
    );
    let page = plane.get(&path).await;
    assert_eq!(page["items"][0]["object"], "user-7");
    assert_eq!(find("object=user-3").await.0, ["user-3"]);
    assert_eq!(find("object=user-3&kind=token.created").await.0, [""; 0]);
    assert_eq!(find("since=9000000000000").await.0, [""; 0]);
    assert_eq!(find("kind=role.granted&until=1").await.0, [""; 0]);
    let refused = plane
        .owner()
        .get::<Value>("/v1/audit/events?colour=red")
        .await;
    assert!(refused.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_log_has_not_is_no_internal_error() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let (_, now) = log(&plane).await;
    let mut client = AgentsClient::new(agent.channel().await.unwrap());
    for (epoch, old_size, new_size, wanted) in [
        (1, 1, u64::from(u32::MAX), tonic::Code::InvalidArgument),
        (1, now.size, now.size + 300, tonic::Code::InvalidArgument),
        (1, 0, 1, tonic::Code::InvalidArgument),
        (1, 2, 1, tonic::Code::InvalidArgument),
        (9, 1, 2, tonic::Code::NotFound),
    ] {
        let asked = v1::LogConsistencyRequest {
            epoch,
            old_size,
            new_size,
        };
        let refused = client.log_consistency(asked).await.unwrap_err();
        assert_eq!(refused.code(), wanted, "{asked:?}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_first_in_a_bundle_is_found_when_it_has_grown() {
    let plane = Plane::new().await;
    grants(&plane, 0..1).await;
    log(&plane).await;
    let first = plane.events("role.granted").await.last().unwrap()["body"]["time"]
        .as_u64()
        .unwrap();
    let now = || {
        std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_millis()
    };
    eventually("the next one happens later", || async {
        now() > u128::from(first)
    })
    .await;
    grants(&plane, 1..2).await;
    log(&plane).await;
    let found = plane
        .get(&format!(
            "/v1/audit/events?kind=role.granted&object=user-0&until={}",
            first + 1
        ))
        .await;
    assert_eq!(found["items"].as_array().unwrap().len(), 1, "{found}");
}
