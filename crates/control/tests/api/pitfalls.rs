//! Mistakes that other control planes made, each with a test that this one does not make it: those that take a running one.
//! docs/threat-model.md has all of them.

mod replicated;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose, SanType,
};
use serde_json::{Value, json};
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_control::root;
use skans_identity::control_tls;
use skans_identity::csr;
use skans_identity::first_trust::FirstTrust;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::support::{Agent, PATIENCE, Plane, present, wanted_node};

/// Requests that ask for more than their key.
fn hostile() -> Vec<CertificateParams> {
    let mut all = vec![CertificateParams::default(); 6];
    all[0].is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    all[0].key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let uri = |text: &str| SanType::URI(text.try_into().unwrap());
    all[1].subject_alt_names = vec![
        uri("spiffe://lab.test/skans/control/c1"),
        uri("spiffe://lab.test/skans/user/root"),
    ];
    all[2].subject_alt_names = vec![uri("spiffe://other.test/skans/agent/x")];
    all[3].subject_alt_names = vec![SanType::DnsName("*.lab".try_into().unwrap())];
    all[4].extended_key_usages = vec![
        ExtendedKeyUsagePurpose::Any,
        ExtendedKeyUsagePurpose::CodeSigning,
    ];
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![5, 0]);
    unknown.set_criticality(true);
    all[5].custom_extensions = vec![unknown];
    all
}

/// All of a certificate that does not follow from its key, its number or the moment.
fn shape(der: &[u8]) -> Vec<String> {
    let (_, leaf) = X509Certificate::from_der(der).unwrap();
    let validity = leaf.validity().not_after.timestamp() - leaf.validity().not_before.timestamp();
    let mut all = vec![
        leaf.subject().to_string(),
        leaf.issuer().to_string(),
        validity.to_string(),
    ];
    for one in leaf.extensions() {
        let value = if one.oid.to_id_string() == "2.5.29.14" {
            &[]
        } else {
            one.value
        };
        all.push(format!("{} {} {value:?}", one.oid, one.critical));
    }
    all
}

/// Over the wire, at enrolment and at issuing: what is asked for beside the key does not reach the certificate.
#[tokio::test(flavor = "multi_thread")]
async fn pitfall_1_a_request_decides_nothing_but_its_key() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let mut client = AgentsClient::new(agent.channel().await.unwrap());
    let mut requests = vec![csr::fresh().unwrap().1];
    for params in hostile() {
        let pair = KeyPair::generate().unwrap();
        requests.push(params.serialize_request(&pair).unwrap().der().to_vec());
    }
    let wanted = requests
        .iter()
        .map(|one| wanted_node("a@host-a", "host-a", one.clone()));
    let answer = client
        .issue(v1::IssueRequest {
            requests: wanted.collect(),
        })
        .await
        .unwrap();
    let shapes = answer
        .into_inner()
        .results
        .into_iter()
        .map(|one| match one.result.unwrap() {
            v1::issue_reply::result::Result::Issued(issued) => shape(&issued.chain[0]),
            v1::issue_reply::result::Result::Refused(refused) => panic!("{refused:?}"),
        });
    let shapes: BTreeSet<_> = shapes.collect();
    assert_eq!(shapes.len(), 1, "{shapes:#?}");
    let mut enrolled = BTreeSet::new();
    for request in requests {
        let token = plane
            .token(&format!("host-{}", enrolled_name(&request)), &["a@host-b"])
            .await;
        let (id, chain, ..) = present(&token, "host-b", request).await.unwrap();
        let mut shape = shape(&chain[0]);
        // The end of an agent's name is from its key.
        let (name, key) = id.rsplit_once('-').unwrap();
        assert_eq!(
            (name, key.len()),
            ("spiffe://lab.test/skans/agent/host-b", 16)
        );
        shape.retain(|line| !line.starts_with("2.5.29.17 "));
        enrolled.insert(shape);
    }
    assert_eq!(enrolled.len(), 1, "{enrolled:#?}");
}

/// A name of its own for each registration.
fn enrolled_name(request: &[u8]) -> String {
    let sum: u64 = request.iter().fold(7, |sum, &byte| {
        sum.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    sum.to_string()
}

/// Who asks for somebody else gets nothing, and it is written down who asked; what a caller says of itself in headers is air.
#[tokio::test(flavor = "multi_thread")]
async fn pitfall_7_nobody_gets_what_is_another_s() {
    let plane = Plane::new().await;
    let (ours, theirs) = (plane.agent("host-a").await, plane.agent("host-b").await);
    for (name, workload) in [
        ("a@host-b", "host-b"),
        ("a@host-b", "host-a"),
        ("a@host-a", "host-b"),
        ("cli@host-b", "host-a"),
    ] {
        let refused = ours
            .issue(&[name], workload)
            .await
            .unwrap()
            .remove(0)
            .map(drop);
        assert_eq!(
            refused,
            Err("not_registered".to_owned()),
            "{name} {workload}"
        );
    }
    let told = plane.events("certificate.refused").await;
    assert_eq!(told.len(), 4);
    assert!(told.iter().all(|one| one["actor"] == ours.id), "{told:?}");
    assert!(theirs.issue(&["a@host-b"], "host-b").await.unwrap()[0].is_ok());
    // An agent is no person, and what a proxy might have put there says nothing about who calls.
    let hash = root::load(plane.config.authority.root.as_ref().unwrap())
        .unwrap()
        .spki_sha256();
    for caller in [None, Some(&ours.credential)] {
        let config =
            control_tls::client_config(FirstTrust::new(hash, None), caller, control_tls::HTTP11)
                .unwrap();
        let stream = TcpStream::connect(plane.api()).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("control.skans").unwrap();
        let mut stream = tokio_rustls::TlsConnector::from(config)
            .connect(name, stream)
            .await
            .unwrap();
        let owner = "spiffe://lab.test/skans/user/owner";
        let request = format!(
            "POST /v1/tokens HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\nx-forwarded-client-cert: URI={owner}\r\n\
             x-forwarded-for: 127.0.0.1\r\nforwarded: for=unix\r\nx-remote-user: {owner}\r\nauthorization: Bearer {owner}\r\n\
             content-length: 18\r\n\r\n{{\"person\":\"owner\"}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        let _ = stream.read_to_string(&mut said).await;
        let wanted = if caller.is_some() {
            "HTTP/1.1 403 "
        } else {
            "HTTP/1.1 401 "
        };
        assert!(said.starts_with(wanted), "{said}");
    }
    assert_eq!(plane.events("token.created").await.len(), 2);
}

/// Every file below a directory.
fn files(directory: &Path, into: &mut BTreeSet<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            files(&entry.path(), into);
        }
        into.insert(entry.path());
    }
}

/// Names steer no path, end no line, and are read back as they were written, wherever somebody can put one.
#[tokio::test(flavor = "multi_thread")]
async fn pitfall_9_names_are_data() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let (mut before, mut after) = (BTreeSet::new(), BTreeSet::new());
    files(plane.dir.path(), &mut before);
    let long = "x".repeat(10_000);
    let names = [
        "../../x",
        "/etc/passwd",
        "a\0b",
        "a\nb",
        "a\r\n{\"kind\":\"forged\"}",
        "\u{1b}[31mred",
        "\u{202e}live",
        "\u{9b}2J",
        "..",
        ".",
        "a/b",
        "%2e%2e%2f",
        "a\tb",
        "\u{feff}a",
        "ä",
        "a'b\"c",
        long.as_str(),
    ];
    for name in names {
        let _ = agent
            .issue(&[&format!("{name}@host-a"), &format!("a@{name}")], name)
            .await;
        let token = plane
            .token(
                &format!("t{}", enrolled_name(name.as_bytes())),
                &["a@host-b"],
            )
            .await;
        assert!(
            present(&token, name, csr::fresh().unwrap().1)
                .await
                .is_err()
                || name == "a'b\"c",
            "{name:?}"
        );
        let owner = plane.owner();
        for (path, body) in [
            ("/v1/tokens", json!({ "person": name })),
            (
                "/v1/tokens",
                json!({ "register": { "name": name, "names": [format!("a@{name}")], "namespace": name, "workload": name } }),
            ),
            (
                "/v1/registrations",
                json!({ "name": name, "names": ["a@b"], "spiffe_id": format!("spiffe://lab.test/{name}") }),
            ),
            (
                "/v1/registrations",
                json!({ "name": name, "names": ["a@b"], "kubernetes": format!("{name}/{name}") }),
            ),
            (
                "/v1/denials",
                json!({ "kind": "node", "target": name, "reason": name }),
            ),
            (
                "/v1/grants",
                json!({ "user": name, "role": "viewer", "scope": format!("lab.test/{name}") }),
            ),
        ] {
            let _ = owner.call("POST", path, Some(body.to_string())).await;
        }
    }
    files(plane.dir.path(), &mut after);
    // SQLite has its journal beside it, or not.
    let new: Vec<_> = after
        .difference(&before)
        .filter(|path| !path.to_string_lossy().contains(".db"))
        .collect();
    assert!(new.is_empty(), "{new:?}");
    // What has no business in a name is in none; what was written down is one event each, with no more kinds than there are.
    let raw = plane
        .owner()
        .call("GET", "/v1/events?limit=1000", None)
        .await
        .unwrap();
    assert!(
        !raw.chars().any(char::is_control),
        "control characters go escaped"
    );
    let events: Value = serde_json::from_str(&raw).unwrap();
    let events = events["items"].as_array().unwrap();
    assert!(
        events
            .iter()
            .all(|one| one["kind"] != "forged" && one["body"].is_object())
    );
    for list in [
        "/v1/registrations",
        "/v1/grants",
        "/v1/denials",
        "/v1/agents",
    ] {
        let rows = plane.get(&format!("{list}?limit=1000")).await;
        for row in rows["items"].as_array().unwrap() {
            let text = row.to_string();
            for bad in ["\\n", "\\r", "\\u00", "\u{1b}", "\u{9b}", "\u{202e}", &long] {
                assert!(!text.contains(bad), "{list}: {text:.300}");
            }
        }
    }
}

/// Two thousand who begin a handshake and say no more, greetings that are too long, and chains that do not end: agents enrol
/// as if nobody else were there.
#[tokio::test(flavor = "multi_thread")]
async fn pitfall_12_a_flood_keeps_nobody_out() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let wanted = rustix::process::Rlimit {
        current: limit.maximum,
        ..limit
    };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, wanted).unwrap();
    let plane = Plane::new().await;
    let (mut agent, token) = (
        plane.agent("host-a").await,
        plane.token("host-b", &["a@host-b"]).await,
    );
    let mut held = Vec::new();
    for number in 0..2000u32 {
        let mut stream = TcpStream::connect(plane.api()).await.unwrap();
        // Some say nothing, others the first half of a greeting.
        if number % 2 == 0 {
            let _ = stream
                .write_all(&[0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3])
                .await;
        }
        held.push(stream);
    }
    let began = Instant::now();
    agent.renew().await.unwrap();
    Agent::enrol(&token, "host-b").await.unwrap();
    assert!(
        began.elapsed() < Duration::from_secs(5),
        "{:?}",
        began.elapsed()
    );
    // A greeting of a megabyte is not read to its end.
    let mut stream = TcpStream::connect(plane.api()).await.unwrap();
    let mut greeting = Vec::new();
    for number in 0..64u8 {
        greeting.extend([0x16, 3, 1, 0x40, 0]);
        let mut record = vec![0u8; 0x4000];
        if number == 0 {
            record[..4].copy_from_slice(&[1, 0x0f, 0xff, 0xfc]);
        }
        greeting.extend(record);
    }
    let sent = stream.write_all(&greeting).await;
    let mut said = Vec::new();
    let ended = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said))
        .await
        .unwrap();
    assert!(
        sent.is_err() || ended.is_err() || said.first() == Some(&0x15),
        "an alert, or nothing: {said:?}"
    );
    drop(held);
    agent.renew().await.unwrap();
}
