//! Whoever reads revocation lists finds one of each authority whose leaves may still be valid.

use rustls::pki_types::CertificateRevocationListDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use x509_parser::prelude::{CertificateRevocationList, FromDer as _};

use crate::support::{Plane, reason};

/// The serial numbers on each list, by the name of its issuer.
async fn lists(plane: &Plane) -> Vec<(String, Vec<String>)> {
    let text = plane.owner().call("GET", "/v1/crls", None).await.unwrap();
    let mut all = Vec::new();
    for der in CertificateRevocationListDer::pem_slice_iter(text.as_bytes()) {
        let der = der.unwrap();
        let (rest, list) = CertificateRevocationList::from_der(&der).unwrap();
        assert!(rest.is_empty());
        let serials = list.iter_revoked_certificates().map(|one| {
            one.raw_serial()
                .iter()
                .map(|b| format!("{b:02x}"))
                .collect()
        });
        all.push((list.issuer().to_string(), serials.collect()));
    }
    all
}

async fn issuers(plane: &Plane) -> Vec<Value> {
    let all = plane.get("/v1/authorities").await;
    let all = all["items"].as_array().unwrap();
    all.iter()
        .filter(|one| one["kind"] == "issuer")
        .cloned()
        .collect()
}

fn same(serial: &str, listed: &str) -> bool {
    serial.trim_start_matches('0') == listed.trim_start_matches('0')
}

async fn of_issuer(plane: &Plane, issuer: &Value) -> Vec<u8> {
    let to = plane.dir.path().join("list");
    let _ = std::fs::remove_file(&to);
    let path = format!("/v1/crl/{}", issuer["spki_sha256"].as_str().unwrap());
    plane.owner().download("GET", &path, &to).await.unwrap();
    std::fs::read(&to).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_former_authority_signed_is_listed_by_it() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let serial = agent.credential.identity().serial.clone();
    assert_eq!(lists(&plane).await.len(), 1);
    // One that is prepared has a list before it signs its first leaf.
    let next = plane.post("/v1/authorities", json!({})).await;
    assert_eq!(lists(&plane).await.len(), 2);
    let activate = format!("/v1/authorities/{}/activate", next["id"].as_str().unwrap());
    plane.owner().call("POST", &activate, None).await.unwrap();
    let denial = json!({ "kind": "id", "target": agent.id, "reason": "test" });
    plane.post("/v1/denials", denial).await;
    let all = lists(&plane).await;
    assert_eq!(all.len(), 2);
    assert_ne!(all[0].0, all[1].0);
    let listed: Vec<&(String, Vec<String>)> = all
        .iter()
        .filter(|(_, serials)| serials.iter().any(|one| same(&serial, one)))
        .collect();
    assert_eq!(listed.len(), 1, "{all:?}");
    let issuers = issuers(&plane).await;
    let retired = issuers
        .iter()
        .find(|one| one["state"] == "retired")
        .unwrap();
    let der = of_issuer(&plane, retired).await;
    let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
    assert_eq!(list.issuer().to_string(), listed[0].0);

    // Also when it is tainted, and when it is revoked: then all that it signed is on it.
    let path = |what: &str| format!("/v1/authorities/{}/{what}", retired["id"].as_str().unwrap());
    plane
        .owner()
        .call("POST", &path("taint"), None)
        .await
        .unwrap();
    assert_eq!(lists(&plane).await.len(), 2);
    plane
        .owner()
        .call("POST", &path("revoke"), None)
        .await
        .unwrap();
    let der = of_issuer(&plane, retired).await;
    let (_, list) = CertificateRevocationList::from_der(&der).unwrap();
    assert!(list.iter_revoked_certificates().count() >= 2);
    let unknown = format!("/v1/crl/{}", "00".repeat(32));
    let unknown = plane.owner().call("GET", &unknown, None).await;
    assert_eq!(reason(unknown), "not_found");
}
