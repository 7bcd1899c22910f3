//! `skans witness`: opens everything, serves until it is told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use skans_host::{listen, logs};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::config::{self, Config};
use crate::error::Error;
use crate::key;
use crate::metrics::Metrics;
use crate::serve::{self, Witness};
use crate::store::Store;
use crate::tls::Shown;

/// Runs a witness until SIGTERM or SIGINT, or until `or` is over.
///
/// # Errors
/// What kept it from starting: the configuration, files, its port.
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
    start(&config, stopping).await?.ended().await;
    Ok(())
}

fn listen_for(kind: SignalKind) -> Result<Signal, Error> {
    signal(kind).map_err(|source| Error::System {
        doing: "wait for signals",
        source,
    })
}

/// A witness that runs.
pub struct Running {
    /// Where it is asked.
    pub address: SocketAddr,
    ended: JoinHandle<()>,
}

impl Running {
    /// Returns when it has stopped.
    pub async fn ended(self) {
        let _ = self.ended.await;
    }
}

/// Runs a witness until it is told to stop.
///
/// # Errors
/// As [`run`].
pub async fn start(config: &Config, stopping: CancellationToken) -> Result<Running, Error> {
    let logs = config.logs().map_err(|problem| Error::Config {
        origin: "logs".to_owned(),
        problem,
    })?;
    let store = Store::open(&config.state, key::read(&config.key)?, logs)?;
    let shown = config.tls.as_ref().map(Shown::open).transpose()?;
    let settings = shown.as_ref().map(Shown::settings).transpose()?;
    let listener = listen::bind(config.listen).map_err(|source| Error::Bind {
        address: config.listen,
        source,
    })?;
    let address = listener.local_addr().map_err(|source| Error::System {
        doing: "find out the address of a port",
        source,
    })?;
    if let (Some(shown), Some(tls)) = (shown, &config.tls) {
        tokio::spawn(shown.renew(tls.clone(), stopping.clone()));
    }
    let vkey = store.cosigner().vkey();
    tracing::info!(%address, logs = store.logs().len(), vkey, "ready");
    let witness = Arc::new(Witness {
        store,
        metrics: Metrics::default(),
    });
    let ended = tokio::spawn(serve::serve(listener, witness, settings, stopping));
    Ok(Running { address, ended })
}
