//! Every method of the contracts, called over the wire by everybody there is: who may not, is refused before anything is
//! looked at. The methods come from the contracts, so that a new one without a row in the table of roles fails here.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use skans_control::roles::{Held, Kind, Question, RoleName, Roles};
use skans_control::scope::Scope;
use skans_identity::authority::{Authority, Lifetimes, Root};
use skans_identity::control_tls;
use skans_identity::credential::Credential;
use skans_identity::csr::ProvenKey;
use skans_identity::first_trust::FirstTrust;
use skans_identity::host::Host;
use skans_identity::id::{NodeId, SpiffeId};
use skans_identity::signer::SoftwareKey;

use crate::contracts_are_what_was_agreed_on::methods;
use crate::support::{DOMAIN, Plane, domain, now};

/// Somebody who calls.
struct Caller {
    name: String,
    credential: Option<Credential>,
    kind: Kind,
    held: Vec<Held>,
}

/// What a call came to: let in or not, whatever it was let in to.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    LetIn,
    Unauthenticated,
    Denied,
    /// Not even TLS.
    NoConnection,
}

async fn call(plane: &Plane, hash: [u8; 32], caller: Option<&Credential>, method: &str) -> Verdict {
    let grpc = !method.contains(' ');
    let protocol = if grpc {
        control_tls::HTTP2
    } else {
        control_tls::HTTP11
    };
    let first = FirstTrust::new(hash, None);
    let config = control_tls::client_config(first, caller, protocol).unwrap();
    let stream = tokio::net::TcpStream::connect(plane.api()).await.unwrap();
    let name = rustls::pki_types::ServerName::try_from("control.skans").unwrap();
    let Ok(stream) = tokio_rustls::TlsConnector::from(config)
        .connect(name, stream)
        .await
    else {
        return Verdict::NoConnection;
    };
    if grpc {
        return call_grpc(stream, method).await;
    }
    let (verb, path) = method.split_once(' ').unwrap();
    // Names of things that are not there: whoever is let in finds nothing, and changes nothing.
    let path = path
        .replace("{id}", "0011223344556677")
        .replace("{serial}", &"00".repeat(16))
        .replace("{seq}", "999999")
        .replace("{n}", "999999");
    let request = hyper::Request::builder()
        .method(verb)
        .uri(&path)
        .header("host", "x");
    let request = request
        .body(Full::new(Bytes::from_static(b"{\"nonsense\": 1}")))
        .unwrap();
    let Ok((mut sender, connection)) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await
    else {
        return Verdict::NoConnection;
    };
    tokio::spawn(connection);
    // TLS 1.3: a client certificate is judged when the client is done, so that it is told with the first answer.
    let Ok(answer) = sender.send_request(request).await else {
        return Verdict::NoConnection;
    };
    match answer.status().as_u16() {
        401 => Verdict::Unauthenticated,
        403 => {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let problem: serde_json::Value = serde_json::from_slice(&body).unwrap();
            // 403 is also what a bad token gets, by who was let in.
            if problem["reason"] == "denied" {
                Verdict::Denied
            } else {
                Verdict::LetIn
            }
        }
        404 => {
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            assert!(
                !String::from_utf8_lossy(&body).contains("no method"),
                "{method}: not routed"
            );
            Verdict::LetIn
        }
        405 => panic!("{method}: not routed"),
        _ => Verdict::LetIn,
    }
}

async fn call_grpc(
    stream: tokio_rustls::client::TlsStream<tokio::net::TcpStream>,
    method: &str,
) -> Verdict {
    let executor = hyper_util::rt::TokioExecutor::new();
    let Ok((mut sender, connection)) =
        hyper::client::conn::http2::handshake(executor, TokioIo::new(stream)).await
    else {
        return Verdict::NoConnection;
    };
    tokio::spawn(connection);
    let request = hyper::Request::post(format!("https://control.skans/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        // An empty message: it makes sense to no method but GetBundle.
        .body(Full::new(Bytes::from_static(&[0, 0, 0, 0, 0])))
        .unwrap();
    let Ok(Ok(answer)) =
        tokio::time::timeout(Duration::from_secs(20), sender.send_request(request)).await
    else {
        return Verdict::NoConnection;
    };
    let headers = answer.headers().clone();
    let collected = answer.into_body().collect().await;
    let trailers = collected.ok().and_then(|body| body.trailers().cloned());
    let status = headers
        .get("grpc-status")
        .or_else(|| trailers.as_ref()?.get("grpc-status"))
        .cloned();
    match status.as_ref().and_then(|status| status.to_str().ok()) {
        Some("16") => Verdict::Unauthenticated,
        Some("7") => Verdict::Denied,
        Some("12") => panic!("{method}: not routed"),
        _ => Verdict::LetIn,
    }
}

fn with_role(role: RoleName) -> Vec<Held> {
    let scope: Scope = DOMAIN.parse().unwrap();
    vec![Held { role, scope }]
}

/// A leaf of another cluster under the same root, by the root's own hand.
fn of_another_cluster(root: &Root, id: &SpiffeId) -> Credential {
    let key = SoftwareKey::generate().unwrap();
    let hour = Duration::from_secs(3600);
    let certificate = root
        .sign_issuer("other", &ProvenKey::of(&key), hour, now())
        .unwrap();
    let issuer = skans_identity::authority::Issuer::load(certificate, key).unwrap();
    let host = Host::parse("host-x").unwrap();
    issuer.issue(id, Some(&host), hour, now()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_is_refused() {
    let plane = Plane::new().await;
    let agent = plane.agent("host-a").await;
    let node = agent
        .issue(&["rabbit@host-a"], "host-a")
        .await
        .unwrap()
        .remove(0)
        .unwrap();
    let root = skans_control::root::load(plane.config.authority.root.as_ref().unwrap()).unwrap();
    let mut callers = vec![
        Caller {
            name: "stranger".into(),
            credential: None,
            kind: Kind::Stranger,
            held: vec![],
        },
        Caller {
            name: "agent".into(),
            credential: Some(agent.credential.clone()),
            kind: Kind::Agent,
            held: vec![],
        },
        Caller {
            name: "node".into(),
            credential: Some(node),
            kind: Kind::Node,
            held: vec![],
        },
    ];
    let foreign = SpiffeId::agent(&domain(), "host-a-1").unwrap();
    let foreign = of_another_cluster(&root, &foreign);
    callers.push(Caller {
        name: "agent of another cluster".into(),
        credential: Some(foreign),
        kind: Kind::Foreign,
        held: vec![],
    });
    for role in [None].into_iter().chain(RoleName::ALL.map(Some)) {
        let name = role.map_or("nobody", RoleName::as_str);
        let roles: Vec<&str> = role.iter().map(|role| role.as_str()).collect();
        plane.person(name, &roles, Some(DOMAIN)).await;
        let login =
            skans_control::client::Login::load(&plane.dir.path().join(format!("person-{name}")))
                .unwrap();
        let held = role.map(with_role).unwrap_or_default();
        callers.push(Caller {
            name: name.into(),
            credential: Some(login.credential),
            kind: Kind::User,
            held,
        });
    }
    let roles = Roles::load().unwrap();
    let scope: Scope = DOMAIN.parse::<Scope>().unwrap().cluster("main").unwrap();
    let hash = root.spki_sha256();
    for method in methods() {
        for caller in &callers {
            let question = Question {
                kind: caller.kind,
                held: &caller.held,
                action: &method,
                scope: &scope,
                seconded: true,
                local: false,
            };
            let wanted = match (roles.allows(&question), caller.kind) {
                (true, _) => Verdict::LetIn,
                (false, Kind::Stranger) => Verdict::Unauthenticated,
                (false, _) => Verdict::Denied,
            };
            let found = call(&plane, hash, caller.credential.as_ref(), &method).await;
            assert_eq!(found, wanted, "{method} by {}", caller.name);
        }
    }
}

/// Who has run out, who is denied, and who was signed by somebody else does not even get a connection.
#[tokio::test(flavor = "multi_thread")]
async fn who_is_nobody_any_more_gets_no_connection() {
    let plane = Plane::new().await;
    let root = skans_control::root::load(plane.config.authority.root.as_ref().unwrap()).unwrap();
    let hash = root.spki_sha256();
    let host = Host::parse("host-a").unwrap();
    let other = Authority::generate(&domain(), "main", now(), Lifetimes::default()).unwrap();
    let id = SpiffeId::user(&domain(), "owner").unwrap();
    let stolen = other
        .issuer()
        .issue(&id, None, Duration::from_secs(600), now())
        .unwrap();
    let denied = plane.agent("host-b").await;
    plane
        .post(
            "/v1/denials",
            serde_json::json!({ "kind": "id", "target": denied.id, "reason": "test" }),
        )
        .await;
    let elsewhere = Authority::generate(
        &"else.test".parse().unwrap(),
        "main",
        now(),
        Lifetimes::default(),
    )
    .unwrap();
    let node = NodeId::new(elsewhere.trust_domain(), "main", "default", "w", "a").unwrap();
    let elsewhere = elsewhere
        .issue(node.id(), &host, Duration::from_secs(600), now())
        .unwrap();
    for (name, credential) in [
        ("another root", &stolen),
        ("denied", &denied.credential),
        ("another domain", &elsewhere),
    ] {
        for method in [
            "GET /v1/bundle",
            "GET /v1/tokens",
            "skans.v1.Agents/Issue",
            "skans.v1.Enrollment/GetBundle",
        ] {
            let found = call(&plane, hash, Some(credential), method).await;
            assert_eq!(found, Verdict::NoConnection, "{method} by {name}");
        }
    }
}

/// A connection does not outlive the certificate that opened it.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_certificate() {
    let plane = Plane::with("leaves: { laboratory: true, lifetime: 10s }\n").await;
    let agent = plane.agent("host-a").await;
    let mut watch = agent.watch().await;
    let not_after = agent.credential.identity().not_after;
    while watch.next().await.is_some() {}
    let passed = now().as_secs();
    assert!(
        (not_after..not_after + 5).contains(&passed),
        "{passed} {not_after}"
    );
    let client = Arc::new(agent);
    assert!(
        client.channel().await.is_err() || client.issue(&["a@host-a"], "host-a").await.is_err()
    );
}
