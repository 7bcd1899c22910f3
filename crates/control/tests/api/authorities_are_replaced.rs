//! The authority that signs is replaced under those who use it, and what a tainted one signed is renewed.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateSigningRequestDer, UnixTime};
use serde_json::{Value, json};
use skans_api::v1::watch_reply::Message;
use skans_control::root;
use skans_control::setup::{self, RootIs};
use skans_identity::authority::Root;
use skans_identity::csr;
use skans_identity::signer::SoftwareKey;
use tokio_util::sync::CancellationToken;

use crate::support::{
    DOMAIN, PATIENCE, Plane, configuration, domain, eventually, now, reason, verifies,
};

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

/// The time of the cohort has come, and the next authority hangs on a root that an agent has not got yet: nobody lives on it
/// before that agent has said that it has.
#[tokio::test(flavor = "multi_thread")]
async fn a_cohort_waits_for_the_root_above_it() {
    let dir = tempfile::tempdir().unwrap();
    let (old, next) = (dir.path().join("root"), dir.path().join("next"));
    let hours = |count: u64| Duration::from_secs(count * 3600);
    // A root of yesterday, so that it could sign an authority that is past two thirds of its life.
    let yesterday = UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs()) - hours(24));
    let key = SoftwareKey::generate().unwrap();
    let made = Root::new(&domain(), key, yesterday, hours(240)).unwrap();
    let pem = made.to_pem();
    std::fs::create_dir(&old).unwrap();
    for (name, text) in [
        ("root.pem", pem.certificate.as_str()),
        ("root.key", &pem.key),
    ] {
        let path = old.join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    }
    std::fs::set_permissions(&old, std::fs::Permissions::from_mode(0o700)).unwrap();
    let leaves = "leaves: { laboratory: true, lifetime: 10s }\n";
    let mut config = configuration(dir.path().join("control"), &old, leaves);
    setup::init(&config, &RootIs::Here(old.clone()))
        .await
        .unwrap();
    // From here on the root is elsewhere: nothing is made ready by itself.
    config.authority.root = None;
    let stopping = CancellationToken::new();
    let running = skans_control::start(config.clone(), stopping.clone())
        .await
        .unwrap();
    let plane = Plane::of(dir, config, running, stopping);

    let ago = UnixTime::since_unix_epoch(Duration::from_secs(now().as_secs()) - hours(9));
    let sign_old = |request: &[u8]| {
        let key = csr::public_key(request).unwrap();
        made.sign_issuer("main", &key, hours(12), ago)
            .unwrap()
            .to_vec()
    };
    let active = import(&plane, sign_old).await;
    let path = format!("/v1/authorities/{active}/activate");
    plane.owner().call("POST", &path, None).await.unwrap();
    let mut agent = plane.agent("host-a").await;
    let watch = agent.watch().await;
    let of_the_active = agent.credential.chain()[1].clone();

    root::init(&next, DOMAIN, hours(24)).unwrap();
    let certificate = std::fs::read_to_string(next.join("root.pem")).unwrap();
    plane
        .post("/v1/roots", json!({ "certificate": certificate }))
        .await;
    let prepared = root::load(&next).unwrap();
    import(&plane, |request: &[u8]| {
        let key = csr::public_key(request).unwrap();
        prepared
            .sign_issuer("main", &key, hours(12), now())
            .unwrap()
            .to_vec()
    })
    .await;
    agent.bundle = plane.bundle().await;
    agent.renew().await.unwrap();
    assert_eq!(agent.credential.chain()[1], of_the_active, "not adopted");
    watch.ack(1, 0, 2).await;
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while agent.credential.chain()[1] == of_the_active {
        assert!(
            tokio::time::Instant::now() < deadline,
            "the cohort never starts"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
        agent.renew().await.unwrap();
    }
    assert_eq!(authority(&plane, "active").await["id"], active);
}

/// Has an authority requested, signed and imported; tries again while both slots are taken.
async fn import(plane: &Plane, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let requested = plane.post("/v1/authorities", json!({})).await;
    let id = requested["id"].as_str().unwrap().to_owned();
    let request = requested["request"].as_str().unwrap();
    let request = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap();
    let body = json!({ "certificate": pem("CERTIFICATE", &sign(&request)) }).to_string();
    let path = format!("/v1/authorities/{id}/certificate");
    eventually("a slot is free", || async {
        let put = plane.owner().call("PUT", &path, Some(body.clone())).await;
        match reason(put).as_str() {
            "ok" => true,
            "conflict" => false,
            other => panic!("{other}"),
        }
    })
    .await;
    id
}

fn pem(label: &str, der: &[u8]) -> String {
    pem_rfc7468::encode_string(label, pem_rfc7468::LineEnding::LF, der).unwrap()
}
