//! The bundle of another trust domain is fetched from where a link says: never from this host, whatever a name leads to; and by
//! `https_web` from whom an authority vouches for that the machine knows.
//!
//! Which authorities a machine knows and what its names lead to belongs to a process and its host: each test runs itself again on one.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rustls::pki_types::UnixTime;
use serde_json::{Value, json};
use skans_identity::bundle::document::Document;
use skans_identity::forge::{ExtendedKeyUsagePurpose, Forge, Spec, Speech, server_config};
use skans_identity::id::TrustDomain;
use skans_lab::until;
use skans_policy::{File, Source};
use skans_promises::PATIENCE;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::netns::Network;
use crate::plane::Plane;
use crate::root;

/// In the environment of a test that runs on a host: the address of that.
const AT: &str = "SKANS_TEST_AT";
/// And a directory for it.
const DESK: &str = "SKANS_TEST_DESK";
/// What the name in these links leads to.
const NAME: &str = "bundle.theirs.test";

/// Whether this process is one that [`again`] started: where it is, and its directory.
fn on_a_host() -> Option<(IpAddr, String)> {
    let at = std::env::var(AT).ok()?;
    Some((at.parse().unwrap(), std::env::var(DESK).unwrap()))
}

/// Runs this test again on a host, with this environment. It has to pass there.
fn again(network: &Network, test: &str, environment: &[(&str, &Path)]) {
    let host = network.host(0);
    let done = Command::new(host.program(&std::env::current_exe().unwrap()))
        .args([
            "--exact",
            &format!("{}::{test}", module_path!().split_once("::").unwrap().1),
        ])
        .arg("--nocapture")
        .env(AT, host.four().to_string())
        .env(DESK, host.directory())
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&done.stdout);
    assert!(
        done.status.success() && said.contains("1 passed"),
        "{done:?}"
    );
}

fn domain() -> TrustDomain {
    TrustDomain::parse("theirs.test").unwrap()
}

/// A control plane of ours, with a link whose bundle is this one.
async fn linked(at: IpAddr, bundle: Value) -> Plane {
    let own = json!({
        "trustDomain": "ours.test", "cluster": "ours", "listen": SocketAddr::new(at, 0).to_string(),
    });
    let plane = Plane::start(&own).await;
    let link = json!([{
        "name": "theirs", "trustDomain": "theirs.test", "cluster": "theirs",
        "notAfter": UnixTime::now().as_secs() + 86_400, "bundle": bundle,
        "gateways": ["spiffe://theirs.test/skans/gateway/g1"],
        "forwards": ["spiffe://theirs.test/cluster/theirs/ns/default/sa/*/node/*"],
    }]);
    let file = |name: &str, text: &str| File {
        name: name.to_owned(),
        text: text.to_owned(),
    };
    let set = "apiVersion: skans.io/v1alpha1\nname: linked\nmode: enforce\n";
    let source = Source::read(&[
        file("set.yaml", set),
        file(
            "open.cedar",
            r#"@id("all") permit(principal, action, resource);"#,
        ),
        file("links.yaml", &link.to_string()),
    ]);
    let owner = plane.owner();
    let body = json!({ "source": source.unwrap().to_canonical() });
    let made: Value = owner.send("POST", "/v1/policies", &body).await.unwrap();
    let path = format!("/v1/policies/{}/activate", made["n"]);
    owner.call("POST", &path, None).await.unwrap();
    plane
}

/// How it stands with their bundle, once this is so.
async fn stands(plane: &Plane, wanted: impl Fn(&Value) -> bool) -> Value {
    until(PATIENCE, "an attempt", async || {
        let all: Value = plane.owner().get("/v1/federation").await.unwrap();
        let one = all["items"].as_array().unwrap().first().cloned();
        let one = one.unwrap_or_default();
        if wanted(&one) {
            Ok(one)
        } else {
            Err(one.to_string())
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_name_that_leads_to_this_host_is_refused() {
    if let Some((at, _)) = on_a_host() {
        return asked_by_name(at).await;
    }
    if !root::or_skip("a name that leads to loopback") {
        return;
    }
    let network = Network::new(1, false);
    let host = network.host(0);
    for leads_to in ["127.0.0.1", "::1", "::ffff:127.0.0.1", "169.254.169.254"] {
        let hosts = host.directory().join("hosts");
        std::fs::write(&hosts, format!("{leads_to} {NAME}\n")).unwrap();
        let mount = Command::new(host.program(Path::new("/usr/bin/mount")))
            .arg("--bind")
            .arg(&hosts)
            .arg("/etc/hosts")
            .status();
        assert!(mount.unwrap().success());
        again(&network, "a_name_that_leads_to_this_host_is_refused", &[]);
    }
}

async fn asked_by_name(at: IpAddr) {
    let found = tokio::net::lookup_host((NAME, 443)).await.unwrap();
    let leads_to: Vec<_> = found.map(|address| address.ip()).collect();
    // Somebody who would answer, if he were asked.
    let four = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = four.local_addr().unwrap().port();
    let six = TcpListener::bind(("::1", port)).await.unwrap();
    let root = Forge::new(&domain(), UnixTime::now()).unwrap();
    let plane = linked(
        at,
        json!({
            "url": format!("https://{NAME}:{port}/bundle"), "profile": "https_spiffe",
            "endpointId": "spiffe://theirs.test/skans/control/one",
            "roots": root.bundle().unwrap().to_pem(),
        }),
    )
    .await;
    let found = stands(&plane, |one| !one["problem"].is_null()).await;
    let problem = found["problem"].as_str().unwrap();
    assert!(problem.contains("not this host"), "{leads_to:?}: {problem}");
    let asked = tokio::select! {
        biased;
        _ = four.accept() => true,
        _ = six.accept() => true,
        () = std::future::ready(()) => false,
    };
    assert!(!asked, "{leads_to:?} was connected to");
}

#[tokio::test]
async fn https_web_believes_the_authorities_of_the_machine_and_no_others() {
    if let Some((at, desk)) = on_a_host() {
        return over_the_web(at, Path::new(&desk)).await;
    }
    if !root::or_skip("https_web with an authority of its own") {
        return;
    }
    let network = Network::new(1, false);
    let desk = network.host(0).directory();
    let at = network.host(0).four();
    let web = Forge::new(&TrustDomain::parse("web.test").unwrap(), UnixTime::now()).unwrap();
    let other = Forge::new(&TrustDomain::parse("other.test").unwrap(), UnixTime::now()).unwrap();
    let mut spec = Spec::good("", "", UnixTime::now());
    (spec.uris, spec.dns, spec.ips) = (Vec::new(), Vec::new(), vec![at]);
    spec.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let leaf = web.leaf(&spec).unwrap();
    // Of the same authority, for somebody else.
    spec.ips = vec![network.host(0).six()];
    let elsewhere = web.leaf(&spec).unwrap();
    let test = "https_web_believes_the_authorities_of_the_machine_and_no_others";
    for (known, shown, why) in [
        (&web, &leaf, ""),
        (&other, &leaf, "UnknownIssuer"),
        (&web, &elsewhere, "not valid for name"),
    ] {
        let put = |name: &str, text: String| std::fs::write(desk.join(name), text).unwrap();
        put("known.pem", known.bundle().unwrap().to_pem());
        put("chain.pem", shown.chain_pem());
        put("key.pem", shown.key_pem());
        put("why", why.to_owned());
        again(
            &network,
            test,
            &[("SSL_CERT_FILE", &desk.join("known.pem"))],
        );
    }
}

async fn over_the_web(at: IpAddr, desk: &Path) {
    let read = |name: &str| std::fs::read_to_string(desk.join(name)).unwrap();
    let root = Forge::new(&domain(), UnixTime::now()).unwrap();
    let document = Document {
        bundle: root.bundle().unwrap(),
        sequence: Some(7),
        refresh_hint: None,
    };
    let address = publish(at, desk, document.to_json().unwrap()).await;
    let bundle = json!({"url": format!("https://{address}/bundle"), "profile": "https_web"});
    let plane = linked(at, bundle).await;
    let why = read("why");
    if why.is_empty() {
        let found = stands(&plane, |one| one["standing"] == "fresh").await;
        assert_eq!(
            (&found["sequence"], &found["roots"]),
            (&json!(7), &json!(1))
        );
        return;
    }
    let found = stands(&plane, |one| !one["problem"].is_null()).await;
    let problem = found["problem"].as_str().unwrap();
    assert!(problem.contains(&why), "{problem}");
    assert_eq!(
        (&found["sequence"], &found["roots"]),
        (&json!(null), &json!(0))
    );
    let told: Value = plane.owner().get("/v1/events?limit=1000").await.unwrap();
    let mut told = told["items"].as_array().unwrap().iter();
    assert!(told.any(|one| one["kind"] == "bundle.foreign.refused"));
}

/// A web server that has this document, and the certificate of the desk.
async fn publish(at: IpAddr, desk: &Path, document: String) -> SocketAddr {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(desk.join("chain.pem")).unwrap();
    let forged = skans_identity::forge::Forged {
        chain: chain.map(Result::unwrap).collect(),
        key: PrivateKeyDer::from_pem_file(desk.join("key.pem")).unwrap(),
    };
    let speech = Speech {
        alpn: vec![b"http/1.1".to_vec()],
        ..Speech::default()
    };
    let acceptor = TlsAcceptor::from(server_config(&forged, &speech).unwrap());
    let listener = TcpListener::bind((at, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let document = Arc::new(document);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (acceptor, document) = (acceptor.clone(), Arc::clone(&document));
            tokio::spawn(async move {
                let mut tls = acceptor.accept(socket).await?;
                let mut asked = Vec::new();
                while !asked.ends_with(b"\r\n\r\n") {
                    asked.push(tls.read_u8().await?);
                }
                let length = document.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
                );
                tls.write_all(format!("{head}{document}").as_bytes())
                    .await?;
                tls.shutdown().await
            });
        }
    });
    address
}
