//! The port of a witness: connections and their bounds, requests and answers. What is cosigned is decided in [`crate::store`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use rustls::ServerConfig;
use skans_audit::witness::{MAX_BODY, Refusal};
use skans_host::backoff::Backoff;
use skans_host::strangers::{Pending, Waiting};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::metrics::Metrics;
use crate::store::{No, Store};

#[cfg(test)]
mod tests;

/// Connections at once; beyond it, the oldest of the address that holds most goes. A cluster has one open, and asks every few seconds.
const MAX_CONNECTIONS: usize = 256;
/// How long a TLS handshake may take, the head of a request, and a connection stay open without one.
const HANDSHAKE_TIME: Duration = Duration::from_secs(5);
const HEAD_TIME: Duration = Duration::from_secs(30);
/// How long a body may take to arrive, and what comes of it to be on the disk. A disk that takes longer answers nobody.
const BODY_TIME: Duration = Duration::from_secs(10);
const DISK_TIME: Duration = Duration::from_secs(10);
/// Largest head of a request, and what is buffered of a body, in bytes.
const MAX_BUFFER: usize = 64 * 1024;
/// How long requests may go on when the process stops.
const DRAIN: Duration = Duration::from_secs(5);

/// What the handlers share.
pub(crate) struct Witness {
    pub(crate) store: Store,
    pub(crate) metrics: Metrics,
}

/// Everything that can be asked.
pub(crate) fn routes(witness: Arc<Witness>) -> Router {
    Router::new()
        .route("/add-checkpoint", post(add_checkpoint))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/metrics", get(metrics))
        .with_state(witness)
}

/// Serves until the process stops, and then until what is under way has ended.
pub(crate) async fn serve(
    listener: TcpListener,
    witness: Arc<Witness>,
    tls: Option<Arc<ServerConfig>>,
    stopping: CancellationToken,
) {
    let service = TowerToHyperService::new(routes(Arc::clone(&witness)));
    let tls = tls.map(TlsAcceptor::from);
    let open = Pending::new(MAX_CONNECTIONS);
    let connections = TaskTracker::new();
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => break,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.wait("the port", &error).await;
                continue;
            }
        };
        backoff.reset();
        let connection = Connection {
            address,
            waiting: open.enter(address.ip()),
            witness: Arc::clone(&witness),
            service: service.clone(),
            stopping: stopping.clone(),
        };
        connections.spawn(connection.serve(socket, tls.clone()));
    }
    connections.close();
    let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
}

struct Connection {
    address: SocketAddr,
    waiting: Waiting,
    witness: Arc<Witness>,
    service: TowerToHyperService<Router>,
    stopping: CancellationToken,
}

impl Connection {
    async fn serve(self, socket: TcpStream, tls: Option<TlsAcceptor>) {
        let _ = socket.set_nodelay(true);
        let Some(tls) = tls else {
            return self.exchange(socket).await;
        };
        let handshake = tokio::time::timeout(HANDSHAKE_TIME, tls.accept(socket));
        let shaken = tokio::select! {
            shaken = handshake => shaken,
            () = self.waiting.evicted.cancelled() => {
                return self.witness.metrics.refused_connection("evicted");
            }
        };
        match shaken {
            Ok(Ok(stream)) => self.exchange(stream).await,
            Ok(Err(error)) => {
                tracing::debug!(address = %self.address, "TLS: {error}");
                self.witness.metrics.refused_connection("tls");
            }
            Err(_) => self.witness.metrics.refused_connection("handshake_timeout"),
        }
    }

    async fn exchange<IO: AsyncRead + AsyncWrite + Unpin + Send + 'static>(self, stream: IO) {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIME)
            .max_buf_size(MAX_BUFFER)
            .serve_connection(TokioIo::new(stream), self.service.clone());
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // How it ended is between it and its client.
            _ = connection.as_mut() => {}
            () = self.waiting.evicted.cancelled() => {
                self.witness.metrics.refused_connection("evicted");
            }
            () = self.stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(DRAIN, connection).await;
            }
        }
    }
}

async fn add_checkpoint(State(witness): State<Arc<Witness>>, body: Body) -> Response {
    let read = tokio::time::timeout(BODY_TIME, to_bytes(body, MAX_BODY)).await;
    let (label, answer) = match read {
        Ok(Ok(body)) => cosign(&witness, body.to_vec()).await,
        Ok(Err(_)) => (
            "too_long",
            (StatusCode::PAYLOAD_TOO_LARGE, "body: wanted fewer bytes\n").into_response(),
        ),
        Err(_) => (
            "slow",
            (StatusCode::REQUEST_TIMEOUT, "body: wanted it faster\n").into_response(),
        ),
    };
    witness.metrics.answered(label);
    answer
}

async fn cosign(witness: &Arc<Witness>, body: Vec<u8>) -> (&'static str, Response) {
    let (shared, time) = (Arc::clone(witness), now());
    // Beside the thread that serves the others: it waits for the disk. Whoever asked may be gone by then, and it is written all the same.
    let decided = tokio::task::spawn_blocking(move || shared.store.cosign(&body, time));
    match tokio::time::timeout(DISK_TIME, decided).await {
        Ok(Ok(Ok(cosigned))) => {
            witness.metrics.cosigned(&cosigned.origin, time);
            ("cosigned", cosigned.line.into_response())
        }
        Ok(Ok(Err(No::Refused(refusal)))) => (refusal.label(), refused(&refusal)),
        Ok(Ok(Err(No::Disk(error)))) => {
            tracing::error!("cannot remember, so nothing is cosigned: {error}");
            ("disk", unavailable())
        }
        Ok(Err(_)) => ("failed", unavailable()),
        Err(_) => {
            tracing::error!("the disk takes too long, so nothing is cosigned");
            ("slow_disk", unavailable())
        }
    }
}

fn refused(refusal: &Refusal) -> Response {
    if refusal.is_suspicious() {
        tracing::error!("a log shows what it cannot: {refusal}");
    } else {
        tracing::info!("refused: {refusal}");
    }
    let status = StatusCode::from_u16(refusal.status()).unwrap_or(StatusCode::BAD_REQUEST);
    match refusal.last_size() {
        Some(size) => {
            let kind = [(header::CONTENT_TYPE, "text/x.tlog.size")];
            (status, kind, format!("{size}\n")).into_response()
        }
        None => (status, format!("{refusal}\n")).into_response(),
    }
}

fn unavailable() -> Response {
    let text = "cannot remember it; wanted to, before it is cosigned\n";
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn metrics(State(witness): State<Arc<Witness>>) -> Result<String, StatusCode> {
    witness
        .metrics
        .render(witness.store.sizes())
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Seconds since 1970. A clock before that is at 1970.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}
