//! Once both nodes are proven: bytes between a node of this host and a link, both ways, until one
//! side ends. Every frame is looked at on its way; none is held.
//!
//! Ticks pass through like anything else. None is ever made up here: a peer that is dead must look
//! dead.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use skans_dist::stream::{MAX_FRAME, Observer, Seen};
use skans_link::{DATA_HEADER, Decoder, Frame, Piece, Session};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::Notify;
use tokio_rustls::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::metrics::Counters;
use crate::registry::Link;
use crate::wire::{self, LAST_WORD, LinkStream};

/// What a link starts with, in bytes for each direction: enough for a quiet one.
const BUFFER_LEAST: usize = 8 * 1024;
/// What it grows to when reads fill it. Beyond 128 KiB a read no longer gets cheaper per byte. A
/// frame of this size, header included, fills eight TLS records to the last byte.
const BUFFER_MOST: usize = 128 * 1024;

/// How long bytes of a node that has left wait for a peer that reads nothing. Its kernel may keep such
/// a link for a quarter of an hour, or for ever.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// State that both directions of a link share.
struct Shared<'a> {
    link: &'a Link,
    session: Mutex<Session>,
    /// Control frames that the receiving side wants sent.
    outbox: Mutex<Vec<u8>>,
    mail: Notify,
    /// The sending side is to return at the next border between frames.
    stop: CancellationToken,
}

impl Shared<'_> {
    fn session(&self) -> std::sync::MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of bytes that go to the peer; the offset of the first.
    fn sent(&self, count: usize) -> u64 {
        let mut session = self.session();
        let offset = session.send(count);
        self.link
            .unacknowledged
            .store(session.unacknowledged(), Relaxed);
        offset
    }

    fn post(&self, frame: &[u8]) {
        let mut outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
        // A peer that asks for pongs and reads none gets no more than this.
        if outbox.len() < skans_link::MAX_CONTROL {
            outbox.extend_from_slice(frame);
        }
        drop(outbox);
        self.mail.notify_one();
    }

    fn collect(&self) -> Vec<u8> {
        std::mem::take(&mut *self.outbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Relays until one side ends; the error says which and why. The caller still has to drop the
/// registration.
pub async fn run(mut node: TcpStream, stream: LinkStream, link: &Link) -> Error {
    let LinkStream {
        mut tls,
        decoder,
        session,
        pending,
        ..
    } = stream;
    let shared = Shared {
        link,
        session: Mutex::new(session),
        outbox: Mutex::new(Vec::new()),
        mail: Notify::new(),
        stop: CancellationToken::new(),
    };
    // rustls takes 64 KiB before it must be emptied: the largest frame would be two system calls.
    match &mut tls {
        TlsStream::Client(tls) => tls.get_mut().1.set_buffer_limit(Some(BUFFER_MOST)),
        TlsStream::Server(tls) => tls.get_mut().1.set_buffer_limit(Some(BUFFER_MOST)),
    }
    let (mut link_reader, mut link_writer) = tokio::io::split(tls);
    let (node_reader, node_writer) = node.split();
    // One task for both directions: they share the TLS state, and a link is mostly one-way at a time.
    let mut up = Box::pin(to_link(node_reader, &mut link_writer, &shared));
    let (end, at_border) = tokio::select! {
        end = &mut up => (end, true),
        end = to_node(&mut link_reader, node_writer, decoder, pending, &shared) => (end, false),
        close = link.ended() => (Error::Ended(close), false),
    };
    // A frame that is half out must go out whole, or the last word would be taken for its rest.
    shared.stop.cancel();
    let at_border = at_border || tokio::time::timeout(LAST_WORD, &mut up).await.is_ok();
    drop(up);
    if let Some(silence) = link.silence() {
        let _ = tokio::time::timeout(silence, discard(&mut node, &mut link_reader)).await;
    }
    if at_border && !matches!(end, Error::Closed(_) | Error::LinkLost(_)) {
        let last = async {
            link_writer.write_all(&end.to_close().encode()).await?;
            link_writer.shutdown().await?;
            // The node here need not wait for what follows.
            drop(node);
            wire::linger(&mut link_reader).await
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout(LAST_WORD, last).await;
    }
    end
}

/// Keeps both ends connected and lets nothing through, until one of them hangs up.
async fn discard<R: tokio::io::AsyncRead + Unpin>(node: &mut TcpStream, link: &mut R) {
    let (mut from_node, mut from_link) = ([0; 4096], [0; 4096]);
    loop {
        let read = tokio::select! {
            read = node.read(&mut from_node) => read,
            read = link.read(&mut from_link) => read,
        };
        if !matches!(read, Ok(1..)) {
            return;
        }
    }
}

/// From the node of this host to the peer.
async fn to_link<W: tokio::io::AsyncWrite + Unpin>(
    mut node: ReadHalf<'_>,
    link: &mut W,
    shared: &Shared<'_>,
) -> Error {
    let mut observer = Observer::new(MAX_FRAME);
    let counters = &shared.link.traffic.sent;
    // The header of a DATA frame goes in front of the bytes, so that both are one write.
    let mut buffer = vec![0; BUFFER_LEAST];
    loop {
        let (header, room) = buffer.split_at_mut(DATA_HEADER);
        let count = tokio::select! {
            biased;
            // First, or a busy node would keep acknowledgements back for ever.
            () = shared.mail.notified() => {
                if let Err(error) = write(link, &shared.collect()).await {
                    return Error::LinkLost(error);
                }
                continue;
            }
            () = shared.stop.cancelled() => return Error::NodeLeft,
            read = node.read(room) => match read {
                Ok(0) | Err(_) => return Error::NodeLeft,
                Ok(count) => count,
            },
        };
        let full = count == room.len();
        if let Err(error) = observe(
            &mut observer,
            room.get(..count).unwrap_or_default(),
            counters,
        ) {
            return Error::Stream {
                from: "the local node",
                problem: error,
            };
        }
        let offset = shared.sent(count);
        header.copy_from_slice(&skans_link::data_header(offset, count));
        let frame = buffer.get(..DATA_HEADER + count).unwrap_or_default();
        let sent = tokio::select! {
            biased;
            sent = write(link, frame) => sent,
            () = abandoned(&node) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the local node has left, and the peer takes nothing more of what it said",
            )),
        };
        if let Err(error) = sent {
            return Error::LinkLost(error);
        }
        if full && buffer.len() < BUFFER_MOST {
            buffer.resize((buffer.len() * 2).min(BUFFER_MOST), 0);
        }
    }
}

/// Returns once the node has hung up and nothing could be sent for [`LEFT_BEHIND`]: whoever waits for
/// a peer to read does not see it. As long as the peer takes something, it gets all.
async fn abandoned(node: &ReadHalf<'_>) {
    loop {
        tokio::time::sleep(LEFT_BEHIND).await;
        match node.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => {}
            _ => return,
        }
    }
}

/// From the peer to the node of this host.
async fn to_node<R: tokio::io::AsyncRead + Unpin>(
    link: &mut R,
    mut node: WriteHalf<'_>,
    mut decoder: Decoder,
    pending: Vec<u8>,
    shared: &Shared<'_>,
) -> Error {
    let mut observer = Observer::new(MAX_FRAME);
    if let Err(end) = deliver(&pending, &mut node, &mut decoder, &mut observer, shared).await {
        return end;
    }
    drop(pending);
    let mut buffer = vec![0; BUFFER_LEAST];
    loop {
        let count = match poll_fn(|context| wire::poll_fill(link, context, &mut buffer)).await {
            Ok(0) => return Error::LinkLost(io::ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(error) => return Error::LinkLost(error),
        };
        let input = buffer.get(..count).unwrap_or_default();
        if let Err(end) = deliver(input, &mut node, &mut decoder, &mut observer, shared).await {
            return end;
        }
        if count == buffer.len() && count < BUFFER_MOST {
            buffer.resize((count * 2).min(BUFFER_MOST), 0);
        }
    }
}

/// Hands what came from the link to the node, in one write whatever number of frames it came in.
async fn deliver(
    input: &[u8],
    node: &mut WriteHalf<'_>,
    decoder: &mut Decoder,
    observer: &mut Observer,
    shared: &Shared<'_>,
) -> Result<(), Error> {
    let mut parts = Vec::new();
    let end = accept(input, &mut parts, decoder, observer, shared);
    // What came before the end belongs to the node.
    let mut parts = parts.as_mut_slice();
    while !parts.is_empty() {
        match node.write_vectored(parts).await {
            Ok(count @ 1..) => IoSlice::advance_slices(&mut parts, count),
            Ok(0) | Err(_) => return Err(Error::NodeLeft),
        }
    }
    end
}

/// Checks what came from the link, acts on control frames, and puts what is for the node in `parts`.
fn accept<'a>(
    mut input: &'a [u8],
    parts: &mut Vec<IoSlice<'a>>,
    decoder: &mut Decoder,
    observer: &mut Observer,
    shared: &Shared<'_>,
) -> Result<(), Error> {
    while let Some(piece) = decoder.next(&mut input)? {
        match piece {
            Piece::DataStart { offset, length } => {
                let due = {
                    let mut session = shared.session();
                    session.on_data(offset, length)?;
                    session.ack_due()
                };
                if let Some(offset) = due {
                    shared.post(&skans_link::ack(offset));
                }
            }
            Piece::Data(bytes) => {
                observe(observer, bytes, &shared.link.traffic.received).map_err(|problem| {
                    Error::Stream {
                        from: "the peer",
                        problem,
                    }
                })?;
                parts.push(IoSlice::new(bytes));
            }
            Piece::Frame(frame) => {
                shared.session().on_frame(&frame)?;
                match frame {
                    Frame::Ping(number) => shared.post(&skans_link::pong(number)),
                    Frame::Close(close) => return Err(Error::Closed(close)),
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

/// Follows the frames of one direction and counts them.
fn observe(
    observer: &mut Observer,
    bytes: &[u8],
    counters: &Counters,
) -> Result<(), skans_dist::Error> {
    counters.bytes(bytes.len());
    observer.feed(bytes, &mut |seen| match seen {
        Seen::Message { op, .. } => counters.message(op),
        Seen::Tick => counters.tick(),
        Seen::Continuation { .. } => {}
    })
}

async fn write<W: tokio::io::AsyncWrite + Unpin>(link: &mut W, bytes: &[u8]) -> io::Result<()> {
    link.write_all(bytes).await?;
    link.flush().await
}
