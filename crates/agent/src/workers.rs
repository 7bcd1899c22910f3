//! The threads that move bytes. A link lives on one of them from its first byte to its last, so that a
//! message never waits for another thread to wake; everything else of the agent has a thread of its own
//! and cannot hold a link up.

use std::io;
use std::net::TcpStream as StdSocket;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use crate::Error;

/// How many threads at most, one a core below that. One moves several gigabytes a second; Envoy starts
/// one a core without a bound, linkerd one, ztunnel two.
const MOST: usize = 16;

/// The threads; they end when this is dropped.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
    /// Ends the threads when dropped.
    _stop: DropGuard,
}

impl Workers {
    /// Starts a thread for each core that this process may use.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system gives no thread.
    pub fn start() -> Result<Self, Error> {
        let count = thread::available_parallelism().map_or(1, |cores| cores.get().min(MOST));
        let stop = CancellationToken::new();
        let handles = (0..count)
            .map(|number| start(number, stop.clone()))
            .collect::<io::Result<_>>()
            .map_err(|error| Error::Internal(format!("cannot start a thread: {error}")))?;
        Ok(Self {
            handles,
            next: AtomicUsize::new(0),
            _stop: stop.drop_guard(),
        })
    }

    /// The next thread, for what is not an accepted connection.
    ///
    /// # Errors
    /// [`Error::Internal`] if there is none.
    pub fn next(&self) -> Result<&Handle, Error> {
        let turn = self.next.fetch_add(1, Relaxed);
        self.handles
            .get(turn % self.handles.len().max(1))
            .ok_or_else(|| Error::Internal("no thread for links".to_owned()))
    }

    /// Serves an accepted connection on the next thread; `tasks` knows it until its end.
    ///
    /// # Errors
    /// The socket could not be handed over.
    pub fn serve<F>(
        &self,
        tasks: &TaskTracker,
        socket: TcpStream,
        serve: impl FnOnce(TcpStream) -> F + Send + 'static,
    ) -> io::Result<()>
    where
        F: Future<Output = ()> + Send,
    {
        let turn = self.next.fetch_add(1, Relaxed);
        let Some(worker) = self.handles.get(turn % self.handles.len().max(1)) else {
            return Err(io::Error::other("no thread for links"));
        };
        // The thread that accepted polls the socket until here, the worker from here on.
        let socket: StdSocket = socket.into_std()?;
        tasks.spawn_on(
            async move {
                match TcpStream::from_std(socket) {
                    Ok(socket) => serve(socket).await,
                    Err(error) => tracing::error!("cannot serve a connection: {error}"),
                }
            },
            worker,
        );
        Ok(())
    }
}

fn start(number: usize, stop: CancellationToken) -> io::Result<Handle> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let handle = runtime.handle().clone();
    thread::Builder::new()
        .name(format!("links-{number}"))
        .spawn(move || runtime.block_on(stop.cancelled_owned()))?;
    Ok(handle)
}
