//! Health, metrics, and the questions that `skans status|nodes|links|top` ask over the Unix socket.

mod client;
mod exposition;
mod views;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use axum::{Json, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use skans_host::backoff::Backoff;
use skans_host::files;
use skans_host::strangers::Pending;
use tokio::net::{TcpListener, UnixListener};

use crate::Error;
use crate::agent::Agent;
use crate::run::Reload;

pub use client::ask;
pub use views::{
    CertificateView, ControlView, EventsView, LinkView, NodeView, PolicyView, ServiceView,
    StatusView, TrafficView, UnreachableView,
};

/// Longest text of a request over the Unix socket, in bytes.
const MAX_BODY: usize = 4096;
/// Connections to the health port at once; beyond it, the oldest of the address that holds most goes.
/// A probe and a scraper need one each.
const MAX_CONNECTIONS: usize = 128;
/// How long a request may take to arrive, and a connection may stay open without one. Probes ask at
/// once; hyper gives 30 s, and no time-out at all unless it is handed a timer.
const REQUEST_TIME: Duration = Duration::from_secs(5);

/// What the handlers share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub agent: Arc<Agent>,
    pub reload: Reload,
}

/// What anybody on the health port may ask.
pub(crate) fn public(shared: Shared) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

/// What the owner of the Unix socket may ask besides.
pub(crate) fn private(shared: Shared) -> Router {
    Router::new()
        .route("/v1/status", get(status))
        .route("/v1/nodes", get(nodes))
        .route("/v1/links", get(links))
        .route("/v1/log-level", put(log_level))
        .route("/v1/reload", put(reload))
        .route("/v1/links/reauthenticate", put(reauthenticate))
        .layer(axum::extract::DefaultBodyLimit::max(MAX_BODY))
        .with_state(shared.clone())
        .merge(public(shared))
}

/// Serves the health port until the agent stops. Whoever reaches it is nobody in particular, so
/// neither silence nor number may keep a probe out.
pub(crate) async fn serve_public(listener: TcpListener, shared: Shared) {
    let stopping = shared.agent.stopping.clone();
    let service = TowerToHyperService::new(public(shared));
    let open = Pending::new(MAX_CONNECTIONS);
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopping.cancelled() => return,
        };
        let (socket, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.wait("the health port", &error).await;
                continue;
            }
        };
        backoff.reset();
        let place = open.enter(address.ip().to_canonical());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIME)
            .serve_connection(TokioIo::new(socket), service.clone());
        let stopping = stopping.clone();
        tokio::spawn(async move {
            tokio::select! {
                // How it ended is between it and its client.
                _ = connection => {}
                () = place.evicted.cancelled() => {}
                () = stopping.cancelled() => {}
            }
        });
    }
}

/// Serves the Unix socket until the agent stops, and removes it.
pub(crate) async fn serve_private(socket: Socket, shared: Shared) {
    let stopping = shared.agent.stopping.clone();
    let served = axum::serve(socket.listener, private(shared))
        .with_graceful_shutdown(stopping.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!("the Unix socket failed: {error}");
    }
    // Gone already is as good.
    let _ = std::fs::remove_file(&socket.path);
}

/// A Unix socket that only its owner can reach.
pub(crate) struct Socket {
    /// The socket.
    pub listener: UnixListener,
    /// Where it is.
    pub path: PathBuf,
}

impl Socket {
    /// One that another process has had so far.
    pub(crate) fn of(listener: UnixListener, path: &Path) -> Self {
        Self {
            listener,
            path: path.to_owned(),
        }
    }

    /// Opens it; one that a former agent left behind is replaced, one that answers is not.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        use std::os::unix::fs::PermissionsExt;
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::file(
                path,
                "found a running agent, wanted none: two agents cannot share a runtime directory",
            ));
        }
        if let Some(parent) = path.parent() {
            files::directory(parent, 0o755)?;
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::file(path, format!("cannot remove: {error}")));
            }
            _ => {}
        }
        let listener = UnixListener::bind(path)
            .map_err(|error| Error::file(path, format!("cannot listen: {error}")))?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))
            .map_err(|error| Error::file(path, format!("cannot set its mode: {error}")))?;
        Ok(Self {
            listener,
            path: path.to_owned(),
        })
    }
}

async fn ready(State(shared): State<Shared>) -> (StatusCode, String) {
    let no = |why: &str| (StatusCode::SERVICE_UNAVAILABLE, format!("{why}\n"));
    if shared.agent.draining.is_cancelled() {
        no("draining")
    } else if let Some(missing) = crate::lifecycle::missing(&shared.agent) {
        no(&missing)
    } else {
        (StatusCode::OK, "ok\n".to_owned())
    }
}

async fn metrics(State(shared): State<Shared>) -> Result<String, StatusCode> {
    exposition::render(&shared.agent).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

async fn status(State(shared): State<Shared>) -> Json<StatusView> {
    Json(StatusView::of(&shared.agent))
}

async fn nodes(State(shared): State<Shared>) -> Json<Vec<NodeView>> {
    Json(NodeView::all(&shared.agent))
}

async fn links(State(shared): State<Shared>) -> Json<Vec<LinkView>> {
    Json(LinkView::all(&shared.agent))
}

async fn log_level(level: String) -> (StatusCode, String) {
    match skans_host::logs::switch(level.trim()) {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

async fn reload(State(shared): State<Shared>) -> (StatusCode, String) {
    match shared.reload.now(&shared.agent) {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

/// Every link that a node of this host opened proves itself anew, now: after an issuer was replaced, or a certificate.
async fn reauthenticate(State(shared): State<Shared>) -> String {
    let count = shared
        .agent
        .registry
        .reauthenticate(Duration::ZERO, |_| true);
    format!("{count}\n")
}
