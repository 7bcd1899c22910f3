//! Once both ends are proven: bytes between a node of this host, or a client or service, and a link, both ways, until one
//! side ends. Of nodes every message is judged on its way, and held only until it is; see `passage`. What goes to the peer is in
//! `relay/outgoing`, what comes from it in `relay/incoming`; here it is decided what becomes of the link when one of
//! them stops.
//!
//! Ticks pass through like anything else. None is ever made up here: a peer that is dead must look
//! dead.

mod crossing;
mod frozen;
mod incoming;
mod outgoing;
mod way;

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use skans_handover::Message;
use skans_link::{DATA_HEADER, Window};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::ReadHalf;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::brake::{Brake, Collector, Piece};
use crate::enforce::{Answers, Flows};
use crate::gossip::Gossip;
use crate::live::Live;
use crate::passage::Passage;
use crate::pulse::Patience;
use crate::registry::{Direction, Registered};
use crate::wire::{self, LAST_WORD, LinkStream, LinkWriter, Reading, TLS_LIMIT};

pub use frozen::State;
use incoming::{Receiving, to_node};
use outgoing::{Sending, to_link};
use way::Way;

/// Where what comes from the peer is read to while a link rests, in bytes: enough for ticks.
const BUFFER_AT_REST: usize = 64;
/// What is read from the peer at once to begin with, in bytes: enough for a quiet link.
const BUFFER_LEAST: usize = 2 * 1024;
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
    /// It carries a service: each direction ends for itself, and what is cut short must not look like an end.
    service: bool,
    /// The sending side is to return at the next border between frames.
    stop: CancellationToken,
    /// All that was sent went out whole: CLOSE may follow.
    at_border: AtomicBool,
    /// Answers to what the node of this host sent and was refused.
    to_node: &'a Answers,
    /// Answers to what the peer sent and was refused.
    to_peer: &'a Answers,
}

impl Shared<'_> {
    /// Whether another process may go on with it. Connections to services, and those whose names are changed here, end with their agent.
    fn may_move(&self) -> bool {
        !self.service && self.link.across.is_none()
    }

    /// The process of this host has hung up.
    const fn left(&self) -> Error {
        if self.service {
            Error::Reset
        } else {
            Error::NodeLeft
        }
    }

    /// Whether nothing is left to be said in either direction.
    fn is_over(&self) -> bool {
        self.service && self.live.session().is_over()
    }
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

/// What is about a link.
pub struct Around<'a> {
    /// What is handed on over it.
    pub gossip: &'a Gossip,
    /// How much time it has.
    pub patience: &'a Patience,
    /// Another process may want it.
    pub brake: &'a Brake,
    /// Looks for another connection, if this is the initiator's side.
    pub redial: &'a Redial<'a>,
}

/// A link from the moment at which bytes may flow. It goes on with its session, whatever connection carries it.
pub struct Course {
    node: TcpStream,
    /// Not in here: it would be part of every future that a course is handed through.
    state: Box<State>,
    connection: Option<Connection>,
}

impl Course {
    /// Of a link that both nodes are proven on. It is live from here on.
    pub fn begin(
        node: TcpStream,
        stream: LinkStream,
        link: &Registered,
        flows: Option<Flows>,
        patience: &Patience,
    ) -> Self {
        let (session, writer, reading) = stream.part();
        let outlives = session.is_resumable() && !patience.resume.is_zero();
        link.start(session, outlives, Handle::current());
        Self {
            node,
            state: Box::new(State::new(flows, link, patience)),
            connection: Some(Connection { writer, reading }),
        }
    }

    /// Of a link that another process has had so far, which is live and has no connection.
    pub fn thawed(node: TcpStream, state: State) -> Self {
        Self {
            node,
            state: Box::new(state),
            connection: None,
        }
    }

    /// Relays until one side ends; the error says which and why. `None` if another process goes on with it. After a loss it
    /// goes on with what is found by dialling, or with what the peer brings. The caller still has to drop the registration.
    pub async fn run(self, link: &Registered, around: &Around<'_>) -> Option<Error> {
        let Self {
            mut node,
            state,
            mut connection,
        } = self;
        let Some(live) = link.live() else {
            return Some(Error::Internal("a link that is not up".to_owned()));
        };
        let State {
            mut sending,
            mut receiving,
            to_node,
            to_peer,
        } = *state;
        let shared = Shared {
            link,
            live,
            gossip: around.gossip,
            resumable: live.outlives,
            service: live.session().is_of_service(),
            stop: CancellationToken::new(),
            at_border: AtomicBool::new(true),
            to_node: &to_node,
            to_peer: &to_peer,
        };
        let end = loop {
            let lost = match &mut connection {
                Some(carrier) => {
                    around.gossip.greet(link);
                    shared.at_border.store(true, Relaxed);
                    // The other side's greeting may have said that it has all.
                    if shared.is_over() {
                        break Error::Done;
                    }
                    let stop = carry(&mut node, carrier, &mut sending, &mut receiving, &shared);
                    match stop.await {
                        Stop::Over(end) => break end,
                        Stop::Lost(error) => error,
                    }
                }
                None => io::Error::new(io::ErrorKind::Interrupted, "its agent was replaced"),
            };
            if connection.is_some() && (!live.lost() || !live.outlives) {
                break Error::LinkLost(lost);
            }
            let collector = around.brake.collector().filter(|_| shared.may_move());
            if let Some(collector) = collector {
                // A peer that has brought another meanwhile brings one more.
                live.lost();
                let shared = (&sending, &receiving, &shared);
                hand_in(&collector, &node, link, shared);
                // Until then the connection stands, or the other agent would not wait as long as this may take.
                if around.brake.settled().await {
                    return None;
                }
                connection = None;
                continue;
            }
            // Whoever is at the other end of it need not wait to find out.
            connection = None;
            // Rare, and not a part of the future of every link.
            match Box::pin(recover(&node, link, lost, around, &shared)).await {
                Ok(None) => {}
                Ok(Some((stream, offset))) if sending.window.rewind(offset) => {
                    let (_, writer, reading) = stream.part();
                    connection = Some(Connection { writer, reading });
                    link.recovered(Ok(()));
                }
                Ok(Some((_, offset))) => {
                    let what = format!("offset {offset} is not kept any more");
                    break Error::Internal(what);
                }
                Err(end) => {
                    link.recovered(Err(&end));
                    break end;
                }
            }
        };
        Box::pin(finish(node, connection, link, &shared, &end)).await;
        Some(end)
    }
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
    if shared.service && !matches!(end, Error::Done) {
        // Else what was cut short would look like an end. On a Unix socket there is no such thing, and this changes nothing.
        let _ = rustix::net::sockopt::set_socket_linger(&node, Some(Duration::ZERO));
    }
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

/// Waits for another connection, and the offset that the peer wants; `None` if another process wants the link. The error ends
/// it.
async fn recover(
    node: &TcpStream,
    link: &Registered,
    lost: io::Error,
    around: &Around<'_>,
    shared: &Shared<'_>,
) -> Result<Option<(Box<LinkStream>, u64)>, Error> {
    let (local, peer) = link.names();
    let Some(live) = link.live() else {
        return Err(Error::LinkLost(lost));
    };
    let resume = around.patience.resume;
    let replaced = lost.kind() == io::ErrorKind::Interrupted;
    if replaced {
        tracing::debug!(link = link.id, %local, %peer, direction = link.direction.label(), "looking for a connection: {lost}");
    } else {
        tracing::warn!(link = link.id, %local, %peer, direction = link.direction.label(), "connection lost, looking for another: {lost}");
    }
    let since = std::time::Instant::now();
    let limit = match lost.kind() {
        io::ErrorKind::UnexpectedEof => resume.min(HUNG_UP),
        _ => resume,
    };
    let limit = limit.saturating_sub(link.adrift());
    let another = async {
        match link.direction {
            Direction::Outbound => (around.redial)().await,
            Direction::Inbound => live.rescued().await,
        }
    };
    let found = tokio::select! {
        biased;
        close = link.ended() => return Err(Error::Ended(close)),
        () = around.brake.pulled() => return Ok(None),
        found = another => found?,
        () = gone(node, shared) => return Err(shared.left()),
        () = tokio::time::sleep(limit) => return Err(Error::LinkLost(lost)),
    };
    let after = since.elapsed();
    if replaced {
        tracing::debug!(link = link.id, %local, %peer, direction = link.direction.label(), ?after, "connection found");
    } else {
        tracing::info!(link = link.id, %local, %peer, direction = link.direction.label(), ?after, "connection found again, nothing was lost");
    }
    Ok(Some(found))
}

/// Hands in all that another process has to know. If it cannot, whoever waits for it gives up.
fn hand_in(
    collector: &Collector,
    node: &TcpStream,
    link: &Registered,
    (sending, receiving, shared): (&Sending, &Receiving, &Shared<'_>),
) {
    let frozen = frozen::freeze(sending, receiving, shared);
    let piece = frozen.and_then(|parts| {
        let socket = node.as_fd().try_clone_to_owned();
        let socket = socket
            .map_err(|error| Error::Internal(format!("cannot hand over a socket: {error}")))?;
        let told = crate::handover::link::tell(link);
        Ok(Piece {
            message: Message::Link(Box::new(told), parts),
            sockets: vec![socket],
        })
    });
    match piece {
        Ok(piece) => {
            // Nobody collects any more: it goes on here.
            let _ = collector.send(piece);
        }
        Err(error) => tracing::warn!(link = link.id, "not handed over: {error}"),
    }
}

/// Returns once the node has hung up. Clients and services may end one direction and wait for the other.
async fn gone(node: &TcpStream, shared: &Shared<'_>) {
    let interest = if shared.service {
        Interest::WRITABLE
    } else {
        Interest::READABLE
    };
    while let Ok(ready) = node.ready(interest).await {
        let left = if shared.service {
            // Who has all, and has said all, closes: what it said has still to arrive.
            ready.is_write_closed() && !shared.live.session().has_ended()
        } else {
            ready.is_read_closed()
        };
        if left {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Keeps both ends connected and lets nothing through, until one of them hangs up.
async fn discard<R: tokio::io::AsyncRead + Unpin>(node: &mut TcpStream, link: &mut R) {
    // Rare, and not a part of the future of every link.
    let (mut from_node, mut from_link) = (vec![0; 4096], vec![0; 4096]);
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
async fn abandoned(node: &ReadHalf<'_>, shared: &Shared<'_>) {
    if shared.service {
        // A client may have said all, and wait for a service that is slow. It is gone once it takes nothing any more.
        loop {
            tokio::time::sleep(LEFT_BEHIND).await;
            let waits = !shared.live.session().has_ended();
            match node.ready(Interest::WRITABLE).await {
                Ok(ready) if !(waits && ready.is_write_closed()) => {}
                _ => return,
            }
        }
    }
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
