//! A join token is good for one agent, once; whoever lost the answer gets the same one again.

use std::sync::Arc;

use skans_identity::csr;
use tokio::task::JoinSet;

use crate::support::{Agent, Plane, present, verifies};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_becomes_a_certificate() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    assert!(
        agent
            .id
            .starts_with("spiffe://lab.test/skans/agent/host-a-"),
        "{}",
        agent.id
    );
    assert!(verifies(&agent.credential, &plane.bundle().await));
    let listed = plane.get("/v1/agents").await;
    assert_eq!(listed["items"][0]["spiffe_id"], agent.id);
    let issued = plane
        .get(&format!("/v1/identities?spiffe_id={}", agent.id))
        .await;
    assert_eq!(
        issued["items"][0]["serial"],
        agent.credential.identity().serial
    );
    assert_eq!(plane.events("agent.enrolled").await.len(), 1);
}

/// SPIRE 1.14.6: concurrent redemptions of one token all succeeded.
#[tokio::test(flavor = "multi_thread")]
async fn of_256_that_come_at_once_one_gets_in() {
    let plane = Plane::new().await;
    let token = Arc::new(plane.token("host-a", &["a@host-a"]).await);
    let mut all = JoinSet::new();
    for number in 0..256 {
        let token = Arc::clone(&token);
        all.spawn(async move { Agent::enrol(&token, &format!("host-{number}")).await });
    }
    let all = all.join_all().await;
    let (good, bad): (Vec<_>, Vec<_>) = all.into_iter().partition(Result::is_ok);
    assert_eq!(
        good.len(),
        1,
        "{:?}",
        bad.first().map(|one| one.as_ref().err())
    );
    assert!(
        bad.iter()
            .all(|one| matches!(one, Err(why) if why.contains("used already")))
    );
    assert_eq!(
        plane
            .events("certificate.issued")
            .await
            .iter()
            .filter(|one| one["object"].as_str().unwrap().contains("/skans/agent/"))
            .count(),
        1
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_gets_the_same_certificate_again_and_another_key_gets_none() {
    let plane = Plane::new().await;
    let token = plane.token("host-a", &["a@host-a"]).await;
    let (_, request) = csr::fresh().unwrap();
    let first = present(&token, "host-a", request.clone()).await.unwrap();
    let again = present(&token, "host-a", request).await.unwrap();
    assert_eq!((&first.0, &first.1), (&again.0, &again.1));
    let (_, other) = csr::fresh().unwrap();
    let refused = present(&token, "host-a", other).await.unwrap_err();
    assert!(refused.contains("used already"), "{refused}");
    let told = plane.events("token.refused").await;
    assert_eq!(told[0]["body"]["unmapped"]["reason"], "used");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_opens_nothing() {
    let plane = Plane::new().await;
    let token = plane.token("host-a", &["a@host-a"]).await;
    let id = plane.get("/v1/tokens").await["items"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    plane
        .owner()
        .call("DELETE", &format!("/v1/tokens/{id}"), None)
        .await
        .unwrap();
    let refused = Agent::enrol(&token, "host-a").await.err().unwrap();
    assert!(refused.contains("revoked"), "{refused}");
}

/// Whoever answers on the address of the token but has another root gets neither the secret nor an agent.
#[tokio::test(flavor = "multi_thread")]
async fn an_agent_trusts_no_other_control_plane() {
    let (ours, theirs) = (Plane::new().await, Plane::new().await);
    let token = ours.token("host-a", &["a@host-a"]).await;
    let mut wrong = skans_identity::token::JoinToken::parse(&token).unwrap();
    let address = skans_identity::token::Address::parse(&theirs.api()).unwrap();
    wrong =
        skans_identity::token::JoinToken::draw(*wrong.root_spki_sha256(), vec![address]).unwrap();
    let refused = Agent::enrol(&wrong.to_text(), "host-a")
        .await
        .err()
        .unwrap();
    assert!(
        refused.contains("none with the key that the token names"),
        "{refused}"
    );
}
