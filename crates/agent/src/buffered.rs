//! What TLS reads from: a socket behind a buffer that takes several records in one system call. rustls alone asks for 4 KiB
//! at a time, four calls and more for each record of bulk. The buffer grows while reads fill it, and is given back when the
//! link rests: a thousand idle links would keep 64 MB of them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that it starts with once something comes: enough for a quiet link.
pub const LEAST: usize = 2 * 1024;
/// Bytes that it grows to: four TLS records. Beyond, a read no longer gets cheaper per byte.
pub const MOST: usize = 64 * 1024;

/// See the module.
#[derive(Debug)]
pub struct Buffered {
    socket: TcpStream,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    /// The last read filled it.
    grows: bool,
    rests: Rests,
}

/// Tells a buffer, wherever it is by then, that its link rests.
#[derive(Clone, Debug, Default)]
pub struct Rests(Arc<AtomicBool>);

impl Rests {
    /// The buffer is given back with the next read that finds it empty.
    pub fn rest(&self) {
        self.0.store(true, Relaxed);
    }
}

impl Buffered {
    /// Behind a buffer that takes no memory before something comes.
    pub fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            bytes: Vec::new(),
            start: 0,
            end: 0,
            grows: false,
            rests: Rests::default(),
        }
    }

    /// The socket.
    pub const fn get_ref(&self) -> &TcpStream {
        &self.socket
    }

    /// The same, to be replaced: what is in the buffer stays.
    pub const fn get_mut(&mut self) -> &mut TcpStream {
        &mut self.socket
    }

    /// For whoever learns that the link rests.
    pub fn rests(&self) -> Rests {
        self.rests.clone()
    }

    /// Memory that it holds, in bytes.
    #[cfg(test)]
    pub const fn size(&self) -> usize {
        self.bytes.capacity()
    }

    /// Reads into the empty buffer.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.rests.0.load(Relaxed) {
            self.rests.0.store(false, Relaxed);
            self.resize(0);
        } else if self.grows {
            self.resize((self.bytes.len() * 2).min(MOST));
        }
        self.grows = false;
        if self.bytes.is_empty() {
            ready!(self.socket.poll_read_ready(context))?;
            self.resize(LEAST);
        }
        let mut read = ReadBuf::new(&mut self.bytes);
        ready!(Pin::new(&mut self.socket).poll_read(context, &mut read))?;
        (self.start, self.end) = (0, read.filled().len());
        self.grows = self.end == self.bytes.len() && self.end < MOST;
        Poll::Ready(Ok(()))
    }

    /// There is nothing in it.
    fn resize(&mut self, size: usize) {
        if self.bytes.len() != size {
            // First, or both would be there at once.
            self.bytes = Vec::new();
            self.bytes = vec![0; size];
        }
    }
}

impl AsyncRead for Buffered {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.start == this.end {
            ready!(this.poll_fill(context))?;
        }
        let there = this.bytes.get(this.start..this.end).unwrap_or_default();
        let count = there.len().min(out.remaining());
        out.put_slice(there.get(..count).unwrap_or_default());
        this.start += count;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().socket).poll_write_vectored(context, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().socket).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
