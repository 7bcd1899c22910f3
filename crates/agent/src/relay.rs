//! Once both nodes are proven: bytes between a node of this host and a link, both ways, until one
//! side ends. Every message is judged on its way, and held only until it is; see `passage`. What goes to the peer is in
//! `relay/outgoing`, what comes from it in `relay/incoming`; here it is decided what becomes of the link when one of
//! them stops.
//!
//! Ticks pass through like anything else. None is ever made up here: a peer that is dead must look
//! dead.

mod incoming;
mod outgoing;

use std::io;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use skans_link::{DATA_HEADER, Window};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::enforce::{Answers, Flows};
use crate::gossip::Gossip;
use crate::live::Live;
use crate::passage::Passage;
use crate::pulse::Patience;
use crate::registry::{Direction, Registered};
use crate::wire::{self, LAST_WORD, LinkStream, LinkWriter, Reading, TLS_LIMIT};

use incoming::{Receiving, to_node};
use outgoing::{Sending, to_link};

/// What a link starts with, in bytes for each direction: enough for a quiet one.
const BUFFER_LEAST: usize = 8 * 1024;
/// What it grows to when reads fill it. Beyond 128 KiB a read no longer gets cheaper per byte. A
/// frame of this size, header included, fills eight TLS records to the last byte.
const BUFFER_MOST: usize = TLS_LIMIT;

/// How long bytes of a node that has left wait for a peer that reads nothing. Its kernel may keep such
/// a link for a quarter of an hour, or for ever.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// How long a peer that hung up without a word may take to come back: its agent has died, or was cut off by something in
/// between that said so. A network that is gone says nothing.
const HUNG_UP: Duration = Duration::from_secs(3);

/// How often it is looked whether the node is still there while there is no connection.
const LOOK: Duration = Duration::from_millis(100);

/// Looks for another connection, and gives it with the offset that the peer wants.
pub type Redial<'a> = dyn Fn() -> Redialled<'a> + Send + Sync + 'a;
type Redialled<'a> =
    Pin<Box<dyn Future<Output = Result<(Box<LinkStream>, u64), Error>> + Send + 'a>>;

/// State that both directions of a link share.
struct Shared<'a> {
    link: &'a Registered,
    live: &'a Live,
    gossip: &'a Gossip,
    /// Whether the session outlives its connection.
    resumable: bool,
    /// The sending side is to return at the next border between frames.
    stop: CancellationToken,
    /// All that was sent went out whole: CLOSE may follow.
    at_border: AtomicBool,
    /// Answers to what the node of this host sent and was refused.
    to_node: &'a Answers,
    /// Answers to what the peer sent and was refused.
    to_peer: &'a Answers,
}

/// Why a direction stopped.
enum Stop {
    /// The connection is gone; the session need not be.
    Lost(io::Error),
    /// The session is over.
    Over(Error),
}

impl<E: Into<Error>> From<E> for Stop {
    fn from(error: E) -> Self {
        match error.into() {
            Error::LinkLost(error) => Self::Lost(error),
            other => Self::Over(other),
        }
    }
}

/// One connection of a session.
struct Connection {
    writer: LinkWriter,
    reading: Reading,
}

/// Relays until one side ends; the error says which and why. After a loss it goes on with what `redial` finds, if this is
/// the initiator's side, or with what the peer brings. The caller still has to drop the registration.
pub async fn run(
    mut node: TcpStream,
    stream: LinkStream,
    link: &Registered,
    gossip: &Gossip,
    flows: Flows,
    patience: &Patience,
    redial: &Redial<'_>,
) -> Error {
    let (session, writer, reading) = stream.part();
    let resumable = session.is_resumable() && !patience.resume.is_zero();
    let live = link.start(session);
    let shared = Shared {
        link,
        live,
        gossip,
        resumable,
        stop: CancellationToken::new(),
        at_border: AtomicBool::new(true),
        to_node: &flows.to_node,
        to_peer: &flows.to_peer,
    };
    // They go on with the session, whatever connection carries it.
    let mut sending = Sending {
        window: Window::new(patience.window),
        passage: Passage::new(flows.sent, "the local node"),
    };
    let mut receiving = Receiving::new(Passage::new(flows.received, "the peer"));
    let mut connection = Some(Connection { writer, reading });
    let end = loop {
        let Some(carrier) = &mut connection else {
            break Error::Internal("a link without a connection".to_owned());
        };
        gossip.greet(link);
        shared.at_border.store(true, Relaxed);
        let lost = match carry(&mut node, carrier, &mut sending, &mut receiving, &shared).await {
            Stop::Over(end) => break end,
            Stop::Lost(error) => error,
        };
        if !live.lost() || !resumable {
            break Error::LinkLost(lost);
        }
        // Whoever is at the other end of it need not wait to find out.
        connection = None;
        match recover(&node, link, lost, patience, redial).await {
            Ok((stream, offset)) if sending.window.rewind(offset) => {
                let (_, writer, reading) = stream.part();
                connection = Some(Connection { writer, reading });
                link.recovered(Ok(()));
            }
            Ok((_, offset)) => {
                let what = format!("offset {offset} is not kept any more");
                break Error::Internal(what);
            }
            Err(end) => {
                link.recovered(Err(&end));
                break end;
            }
        }
    };
    finish(node, connection, link, &shared, &end).await;
    end
}

/// What comes after the end: silence where it is due, and the last word.
async fn finish(
    mut node: TcpStream,
    connection: Option<Connection>,
    link: &Registered,
    shared: &Shared<'_>,
    end: &Error,
) {
    link.quieted();
    shared.live.over();
    let Some(mut carrier) = connection else {
        if let Some(silence) = link.silence() {
            let _ =
                tokio::time::timeout(silence, discard(&mut node, &mut tokio::io::empty())).await;
        }
        return;
    };
    let half = &mut carrier.reading.half;
    if let Some(silence) = link.silence() {
        let _ = tokio::time::timeout(silence, discard(&mut node, half)).await;
    }
    // What is half out stays so if nothing may pass any more: the last word is lost then.
    let at_border = shared.at_border.load(Relaxed);
    if at_border && !matches!(end, Error::Closed(_) | Error::LinkLost(_)) {
        let last = async {
            carrier.writer.write_all(&end.to_close().encode()).await?;
            carrier.writer.shutdown().await?;
            // The node here need not wait for what follows.
            drop(node);
            wire::linger(half).await
        };
        let _: Result<io::Result<()>, _> = tokio::time::timeout(LAST_WORD, last).await;
    }
}

/// Relays over one connection until it is lost or the session is over.
async fn carry(
    node: &mut TcpStream,
    connection: &mut Connection,
    sending: &mut Sending,
    receiving: &mut Receiving,
    shared: &Shared<'_>,
) -> Stop {
    let Connection { writer, reading } = connection;
    let (node_reader, node_writer) = node.split();
    let lost = CancellationToken::new();
    // One task for both directions: they share the TLS state, and a link is mostly one-way at a time.
    let mut up = Box::pin(to_link(node_reader, writer, sending, shared));
    let mut down = Box::pin(to_node(reading, node_writer, receiving, shared, &lost));
    let given_up = || Stop::Lost(io::Error::new(io::ErrorKind::TimedOut, "it leads nowhere"));
    let (stop, sends, receives) = tokio::select! {
        biased;
        // First: what is cut must not get another byte through.
        close = shared.link.ended() => (Stop::Over(Error::Ended(close)), true, true),
        () = shared.live.gives_up() => (given_up(), true, true),
        stopped = async {
            // In any order: one that is always ready would use up the turns of the task and keep the other back for ever.
            tokio::select! {
                stop = &mut up => (stop, false, true),
                stop = &mut down => (stop, true, false),
            }
        } => stopped,
    };
    match &stop {
        Stop::Lost(_) if receives => {
            // What has come is the node's: it is kept if the node does not take it now. That needs no waiting.
            lost.cancel();
            down.await;
        }
        Stop::Over(_) if sends && shared.link.silence().is_none() => {
            // A frame that is half out must go out whole, or the last word would be taken for its rest.
            shared.stop.cancel();
            let _ = tokio::time::timeout(LAST_WORD, &mut up).await;
        }
        _ => {}
    }
    stop
}

/// Waits for another connection, and the offset that the peer wants. The error ends the link.
async fn recover(
    node: &TcpStream,
    link: &Registered,
    lost: io::Error,
    patience: &Patience,
    redial: &Redial<'_>,
) -> Result<(Box<LinkStream>, u64), Error> {
    let (local, peer) = link.names();
    let Some(live) = link.live() else {
        return Err(Error::LinkLost(lost));
    };
    tracing::warn!(link = link.id, %local, %peer, direction = link.direction.label(), "connection lost, looking for another: {lost}");
    link.adrift();
    let since = std::time::Instant::now();
    let limit = match lost.kind() {
        io::ErrorKind::UnexpectedEof => patience.resume.min(HUNG_UP),
        _ => patience.resume,
    };
    let another = async {
        match link.direction {
            Direction::Outbound => redial().await,
            Direction::Inbound => live.rescued().await,
        }
    };
    let found = tokio::select! {
        biased;
        close = link.ended() => return Err(Error::Ended(close)),
        found = another => found?,
        () = gone(node) => return Err(Error::NodeLeft),
        () = tokio::time::sleep(limit) => return Err(Error::LinkLost(lost)),
    };
    tracing::info!(link = link.id, %local, %peer, direction = link.direction.label(), after = ?since.elapsed(), "connection found again, nothing was lost");
    Ok(found)
}

/// Returns once the node has hung up.
async fn gone(node: &TcpStream) {
    loop {
        match node.ready(Interest::READABLE).await {
            Ok(ready) if !ready.is_read_closed() => {}
            _ => return,
        }
        tokio::time::sleep(LOOK).await;
    }
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

#[cfg(test)]
mod tests;
