//! `skans control`: opens everything, serves until it is told to stop.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Router, middleware};
use skans_host::{files, logs};
use skans_identity::control_tls::server_config;
use skans_identity::trust::SharedTrust;
use skans_identity::verify::Verifier;
use skans_store::meta;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config, Database};
use crate::error::Error;
use crate::gate::gate;
use crate::listen::{self, Door, Local};
use crate::log::copy::Copier;
use crate::news::News;
use crate::rates::Rates;
use crate::roles::Roles;
use crate::state::{Control, Home};
use crate::{encryption_key, grpc, problem, rest, setup};

/// Reports of one agent a second, of what it saw and what it finds odd: one that starts sees all of its peers.
const REPORTS: u32 = 20;
/// Between two heads (0012).
const HEAD: Duration = Duration::from_secs(10);
/// Between two looks at what other replicas wrote: a part of the second that a revocation may take. Five small reads a
/// second cost PostgreSQL less than one certificate.
const FOLLOW: Duration = Duration::from_millis(200);
/// Requests a second of somebody without a certificate, beside enrolments: the bundle, and mistakes.
const STRANGERS: u32 = 20;

/// Runs a control plane until SIGTERM or SIGINT, or until `or` is over.
///
/// # Errors
/// What kept it from starting: the configuration, files, ports, the store.
pub async fn run(path: &Path, or: impl Future<Output = ()> + Send + 'static) -> Result<(), Error> {
    let config = config::load(path)?;
    logs::start(&config.log)?;
    let stopping = CancellationToken::new();
    let mut terminate = listen_for(SignalKind::terminate())?;
    let mut interrupt = listen_for(SignalKind::interrupt())?;
    let stop = stopping.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = or => {}
        }
        tracing::info!("stopping");
        stop.cancel();
    });
    start(config, stopping).await?.ended().await;
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<tokio::signal::unix::Signal, Error> {
    signal(kind).map_err(|error| Error::Internal(format!("signals: {error}")))
}

/// A control plane that runs.
pub struct Running {
    /// Where its API is.
    pub api: SocketAddr,
    /// Where its health is.
    pub admin: SocketAddr,
    /// Its Unix socket.
    pub socket: PathBuf,
    /// Where the witness is asked that runs beside it, if one does.
    pub witness: Option<SocketAddr>,
    ended: JoinHandle<()>,
}

impl Running {
    /// Returns when it has stopped: all requests have ended, and the store is closed.
    pub async fn ended(self) {
        let _ = self.ended.await;
    }
}

/// Runs a control plane until it is told to stop.
///
/// # Errors
/// As [`run`].
pub async fn start(config: Config, stopping: CancellationToken) -> Result<Running, Error> {
    files::private_directory(&config.directory)?;
    let api = listen::bind(config.listen, "the API (listen)")?;
    let admin = listen::bind(config.admin.listen, "health (admin.listen)")?;
    let (at, admin_at) = (bound(&api)?, bound(&admin)?);
    let copier = config.events.copy.as_ref().map(Copier::open).transpose()?;
    let witness = match &config.witness {
        Some(file) => Some(skans_witness::config::load(file)?),
        None => None,
    };
    let control = open(config, at, stopping.clone()).await?;
    let witness = match &witness {
        Some(config) => Some(skans_witness::start(config, stopping.clone()).await?),
        None => None,
    };
    let witness_at = witness.as_ref().map(|witness| witness.address);
    let socket = control.config.socket();
    let local = Local::open(&socket)?;
    let router = gated(&control);
    let tasks = [
        tokio::spawn(local.serve(router.clone(), stopping.clone())),
        tokio::spawn(listen::serve_plain(
            admin,
            health(Arc::clone(&control)),
            stopping.clone(),
        )),
        tokio::spawn(heads(Arc::clone(&control))),
        tokio::spawn(Arc::clone(&control).write_acknowledgements()),
        tokio::spawn(Arc::clone(&control).keep()),
        tokio::spawn(Arc::clone(&control).keep_log()),
        tokio::spawn(Arc::clone(&control).guard_log()),
        tokio::spawn(Arc::clone(&control).have_witnessed()),
        tokio::spawn(Arc::clone(&control).copy_log(copier)),
        tokio::spawn(Arc::clone(&control).federate()),
        tokio::spawn(Arc::clone(&control).respond()),
        tokio::spawn(Arc::clone(&control).roll_out()),
        tokio::spawn(follow(Arc::clone(&control))),
    ];
    tracing::info!(api = %at, admin = %admin_at, socket = %socket.display(), "ready");
    let ended = tokio::spawn(async move {
        serve(&control, api, router).await;
        for task in tasks {
            let _ = task.await;
        }
        if let Some(witness) = witness {
            witness.ended().await;
        }
        control.store.close().await;
    });
    Ok(Running {
        api: at,
        admin: admin_at,
        socket,
        witness: witness_at,
        ended,
    })
}

fn bound(listener: &TcpListener) -> Result<SocketAddr, Error> {
    listener
        .local_addr()
        .map_err(|error| Error::Internal(format!("a port without an address: {error}")))
}

/// Serves the API port. Without an authority nobody could be shown a certificate: until there is one, it answers nobody.
async fn serve(control: &Arc<Control>, api: TcpListener, router: Router) {
    let served = tokio::select! {
        served = control.until_it_has_a_certificate() => served,
        () = control.stopping.cancelled() => return,
    };
    match server_config(served, Arc::clone(&control.verifier)) {
        Ok(tls) => {
            let door = Door {
                control: Arc::clone(control),
                tls: TlsAcceptor::from(tls),
                router,
            };
            door.serve(api).await;
        }
        Err(error) => {
            tracing::error!("the API port stays closed: {error}");
            control.stopping.cancel();
        }
    }
}

async fn open(
    config: Config,
    at: SocketAddr,
    stopping: CancellationToken,
) -> Result<Arc<Control>, Error> {
    let home = Home::of(&config)?;
    let roles = Roles::load()?;
    let sealing = encryption_key::load(&config)?;
    let store = setup::open(&config).await?;
    let found = store.read(meta::get).await?;
    match found {
        None => {
            return Err(Error::NoAuthority(
                "this store has no control plane yet (skans control init)".to_owned(),
            ));
        }
        Some(found)
            if found.trust_domain != home.trust_domain.as_str()
                || found.cluster != home.cluster =>
        {
            return Err(Error::config(
                "trustDomain, cluster",
                format!(
                    "found {} and {}, wanted those that the store was made for: {} and {}",
                    home.trust_domain, home.cluster, found.trust_domain, found.cluster
                ),
            ));
        }
        Some(_) => {}
    }
    let limits = config.limits.clone();
    let control = Arc::new(Control {
        home,
        store,
        roles,
        verifier: Verifier::new(SharedTrust::default()),
        served: OnceLock::new(),
        own: ArcSwapOption::empty(),
        issuer: ArcSwapOption::empty(),
        next: ArcSwapOption::empty(),
        news: watch::Sender::new(Arc::new(News::default())),
        refreshing: Mutex::new(()),
        attempts: crate::federation::Attempts::default(),
        pushes: crate::federation::Attempts::default(),
        told: crate::federation::Told::default(),
        acknowledgements: crate::acknowledgements::Acknowledgements::default(),
        incidents: tokio::sync::Notify::new(),
        rollouts: tokio::sync::Notify::new(),
        addresses: addresses(&config, at),
        sealing,
        log_key: std::sync::Mutex::default(),
        metrics: crate::metrics::Metrics::default(),
        strangers: Rates::new(limits.enrolments_per_address.saturating_add(STRANGERS)),
        enrolments: Rates::new(limits.enrolments_per_address),
        issues: Rates::new(limits.issues_per_identity),
        reports: Rates::new(REPORTS),
        told_events: Rates::new(crate::grpc::EVENTS_OF_ONE),
        all_told_events: Rates::new(crate::grpc::EVENTS_OF_ALL),
        intake: tokio::sync::Semaphore::new(crate::grpc::INTAKE),
        tellers: std::sync::Mutex::default(),
        told_tokens: Rates::new(1),
        told_agents: Rates::new(1),
        highest_epoch: std::sync::Mutex::default(),
        streams: std::sync::Mutex::default(),
        writer: std::sync::Mutex::default(),
        api_server: config.api_server(),
        stopping,
        config,
    });
    control.refresh().await?;
    if let Err(error) = control.first_policy().await {
        tracing::warn!("no first policy set yet: {error}");
    }
    Ok(control)
}

/// Where agents reach this control plane: what the configuration says, or else the address it listens on, or this host.
fn addresses(config: &Config, at: SocketAddr) -> Vec<String> {
    if !config.advertise.is_empty() {
        return config.advertise.clone();
    }
    if !at.ip().is_unspecified() {
        return vec![at.to_string()];
    }
    let host = rustix::system::uname();
    vec![format!(
        "{}:{}",
        host.nodename().to_string_lossy(),
        at.port()
    )]
}

/// Everything that can be called, behind the gate.
fn gated(control: &Arc<Control>) -> Router {
    let gate = middleware::from_fn_with_state(Arc::clone(control), gate);
    rest::routes()
        .merge(grpc::routes(control))
        .route_layer(gate)
        .fallback(|| async { problem::rest(&Error::not_found("method", "")) })
        .layer(middleware::map_response(problem::typed))
}

/// What anybody may ask on the health port.
fn health(control: Arc<Control>) -> Router {
    Router::new()
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(control)
}

async fn ready(State(control): State<Arc<Control>>) -> (StatusCode, String) {
    let why = if control.stopping.is_cancelled() {
        Some("stopping".to_owned())
    } else if control.issuer.load().is_none() {
        Some("no active authority".to_owned())
    } else {
        let read = tokio::time::timeout(Duration::from_secs(2), control.store.read(meta::get));
        match read.await {
            Ok(Ok(_)) => None,
            Ok(Err(error)) => Some(format!("store: {}", error.label())),
            Err(_) => Some("store: no answer".to_owned()),
        }
    };
    match why {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(why) => (StatusCode::SERVICE_UNAVAILABLE, why + "\n"),
    }
}

async fn metrics(State(control): State<Arc<Control>>) -> Result<String, StatusCode> {
    let news = Arc::clone(&control.news.borrow());
    let domains = news
        .believed
        .foreign
        .overview(&news.links, crate::clock::now());
    control
        .metrics
        .render(&domains)
        .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
}

/// Signs a head every ten seconds, and keeps up with what others wrote.
async fn heads(control: Arc<Control>) {
    let mut ticks = crate::clock::turns(HEAD);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = control.stopping.cancelled() => return,
        }
        if let Err(error) = control.refresh().await {
            tracing::warn!("no new head: {error}");
        }
    }
}

/// Keeps up with what other replicas write: revocations must reach the agents of all of them.
async fn follow(control: Arc<Control>) {
    if !matches!(control.config.database, Database::Postgres(_)) {
        // Nobody else can write.
        return;
    }
    let mut ticks = crate::clock::turns(FOLLOW);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = control.stopping.cancelled() => return,
        }
        let followed = match control.is_behind().await {
            Ok(true) => control.refresh().await,
            Ok(false) => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = followed {
            tracing::warn!("cannot look what other replicas wrote: {error}");
        }
    }
}
