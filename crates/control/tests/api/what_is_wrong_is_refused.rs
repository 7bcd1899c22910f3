//! Bad input on every way in: a typed error, and nothing half-done.

use serde_json::json;
use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_identity::csr;

use crate::support::{Plane, present, reason, wanted_node};

#[tokio::test(flavor = "multi_thread")]
async fn over_rest() {
    let plane = Plane::new().await;
    let owner = plane.owner();
    let before = plane.get("/v1/status").await["certificates"].clone();
    for (method, path, body, wanted) in [
        ("POST", "/v1/tokens", "", "invalid"),
        ("POST", "/v1/tokens", "{", "invalid"),
        ("POST", "/v1/tokens", "[1]", "invalid"),
        ("POST", "/v1/tokens", r#"{"nonsense": 1}"#, "invalid"),
        (
            "POST",
            "/v1/tokens",
            r#"{"registration": "nobody"}"#,
            "not_found",
        ),
        ("POST", "/v1/tokens", r#"{"person": "a/b"}"#, "identity"),
        (
            "POST",
            "/v1/tokens",
            r#"{"person": "mia", "seconds": 99999999999}"#,
            "bound",
        ),
        (
            "POST",
            "/v1/tokens",
            r#"{"register": {"name": "x", "names": []}}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/tokens",
            r#"{"register": {"name": "x", "names": ["a@b@c"]}}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/tokens",
            r#"{"register": {"name": "x", "names": ["a@b"], "leaf_seconds": 1}}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/tokens",
            r#"{"register": {"name": "x", "names": ["a@b"], "namespace": "a/b"}}"#,
            "identity",
        ),
        (
            "POST",
            "/v1/registrations",
            r#"{"name": "x", "names": ["a@b"]}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/registrations",
            r#"{"name": "x", "names": ["a@b"], "kubernetes": "a"}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/registrations",
            r#"{"name": "x", "names": ["a@b"], "spiffe_id": "spiffe://A/b"}"#,
            "identity",
        ),
        (
            "POST",
            "/v1/denials",
            r#"{"kind": "id", "target": "x", "reason": ""}"#,
            "identity",
        ),
        (
            "POST",
            "/v1/denials",
            r#"{"kind": "all", "target": "x", "reason": ""}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/denials",
            r#"{"kind": "key", "target": "AB", "reason": ""}"#,
            "identity",
        ),
        ("DELETE", "/v1/denials/7", "", "not_found"),
        ("DELETE", "/v1/denials/x", "", "invalid"),
        ("DELETE", "/v1/tokens/x", "", "invalid"),
        ("GET", "/v1/identities/x", "", "invalid"),
        ("GET", "/v1/identities?after=x", "", "invalid"),
        (
            "PUT",
            "/v1/authorities/..%2f..%2fetc/certificate",
            r#"{"certificate": ""}"#,
            "not_found",
        ),
        (
            "PUT",
            "/v1/authorities/0011223344556677/certificate",
            r#"{"certificate": ""}"#,
            "not_found",
        ),
        (
            "POST",
            "/v1/authorities/0011223344556677/activate",
            "",
            "not_found",
        ),
        (
            "POST",
            "/v1/authorities/0011223344556677/taint",
            "",
            "not_found",
        ),
        (
            "POST",
            "/v1/grants",
            r#"{"user": "mia", "role": "god"}"#,
            "invalid",
        ),
        (
            "POST",
            "/v1/grants",
            r#"{"user": "mia", "role": "viewer", "scope": "a/b/c/d"}"#,
            "invalid",
        ),
        ("POST", "/v1/self/certificate", r#"{"csr": ""}"#, "conflict"),
        ("GET", "/v1/nothing", "", "not_found"),
        ("GET", "/", "", "not_found"),
    ] {
        let answer = owner.call(method, path, Some(body.to_owned())).await;
        assert_eq!(reason(answer), wanted, "{method} {path} {body}");
    }
    let huge = format!(r#"{{"person": "{}"}}"#, "a".repeat(100_000));
    assert_eq!(
        reason(owner.call("POST", "/v1/tokens", Some(huge)).await),
        "invalid"
    );
    let many: Vec<String> = (0..1000).map(|n| format!("n{n}@h")).collect();
    let many = json!({ "register": { "name": "x", "names": many } }).to_string();
    assert_eq!(
        reason(owner.call("POST", "/v1/tokens", Some(many)).await),
        "bound"
    );
    assert_eq!(plane.get("/v1/status").await["certificates"], before);
    assert_eq!(plane.get("/v1/registrations").await["items"], json!([]));
    assert_eq!(plane.get("/v1/tokens").await["items"], json!([]));
    assert_eq!(plane.events("token.created").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_prove_nothing() {
    let plane = Plane::new().await;
    let token = plane.token("host-a", &["*@host-a"]).await;
    let (_, good) = csr::fresh().unwrap();
    let mut forged = good.clone();
    let last = forged.len() - 1;
    forged[last] ^= 1;
    for bad in [
        vec![],
        vec![0x30],
        forged,
        [good.clone(), vec![0]].concat(),
        vec![0x30; 20_000],
    ] {
        assert!(present(&token, "host-a", bad).await.is_err());
    }
    for host in ["", "..", "a b", "-a", &"a".repeat(300), "10.0.0", "a\n"] {
        assert!(
            present(&token, host, good.clone()).await.is_err(),
            "{host:?}"
        );
    }
    // It was good all the time: nothing of this used it.
    assert!(present(&token, "host-a", good).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let channel = agent.channel().await.unwrap();
    let mut client = AgentsClient::new(channel);
    let (_, good) = csr::fresh().unwrap();
    let code = |answer: Result<tonic::Response<v1::IssueReply>, tonic::Status>| {
        answer.err().map(|status| status.code())
    };
    let none = client.issue(v1::IssueRequest { requests: vec![] }).await;
    assert_eq!(code(none), Some(tonic::Code::InvalidArgument));
    let many = vec![wanted_node("a@host-a", "host-a", good.clone()); 65];
    let many = client.issue(v1::IssueRequest { requests: many }).await;
    assert_eq!(code(many), Some(tonic::Code::InvalidArgument));
    let huge = wanted_node("a@host-a", "host-a", vec![0; 300_000]);
    let huge = client
        .issue(v1::IssueRequest {
            requests: vec![huge],
        })
        .await;
    assert!(code(huge).is_some());
    let wrong = [
        "",
        "@",
        "a@",
        "@host-a",
        "a@host-a@b",
        "a b@host-a",
        "ä@host-a",
        "../x@host-a",
        "a@host-a\n",
    ];
    let requests = wrong
        .iter()
        .map(|name| wanted_node(name, "host-a", good.clone()));
    let mut requests: Vec<_> = requests.collect();
    requests.push(wanted_node("a@host-a", "host-a", vec![1, 2, 3]));
    requests.push(wanted_node("a@host-a", "../x", good.clone()));
    requests.push(v1::issue_request::Request {
        subject: None,
        csr: good.clone(),
        lifetime: 0,
    });
    requests.push(wanted_node("a@host-a", "host-a", good));
    let answer = client
        .issue(v1::IssueRequest { requests })
        .await
        .unwrap()
        .into_inner();
    let (last, all) = answer.results.split_last().unwrap();
    for (one, name) in all
        .iter()
        .zip(wrong.iter().chain(&["csr", "workload", "none"]))
    {
        assert!(
            matches!(
                one.result,
                Some(v1::issue_reply::result::Result::Refused(_))
            ),
            "{name:?}"
        );
    }
    assert!(matches!(
        last.result,
        Some(v1::issue_reply::result::Result::Issued(_))
    ));
}

/// Log injection, terminals, paths: what a stranger calls itself ends up in events, and nowhere else.
#[tokio::test(flavor = "multi_thread")]
async fn names_of_strangers_stay_data() {
    let plane = Plane::new().await;
    let reason = "a \u{1b}[31m reason";
    let bad = json!({ "kind": "node", "target": "a@b", "reason": reason }).to_string();
    assert!(
        plane
            .owner()
            .call("POST", "/v1/denials", Some(bad))
            .await
            .is_err()
    );
    let quoted =
        json!({ "kind": "node", "target": "a@b", "reason": "\"},{\" ' ; DROP TABLE deny; --" });
    plane.post("/v1/denials", quoted).await;
    let told = plane.events("identity.denied").await;
    assert_eq!(
        told[0]["body"]["unmapped"]["reason"],
        "\"},{\" ' ; DROP TABLE deny; --"
    );
}
