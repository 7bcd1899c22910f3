//! A TCP relay that keeps what passes: what somebody on the wire between two agents would see. Or one that keeps nothing and can be cut, as
//! a cable is: what is under way stays there, and goes on once it is mended.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
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
    whole: watch::Sender<bool>,
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
        Self::start(target, MAX_KEPT).await
    }

    /// The same, but nothing is kept of what passes: for what runs long.
    ///
    /// # Errors
    /// [`Error::System`] if there is no port.
    pub async fn line_to(target: SocketAddr) -> Result<Self, Error> {
        Self::start(target, 0).await
    }

    async fn start(target: SocketAddr, most: usize) -> Result<Self, Error> {
        let own = SocketAddr::new(target.ip(), 0);
        let what = "a port for the relay";
        let listener = TcpListener::bind(own).await.map_err(Error::system(what))?;
        let address = listener.local_addr().map_err(Error::system(what))?;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (whole, is_whole) = watch::channel(true);
        let keeping = Keeping {
            kept: Arc::clone(&kept),
            most,
        };
        let accepting = tokio::spawn(accept(listener, target, keeping, is_whole));
        Ok(Self {
            address,
            kept,
            whole,
            accepting,
        })
    }

    /// Where to dial it.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on nothing passes in either direction, and nobody is told: connections stay, and new ones get no answer.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Everything passes again, what was under way first.
    pub fn mend(&self) {
        self.whole.send_replace(true);
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

/// What is kept of connections.
#[derive(Clone)]
struct Keeping {
    kept: Arc<Mutex<Vec<Recording>>>,
    /// Bytes of one direction of one connection.
    most: usize,
}

impl Keeping {
    fn begin(&self) -> Option<usize> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        (self.most > 0).then(|| {
            kept.push(Recording::default());
            kept.len() - 1
        })
    }

    fn keep(&self, index: Option<usize>, pick: fn(&mut Recording) -> &mut Vec<u8>, bytes: &[u8]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(recording) = index.and_then(|index| kept.get_mut(index)) else {
            return;
        };
        let stream = pick(recording);
        let room = self.most.saturating_sub(stream.len()).min(bytes.len());
        stream.extend_from_slice(bytes.get(..room).unwrap_or_default());
        recording.truncated |= room < bytes.len();
    }
}

async fn accept(
    listener: TcpListener,
    target: SocketAddr,
    keeping: Keeping,
    whole: watch::Receiver<bool>,
) {
    // Held here, so that the connections end with the relay.
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((dialler, _)) = listener.accept().await {
        let (keeping, mut whole) = (keeping.clone(), whole.clone());
        // Those that have ended are not kept for what may run for an hour.
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            if whole.wait_for(|whole| *whole).await.is_err() {
                return;
            }
            let Ok(dialled) = TcpStream::connect(target).await else {
                return;
            };
            let index = keeping.begin();
            let _ = (dialler.set_nodelay(true), dialled.set_nodelay(true));
            let (dialler_reads, dialler_writes) = dialler.into_split();
            let (dialled_reads, dialled_writes) = dialled.into_split();
            let keep = |pick: fn(&mut Recording) -> &mut Vec<u8>| {
                let keeping = keeping.clone();
                move |bytes: &[u8]| keeping.keep(index, pick, bytes)
            };
            tokio::join!(
                pass(
                    dialler_reads,
                    dialled_writes,
                    whole.clone(),
                    keep(|recording| &mut recording.from_dialler)
                ),
                pass(
                    dialled_reads,
                    dialler_writes,
                    whole,
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
    mut whole: watch::Receiver<bool>,
    keep: impl Fn(&[u8]),
) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer).await {
        if whole.wait_for(|whole| *whole).await.is_err() {
            break;
        }
        let bytes = buffer.get(..count).unwrap_or_default();
        keep(bytes);
        if to.write_all(bytes).await.is_err() {
            break;
        }
    }
    // The end of a connection does not get through a line that is cut, either.
    let _ = whole.wait_for(|whole| *whole).await;
    let _ = to.shutdown().await;
}

#[cfg(test)]
mod tests;
