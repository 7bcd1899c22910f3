//! One link's TLS connection while the two agents greet and the nodes shake hands: whole frames in
//! and out. Once bytes flow, `relay` takes over.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use rustls::CommonState;
use skans_link::{Close, Decoder, Frame, Piece, Session};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use crate::Error;
use crate::buffered::{Buffered, Rests};
use crate::proof::TlsFacts;

/// Plaintext that rustls takes before it must be emptied, in bytes: a frame of the largest size that we send. Its own
/// 64 KiB would make two system calls of it.
pub const TLS_LIMIT: usize = 128 * 1024;

/// The half of a connection that frames are written to.
pub type LinkWriter = WriteHalf<TlsStream<Buffered>>;

/// The half that they are read from, and how far it was read.
#[derive(Debug)]
pub struct Reading {
    /// The half.
    pub half: ReadHalf<TlsStream<Buffered>>,
    /// Cuts it into frames.
    pub decoder: Decoder,
    /// Bytes that came and were not yet decoded.
    pub pending: Vec<u8>,
    /// Both ends of the connection, ours first.
    pub path: Option<(SocketAddr, SocketAddr)>,
    /// Has the buffer below TLS given back.
    pub rests: Rests,
}

/// How long the last word to a peer may take; it may have stopped reading long ago.
pub const LAST_WORD: Duration = Duration::from_secs(2);

/// A link in its first phases.
#[derive(Debug)]
pub struct LinkStream {
    /// The connection.
    pub tls: TlsStream<Buffered>,
    /// Cuts it into frames.
    pub decoder: Decoder,
    /// What may come next.
    pub session: Session,
    /// Bytes that came and were not yet decoded.
    pub pending: Vec<u8>,
    /// The other end.
    pub address: SocketAddr,
}

impl LinkStream {
    /// A link over a fresh connection.
    pub fn new(tls: TlsStream<Buffered>, session: Session, address: SocketAddr) -> Self {
        Self {
            tls,
            decoder: Decoder::new(),
            session,
            pending: Vec::new(),
            address,
        }
    }

    /// Takes it apart, for bytes to flow both ways.
    pub fn part(self) -> (Session, LinkWriter, Reading) {
        let mut tls = self.tls;
        let rests = tls.get_ref().0.rests();
        let socket = tls.get_ref().0.get_ref();
        let path = socket.local_addr().ok().zip(socket.peer_addr().ok());
        match &mut tls {
            TlsStream::Client(tls) => tls.get_mut().1.set_buffer_limit(Some(TLS_LIMIT)),
            TlsStream::Server(tls) => tls.get_mut().1.set_buffer_limit(Some(TLS_LIMIT)),
        }
        let (half, writer) = tokio::io::split(tls);
        let reading = Reading {
            half,
            decoder: self.decoder,
            pending: self.pending,
            path,
            rests,
        };
        (self.session, writer, reading)
    }

    /// Brings the connection to this thread, from the one that accepted it: a socket belongs to the thread that polls it
    /// first, and would wake that one for ever.
    pub fn settle_here(&mut self) -> io::Result<()> {
        let buffered = match &mut self.tls {
            TlsStream::Client(tls) => tls.get_mut().0,
            TlsStream::Server(tls) => tls.get_mut().0,
        };
        let socket = buffered.get_mut();
        // The same connection under another descriptor; the old one is closed, and its thread forgets it.
        let twin = std::net::TcpStream::from(socket.as_fd().try_clone_to_owned()?);
        *socket = TcpStream::from_std(twin)?;
        Ok(())
    }

    /// The next frame that matters to the caller. Pings are answered here; a CLOSE is an error.
    pub async fn recv(&mut self) -> Result<Frame, Error> {
        loop {
            match self.next_frame().await? {
                Frame::Ping(number) => self.send(&skans_link::pong(number)).await?,
                Frame::Pong(_) => {}
                Frame::Close(close) => return Err(Error::Closed(close)),
                frame => return Ok(frame),
            }
        }
    }

    /// The next HANDSHAKE frame's message.
    pub async fn recv_handshake(&mut self) -> Result<Vec<u8>, Error> {
        match self.recv().await? {
            Frame::Handshake(message) => Ok(message),
            // The session lets nothing else through in this phase.
            other => Err(Error::Internal(format!(
                "unexpected {:?} frame",
                other.kind()
            ))),
        }
    }

    /// Sends a whole frame.
    pub async fn send(&mut self, frame: &[u8]) -> Result<(), Error> {
        let address = self.address;
        let sent = async {
            self.tls.write_all(frame).await?;
            self.tls.flush().await
        };
        sent.await.map_err(|error| lost(address, error))
    }

    /// Tells the other agent why the link ends, and hangs up. Errors no longer matter.
    pub async fn close(&mut self, close: &Close) {
        let last = async {
            if self.send(&close.encode()).await.is_ok() && self.tls.shutdown().await.is_ok() {
                let _ = linger(&mut self.tls).await;
            }
        };
        let _ = tokio::time::timeout(LAST_WORD, last).await;
    }

    async fn next_frame(&mut self) -> Result<Frame, Error> {
        loop {
            let mut input: &[u8] = &self.pending;
            let piece = self.decoder.next(&mut input)?;
            let frame = match piece {
                Some(Piece::Frame(frame)) => Some(frame),
                Some(Piece::DataStart { offset, .. }) => {
                    // In these phases always an error.
                    self.session.on_data(offset)?;
                    None
                }
                Some(Piece::Data(_)) | None => None,
            };
            let used = self.pending.len() - input.len();
            self.pending.drain(..used);
            if let Some(frame) = frame {
                self.session.on_frame(&frame)?;
                return Ok(frame);
            }
            if self.pending.is_empty() {
                let mut chunk = vec![0; 2048];
                let count = self
                    .tls
                    .read(&mut chunk)
                    .await
                    .map_err(|error| lost(self.address, error))?;
                if count == 0 {
                    return Err(Error::LinkLost(io::ErrorKind::UnexpectedEof.into()));
                }
                self.pending
                    .extend_from_slice(chunk.get(..count).unwrap_or_default());
            }
        }
    }
}

/// Reads until the peer has hung up as well. A socket that is closed with bytes unread resets its
/// connection, and the peer then fails in writing before it has read the last word.
pub async fn linger<R: AsyncRead + Unpin>(link: &mut R) -> io::Result<()> {
    // Not a part of the future of every link.
    let mut sink = vec![0; 4096];
    while link.read(&mut sink).await? > 0 {}
    Ok(())
}

/// What TLS agreed on.
pub fn facts(state: &CommonState) -> TlsFacts {
    let name = |text: Option<&str>| text.unwrap_or("unknown").to_owned();
    TlsFacts {
        // The only version that either side offers.
        version: "TLSv1.3",
        suite: name(
            state
                .negotiated_cipher_suite()
                .and_then(|s| s.suite().as_str()),
        ),
        group: name(
            state
                .negotiated_key_exchange_group()
                .and_then(|g| g.name().as_str()),
        ),
    }
}

/// Makes an error of a read or write over TLS say what is behind it: a verifier's refusal, an alert
/// of the other side, or just a lost connection.
pub fn lost(address: SocketAddr, error: io::Error) -> Error {
    let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    else {
        return Error::LinkLost(error);
    };
    if let Some(refusal) = skans_identity::Refusal::of(tls) {
        return Error::Tls {
            address,
            problem: format!("refused its certificate: {refusal}"),
            label: refusal.label(),
        };
    }
    let (problem, label) = match tls {
        rustls::Error::AlertReceived(alert) => (
            format!("it refused us, by the alert {alert:?}; its log says why"),
            "refused_by_peer",
        ),
        rustls::Error::NoCertificatesPresented => (
            "it showed no certificate, wanted one".to_owned(),
            "no_certificate",
        ),
        rustls::Error::PeerIncompatible(why) => (
            format!("it does not offer what we require: {why:?}"),
            "incompatible",
        ),
        // What rustls says when no certificate is served by the name that was asked for.
        rustls::Error::General(why) if why == "no server certificate chain resolved" => (
            "it asked for a node that is not served here, or does not offer skans/1 (ALPN)"
                .to_owned(),
            "not_served",
        ),
        rustls::Error::InvalidMessage(why) => {
            (format!("it does not speak TLS: {why:?}"), "not_tls")
        }
        other => (other.to_string(), "tls"),
    };
    Error::Tls {
        address,
        problem,
        label,
    }
}

/// Reads what is there into `buffer`, after waiting for the first byte: one wake-up for as many
/// records as have come. 0 means the end.
pub fn poll_fill<R: AsyncRead + Unpin>(
    reader: &mut R,
    context: &mut Context<'_>,
    buffer: &mut [u8],
) -> Poll<io::Result<usize>> {
    let mut filled = 0;
    while let Some(rest) = buffer.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        let mut read = ReadBuf::new(rest);
        match Pin::new(&mut *reader).poll_read(context, &mut read) {
            Poll::Ready(Ok(())) if read.filled().is_empty() => break,
            Poll::Ready(Ok(())) => filled += read.filled().len(),
            // What came before the error is delivered first; the error comes again.
            Poll::Ready(Err(_)) | Poll::Pending if filled > 0 => break,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
            Poll::Pending => return Poll::Pending,
        }
    }
    Poll::Ready(Ok(filled))
}
