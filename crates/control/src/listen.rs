//! Opening ports, and what happens on a connection before its first request: TLS, who calls, and how long it may last.
//!
//! What is asked on it is not looked at here.

use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use skans_host::backoff::Backoff;
use skans_host::strangers::{Pending, Waiting};
use skans_identity::verify::Usage;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::caller::Caller;
use crate::clock;
use crate::error::Error;
use crate::state::Control;

/// How long the head of an HTTP/1.1 request may take, and a connection may stay open without one.
const REQUEST_TIME: Duration = Duration::from_secs(15);
/// How long somebody without a certificate may stay: to enrol takes two round trips.
const STRANGER_TIME: Duration = Duration::from_secs(30);
/// How long requests may go on when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Requests at once on one HTTP/2 connection. An agent has one stream open and asks for certificates beside it.
const MAX_STREAMS: u32 = 32;
/// The same for somebody without a certificate.
const STRANGER_STREAMS: u32 = 2;
/// Largest head of a request in bytes. Ours have 500.
const MAX_HEAD: u32 = 16 * 1024;
/// What a peer may have under way on one stream, in bytes. A list of requests for certificates has 64 KiB.
const WINDOW: u32 = 256 * 1024;
/// What may wait for a peer that reads slowly, in bytes, on one stream.
const SEND_BUFFER: usize = 256 * 1024;
/// Between signs of life on an idle connection, and how long to wait for the answer. NATs forget after a few minutes.
const PING: Duration = Duration::from_secs(30);
const PONG: Duration = Duration::from_secs(10);

/// A listener on this address.
///
/// # Errors
/// [`Error::Bind`].
pub(crate) fn bind(address: SocketAddr, purpose: &'static str) -> Result<TcpListener, Error> {
    skans_host::listen::bind(address).map_err(|source| Error::Bind {
        purpose,
        address,
        source,
    })
}

/// The API port.
pub(crate) struct Door {
    pub(crate) control: Arc<Control>,
    pub(crate) tls: TlsAcceptor,
    pub(crate) router: Router,
}

impl Door {
    /// Serves until the process stops, and then until what is under way has ended.
    pub(crate) async fn serve(self, listener: TcpListener) {
        let limits = &self.control.config.limits;
        let pending = Pending::new(limits.max_pending);
        let places = Arc::new(Semaphore::new(limits.max_connections));
        let stopping = self.control.stopping.clone();
        let connections = TaskTracker::new();
        let door = Arc::new(self);
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stopping.cancelled() => break,
            };
            let (socket, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    backoff.wait("the API port", &error).await;
                    continue;
                }
            };
            backoff.reset();
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
                // Closed at once: whoever comes later finds a place, or not.
                door.control.metrics.refused_connection("full");
                continue;
            };
            let waiting = pending.enter(address.ip());
            let door = Arc::clone(&door);
            connections
                .spawn(async move { door.connection(socket, address, waiting, place).await });
        }
        connections.close();
        let _ = tokio::time::timeout(DRAIN, connections.wait()).await;
    }

    async fn connection(
        &self,
        socket: TcpStream,
        address: SocketAddr,
        waiting: Waiting,
        _place: OwnedSemaphorePermit,
    ) {
        let _ = socket.set_nodelay(true);
        let evicted = waiting.evicted.clone();
        let handshake = tokio::time::timeout(
            self.control.config.limits.handshake_timeout,
            self.tls.accept(socket),
        );
        let stream = tokio::select! {
            done = handshake => match done {
                Ok(Ok(stream)) => stream,
                Ok(Err(error)) => {
                    tracing::debug!(%address, "TLS: {error}");
                    return self.control.metrics.refused_connection("tls");
                }
                Err(_) => return self.control.metrics.refused_connection("handshake_timeout"),
            },
            () = evicted.cancelled() => return self.control.metrics.refused_connection("evicted"),
        };
        let Some(caller) = self.who(&stream, address) else {
            return self.control.metrics.refused_connection("identity");
        };
        let h2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let service = Stamped {
            inner: TowerToHyperService::new(self.router.clone()),
            caller: caller.clone(),
        };
        let end = if caller.identity().is_some() {
            // It has said who it is: others may have its place.
            drop(waiting);
            self.until_it_holds_no_longer(caller.clone())
        } else {
            let ends = async move {
                let _waiting = waiting;
                let _ = tokio::time::timeout(STRANGER_TIME, evicted.cancelled()).await;
            };
            futures_boxed(ends)
        };
        let streams = if caller.identity().is_some() {
            MAX_STREAMS
        } else {
            STRANGER_STREAMS
        };
        exchange(stream, h2, streams, service, end, &self.control.stopping).await;
    }

    fn who(&self, stream: &TlsStream<TcpStream>, address: SocketAddr) -> Option<Caller> {
        let Some(chain) = stream.get_ref().1.peer_certificates() else {
            return Some(Caller::stranger(address.ip()));
        };
        let verifier = &self.control.verifier;
        let evidence = verifier.evidence(chain, Usage::Client, clock::now()).ok()?;
        let leaf = chain.first()?.clone().into_owned();
        Some(Caller::certified(evidence, leaf, &self.control.home))
    }

    /// No connection outlives the certificate that opened it, nor its being denied.
    fn until_it_holds_no_longer(&self, caller: Caller) -> BoxedEnd {
        let control = Arc::clone(&self.control);
        futures_boxed(async move { control.until_invalid(&caller).await })
    }
}

type BoxedEnd = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

fn futures_boxed(end: impl Future<Output = ()> + Send + 'static) -> BoxedEnd {
    Box::pin(end)
}

/// Requests and answers, until the peer leaves, `end` comes (at once), or the process stops (after what is under way).
async fn exchange<IO>(
    stream: IO,
    h2: bool,
    streams: u32,
    service: Stamped,
    end: BoxedEnd,
    stopping: &CancellationToken,
) where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let stream = TokioIo::new(stream);
    if h2 {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(streams)
            .max_header_list_size(MAX_HEAD)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW * 2)
            .max_send_buf_size(SEND_BUFFER)
            .keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            // How it ended is between it and its client.
            _ = connection.as_mut() => {}
            () = end => {}
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(DRAIN, connection).await;
            }
        }
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(REQUEST_TIME)
            .max_buf_size(64 * 1024)
            .serve_connection(stream, service);
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            _ = connection.as_mut() => {}
            () = end => {}
            () = stopping.cancelled() => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(DRAIN, connection).await;
            }
        }
    }
}

/// Says on each request who calls.
struct Stamped {
    inner: TowerToHyperService<Router>,
    caller: Caller,
}

impl Service<Request<Incoming>> for Stamped {
    type Response = axum::response::Response;
    type Error = std::convert::Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Body>>>::Future;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.caller.clone());
        self.inner.call(request)
    }
}

/// A Unix socket that only its owner can reach.
pub(crate) struct Local {
    listener: UnixListener,
    path: PathBuf,
}

impl Local {
    /// Opens it; one that a former process left behind is replaced, one that answers is not.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        if std::os::unix::net::UnixStream::connect(path).is_ok() {
            return Err(Error::file(
                path,
                "found a running control plane, wanted none",
            ));
        }
        match std::fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
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

    /// Serves it until the process stops, and removes it.
    pub(crate) async fn serve(self, router: Router, stopping: CancellationToken) {
        let own = rustix::process::geteuid().as_raw();
        let mut backoff = Backoff::default();
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stopping.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    backoff.wait("the Unix socket", &error).await;
                    continue;
                }
            };
            backoff.reset();
            // The mode of the socket says the same; this holds also where somebody widened it.
            let Some(uid) = stream
                .peer_cred()
                .ok()
                .map(|peer| peer.uid())
                .filter(|&uid| uid == own || uid == 0)
            else {
                continue;
            };
            let service = Stamped {
                inner: TowerToHyperService::new(router.clone()),
                caller: Caller::local(uid),
            };
            let stopping = stopping.clone();
            tokio::spawn(async move {
                let never = futures_boxed(std::future::pending());
                exchange(stream, false, 1, service, never, &stopping).await;
            });
        }
        // Gone already is as good.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Serves health and metrics to whoever reaches the port, until the process stops.
pub(crate) async fn serve_plain(
    listener: TcpListener,
    router: Router,
    stopping: CancellationToken,
) {
    let pending = Pending::new(128);
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
        let waiting = pending.enter(address.ip());
        let service = Stamped {
            inner: TowerToHyperService::new(router.clone()),
            caller: Caller::stranger(address.ip()),
        };
        let stopping = stopping.clone();
        tokio::spawn(async move {
            let evicted = waiting.evicted.clone();
            let end = futures_boxed(async move {
                let _waiting = waiting;
                evicted.cancelled().await;
            });
            exchange(socket, false, 1, service, end, &stopping).await;
        });
    }
}
