//! What one replica was told, another one acts on: the wish that waits for a second person, the key that waits for an offline
//! root, by which authority each agent lives.

use std::time::Duration;

use serde_json::{Value, json};
use skans_control::client::Client;
use skans_control::root;
use skans_identity::authority::Root;
use skans_identity::signer::SoftwareKey;

use crate::cluster::Cluster;
use crate::replicas::{Replica, Replicas};
use crate::support::{PATIENCE, domain, eventually, now, reason};

fn pem(tag: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(tag, pem_rfc7468::LineEnding::LF, der).unwrap()
}

async fn ask(person: &Client, path: &str) -> String {
    person.call("POST", path, None).await.unwrap()
}

async fn state(replica: &Replica, id: &str) -> String {
    let all = replica.authorities("issuer").await;
    all.into_iter().find(|(name, _)| name == id).unwrap().1
}

async fn active(replica: &Replica) -> String {
    let all = replica.authorities("issuer").await;
    all.into_iter()
        .find(|(_, state)| state == "active")
        .unwrap()
        .0
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_person_asks_another_replica() {
    let mut replicas = Replicas::new(Cluster::shared(), "second", 2).await;
    let [one, two] = &replicas.all[..] else {
        panic!("two replicas")
    };
    let mia = one.person("mia", &["ca-admin"]).await;
    let noa = two.person("noa", &["ca-admin"]).await;
    let first = active(one).await;
    let taint = format!("/v1/authorities/{first}/taint");
    for _ in 0..2 {
        ask(&mia, &taint).await;
    }
    // Something else is not the same, though both are about this authority.
    ask(&noa, &format!("/v1/authorities/{first}/revoke")).await;
    assert_eq!(state(two, &first).await, "active");
    assert_eq!(two.events("approval.wanted").await.len(), 2);
    ask(&noa, &taint).await;
    assert_eq!(state(one, &first).await, "tainted");
    let given = one.events("approval.given").await;
    assert_eq!(given.len(), 1);
    let details = &given[0]["body"]["unmapped"];
    assert!(given[0]["actor"].as_str().unwrap().ends_with("/user/noa"));
    assert!(details["first"].as_str().unwrap().ends_with("/user/mia"));

    // It is used up: the next one who asks is the first again.
    ask(&noa, &taint).await;
    assert_eq!(one.events("approval.wanted").await.len(), 3);
    assert_eq!(one.events("approval.given").await.len(), 1);
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wish_is_for_one_request_of_somebody_who_may_still_make_it() {
    let mut replicas = Replicas::new(Cluster::shared(), "exact", 2).await;
    let [one, two] = &replicas.all[..] else {
        panic!("two replicas")
    };
    let mia = one.person("mia", &["ca-admin"]).await;
    let noa = two.person("noa", &["ca-admin"]).await;
    // Two certificates of one key: the object of both is the same, what is asked for is not.
    let key = SoftwareKey::generate().unwrap();
    let [certificate, other] = [1, 2].map(|days| {
        let key = SoftwareKey::from_pkcs8(key.pkcs8()).unwrap();
        let life = Duration::from_secs(days * 86_400);
        let root = Root::new(&domain(), key, now(), life).unwrap();
        pem("CERTIFICATE", root.certificate())
    });
    let add = |certificate: &str| Some(json!({ "certificate": certificate }).to_string());
    mia.call("POST", "/v1/roots", add(&certificate))
        .await
        .unwrap();
    noa.call("POST", "/v1/roots", add(&other)).await.unwrap();
    assert_eq!(one.authorities("root").await.len(), 1);

    // Mia is no ca-admin any more: what she asked for does not count.
    let grants = one.get("/v1/grants").await;
    let mut of_mia = grants["items"].as_array().unwrap().iter();
    let of_mia = of_mia.find(|one| one["user"] == "mia").unwrap();
    let path = format!("/v1/grants/{}", of_mia["id"].as_str().unwrap());
    one.owner().call("DELETE", &path, None).await.unwrap();
    noa.call("POST", "/v1/roots", add(&certificate))
        .await
        .unwrap();
    assert_eq!(one.authorities("root").await.len(), 1);
    // But Noa is, who is the first one now.
    let zoe = one.person("zoe", &["ca-admin"]).await;
    zoe.call("POST", "/v1/roots", add(&certificate))
        .await
        .unwrap();
    assert_eq!(two.authorities("root").await.len(), 2);
    let given = one.events("approval.given").await;
    assert_eq!(given.len(), 1);
    assert!(
        given[0]["body"]["unmapped"]["first"]
            .as_str()
            .unwrap()
            .ends_with("/user/noa")
    );
    replicas.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_offline_root_signed_is_taken_by_another_replica_and_outlives_the_first() {
    let mut replicas = Replicas::with(Cluster::shared(), "offline", 2, "", false).await;
    let requested = replicas.all[0].post("/v1/authorities", json!({})).await;
    assert_eq!(requested["state"], "requested");
    let id = requested["id"].as_str().unwrap();
    replicas.all[0].stop().await;
    let two = &replicas.all[1];
    let root_dir = replicas.dir.path().join("root");
    let lifetime = Duration::from_secs(7 * 86_400);
    let sign = |csr: &Value| root::sign(&root_dir, csr.as_str().unwrap(), "main", lifetime);
    let signed = sign(&requested["request"]).unwrap();
    let path = format!("/v1/authorities/{id}/certificate");
    let body = |certificate: &str| Some(json!({ "certificate": certificate }).to_string());
    // Of another key it is refused, and the request waits on.
    let stranger = {
        let (_, csr) = skans_identity::csr::fresh().unwrap();
        let csr = pem("CERTIFICATE REQUEST", &csr);
        root::sign(&root_dir, &csr, "main", lifetime).unwrap()
    };
    assert!(
        two.owner()
            .call("PUT", &path, body(&stranger))
            .await
            .is_err()
    );
    two.owner().call("PUT", &path, body(&signed)).await.unwrap();
    assert_eq!(state(two, id).await, "prepared");
    assert_eq!(two.events("authority.requested").await.len(), 1);
    let again = two.owner().call("PUT", &path, body(&signed)).await;
    assert_eq!(reason(again), "not_found");
    // Every replica has its key.
    replicas.all[0].start().await;
    let one = &replicas.all[0];
    let activate = format!("/v1/authorities/{id}/activate");
    one.owner().call("POST", &activate, None).await.unwrap();
    one.agent("host-a").await;
    replicas.stop().await;
}

/// The writer reads by which authority an agent lives that it never saw.
#[tokio::test(flavor = "multi_thread")]
async fn the_cohort_is_counted_over_all_replicas() {
    let cluster = Cluster::shared();
    let mut replicas = Replicas::new(cluster, "cohort", 2).await;
    let [one, two] = &replicas.all[..] else {
        panic!("two replicas")
    };
    // Alone it is the cohort.
    let mut agent = two.agent("host-a").await;
    let next = one.post("/v1/authorities", json!({})).await;
    let next = next["id"].as_str().unwrap().to_owned();
    // It is the hour in which the next one is to take over: 10.5 of 12 parts of the life of the present one are over.
    let shift =
        "UPDATE skans.authorities SET not_before = created - 1000000, not_after = created + 142857
                   WHERE kind = 'issuer' AND state = 'active';
                 UPDATE skans.authorities SET created = created - 900000 WHERE state = 'prepared'";
    let done = tokio::task::block_in_place(|| cluster.sql("cohort", shift));
    assert!(done.status.success(), "{done:?}");
    assert_eq!(one.get("/v1/status").await["writer"], "c1");
    // The writer has looked, and the one agent of the cohort lives on the present one.
    eventually("counted", || async {
        one.metric("skans_control_rotation_cohort_agents").await == Some(1)
    })
    .await;
    assert_eq!(
        one.metric("skans_control_rotation_cohort_adopted").await,
        Some(0)
    );
    assert_eq!(state(one, &next).await, "prepared");

    let before = agent.credential.chain()[1].clone();
    agent.address = two.address();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while agent.credential.chain()[1] == before {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the agent never gets a certificate of the next one"
        );
        agent.renew().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut watch = agent.watch().await;
    eventually("the next one took over", || async {
        state(one, &next).await == "active"
    })
    .await;
    assert_eq!(one.get("/v1/status").await["writer"], "c1");
    watch.next().await.expect("still connected");
    replicas.stop().await;
}
