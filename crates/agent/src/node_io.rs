//! The handshake with a node of this host: reading and writing its messages, one at a time.
//!
//! Nothing is read ahead, so that the stream behind the handshake starts at its first byte.

use std::io;
use std::net::SocketAddr;

use skans_dist::handshake::{self, MAX_MESSAGE};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::Error;

/// A connection to a node of this host, in the handshake.
#[derive(Debug)]
pub struct NodeSocket(pub TcpStream);

impl NodeSocket {
    /// Connects to a node.
    pub async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let socket = TcpStream::connect(address).await.map_err(|error| {
            Error::LocalHandshake(format!("the node does not answer at {address}: {error}"))
        })?;
        Ok(Self::new(socket))
    }

    /// Takes over an accepted connection.
    pub fn new(socket: TcpStream) -> Self {
        // Calls are small and somebody waits for each: OTP sets the same on its side. Without it
        // things are slow, not wrong.
        if let Err(error) = socket.set_nodelay(true) {
            tracing::debug!("cannot set TCP_NODELAY: {error}");
        }
        Self(socket)
    }

    /// The body of the next message; `what` names it in errors.
    pub async fn read(&mut self, what: &'static str) -> Result<Vec<u8>, Error> {
        let failed = |error: io::Error| {
            Error::LocalHandshake(match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
                    format!("the node hung up, wanted {what}")
                }
                _ => format!("{error}, wanted {what}"),
            })
        };
        let length = usize::from(self.0.read_u16().await.map_err(failed)?);
        if length == 0 || length > MAX_MESSAGE {
            return Err(Error::LocalHandshake(format!(
                "found a message of {length} bytes, wanted {what} of 1 to {MAX_MESSAGE}"
            )));
        }
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).await.map_err(failed)?;
        Ok(body)
    }

    /// Sends a message.
    pub async fn write(&mut self, body: &[u8]) -> Result<(), Error> {
        self.0
            .write_all(&handshake::frame_u16(body))
            .await
            .map_err(|error| Error::LocalHandshake(format!("cannot write to the node: {error}")))
    }

    /// Reads until the node hangs up: after a status that ends the attempt, the node does so.
    pub async fn drain(&mut self) {
        let mut sink = [0; 64];
        while matches!(self.0.read(&mut sink).await, Ok(1..)) {}
    }
}

/// Turns a malformed message of a local node into an error.
pub fn malformed(error: skans_dist::Error) -> Error {
    Error::LocalHandshake(error.to_string())
}
