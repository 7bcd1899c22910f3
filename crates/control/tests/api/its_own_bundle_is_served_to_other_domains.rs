//! Another trust domain fetches our bundle without a certificate, and sees by its sequence what is new.

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use serde_json::json;
use skans_control::root;
use skans_identity::bundle::document::Document;
use skans_identity::control_tls;
use skans_identity::first_trust::FirstTrust;

use crate::support::{DOMAIN, Plane, domain};

/// What a stranger gets: the document, and what may keep it for how long.
async fn fetch(plane: &Plane) -> (Document, String) {
    let root = *plane.bundle().await.keys().next().unwrap();
    let first = FirstTrust::new(root, None);
    let config = control_tls::client_config(first, None, control_tls::HTTP11).unwrap();
    let stream = tokio::net::TcpStream::connect(plane.api()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("control.skans").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    let request = hyper::Request::get("/v1/federation/bundle")
        .header("host", "x")
        .body(Full::new(Bytes::new()))
        .unwrap();
    let answer = sender.send_request(request).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let kept = answer.headers()["cache-control"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    let text = std::str::from_utf8(&body).unwrap();
    (Document::from_json(domain(), text).unwrap(), kept)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_our_roots_and_a_change_of_them_has_a_higher_sequence() {
    let mut plane = Plane::new().await;
    let (document, kept) = fetch(&plane).await;
    assert_eq!(
        (document.sequence, document.refresh_hint),
        (Some(1), Some(300))
    );
    assert_eq!(kept, "public, max-age=300");
    assert!(document.bundle.roots().eq(plane.bundle().await.roots()));
    // What says nothing of the roots is no news, nor is a restart.
    plane.agent("host-a").await;
    plane.stop().await;
    plane.start().await;
    assert_eq!(fetch(&plane).await.0.sequence, Some(1));
    let next = plane.dir.path().join("next");
    root::init(&next, DOMAIN, std::time::Duration::from_secs(86_400)).unwrap();
    let certificate = std::fs::read_to_string(next.join("root.pem")).unwrap();
    let added = plane
        .post("/v1/roots", json!({ "certificate": certificate }))
        .await;
    let (document, _) = fetch(&plane).await;
    assert_eq!((document.sequence, document.bundle.len()), (Some(2), 2));
    let path = format!("/v1/roots/{}", added["id"].as_str().unwrap());
    plane.owner().call("DELETE", &path, None).await.unwrap();
    let (document, _) = fetch(&plane).await;
    assert_eq!((document.sequence, document.bundle.len()), (Some(3), 1));
}
