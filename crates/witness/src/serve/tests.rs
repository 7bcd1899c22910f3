//! The port: statuses, content types, bounds; with TLS and without.

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use skans_audit::checkpoint::Checkpoint;
use skans_audit::note::{self, Note, SigningKey, VerifyingKey};
use skans_audit::witness::Request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsConnector;

use crate::config::{self, Config};
use crate::{Running, key, start};

use super::*;

const ORIGIN: &str = "prod.example/cluster/main/audit/1";

struct Served {
    _directory: tempfile::TempDir,
    running: Running,
    stopping: CancellationToken,
    vkey: String,
    authority: Option<rcgen::Certificate>,
}

fn log_key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, &[1; 32]).unwrap()
}

async fn served(tls: bool) -> Served {
    let directory = tempfile::tempdir().unwrap();
    let at = |name: &str| directory.path().join(name).display().to_string();
    let vkey = key::make(at("key").as_ref(), "witness.example/w1").unwrap();
    let mut text = format!(
        "apiVersion: {}\nlisten: 127.0.0.1:0\nkey: {}\nstate: {}\nlogs: [{{origin: {ORIGIN}, key: {}}}]\n",
        config::API_VERSION,
        at("key"),
        at("state"),
        log_key().vkey()
    );
    let mut authority = None;
    if tls {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).unwrap();
        std::fs::write(at("tls.crt"), made.cert.pem()).unwrap();
        skans_host::files::write_new(
            at("tls.key").as_ref(),
            made.signing_key.serialize_pem().as_bytes(),
        )
        .unwrap();
        text.push_str(&format!(
            "tls: {{certificate: {}, key: {}}}\n",
            at("tls.crt"),
            at("tls.key")
        ));
        authority = Some(made.cert);
    }
    let config: Config = config::parse(&text, "test").unwrap();
    let stopping = CancellationToken::new();
    let running = start(&config, stopping.clone()).await.unwrap();
    Served {
        _directory: directory,
        running,
        stopping,
        vkey,
        authority,
    }
}

impl Served {
    async fn ask(&self, request: &str) -> String {
        let socket = TcpStream::connect(self.running.address).await.unwrap();
        match &self.authority {
            None => exchange(socket, request).await,
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(authority.der().clone()).unwrap();
                let config =
                    ClientConfig::builder_with_provider(Arc::new(skans_identity::tls::provider()))
                        .with_protocol_versions(&[&rustls::version::TLS13])
                        .unwrap()
                        .with_root_certificates(roots)
                        .with_no_client_auth();
                let name = ServerName::try_from("localhost").unwrap();
                let connector = TlsConnector::from(Arc::new(config));
                exchange(connector.connect(name, socket).await.unwrap(), request).await
            }
        }
    }

    async fn post(&self, body: &str) -> String {
        let length = body.len();
        self.ask(&format!("POST /add-checkpoint HTTP/1.1\r\nhost: w\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}")).await
    }

    async fn get(&self, path: &str) -> String {
        self.ask(&format!(
            "GET {path} HTTP/1.1\r\nhost: w\r\nconnection: close\r\n\r\n"
        ))
        .await
    }
}

async fn exchange<IO: AsyncRead + AsyncWrite + Unpin>(mut socket: IO, request: &str) -> String {
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    // The end of a connection may come as a reset, after the answer.
    let _ = socket.read_to_end(&mut answer).await;
    String::from_utf8(answer).unwrap()
}

fn body(old: u64, size: u64, root: u8) -> String {
    let note = Checkpoint::new(ORIGIN, size, [root; 32])
        .sign(&log_key())
        .unwrap();
    let note = Note::parse(note.as_bytes()).unwrap();
    Request {
        old,
        proof: Vec::new(),
        note,
    }
    .encode()
}

async fn answers(served: Served) {
    let answer = served.post(&body(0, 5, 1)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let line = answer.split("\r\n\r\n").nth(1).unwrap();
    let key = VerifyingKey::parse(&served.vkey).unwrap();
    let mut note = Request::parse(body(0, 5, 1).as_bytes()).unwrap().note;
    note.add(note::signatures(line).unwrap().remove(0)).unwrap();
    let time = note.verify(&[&key]).unwrap()[0].time.unwrap();
    assert!(time.abs_diff(now()) < 60, "{time}");
    let answer = served.post(&body(0, 6, 1)).await;
    assert!(answer.starts_with("HTTP/1.1 409"), "{answer}");
    assert!(
        answer.contains("content-type: text/x.tlog.size\r\n") && answer.ends_with("\r\n\r\n5\n"),
        "{answer}"
    );
    assert!(
        served
            .post(&body(5, 6, 2))
            .await
            .starts_with("HTTP/1.1 422")
    );
    assert!(served.post("old 5\n").await.starts_with("HTTP/1.1 400"));
    assert!(
        served
            .post(&"x".repeat(MAX_BODY + 1))
            .await
            .starts_with("HTTP/1.1 413")
    );
    assert!(
        served
            .get("/add-checkpoint")
            .await
            .starts_with("HTTP/1.1 405")
    );
    assert!(served.get("/").await.starts_with("HTTP/1.1 404"));
    assert!(served.get("/livez").await.ends_with("\r\n\r\nok\n"));
    let metrics = served.get("/metrics").await;
    for wanted in [
        "skans_witness_requests_total{answer=\"cosigned\"} 1\n",
        "skans_witness_requests_total{answer=\"not_the_last\"} 1\n",
        "skans_witness_requests_total{answer=\"inconsistent\"} 1\n",
        "skans_witness_requests_total{answer=\"too_long\"} 1\n",
        &format!("skans_witness_size{{origin=\"{ORIGIN}\"}} 5\n"),
        &format!("skans_witness_last_cosigned_seconds{{origin=\"{ORIGIN}\"}} 1"),
    ] {
        assert!(metrics.contains(wanted), "{wanted} in {metrics}");
    }
    served.stopping.cancel();
    served.running.ended().await;
}

#[tokio::test]
async fn it_answers_as_the_specification_says() {
    answers(served(false).await).await;
}

#[tokio::test]
async fn it_answers_over_tls_alike() {
    answers(served(true).await).await;
}

#[tokio::test]
async fn whoever_says_nothing_makes_room_for_others() {
    let served = served(false).await;
    let mut idle = Vec::new();
    for _ in 0..MAX_CONNECTIONS + 20 {
        idle.push(TcpStream::connect(served.running.address).await.unwrap());
    }
    assert!(served.get("/livez").await.ends_with("ok\n"));
    let answer = served.post(&body(0, 5, 1)).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    served.stopping.cancel();
    served.running.ended().await;
}
