//! A revocation is durable before it is answered, told at once, acknowledged, and ends what it touches here as well.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use skans_api::v1::watch_reply::Message;
use skans_api::v1::{self, SignedHead};
use skans_identity::deny::{Chain, Entry, Standing, Target};
use skans_identity::head::{Audience, SignedHead as Signed, VerifiedHead};

use crate::support::{Agent, Plane, domain, eventually, now, verifier};

fn head(message: Message, agent: &Agent) -> Option<VerifiedHead> {
    let Message::Head(SignedHead {
        head,
        signature,
        chain,
    }) = message
    else {
        return None;
    };
    let signed = Signed {
        head,
        signature,
        chain: chain.into_iter().map(Into::into).collect(),
    };
    let audience = Audience {
        trust_domain: domain(),
        cluster: "main".to_owned(),
    };
    Some(
        signed
            .verify(&verifier(&agent.bundle), &audience, now())
            .unwrap(),
    )
}

async fn deny(plane: &Plane, kind: &str, target: &str) -> Value {
    plane
        .post(
            "/v1/denials",
            json!({ "kind": kind, "target": target, "reason": "test" }),
        )
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_hears_everything_in_order() {
    let plane = Plane::new().await;
    let (agent, other) = (plane.agent("host-a").await, plane.agent("host-b").await);
    deny(&plane, "node", "x@host-x").await;
    let mut watch = agent.watch().await;
    let Some(Message::Settings(settings)) = watch.next().await else {
        panic!("settings first")
    };
    assert_eq!(settings.class(), v1::settings::Class::Available);
    let Some(Message::Bundle(bundle)) = watch.next().await else {
        panic!("then the bundle")
    };
    assert_eq!(bundle.version, 1);
    let Some(Message::DenySnapshot(snapshot)) = watch.next().await else {
        panic!("then what is denied")
    };
    let mut chain = Chain::restore(
        snapshot.seq,
        snapshot.hash.try_into().unwrap(),
        &snapshot.entries,
    )
    .unwrap();
    let Some(Message::Policy(_)) = watch.next().await else {
        panic!("then what nodes may say to each other")
    };
    let first = head(watch.next().await.unwrap(), &agent).expect("then the head");
    assert_eq!(chain.standing(&first), Standing::Complete);

    let began = Instant::now();
    deny(&plane, "id", &other.id).await;
    let Some(Message::DenyDelta(delta)) = watch.next().await else {
        panic!("the new entry")
    };
    let entry = Entry::decode(&delta.entries[0]).unwrap();
    assert_eq!(entry.target().text(), other.id);
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    chain.apply(entry).unwrap();
    let second = head(watch.next().await.unwrap(), &agent).expect("its head at once");
    assert_eq!(chain.standing(&second), Standing::Complete);

    watch.ack(1, 2, 1).await;
    let path = "/v1/denials/2?wait=20";
    eventually("acknowledged by one of two", || async {
        plane.get("/v1/denials/2").await["acknowledged"] == 1
    })
    .await;
    let spread = plane.get("/v1/denials/2").await;
    assert_eq!(
        (&spread["agents"], &spread["missing"][0]),
        (&json!(2), &json!(other.name()))
    );
    assert!(path.contains("wait"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_comes_every_ten_seconds() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    let first = watch.until(|message| head(message, &agent)).await;
    let second = watch.until(|message| head(message, &agent)).await;
    let passed = second.head().time - first.head().time;
    assert!((5..=15).contains(&passed), "{passed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_away_gets_the_rest_or_all_of_it() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    deny(&plane, "node", "x@host-x").await;
    deny(&plane, "node", "y@host-y").await;
    let mut watch = agent.watch().await;
    let (seq, hash) = watch
        .until(|message| match message {
            Message::DenySnapshot(snapshot) => Some((snapshot.seq, snapshot.hash)),
            _ => None,
        })
        .await;
    drop(watch);
    deny(&plane, "node", "z@host-z").await;
    let start = v1::WatchStart {
        deny_seq: seq,
        deny_hash: hash,
        epoch: 1,
        bundle_version: 1,
        ..v1::WatchStart::default()
    };
    let mut watch = agent.watch_from(start.clone()).await.unwrap();
    let entries = watch
        .until(|message| match message {
            Message::DenyDelta(delta) => Some(delta.entries),
            Message::DenySnapshot(_) => panic!("a snapshot where a delta does"),
            _ => None,
        })
        .await;
    assert_eq!(entries.len(), 1);
    drop(watch);
    // Another history: it must not build on it.
    let wrong = v1::WatchStart {
        deny_hash: vec![7; 32],
        ..start
    };
    let mut watch = agent.watch_from(wrong).await.unwrap();
    let snapshot = watch
        .until(|message| match message {
            Message::DenySnapshot(snapshot) => Some(snapshot),
            Message::DenyDelta(_) => panic!("a delta on another history"),
            _ => None,
        })
        .await;
    assert_eq!((snapshot.seq, snapshot.entries.len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_agent_is_cut_off_and_gets_nothing_more() {
    let plane = Plane::new().await;
    let (mut agent, other) = (plane.agent("host-a").await, plane.agent("host-b").await);
    let mut cut = agent.watch().await;
    let mut stays = other.watch().await;
    cut.until(|message| head(message, &agent)).await;
    stays.until(|message| head(message, &other)).await;
    let denied = deny(&plane, "id", &agent.id).await;
    // Its own denial may still come through before the end.
    while cut.next().await.is_some() {}
    assert!(agent.renew().await.is_err());
    assert!(agent.watch_from(v1::WatchStart::default()).await.is_err());
    stays.until(|message| head(message, &other)).await;
    let row = plane
        .get(&format!(
            "/v1/identities/{}",
            agent.credential.identity().serial
        ))
        .await;
    assert_eq!(row["state"], "revoked");

    let path = format!("/v1/denials/{}", denied["seq"]);
    plane.owner().call("DELETE", &path, None).await.unwrap();
    agent.renew().await.unwrap();
    let row = plane
        .get(&format!(
            "/v1/identities/{}",
            other.credential.identity().serial
        ))
        .await;
    assert_eq!(row["state"], "valid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_name_gets_no_certificate_whoever_asks() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    deny(&plane, "node", "rabbit@host-a").await;
    let got = agent
        .issue(&["rabbit@host-a", "till@host-a"], "host-a")
        .await
        .unwrap();
    assert_eq!(got[0].as_ref().err().unwrap(), "revoked");
    assert!(got[1].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_acknowledges_what_does_not_exist() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    for (epoch, seq, bundle) in [(1, 1, 1), (2, 0, 1), (1, 0, 2)] {
        let mut watch = agent.watch().await;
        watch.until(|message| head(message, &agent)).await;
        watch.ack(epoch, seq, bundle).await;
        while watch.next().await.is_some() {}
    }
    assert_eq!(plane.get("/v1/agents").await["items"][0]["deny_seq"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_stream_takes_the_place_of_the_first() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut first = agent.watch().await;
    first.until(|message| head(message, &agent)).await;
    let mut second = agent.watch().await;
    while first.next().await.is_some() {}
    second.until(|message| head(message, &agent)).await;
    deny(&plane, "node", "x@host-x").await;
    let delta = second.until(|message| match message {
        Message::DenyDelta(delta) => Some(delta),
        _ => None,
    });
    let entry = Entry::decode(&delta.await.entries[0]).unwrap();
    assert!(matches!(entry.target(), Target::Node(_)));
}
