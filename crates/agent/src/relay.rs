//! Once both nodes are proven: bytes between a node of this host and a link, both ways, until one
//! side ends. Every message is judged on its way, and held only until it is; see `passage`.
//!
//! Ticks pass through like anything else. None is ever made up here: a peer that is dead must look
//! dead.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use skans_link::{DATA_HEADER, Decoder, Frame, Piece};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio_util::sync::CancellationToken;

use crate::Error;
use crate::enforce::{Answers, Flows};
use crate::gossip::Gossip;
use crate::live::Live;
use crate::passage::Passage;
use crate::registry::Registered;
use crate::wire::{self, LAST_WORD, LinkStream, LinkWriter, Reading, TLS_LIMIT};

/// What a link starts with, in bytes for each direction: enough for a quiet one.
const BUFFER_LEAST: usize = 8 * 1024;
/// What it grows to when reads fill it. Beyond 128 KiB a read no longer gets cheaper per byte. A
/// frame of this size, header included, fills eight TLS records to the last byte.
const BUFFER_MOST: usize = TLS_LIMIT;

/// How long bytes of a node that has left wait for a peer that reads nothing. Its kernel may keep such
/// a link for a quarter of an hour, or for ever.
const LEFT_BEHIND: Duration = Duration::from_secs(10);

/// State that both directions of a link share.
struct Shared<'a> {
    link: &'a Registered,
    live: &'a Live,
    gossip: &'a Gossip,
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
    /// Takes note of bytes that go to the peer; the offset of the first.
    fn sent(&self, count: usize) -> u64 {
        let mut session = self.live.session();
        let offset = session.send(count);
        self.link
            .unacknowledged
            .store(session.unacknowledged(), Relaxed);
        offset
    }

    /// Sends bytes of the stream that were made here.
    async fn send(&self, link: &mut LinkWriter, bytes: &[u8]) -> io::Result<()> {
        for part in bytes.chunks(TLS_LIMIT - DATA_HEADER) {
            let mut frame = skans_link::data_header(self.sent(part.len()), part.len()).to_vec();
            frame.extend_from_slice(part);
            self.write(link, &frame).await?;
        }
        Ok(())
    }

    /// Sends whole frames.
    async fn write(&self, link: &mut LinkWriter, frames: &[u8]) -> io::Result<()> {
        self.at_border.store(false, Relaxed);
        link.write_all(frames).await?;
        link.flush().await?;
        self.at_border.store(true, Relaxed);
        Ok(())
    }
}

/// Relays until one side ends; the error says which and why. The caller still has to drop the
/// registration.
pub async fn run(
    mut node: TcpStream,
    stream: LinkStream,
    link: &Registered,
    gossip: &Gossip,
    flows: Flows,
) -> Error {
    let (session, mut link_writer, mut reading) = stream.part();
    let live = link.start(session);
    gossip.greet(link);
    let shared = Shared {
        link,
        live,
        gossip,
        stop: CancellationToken::new(),
        at_border: AtomicBool::new(true),
        to_node: &flows.to_node,
        to_peer: &flows.to_peer,
    };
    // They go on with the session, whatever connection carries it.
    let sent = Passage::new(flows.sent, "the local node");
    let mut received = Passage::new(flows.received, "the peer");
    let (node_reader, node_writer) = node.split();
    // One task for both directions: they share the TLS state, and a link is mostly one-way at a time.
    let mut up = Box::pin(to_link(node_reader, &mut link_writer, sent, &shared));
    let (end, sending) = tokio::select! {
        biased;
        // First: what is cut must not get another byte through.
        close = link.ended() => (Error::Ended(close), true),
        end = &mut up => (end, false),
        end = to_node(&mut reading, node_writer, &mut received, &shared) => (end, true),
    };
    let silence = link.silence();
    if sending && silence.is_none() {
        // A frame that is half out must go out whole, or the last word would be taken for its rest.
        shared.stop.cancel();
        let _ = tokio::time::timeout(LAST_WORD, &mut up).await;
    }
    drop(up);
    link.quieted();
    live.over();
    if let Some(silence) = silence {
        let _ = tokio::time::timeout(silence, discard(&mut node, &mut reading.half)).await;
    }
    // What is half out stays so if nothing may pass any more: the last word is lost then.
    let at_border = shared.at_border.load(Relaxed);
    if at_border && !matches!(end, Error::Closed(_) | Error::LinkLost(_)) {
        let last = async {
            link_writer.write_all(&end.to_close().encode()).await?;
            link_writer.shutdown().await?;
            // The node here need not wait for what follows.
            drop(node);
            wire::linger(&mut reading.half).await
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
async fn to_link(
    mut node: ReadHalf<'_>,
    link: &mut LinkWriter,
    mut passage: Passage,
    shared: &Shared<'_>,
) -> Error {
    // The header of a DATA frame goes in front of the bytes, so that both are one write.
    let mut buffer = vec![0; BUFFER_LEAST];
    // Bytes behind the header that are not decided yet.
    let mut held = 0;
    // Made once: they enter a list and leave it, which a message need not wait for.
    let mut rung = pin!(shared.live.rung());
    let mut answered = pin!(shared.to_peer.rung());
    let mut stop = pin!(shared.stop.cancelled());
    loop {
        let (header, room) = buffer.split_at_mut(DATA_HEADER);
        let free = room.get_mut(held..).unwrap_or_default();
        let count = tokio::select! {
            biased;
            // First, or a busy node would keep acknowledgements back for ever.
            () = &mut rung => {
                rung.set(shared.live.rung());
                if let Err(error) = attend(link, shared).await {
                    return Error::LinkLost(error);
                }
                continue;
            }
            () = &mut answered => {
                answered.set(shared.to_peer.rung());
                if let Err(error) = tell_peer(link, &passage, shared).await {
                    return Error::LinkLost(error);
                }
                continue;
            }
            () = &mut stop => return Error::NodeLeft,
            read = node.read(free) => match read {
                Ok(0) | Err(_) => return Error::NodeLeft,
                Ok(count) => count,
            },
        };
        let full = count == free.len();
        let filled = held + count;
        passage.flow().came(count);
        let input = room.get(..filled).unwrap_or_default();
        let decided = match passage.feed(input) {
            Ok(decided) => decided,
            Err(error) => return error,
        };
        let edited = passage.edited(room.get(..decided).unwrap_or_default());
        let frame = if edited.is_none() && decided > 0 {
            let offset = shared.sent(decided);
            header.copy_from_slice(&skans_link::data_header(offset, decided));
            buffer.get(..DATA_HEADER + decided).unwrap_or_default()
        } else {
            &[]
        };
        let send = async {
            match &edited {
                Some(bytes) => shared.send(link, bytes).await,
                None if frame.is_empty() => Ok(()),
                None => shared.write(link, frame).await,
            }
        };
        let sent = tokio::select! {
            biased;
            sent = send => sent,
            () = abandoned(&node) => Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the local node has left, and the peer takes nothing more of what it said",
            )),
        };
        if let Err(error) = sent {
            return Error::LinkLost(error);
        }
        held = filled - decided;
        buffer.copy_within(DATA_HEADER + decided..DATA_HEADER + filled, DATA_HEADER);
        if let Err(error) = tell_peer(link, &passage, shared).await {
            return Error::LinkLost(error);
        }
        // What is held for a decision must not leave a read without room.
        if (full && buffer.len() < BUFFER_MOST) || buffer.len() - held < BUFFER_LEAST {
            let most = BUFFER_MOST.max(held + 2 * BUFFER_LEAST);
            buffer.resize((buffer.len() * 2).min(most).max(buffer.len()), 0);
        }
    }
}

/// Answers to what the peer was refused go out between two messages of the node.
async fn tell_peer(
    link: &mut LinkWriter,
    passage: &Passage,
    shared: &Shared<'_>,
) -> io::Result<()> {
    if passage.is_between_frames()
        && let Some(frames) = shared.to_peer.take()
    {
        shared.send(link, &frames).await?;
    }
    Ok(())
}

/// What is done between two frames: answers go out, and the stream moves to a fresh connection.
async fn attend(link: &mut LinkWriter, shared: &Shared<'_>) -> io::Result<()> {
    let frames = shared.live.collect();
    if !frames.is_empty() {
        shared.write(link, &frames).await?;
    }
    if let Some((moved, fresh)) = shared.live.depart() {
        shared.write(link, &moved.encode()).await?;
        // All that was written has been handed to the kernel, and nothing follows: the old connection closes when its
        // other half is read to the end.
        *link = fresh;
    }
    Ok(())
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
async fn to_node(
    link: &mut Reading,
    mut node: WriteHalf<'_>,
    passage: &mut Passage,
    shared: &Shared<'_>,
) -> Error {
    loop {
        let end = read_out(link, &mut node, passage, shared).await;
        let moved = match end {
            Err(end) => return end,
            Ok(()) => shared.live.next().await,
        };
        match moved {
            Ok(fresh) => *link = fresh,
            Err(end) => return end,
        }
        shared.link.adopt();
    }
}

/// Reads one connection up to the peer's MOVED.
async fn read_out(
    link: &mut Reading,
    node: &mut WriteHalf<'_>,
    passage: &mut Passage,
    shared: &Shared<'_>,
) -> Result<(), Error> {
    let Reading {
        half,
        decoder,
        pending,
    } = link;
    let pending = std::mem::take(pending);
    if deliver(&pending, node, decoder, passage, shared).await? {
        return Ok(());
    }
    drop(pending);
    let mut buffer = vec![0; BUFFER_LEAST];
    let mut answered = pin!(shared.to_node.rung());
    loop {
        let read = tokio::select! {
            biased;
            () = &mut answered => {
                answered.set(shared.to_node.rung());
                // Nothing came, so that nothing but the answers goes on.
                deliver(&[], node, decoder, passage, shared).await?;
                continue;
            }
            read = poll_fn(|context| wire::poll_fill(half, context, &mut buffer)) => read,
        };
        let count = match read {
            Ok(0) => return Err(Error::LinkLost(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) => return Err(Error::LinkLost(error)),
        };
        let input = buffer.get(..count).unwrap_or_default();
        if deliver(input, node, decoder, passage, shared).await? {
            return Ok(());
        }
        let pause = passage.flow().pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if count == buffer.len() && count < BUFFER_MOST {
            buffer.resize((count * 2).min(BUFFER_MOST), 0);
        }
    }
}

/// Hands what came from the link to the node, in one write whatever number of frames it came in. Says whether it was
/// the last of its connection.
async fn deliver(
    input: &[u8],
    node: &mut WriteHalf<'_>,
    decoder: &mut Decoder,
    passage: &mut Passage,
    shared: &Shared<'_>,
) -> Result<bool, Error> {
    let mut bytes = Vec::new();
    let end = accept(input, &mut bytes, decoder, passage, shared);
    if passage.is_between_frames()
        && let Some(answers) = shared.to_node.take()
    {
        bytes.push(Cow::Owned(answers));
    }
    // What came before the end belongs to the node.
    let some = bytes.iter().filter(|bytes| !bytes.is_empty());
    let mut parts: Vec<_> = some.map(|bytes| IoSlice::new(bytes)).collect();
    let mut parts = parts.as_mut_slice();
    while !parts.is_empty() {
        match node.write_vectored(parts).await {
            Ok(count @ 1..) => IoSlice::advance_slices(&mut parts, count),
            Ok(0) | Err(_) => return Err(Error::NodeLeft),
        }
    }
    end
}

/// Checks what came from the link, acts on control frames, and puts what is for the node in `parts`. Says whether the
/// stream goes on with another connection.
fn accept<'a>(
    mut input: &'a [u8],
    parts: &mut Vec<Cow<'a, [u8]>>,
    decoder: &mut Decoder,
    passage: &mut Passage,
    shared: &Shared<'_>,
) -> Result<bool, Error> {
    let live = shared.live;
    while let Some(piece) = decoder.next(&mut input)? {
        match piece {
            Piece::DataStart { offset, length } => {
                let due = {
                    let mut session = live.session();
                    session.on_data(offset, length)?;
                    session.ack_due()
                };
                if let Some(offset) = due {
                    live.send(&skans_link::ack(offset));
                }
            }
            Piece::Data(bytes) => {
                passage.flow().came(bytes.len());
                passage.pass(bytes, parts)?;
            }
            Piece::Frame(frame) => {
                live.session().on_frame(&frame)?;
                match frame {
                    Frame::Ping(number) => live.send(&skans_link::pong(number)),
                    Frame::Close(close) => return Err(Error::Closed(close)),
                    Frame::Moved(_) if input.is_empty() => return Ok(true),
                    Frame::Moved(moved) => {
                        return Err(Error::Link(skans_link::Error::BadMove {
                            offset: moved.offset,
                            takeover: moved.takeover,
                            why: "wanted nothing behind it",
                        }));
                    }
                    Frame::Head(_) | Frame::Want(_) | Frame::Deny(_) => {
                        live.hear(&frame)?;
                        shared.gossip.hear(shared.link.link(), frame);
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
