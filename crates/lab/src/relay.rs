//! A TCP relay that keeps what passes: what somebody on the wire between two agents would see.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::Error;

/// Bytes kept of one direction of one connection: 64 MiB. What comes after is passed on, and
/// [`Recording::truncated`] says so.
const MAX_KEPT: usize = 64 * 1024 * 1024;

/// A relay to one address. Dropped, it takes no more connections; those that run are cut.
#[derive(Debug)]
pub struct Relay {
    address: SocketAddr,
    kept: Arc<Mutex<Vec<Recording>>>,
    accepting: JoinHandle<()>,
}

/// One connection.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// What the side that dialled sent.
    pub from_dialler: Vec<u8>,
    /// What the other side sent.
    pub from_dialled: Vec<u8>,
    /// Whether more came than is kept.
    pub truncated: bool,
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Relay {
    /// Listens on a loopback port of its own and passes everything to `target`.
    ///
    /// # Errors
    /// [`Error::System`] if there is no port.
    pub async fn to(target: SocketAddr) -> Result<Self, Error> {
        let own = SocketAddr::new(target.ip(), 0);
        let what = "a port for the relay";
        let listener = TcpListener::bind(own).await.map_err(Error::system(what))?;
        let address = listener.local_addr().map_err(Error::system(what))?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let accepting = tokio::spawn(accept(listener, target, Arc::clone(&kept)));
        Ok(Self {
            address,
            kept,
            accepting,
        })
    }

    /// Where to dial it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// What has passed so far, by connection.
    #[must_use]
    pub fn recordings(&self) -> Vec<Recording> {
        self.kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, kept: Arc<Mutex<Vec<Recording>>>) {
    // Held here, so that the connections end with the relay.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((dialler, _)) = listener.accept().await {
        let Ok(dialled) = TcpStream::connect(target).await else {
            continue;
        };
        let index = {
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(Recording::default());
            kept.len() - 1
        };
        let kept = Arc::clone(&kept);
        connections.spawn(async move {
            let _ = (dialler.set_nodelay(true), dialled.set_nodelay(true));
            let (dialler_reads, dialler_writes) = dialler.into_split();
            let (dialled_reads, dialled_writes) = dialled.into_split();
            let keep = |pick: fn(&mut Recording) -> &mut Vec<u8>| {
                let kept = Arc::clone(&kept);
                move |bytes: &[u8]| {
                    let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(recording) = kept.get_mut(index) else {
                        return;
                    };
                    let stream = pick(recording);
                    let room = MAX_KEPT.saturating_sub(stream.len()).min(bytes.len());
                    stream.extend_from_slice(bytes.get(..room).unwrap_or_default());
                    recording.truncated |= room < bytes.len();
                }
            };
            tokio::join!(
                pass(
                    dialler_reads,
                    dialled_writes,
                    keep(|recording| &mut recording.from_dialler)
                ),
                pass(
                    dialled_reads,
                    dialler_writes,
                    keep(|recording| &mut recording.from_dialled)
                ),
            );
        });
    }
}

/// Passes bytes on until either side ends.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    keep: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        let bytes = buffer.get(..count).unwrap_or_default();
        keep(bytes);
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests;
