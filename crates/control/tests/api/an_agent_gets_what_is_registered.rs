//! Certificates for the nodes that are registered for an agent, and for no others; each is in the store before it is out.

use serde_json::json;

use crate::support::{Agent, Plane, verifies};

#[tokio::test(flavor = "multi_thread")]
async fn nodes_of_its_own_and_no_others() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let asked = ["rabbit@host-a", "rabbit@host-b", "cli@host-a", "cli@host-b"];
    let got = agent.issue(&asked, "host-a").await.unwrap();
    let bundle = plane.bundle().await;
    let ids: Vec<_> = got
        .iter()
        .map(|one| one.as_ref().map(|own| own.identity().id.to_string()))
        .collect();
    let id =
        |name: &str| format!("spiffe://lab.test/cluster/main/ns/default/sa/host-a/node/{name}");
    assert_eq!(ids[0], Ok(id("rabbit")));
    assert_eq!(ids[1], Err(&"not_registered".to_owned()));
    assert_eq!(ids[2], Ok(id("cli")));
    assert_eq!(ids[3], Err(&"not_registered".to_owned()));
    for own in got.iter().flatten() {
        assert!(verifies(own, &bundle));
        let row = plane
            .get(&format!("/v1/identities/{}", own.identity().serial))
            .await;
        assert_eq!(row["spiffe_id"], own.identity().id.as_str());
        assert_eq!(row["agent"], agent.name());
        assert_eq!(row["state"], "valid");
    }
    assert_eq!(
        agent.issue(&["rabbit@host-a"], "other").await.unwrap()[0]
            .as_ref()
            .err()
            .unwrap(),
        "not_registered"
    );
    assert_eq!(plane.events("certificate.refused").await.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registration_that_is_gone_gives_nothing_more() {
    let plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    agent.renew().await.unwrap();
    plane
        .owner()
        .call("DELETE", "/v1/registrations/host-a", None)
        .await
        .unwrap();
    assert_eq!(agent.renew().await.unwrap_err(), "not_registered");
    assert!(agent.issue(&["rabbit@host-a"], "host-a").await.unwrap()[0].is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_can_be_given_more_names_later() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    assert!(agent.issue(&["till@host-a"], "till").await.unwrap()[0].is_err());
    let more = json!({ "name": "till", "spiffe_id": agent.id, "names": ["till@host-a"] });
    plane.post("/v1/registrations", more).await;
    assert!(agent.issue(&["till@host-a"], "till").await.unwrap()[0].is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn lives_are_as_long_as_registered_and_no_longer() {
    let plane = Plane::new().await;
    let wanted =
        json!({ "register": { "name": "short", "names": ["a@host-a"], "leaf_seconds": 300 } });
    let token = plane.post("/v1/tokens", wanted).await["token"]
        .as_str()
        .unwrap()
        .to_owned();
    let agent = Agent::enrol(&token, "host-a").await.unwrap();
    let identity = agent.credential.identity();
    // Backdated by a minute, for clocks that lag.
    assert_eq!(identity.not_after - identity.not_before, 360);
    let usual = plane.agent("host-b").await;
    let identity = usual.credential.identity();
    assert_eq!(identity.not_after - identity.not_before, 3660);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_handed_out_survives_a_restart() {
    let mut plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let own = agent
        .issue(&["rabbit@host-a"], "host-a")
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    plane.stop().await;
    plane.start().await;
    agent.address = plane.api();
    let row = plane
        .get(&format!("/v1/identities/{}", own.identity().serial))
        .await;
    assert_eq!(row["state"], "valid");
    agent.renew().await.unwrap();
}
