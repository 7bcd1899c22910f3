//! A backup is encrypted and whole; what is restored from it changes nothing until the root says so; then agents see why.

use serde_json::json;
use skans_api::v1;
use skans_api::v1::watch_reply::Message;
use skans_control::client::{Client, Login};
use skans_control::{backup, root};
use skans_identity::head::{Audience, Head};
use skans_identity::recovery::{Signature, SignedRecovery};

use crate::support::{Plane, domain, now, reason, verifier};
use crate::what_agents_tell_is_in_the_log_once::Tell;

/// A statement with the signatures of these people, as the API takes it.
fn by_people(statement: &str, people: &[Login]) -> String {
    let statement = skans_identity::recovery::Recovery::decode(&unhex(statement)).unwrap();
    let message = [b"skans-recovery-v1\0".as_slice(), &statement.encode()].concat();
    let sign = |person: &Login| {
        let key = person.credential.certified_key();
        let schemes = [rustls::SignatureScheme::ECDSA_NISTP256_SHA256];
        let signer = key.key.choose_scheme(&schemes).unwrap();
        Signature {
            chain: person.credential.chain().to_vec(),
            signature: signer.sign(&message).unwrap(),
        }
    };
    let signed = SignedRecovery {
        statement: statement.encode(),
        signatures: people.iter().map(sign).collect(),
    };
    let digits = signed
        .encode()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect::<String>();
    json!({ "statement": digits }).to_string()
}

fn unhex(digits: &str) -> Vec<u8> {
    let pairs = (0..digits.len()).step_by(2);
    pairs
        .map(|at| u8::from_str_radix(&digits[at..at + 2], 16).unwrap())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn from_backup_to_recovery() {
    let mut plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let mut owners = Vec::new();
    for name in ["ann", "ben"] {
        if let Client::Person(dir) = plane.person(name, &["owner"], None).await {
            owners.push(Login::load(&dir).unwrap());
        }
    }
    let file = plane.dir.path().join("backup");
    plane
        .owner()
        .download("POST", "/v1/backups", &file)
        .await
        .unwrap();
    let found = backup::verify(&plane.config, &file).await.unwrap();
    assert_eq!(
        (found.meta.trust_domain.as_str(), found.deny_seq),
        ("lab.test", 0)
    );
    let bytes = std::fs::read(&file).unwrap();
    assert!(
        !bytes.windows(8).any(|part| part == b"lab.test"),
        "in plain text"
    );
    // What happens after the backup, a restore undoes.
    let mut later = plane.agent("host-b").await;
    plane
        .post(
            "/v1/denials",
            json!({ "kind": "node", "target": "x@y", "reason": "test" }),
        )
        .await;
    plane.stop().await;
    for name in ["control.db", "control.db-wal", "control.db-shm"] {
        let _ = std::fs::remove_file(plane.config.directory.join(name));
    }
    // Whatever else the store keeps beside its database belongs to the old one.
    backup::restore(&plane.config, &file).await.unwrap();
    assert!(
        backup::restore(&plane.config, &file).await.is_err(),
        "over what is there"
    );
    plane.start().await;
    agent.address = plane.api();

    let status = plane.get("/v1/status").await;
    assert!(
        status["read_only"].as_str().unwrap().contains("recover"),
        "{status}"
    );
    assert_eq!(status["epoch"], 1);
    assert!(agent.renew().await.is_err());
    let denial = json!({ "kind": "node", "target": "x@y", "reason": "test" }).to_string();
    assert_eq!(
        reason(
            plane
                .owner()
                .call("POST", "/v1/denials", Some(denial))
                .await
        ),
        "read_only"
    );

    // An agent that is not known any more learns what helps, and keeps what it has to tell.
    later.address = plane.api();
    let refused = Tell::open(&later).await.err().unwrap();
    assert_eq!(refused.code(), tonic::Code::Unauthenticated);
    assert!(refused.message().contains("enrol again"), "{refused}");

    // An agent that was there says how far it had come.
    let start = v1::WatchStart {
        epoch: 1,
        deny_seq: 1,
        ..v1::WatchStart::default()
    };
    let mut watch = agent.watch_from(start).await.unwrap();
    let wanted = plane.get("/v1/recovery").await;
    let wanted = wanted["statement"].as_str().unwrap();
    let forged = {
        let other = plane.dir.path().join("other");
        root::init(&other, "lab.test", std::time::Duration::from_secs(86_400)).unwrap();
        root::sign_recovery(&other, wanted).unwrap()
    };
    let forged = json!({ "statement": forged }).to_string();
    assert_eq!(
        reason(
            plane
                .owner()
                .call("POST", "/v1/recovery", Some(forged))
                .await
        ),
        "evidence"
    );
    // Two owners, whoever they are: an old database makes as many as it likes.
    let refused = plane
        .owner()
        .call("POST", "/v1/recovery", Some(by_people(wanted, &owners)))
        .await;
    let Err(skans_control::Error::Remote(problem)) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(problem.reason, "evidence");
    assert!(
        problem.detail.contains("owners cannot sign it"),
        "{problem:?}"
    );
    assert!(!plane.get("/v1/status").await["read_only"].is_null());
    let signed =
        root::sign_recovery(plane.config.authority.root.as_ref().unwrap(), wanted).unwrap();
    let done = plane
        .post("/v1/recovery", json!({ "statement": signed }))
        .await;
    assert_eq!(done["epoch"], 2);

    let recovery = watch
        .until(|message| match message {
            Message::Recovery(recovery) => Some(recovery),
            Message::Head(head) if Head::decode(&head.head).unwrap().epoch == 2 => {
                panic!("a head of the new epoch first")
            }
            _ => None,
        })
        .await;
    let audience = Audience {
        trust_domain: domain(),
        cluster: "main".to_owned(),
    };
    let recovery = SignedRecovery::decode(&recovery.signed).unwrap();
    let verified = recovery
        .verify(&verifier(&agent.bundle), &audience, now())
        .unwrap();
    assert_eq!(
        (verified.statement().epoch, verified.statement().deny_seq),
        (2, 0)
    );
    watch
        .until(|message| match message {
            Message::Head(head) if Head::decode(&head.head).unwrap().epoch == 2 => Some(()),
            _ => None,
        })
        .await;
    agent.renew().await.unwrap();
    assert!(plane.get("/v1/status").await["read_only"].is_null());
    assert_eq!(
        reason(plane.owner().call("GET", "/v1/recovery", None).await),
        "conflict"
    );
    assert_eq!(plane.events("control.recovered").await.len(), 1);
}

/// Agents that have seen a later epoch: the next one is above it, also where the backup does not know.
#[tokio::test(flavor = "multi_thread")]
async fn the_new_epoch_is_above_all_that_agents_know() {
    let mut plane = Plane::new().await;
    let mut agent = plane.agent("host-a").await;
    let file = plane.dir.path().join("backup");
    plane
        .owner()
        .download("POST", "/v1/backups", &file)
        .await
        .unwrap();
    plane.stop().await;
    for name in ["control.db", "control.db-wal", "control.db-shm"] {
        let _ = std::fs::remove_file(plane.config.directory.join(name));
    }
    backup::restore(&plane.config, &file).await.unwrap();
    plane.start().await;
    agent.address = plane.api();
    let start = v1::WatchStart {
        epoch: 7,
        ..v1::WatchStart::default()
    };
    let mut watch = agent.watch_from(start).await.unwrap();
    watch
        .until(|message| matches!(message, Message::Head(_)).then_some(()))
        .await;
    let wanted = plane.get("/v1/recovery").await;
    let root_dir = plane.config.authority.root.as_ref().unwrap();
    let signed = root::sign_recovery(root_dir, wanted["statement"].as_str().unwrap()).unwrap();
    assert_eq!(
        plane
            .post("/v1/recovery", json!({ "statement": signed }))
            .await["epoch"],
        8
    );
}
