//! Arbitrary bytes, headers, paths, JSON and messages, at every method of both contracts: there is an answer, it is in the
//! form of the contract, it blames whoever asked, and a refusal leaves no trace. Methods and bodies come from the contracts.
//!
//! No target of `fuzz/`: that would build all of the control plane with instrumentation (Cedar, SQLite, TLS), which takes
//! longer than everything else that `script/test` does. What reads bytes is fuzzed there, crate by crate; what this is about
//! is what lies between. `SKANS_FUZZ_CASES` says how many inputs each method gets.

mod inputs;

use std::collections::BTreeSet;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::{http1, http2};
use hyper::header::{CONTENT_TYPE, HOST, HeaderMap, HeaderName, HeaderValue};
use hyper_util::rt::{TokioExecutor, TokioIo};
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};
use skans_identity::control_tls;
use skans_identity::credential::Credential;
use skans_identity::first_trust::FirstTrust;
use tokio::net::{TcpStream, UnixStream};

use crate::support::{Agent, PATIENCE, Plane};
use inputs::{body, call_body, headers, part};

/// Inputs for each method: some seconds for all of them.
fn cases() -> usize {
    let wanted = std::env::var("SKANS_FUZZ_CASES").ok();
    wanted.and_then(|text| text.parse().ok()).unwrap_or(40)
}

/// Another one of these.
fn draw<T: std::fmt::Debug>(runner: &mut TestRunner, of: &impl Strategy<Value = T>) -> T {
    of.new_tree(runner).unwrap().current()
}

/// A method of the REST contract: how it is called, and what it reads.
struct Operation {
    verb: String,
    path: String,
    query: Vec<String>,
    fields: Vec<String>,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(&skans_control::rest::document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (verb, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let query = parameters.filter(|one| one["in"] == "query");
            let schema = &operation["requestBody"]["content"]["application/json"]["schema"]["$ref"];
            let named = schema.as_str().and_then(|text| text.rsplit('/').next());
            let schema = named.map(|name| &document["components"]["schemas"][name]);
            let fields = schema.and_then(|schema| schema["properties"].as_object());
            all.push(Operation {
                verb: verb.to_uppercase(),
                path: path.clone(),
                query: query
                    .map(|one| one["name"].as_str().unwrap().to_owned())
                    .collect(),
                fields: fields
                    .into_iter()
                    .flat_map(|fields| fields.keys().cloned())
                    .collect(),
            });
        }
    }
    assert_eq!(all.len(), skans_control::rest::operations().len());
    all
}

/// All that a refusal must not change.
async fn traces(plane: &Plane) -> Value {
    let mut all = json!({});
    for path in [
        "/v1/registrations",
        "/v1/tokens",
        "/v1/denials",
        "/v1/grants",
        "/v1/policies",
        "/v1/authorities",
        "/v1/identities?all=true",
    ] {
        all[path] = plane
            .get(
                &format!(
                    "{path}{}limit=1000",
                    if path.contains('?') { '&' } else { '?' }
                )
                .replace("/v1/authorities?limit=1000", "/v1/authorities"),
            )
            .await;
    }
    all["counted"] = counted(plane).await;
    all
}

/// The versions and the number of events.
async fn counted(plane: &Plane) -> Value {
    let status = plane.get("/v1/status").await;
    let mut last = 0;
    loop {
        let page = plane
            .get(&format!("/v1/events?after={last}&limit=1000"))
            .await;
        let items = page["items"].as_array().unwrap();
        let Some(newest) = items.last() else { break };
        last = newest["seq"].as_u64().unwrap();
    }
    json!({
        "epoch": status["epoch"], "deny_seq": status["deny_seq"], "bundle_version": status["bundle_version"],
        "certificates": status["certificates"], "events": last,
    })
}

struct Answer {
    status: u16,
    headers: HeaderMap,
    body: Bytes,
}

/// An answer that refuses is one by the contract; one that does not is none that blames us.
fn judge(answer: &Answer, of: &str) -> bool {
    assert!(
        answer.status < 500,
        "{} {:?}: {of}",
        answer.status,
        answer.body
    );
    if answer.status < 400 {
        return true;
    }
    assert_eq!(
        answer.headers[CONTENT_TYPE], "application/problem+json",
        "{} {:?}: {of}",
        answer.status, answer.body
    );
    if of.starts_with("HEAD ") {
        return false;
    }
    let problem: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(problem["status"], answer.status, "{of}");
    let reasons = [
        "invalid",
        "not_found",
        "conflict",
        "denied",
        "identity",
        "bound",
        "unauthenticated",
        "too_many",
        "evidence",
    ];
    assert!(
        problem["reason"]
            .as_str()
            .is_some_and(|word| reasons.contains(&word)),
        "{problem}: {of}"
    );
    assert!(
        problem["detail"]
            .as_str()
            .is_some_and(|text| !text.is_empty()),
        "{problem}: {of}"
    );
    assert!(problem["may_retry"].is_boolean(), "{problem}: {of}");
    false
}

async fn ask(plane: &Plane, request: Request<Full<Bytes>>, of: &str) -> Answer {
    let stream = UnixStream::connect(plane.config.socket()).await.unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer: {of}"));
    // A panic over there is a connection that breaks.
    let (parts, body) = answer
        .unwrap_or_else(|error| panic!("{error}: {of}"))
        .into_parts();
    let body = body
        .collect()
        .await
        .unwrap_or_else(|error| panic!("{error}: {of}"));
    Answer {
        status: parts.status.as_u16(),
        headers: parts.headers,
        body: body.to_bytes(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_rest() {
    let plane = Plane::new().await;
    let mut runner = TestRunner::default();
    let (mut refused, mut taken) = (0, 0);
    for operation in operations() {
        let bodies = body(operation.fields.clone());
        let verbs = prop_oneof![
            9 => Just(operation.verb.clone()),
            1 => prop::sample::select(vec!["HEAD", "OPTIONS", "PATCH", "TRACE", "NONSENSE", "PUT", "DELETE"]).prop_map(str::to_owned),
        ];
        let names = if operation.query.is_empty() {
            vec!["x".to_owned()]
        } else {
            operation.query.clone()
        };
        let queries = prop::collection::vec((prop::sample::select(names), part()), 0..3);
        let mut before = traces(&plane).await;
        let mut changed = false;
        for _ in 0..cases() {
            let (verb, query, body) = (
                draw(&mut runner, &verbs),
                draw(&mut runner, &queries),
                draw(&mut runner, &bodies),
            );
            let mut target = String::new();
            for piece in operation.path.split_inclusive('}') {
                let (fixed, hole) = piece
                    .split_once('{')
                    .map_or((piece, false), |(fixed, _)| (fixed, true));
                target.push_str(fixed);
                if hole {
                    target.push_str(&draw(&mut runner, &part()));
                }
            }
            for (number, (name, value)) in query.iter().enumerate() {
                // Whoever asks to wait for a minute may; here nobody does.
                let value = if name == "wait" { "0" } else { value };
                target += &format!("{}{name}={value}", if number == 0 { '?' } else { '&' });
            }
            let Ok(mut request) = Request::builder()
                .method(verb.as_str())
                .uri(&target)
                .header(HOST, "x")
                .body(Full::new(Bytes::from(body.clone())))
            else {
                continue;
            };
            for (name, value) in draw(&mut runner, &headers()) {
                // To wait for a word before the body is the client's affair.
                if name != "expect" {
                    request.headers_mut().append(
                        HeaderName::from_static(name),
                        HeaderValue::from_bytes(&value).unwrap(),
                    );
                }
            }
            let of = format!(
                "{verb} {target} {:?} {}",
                request.headers(),
                String::from_utf8_lossy(&body)
            );
            let of = of.chars().take(2000).collect::<String>();
            let answer = ask(&plane, request, &of).await;
            if judge(&answer, &of) {
                changed = true;
                taken += 1;
                before["counted"] = counted(&plane).await;
            } else {
                refused += 1;
                assert_eq!(counted(&plane).await, before["counted"], "{of}");
            }
        }
        if !changed {
            assert_eq!(
                traces(&plane).await,
                before,
                "{} {}",
                operation.verb,
                operation.path
            );
        }
    }
    println!("REST: {refused} refused, {taken} taken");
    assert!(refused > taken, "{refused} refused, {taken} taken");
    // It is as well as before.
    plane.agent("host-z").await;
}

async fn connect(
    plane: &Plane,
    hash: [u8; 32],
    caller: Option<&Credential>,
) -> http2::SendRequest<Full<Bytes>> {
    let config =
        control_tls::client_config(FirstTrust::new(hash, None), caller, control_tls::HTTP2)
            .unwrap();
    let stream = TcpStream::connect(plane.api()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("control.skans").unwrap();
    let stream = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
        .unwrap();
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .unwrap();
    tokio::spawn(connection);
    sender
}

/// The status of a call, and what it says; `None` if its stream goes on.
async fn call(
    sender: &mut http2::SendRequest<Full<Bytes>>,
    method: &str,
    body: Vec<u8>,
    more: Vec<(&'static str, Vec<u8>)>,
) -> Option<(u16, String)> {
    let of = format!("{method} {more:?} {body:?}");
    let mut request = Request::post(format!("https://control.skans/{method}"))
        .header(CONTENT_TYPE, "application/grpc")
        .body(Full::new(Bytes::from(body)))
        .unwrap();
    for (name, value) in more {
        // `te` may say one thing alone in HTTP/2, and a content type that is not gRPC's is no call.
        if !["te", "content-type", "expect"].contains(&name) {
            request.headers_mut().append(
                HeaderName::from_static(name),
                HeaderValue::from_bytes(&value).unwrap(),
            );
        }
    }
    let answer = tokio::time::timeout(PATIENCE, sender.send_request(request)).await;
    let answer = answer.unwrap_or_else(|_| panic!("no answer: {of}"));
    let answer = answer.unwrap_or_else(|error| panic!("{error}: {of}"));
    assert_eq!(answer.status(), 200, "{of}");
    let (parts, body) = answer.into_parts();
    let trailers = match tokio::time::timeout(Duration::from_secs(2), body.collect()).await {
        Err(_) => return None,
        Ok(all) => all
            .unwrap_or_else(|error| panic!("{error}: {of}"))
            .trailers()
            .cloned(),
    };
    let found = |name: &str| {
        let late = || trailers.as_ref().and_then(|all| all.get(name));
        parts.headers.get(name).or_else(late).cloned()
    };
    let status = found("grpc-status").unwrap_or_else(|| panic!("no status: {of}"));
    let said = found("grpc-message").map(|text| text.to_str().unwrap().to_owned());
    let status: u16 = status.to_str().unwrap().parse().unwrap();
    let said = said.unwrap_or_default();
    // 13 is what gRPC itself has for a message that cannot be parsed; what is broken inside says so in these words.
    let ours = said.contains("its%20log%20says") || said.contains("the%20store%20failed");
    assert!(
        ![2, 14, 15].contains(&status) && !ours,
        "{status} {said}: {of}"
    );
    Some((status, said))
}

#[tokio::test(flavor = "multi_thread")]
async fn over_grpc() {
    let plane = Plane::new().await;
    let agent: Agent = plane.agent("host-a").await;
    let root = skans_control::root::load(plane.config.authority.root.as_ref().unwrap()).unwrap();
    let mut runner = TestRunner::default();
    let before = traces(&plane).await;
    let mut seen = BTreeSet::new();
    for method in skans_api::METHODS {
        for caller in [None, Some(&agent.credential)] {
            let mut sender = connect(&plane, root.spki_sha256(), caller).await;
            for number in 0..cases() {
                if number % 32 == 31 {
                    // Streams that go on have their number.
                    sender = connect(&plane, root.spki_sha256(), caller).await;
                }
                let (body, more) = (
                    draw(&mut runner, &call_body()),
                    draw(&mut runner, &headers()),
                );
                let ended = call(&mut sender, method, body, more).await;
                seen.insert((*method, caller.is_some(), ended.map(|(status, _)| status)));
            }
        }
    }
    println!("gRPC: {seen:?}");
    // Each of those whom it is for got past the parser, and was refused there.
    for wanted in [
        ("skans.v1.Enrollment/Enrol", false, Some(3)),
        ("skans.v1.Agents/Issue", true, Some(3)),
        ("skans.v1.Agents/Issue", false, Some(16)),
        ("skans.v1.Agents/Watch", false, Some(16)),
    ] {
        assert!(seen.contains(&wanted), "{wanted:?} of {seen:?}");
    }
    let after = traces(&plane).await;
    for (path, rows) in before.as_object().unwrap() {
        if path != "counted" {
            assert_eq!(after[path], *rows, "{path}");
        }
    }
    // That somebody was refused is all that was written down.
    let mut counts = [before["counted"].clone(), after["counted"].clone()];
    let [was, is] = counts
        .each_mut()
        .map(|one| one["events"].take().as_u64().unwrap());
    assert_eq!(counts[0], counts[1]);
    let told =
        plane.events("certificate.refused").await.len() + plane.events("token.refused").await.len();
    assert_eq!(u64::try_from(told).unwrap(), is - was);
    plane.agent("host-z").await;
}

/// What is not even HTTP is answered by closing.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_http_ends_its_own_connection() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let plane = Plane::new().await;
    let before = traces(&plane).await;
    let mut runner = TestRunner::default();
    let line = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..300),
        "(GET|POST|X) [ -~]{0,30} HTTP/[0-9]\\.[0-9]\r\n([a-z-]{1,9}: ?[ -~]{0,20}\r\n){0,4}\r\n".prop_map(String::into_bytes),
        Just(b"POST /v1/tokens HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}".to_vec()),
        Just(b"POST /v1/tokens HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\ncontent-length: 4\r\n\r\nffffffffffffffffff\r\n".to_vec()),
        Just(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()),
        (1usize..40_000).prop_map(|length| [b"GET / HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; length]].concat()),
    ];
    for _ in 0..cases() * 5 {
        let bytes = draw(&mut runner, &line);
        let mut stream = UnixStream::connect(plane.config.socket()).await.unwrap();
        // It may have hung up before all was said.
        let _ = stream.write_all(&bytes).await;
        let _ = stream.shutdown().await;
        let mut said = Vec::new();
        let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut said)).await;
        assert!(
            read.is_ok(),
            "still open: {:?}",
            String::from_utf8_lossy(&bytes)
        );
        let said = String::from_utf8_lossy(&said);
        assert!(
            !said.starts_with("HTTP/1.1 5"),
            "{said}: {:?}",
            String::from_utf8_lossy(&bytes)
        );
    }
    assert_eq!(traces(&plane).await, before);
}
