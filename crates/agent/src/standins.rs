//! Stand-in ports: a loopback port for each node that a local node wants to reach. What is said
//! there decides who is called, because a distribution handshake does not name its target.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use skans_dist::NodeName;
use skans_host::backoff::Backoff;
use skans_host::listen;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;
use crate::{Error, outbound};

/// How many nodes may be stood for at once. Names cost a port each, and local processes choose them.
const MAX_STANDINS: usize = 4096;
/// How long a port stays when nobody asks for it: a node dials within seconds of asking.
const IDLE: Duration = Duration::from_secs(600);
/// How often a port that is free on one loopback address may be taken on another before giving up.
const ATTEMPTS: usize = 16;

/// The open stand-in ports.
#[derive(Debug, Default)]
pub struct StandIns(Mutex<HashMap<NodeName, StandIn>>);

#[derive(Debug)]
struct StandIn {
    port: u16,
    /// One on each loopback address.
    listeners: Vec<Arc<TcpListener>>,
    /// Each message says that somebody asked; dropping it ends the listeners.
    asked: mpsc::Sender<()>,
}

impl StandIn {
    fn ask(&self) -> u16 {
        // Full means that it knows already.
        let _ = self.asked.try_send(());
        self.port
    }
}

impl StandIns {
    /// The port that stands for a node already.
    pub fn open_port(&self, target: &NodeName) -> Option<u16> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.get(target).map(StandIn::ask)
    }

    /// The port that stands for a node; opened if it is not yet.
    ///
    /// # Errors
    /// [`Error::TooMany`], or [`Error::Internal`] if no port can be had.
    pub fn port(&self, agent: &Arc<Agent>, target: &NodeName) -> Result<u16, Error> {
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = map.get(target) {
            return Ok(open.ask());
        }
        if map.len() >= MAX_STANDINS {
            return Err(Error::TooMany {
                what: "stand-in ports".to_owned(),
                limit: MAX_STANDINS,
            });
        }
        let (port, listeners) = open(&agent.loopbacks).map_err(|error| {
            Error::Internal(format!("cannot open a stand-in port for {target}: {error}"))
        })?;
        map.insert(target.clone(), stand(agent, target, port, listeners));
        drop(map);
        Ok(port)
    }

    /// All of them, with their sockets, for another process.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system gives no more descriptors.
    pub fn freeze(&self) -> Result<Vec<(NodeName, u16, Vec<OwnedFd>)>, Error> {
        let map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        map.iter()
            .map(|(target, stand_in)| {
                let sockets = stand_in.listeners.iter();
                let sockets = sockets.map(|listener| listener.as_fd().try_clone_to_owned());
                let sockets = sockets.collect::<io::Result<_>>().map_err(|error| {
                    Error::Internal(format!("cannot hand over a stand-in port: {error}"))
                })?;
                Ok((target.clone(), stand_in.port, sockets))
            })
            .collect()
    }

    /// Goes on with one that another process has had so far.
    pub fn thaw(
        &self,
        agent: &Arc<Agent>,
        target: NodeName,
        port: u16,
        listeners: Vec<TcpListener>,
    ) {
        let stand_in = stand(agent, &target, port, listeners);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if map.len() < MAX_STANDINS {
            map.insert(target, stand_in);
        }
    }

    fn remove(&self, target: &NodeName) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(target);
    }
}

fn stand(agent: &Arc<Agent>, target: &NodeName, port: u16, listeners: Vec<TcpListener>) -> StandIn {
    let (asked, asks) = mpsc::channel(1);
    let idle = CancellationToken::new();
    let listeners: Vec<_> = listeners.into_iter().map(Arc::new).collect();
    for listener in &listeners {
        let (agent, listener) = (Arc::clone(agent), Arc::clone(listener));
        let accept = accept(Arc::clone(&agent), listener, target.clone(), idle.clone());
        tokio::spawn(async move { agent.brake.hold(accept).await.unwrap_or_default() });
    }
    tokio::spawn(watch(Arc::clone(agent), target.clone(), asks, idle));
    StandIn {
        port,
        listeners,
        asked,
    }
}

/// Closes a stand-in that nobody has asked for in a while.
async fn watch(
    agent: Arc<Agent>,
    target: NodeName,
    mut asks: mpsc::Receiver<()>,
    idle: CancellationToken,
) {
    while let Ok(Some(())) = tokio::time::timeout(IDLE, asks.recv()).await {}
    // First out of the map, so that whoever asks next gets a new one.
    agent.standins.remove(&target);
    idle.cancel();
}

async fn accept(
    agent: Arc<Agent>,
    listener: Arc<TcpListener>,
    target: NodeName,
    idle: CancellationToken,
) {
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = idle.cancelled() => return,
            () = agent.draining.cancelled() => return,
        };
        match accepted {
            Ok((socket, theirs)) => {
                backoff.reset();
                let waiting = agent.unknown.enter(theirs.ip());
                let (serving, target) = (Arc::clone(&agent), target.clone());
                agent.serve(socket, move |socket| {
                    outbound::serve(serving, socket, theirs, target, waiting)
                });
            }
            Err(error) => backoff.wait("a stand-in port", &error).await,
        }
    }
}

/// Opens the same port on every loopback address.
fn open(addresses: &[IpAddr]) -> io::Result<(u16, Vec<TcpListener>)> {
    let mut last = io::Error::new(io::ErrorKind::AddrNotAvailable, "no loopback address");
    'attempt: for _ in 0..ATTEMPTS {
        let mut port = 0;
        let mut listeners = Vec::with_capacity(addresses.len());
        for &address in addresses {
            match listen::bind(SocketAddr::new(address, port)) {
                Ok(listener) => {
                    port = listener.local_addr()?.port();
                    listeners.push(listener);
                }
                Err(error) => {
                    last = error;
                    continue 'attempt;
                }
            }
        }
        return Ok((port, listeners));
    }
    Err(last)
}
