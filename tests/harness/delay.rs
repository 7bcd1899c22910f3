//! Distance between hosts: a TCP relay that delivers late, lets no more through than a cable would, and can be cut. The
//! kernel has the like (netem), but not every kernel has been built with it.
//!
//! TCP ends in the relay on both sides: that a handshake or a lost packet takes a round trip is not shown by it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

/// What one read takes at most.
const CHUNK: usize = 16 * 1024;
/// Chunks of one direction of one connection that are on the cable or wait before it: 512 KiB, the queue of an ordinary
/// switch.
const QUEUE: usize = 32;

/// One direction of a cable. All that goes over it queues up together.
pub struct Cable {
    delay: Mutex<Duration>,
    bytes_per_second: u64,
    free: Mutex<Instant>,
    passed: AtomicU64,
}

impl Cable {
    /// One that delivers `delay` later. `bytes_per_second` may be `u64::MAX`.
    pub fn new(delay: Duration, bytes_per_second: u64) -> Arc<Self> {
        Arc::new(Self {
            delay: Mutex::new(delay),
            bytes_per_second,
            free: Mutex::new(Instant::now()),
            passed: AtomicU64::new(0),
        })
    }

    /// Another delay, for what is sent from here on.
    pub fn set_delay(&self, delay: Duration) {
        *self.delay.lock().unwrap() = delay;
    }

    /// How many bytes have entered it.
    pub fn passed(&self) -> u64 {
        self.passed.load(Relaxed)
    }

    /// Puts bytes on the cable, behind all that is there; when they arrive.
    fn send(&self, count: usize) -> Instant {
        let count = count as u64;
        self.passed.fetch_add(count, Relaxed);
        let takes = Duration::from_nanos(
            u64::try_from(u128::from(count) * 1_000_000_000 / u128::from(self.bytes_per_second))
                .unwrap(),
        );
        let mut free = self.free.lock().unwrap();
        *free = (*free).max(Instant::now()) + takes;
        *free + *self.delay.lock().unwrap()
    }
}

/// A relay to one address. Dropped, it takes no more connections, and those that run are cut.
pub struct Far {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

struct Shared {
    target: SocketAddr,
    there: Arc<Cable>,
    back: Arc<Cable>,
    blocked: AtomicBool,
    held: watch::Sender<bool>,
    connections: Mutex<JoinSet<()>>,
}

impl Drop for Far {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

impl Far {
    /// Passes everything on to `target`: over `there` what the dialler sends, over `back` what it gets.
    pub async fn to(target: SocketAddr, there: &Arc<Cable>, back: &Arc<Cable>) -> Self {
        let listener = TcpListener::bind((target.ip(), 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            target,
            there: Arc::clone(there),
            back: Arc::clone(back),
            blocked: AtomicBool::new(false),
            held: watch::Sender::new(false),
            connections: Mutex::default(),
        });
        Self {
            address,
            accepting: tokio::spawn(accept(listener, Arc::clone(&shared))),
            shared,
        }
    }

    /// Where to dial it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts all present connections. New ones are taken.
    pub fn cut(&self) {
        self.shared.connections.lock().unwrap().abort_all();
    }

    /// Cuts all present connections, and lets none through until [`Far::mend`].
    pub fn block(&self) {
        self.shared.blocked.store(true, Relaxed);
        self.cut();
    }

    /// Whether bytes are held up, without the ends noticing.
    pub fn hold(&self, held: bool) {
        self.shared.held.send_replace(held);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.shared.blocked.store(false, Relaxed);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((dialler, _)) = listener.accept().await {
        let mut connections = shared.connections.lock().unwrap();
        while connections.try_join_next().is_some() {}
        if !shared.blocked.load(Relaxed) {
            connections.spawn(carry(dialler, Arc::clone(&shared)));
        }
    }
}

async fn carry(dialler: TcpStream, shared: Arc<Shared>) {
    let Ok(dialled) = TcpStream::connect(shared.target).await else {
        return;
    };
    dialler.set_nodelay(true).unwrap();
    dialled.set_nodelay(true).unwrap();
    let (dialler_reads, dialler_writes) = dialler.into_split();
    let (dialled_reads, dialled_writes) = dialled.into_split();
    tokio::join!(
        pass(dialler_reads, dialled_writes, &shared.there, &shared.held),
        pass(dialled_reads, dialler_writes, &shared.back, &shared.held),
    );
}

async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    cable: &Cable,
    held: &watch::Sender<bool>,
) {
    let mut held = held.subscribe();
    let (enter, mut leave) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let entering = async move {
        loop {
            // A place first: what finds none stays in the sender's socket.
            let Ok(place) = enter.reserve().await else {
                return;
            };
            let mut bytes = vec![0; CHUNK];
            let Ok(count @ 1..) = from.read(&mut bytes).await else {
                return;
            };
            bytes.truncate(count);
            place.send((cable.send(count), bytes));
        }
    };
    let leaving = async move {
        while let Some((due, bytes)) = leave.recv().await {
            tokio::time::sleep_until(due).await;
            let _ = held.wait_for(|held| !held).await;
            if to.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::pin!(leaving);
    tokio::select! {
        () = &mut leaving => {}
        // What is on the cable still arrives.
        () = entering => leaving.await,
    }
}
