//! A stand-in for epmd: nodes register as usual, and what others are told can be changed. That is
//! how a relay gets between two ordinary nodes.

use std::collections::HashMap;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};

use skans_dist::epmd::{Alive2Response, PortResponse, Registration, Request};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::error::{Doing, Error, Result};

/// A running stand-in; ends when dropped.
#[derive(Debug)]
pub struct Epmd {
    /// Its port.
    pub port: u16,
    known: Known,
    task: JoinHandle<()>,
}

#[derive(Clone, Debug, Default)]
struct Known(Arc<Mutex<HashMap<String, Registration>>>);

impl Known {
    fn with<T>(&self, act: impl FnOnce(&mut HashMap<String, Registration>) -> T) -> T {
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Epmd {
    /// Starts one on a free port.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .doing("open a port for epmd")?;
        let port = listener.local_addr().doing("open a port for epmd")?.port();
        let known = Known::default();
        let task = tokio::spawn(accept(listener, known.clone()));
        Ok(Self { port, known, task })
    }

    /// Where a registered node listens, by the part of its name before `@`.
    pub fn port_of(&self, alive: &str) -> Result<u16> {
        self.known
            .with(|known| known.get(alive).map(|found| found.port))
            .ok_or_else(|| Error::new("epmd", format!("{alive} is not registered")))
    }

    /// Tells whoever asks from now on that the node listens at another port.
    pub fn divert(&self, alive: &str, port: u16) {
        self.known.with(|known| {
            if let Some(found) = known.get_mut(alive) {
                found.port = port;
            }
        });
    }
}

impl Drop for Epmd {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn accept(listener: TcpListener, known: Known) {
    while let Ok((socket, _)) = listener.accept().await {
        let known = known.clone();
        tokio::spawn(async move {
            // A node that gets no answer says so itself.
            let _: io::Result<()> = serve(socket, &known).await;
        });
    }
}

async fn serve(mut socket: TcpStream, known: &Known) -> io::Result<()> {
    let mut body = vec![0; socket.read_u16().await?.into()];
    socket.read_exact(&mut body).await?;
    match Request::decode(&body).map_err(io::Error::other)? {
        Request::Alive2(node) => {
            known.with(|known| known.insert(node.name.clone(), node));
            let answer = Alive2Response::Wide {
                result: 0,
                // Each pair of nodes is asked for once; any number above 3 will do.
                creation: 4,
            };
            socket.write_all(&answer.encode()).await?;
            // The node holds the connection for as long as it lives.
            let mut nothing = Vec::new();
            socket.read_to_end(&mut nothing).await?;
        }
        Request::PortPlease2 { name } => {
            let found = known.with(|known| known.get(&name).cloned());
            let answer = found.map_or(PortResponse::NOT_FOUND, PortResponse::Found);
            socket.write_all(&answer.encode()).await?;
        }
        _ => {}
    }
    Ok(())
}
