//! The authority that signs is replaced under those who use it, and what a tainted one signed is renewed.

use std::time::Duration;

use serde_json::{Value, json};
use skans_api::v1::watch_reply::Message;
use skans_control::root;

use crate::support::{DOMAIN, Plane, eventually, reason, verifies};

async fn rotate(plane: &Plane) -> String {
    let next = plane.post("/v1/authorities", json!({})).await;
    assert_eq!(next["state"], "prepared");
    let id = next["id"].as_str().unwrap().to_owned();
    plane
        .owner()
        .call("POST", &format!("/v1/authorities/{id}/activate"), None)
        .await
        .unwrap();
    id
}

async fn authority(plane: &Plane, state: &str) -> Value {
    let all = plane.get("/v1/authorities").await;
    let all = all["items"].as_array().unwrap();
    all.iter()
        .find(|one| one["kind"] == "issuer" && one["state"] == state)
        .cloned()
        .unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn another_authority_signs_and_both_are_trusted() {
    let plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let before = agent.credential.clone();
    rotate(&plane).await;
    agent.renew().await.unwrap();
    assert_ne!(before.chain()[1], agent.credential.chain()[1]);
    let bundle = plane.bundle().await;
    assert!(verifies(&before, &bundle) && verifies(&agent.credential, &bundle));
    // Who still has the old one is let in as before.
    agent.credential = before;
    agent.renew().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_two_slots() {
    let plane = Plane::new().await;
    let _uses_the_first = plane.agent("host-a").await;
    rotate(&plane).await;
    let third = plane
        .owner()
        .call("POST", "/v1/authorities", Some("{}".to_owned()))
        .await;
    assert_eq!(reason(third), "conflict");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tainted_authority_signed_is_to_be_renewed() {
    let plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    let first = authority(&plane, "active").await;
    let path = format!("/v1/authorities/{}/taint", first["id"].as_str().unwrap());
    plane.owner().call("POST", &path, None).await.unwrap();
    let renew = watch.until(|message| match message {
        Message::RenewNow(renew) => Some(renew),
        _ => None,
    });
    let hash: String = renew
        .await
        .issuer_spki_sha256
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    assert_eq!(hash, first["spki_sha256"]);
    agent.renew().await.unwrap();
    let own = agent.credential.chain()[1].clone();
    let active = authority(&plane, "active").await;
    assert_ne!(active["id"], first["id"]);
    assert!(
        active["certificate"]
            .as_str()
            .unwrap()
            .contains("CERTIFICATE")
    );
    assert!(!own.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revoked_authority_signed_is_denied() {
    let plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let first = authority(&plane, "active").await;
    let path = format!("/v1/authorities/{}/revoke", first["id"].as_str().unwrap());
    plane.owner().call("POST", &path, None).await.unwrap();
    assert!(agent.renew().await.is_err());
    // A stranger finds a control plane with a certificate of the new one.
    let other = plane.agent("host-b").await;
    assert_ne!(other.credential.chain()[1], agent.credential.chain()[1]);
    let row = plane
        .get(&format!(
            "/v1/identities/{}",
            agent.credential.identity().serial
        ))
        .await;
    assert_eq!(row["state"], "revoked");
}

#[tokio::test(flavor = "multi_thread")]
async fn tainting_takes_two_people() {
    let plane = Plane::new().await;
    let (mia, noa) = (
        plane.person("mia", &["ca-admin"], None).await,
        plane.person("noa", &["ca-admin"], None).await,
    );
    let first = authority(&plane, "active").await;
    let path = format!("/v1/authorities/{}/taint", first["id"].as_str().unwrap());
    for _ in 0..2 {
        mia.call("POST", &path, None).await.unwrap();
        assert_eq!(authority(&plane, "active").await["id"], first["id"]);
    }
    noa.call("POST", &path, None).await.unwrap();
    eventually("tainted", || async {
        authority(&plane, "tainted").await["id"] == first["id"]
    })
    .await;
}

/// The whole way: a second root, waited for, used, and at the end nobody trusts the first one any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_root_is_replaced_and_the_old_one_is_forgotten() {
    let plane = Plane::with("leaves: { laboratory: true, lifetime: 10s }\n").await;
    let mut agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    let first = plane.bundle().await;
    let under_the_first = agent.credential.clone();

    let next = plane.dir.path().join("next");
    root::init(&next, DOMAIN, Duration::from_secs(86_400)).unwrap();
    let certificate = std::fs::read_to_string(next.join("root.pem")).unwrap();
    let added = plane
        .post("/v1/roots", json!({ "certificate": certificate }))
        .await;
    assert_eq!(added["state"], "prepared");
    let both = watch.until(|message| match message {
        Message::Bundle(bundle) if bundle.version == 2 => Some(bundle),
        _ => None,
    });
    assert_eq!(both.await.roots.len(), 2);

    // From now on the new root is the one at hand.
    let at_hand = plane.config.authority.root.clone().unwrap();
    for name in ["root.pem", "root.key"] {
        std::fs::copy(next.join(name), at_hand.join(name)).unwrap();
    }
    let prepared = plane.post("/v1/authorities", json!({})).await;
    let path = format!(
        "/v1/authorities/{}/activate",
        prepared["id"].as_str().unwrap()
    );
    let early = plane.owner().call("POST", &path, None).await;
    assert_eq!(
        reason(early),
        "conflict",
        "an agent that has not got it yet"
    );
    watch.ack(1, 0, 2).await;
    eventually("adopted", || async {
        plane.get("/v1/agents").await["items"][0]["bundle_version"] == 2
    })
    .await;
    plane.owner().call("POST", &path, None).await.unwrap();

    agent.bundle = plane.bundle().await;
    agent.renew().await.unwrap();
    assert!(!verifies(&agent.credential, &first) && verifies(&agent.credential, &agent.bundle));
    eventually("the old root is gone", || async {
        plane.bundle().await.len() == 1
    })
    .await;
    let last = plane.bundle().await;
    assert!(!verifies(&under_the_first, &last));
    let roots = plane.get("/v1/authorities").await;
    let states: Vec<_> = roots["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["kind"] == "root")
        .map(|one| one["state"].clone())
        .collect();
    assert_eq!(states, ["active", "expired"]);
}
