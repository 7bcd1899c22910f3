//! A collector of traces and logs: takes OTLP over HTTP, in the clear or over TLS, reads it by the messages that OpenTelemetry publishes
//! (the crate `opentelemetry-proto`), and keeps what it is sent.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::trace::v1::span::Event;
use prost::Message as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use skans_lab::until;
use skans_promises::PATIENCE;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;

/// A span, in words.
#[derive(Clone, Debug)]
pub struct Told {
    /// Who tells: service and cluster.
    pub by: (String, String),
    /// Its trace, in hex.
    pub trace: String,
    /// Its own number.
    pub id: Vec<u8>,
    /// The one that it stands under.
    pub parent: Vec<u8>,
    /// What it is called.
    pub name: String,
    /// When it began and ended, in nanoseconds.
    pub times: (u64, u64),
    /// What it says.
    pub says: BTreeMap<String, String>,
    /// What happened in it.
    pub events: Vec<String>,
    /// What went wrong; empty if nothing did.
    pub failed: String,
}

impl Told {
    /// What it says of this.
    pub fn says(&self, key: &str) -> &str {
        let found = self.says.get(key);
        found.unwrap_or_else(|| panic!("{key} in {self:?}"))
    }

    /// A number.
    pub fn number(&self, key: &str) -> u64 {
        self.says(key).parse().unwrap()
    }

    /// Whether this one tells it.
    pub fn is_by(&self, service: &str, cluster: &str) -> bool {
        self.by.0 == service && self.by.1 == cluster
    }
}

/// A record of a log.
#[derive(Clone, Debug)]
pub struct Record {
    /// Who tells: service and cluster.
    pub by: (String, String),
    /// Of which log it is, and which entry.
    pub entry: (String, u64),
    /// What happened, by its name.
    pub name: String,
    /// How bad it is, from 1 to 24.
    pub severity: i32,
    /// When, in nanoseconds since 1970.
    pub time: u64,
    /// What it says.
    pub body: Value,
}

/// What has arrived, on whichever listener.
#[derive(Clone, Debug, Default)]
pub struct Collector {
    spans: Arc<Mutex<Vec<Told>>>,
    records: Arc<Mutex<Vec<Record>>>,
    /// What is answered to logs; 0 for 200.
    refuses: Arc<AtomicU16>,
}

impl Collector {
    /// Takes what comes to this listener in the clear.
    pub fn serve(&self, listener: TcpListener) -> SocketAddr {
        self.accept(listener, None)
    }

    /// The same over TLS. Gives the root that vouches for it, as PEM.
    pub fn serve_tls(&self, listener: TcpListener) -> String {
        let address = listener.local_addr().unwrap();
        let own = rcgen::generate_simple_self_signed(vec![address.ip().to_string()]).unwrap();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let chain = vec![CertificateDer::from(own.cert.der().to_vec())];
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let config = rustls::ServerConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        self.accept(listener, Some(TlsAcceptor::from(Arc::new(config))));
        own.cert.pem()
    }

    /// All that has arrived.
    pub fn told(&self) -> Vec<Told> {
        self.spans.lock().unwrap().clone()
    }

    /// All records that have arrived.
    pub fn records(&self) -> Vec<Record> {
        self.records.lock().unwrap().clone()
    }

    /// Answers logs with this status from now on, and keeps nothing of them; 0 takes them.
    pub fn refuse(&self, status: u16) {
        self.refuses.store(status, Relaxed);
    }

    /// Waits for a span.
    pub async fn wait(&self, what: &str, fits: impl Fn(&Told) -> bool) -> Told {
        let found = async || {
            let told = self.told();
            let names = told.iter().map(|told| (&told.by, &told.name));
            let found = told.iter().find(|told| fits(told)).cloned();
            found.ok_or_else(|| format!("{:?}", names.collect::<Vec<_>>()))
        };
        until(PATIENCE, what, found).await.unwrap()
    }

    fn accept(&self, listener: TcpListener, tls: Option<TlsAcceptor>) -> SocketAddr {
        let address = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let collector = self.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (collector, tls) = (collector.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => collector.connection(socket).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(socket).await {
                                collector.connection(stream).await;
                            }
                        }
                    }
                });
            }
        });
        address
    }

    async fn connection<S: AsyncRead + AsyncWrite + Unpin>(&self, stream: S) {
        let service = service_fn(async |request: Request<Incoming>| {
            assert_eq!(request.headers()["content-type"], "application/x-protobuf");
            let path = request.uri().path().to_owned();
            let body = request.into_body().collect().await?.to_bytes();
            let mut answer = Response::new(Full::new(Bytes::new()));
            match (path.as_str(), self.refuses.load(Relaxed)) {
                ("/v1/traces", _) => self.take(ExportTraceServiceRequest::decode(body).unwrap()),
                ("/v1/logs", 0) => self.keep(ExportLogsServiceRequest::decode(body).unwrap()),
                ("/v1/logs", status) => {
                    *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                }
                other => panic!("{other:?}"),
            }
            Ok::<_, hyper::Error>(answer)
        });
        let _ = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .await;
    }

    fn take(&self, request: ExportTraceServiceRequest) {
        let mut told = self.spans.lock().unwrap();
        for resource in request.resource_spans {
            let who = words(&resource.resource.unwrap().attributes);
            let spans = resource.scope_spans.into_iter();
            told.extend(spans.flat_map(|scope| scope.spans).map(|span| Told {
                by: (who["service.name"].clone(), who["skans.cluster"].clone()),
                trace: hex(&span.trace_id),
                says: words(&span.attributes),
                events: span.events.iter().map(event).collect(),
                times: (span.start_time_unix_nano, span.end_time_unix_nano),
                failed: span.status.map(|status| status.message).unwrap_or_default(),
                id: span.span_id,
                parent: span.parent_span_id,
                name: span.name,
            }));
        }
    }
}

impl Collector {
    fn keep(&self, request: ExportLogsServiceRequest) {
        let mut records = self.records.lock().unwrap();
        for resource in request.resource_logs {
            let who = words(&resource.resource.unwrap().attributes);
            let told = resource.scope_logs.into_iter();
            records.extend(told.flat_map(|scope| scope.log_records).map(|record| {
                let says = words(&record.attributes);
                let Some(any_value::Value::StringValue(body)) = record.body.unwrap().value else {
                    panic!("{says:?}")
                };
                Record {
                    by: (who["service.name"].clone(), who["skans.cluster"].clone()),
                    entry: (
                        says["tlog.origin"].clone(),
                        says["tlog.index"].parse().unwrap(),
                    ),
                    name: record.event_name,
                    severity: record.severity_number,
                    time: record.time_unix_nano,
                    body: serde_json::from_str(&body).unwrap(),
                }
            }));
        }
    }
}

fn event(event: &Event) -> String {
    event.name.clone()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn words(attributes: &[KeyValue]) -> BTreeMap<String, String> {
    let word = |one: &KeyValue| {
        let value = one.value.clone().unwrap().value.unwrap();
        let value = match value {
            any_value::Value::StringValue(text) => text,
            any_value::Value::IntValue(number) => number.to_string(),
            any_value::Value::BoolValue(truth) => truth.to_string(),
            other => panic!("{other:?}"),
        };
        (one.key.clone(), value)
    };
    attributes.iter().map(word).collect()
}
