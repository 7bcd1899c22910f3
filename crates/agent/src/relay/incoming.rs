//! From the peer to the node of this host: cut into frames, judged, delivered.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;

use skans_link::{Decoder, Frame, Piece};
use tokio::net::tcp::WriteHalf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{
    AsyncWriteExt, BUFFER_LEAST, BUFFER_MOST, Error, Passage, Reading, Shared, Stop, wire,
};

/// What goes on with the session, whatever connection carries it.
pub struct Receiving {
    passage: Passage,
    /// What the node had not taken when the connection before was given up.
    backlog: Vec<u8>,
}

impl Receiving {
    pub const fn new(passage: Passage) -> Self {
        Self {
            passage,
            backlog: Vec::new(),
        }
    }
}

/// Relays until the connection is lost or the session is over. Returns soon after `lost`, and never drops what has come
/// whole: the peer was told that it need not send it again.
pub async fn to_node(
    link: &mut Reading,
    mut node: WriteHalf<'_>,
    receiving: &mut Receiving,
    shared: &Shared<'_>,
    lost: &CancellationToken,
) -> Stop {
    let mut lost = pin!(lost.cancelled());
    let mut backlog = std::mem::take(&mut receiving.backlog);
    while !backlog.is_empty() {
        let wrote = tokio::select! {
            biased;
            wrote = node.write(&backlog) => wrote,
            () = &mut lost => {
                receiving.backlog = backlog;
                return Stop::Lost(io::ErrorKind::Interrupted.into());
            }
        };
        match wrote {
            Ok(count @ 1..) => drop(backlog.drain(..count)),
            Ok(0) | Err(_) => return Stop::Over(Error::NodeLeft),
        }
    }
    loop {
        let next = async {
            read_out(link, &mut node, receiving, shared, lost.as_mut()).await?;
            tokio::select! {
                biased;
                fresh = shared.live.next() => Ok(fresh?),
                () = &mut lost => Err(Stop::Lost(io::ErrorKind::Interrupted.into())),
            }
        };
        match next.await {
            Ok(fresh) => *link = fresh,
            // The connection that MOVED speaks of was lost before it was used.
            Err(Stop::Over(Error::TimedOut(what))) if shared.resumable => {
                return Stop::Lost(io::Error::new(io::ErrorKind::TimedOut, what));
            }
            Err(stop) => return stop,
        }
        shared.link.adopt();
    }
}

/// Reads one connection up to the peer's MOVED.
async fn read_out(
    link: &mut Reading,
    node: &mut WriteHalf<'_>,
    receiving: &mut Receiving,
    shared: &Shared<'_>,
    mut lost: Pin<&mut WaitForCancellationFuture<'_>>,
) -> Result<(), Stop> {
    let Reading {
        half,
        decoder,
        pending,
        path,
    } = link;
    shared.live.reads_from(*path);
    let pending = std::mem::take(pending);
    if deliver(&pending, node, decoder, receiving, shared, lost.as_mut()).await? {
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
                deliver(&[], node, decoder, receiving, shared, lost.as_mut()).await?;
                continue;
            }
            read = poll_fn(|context| wire::poll_fill(half, context, &mut buffer)) => read,
            () = &mut lost => return Err(Stop::Lost(io::ErrorKind::Interrupted.into())),
        };
        let count = match read {
            Ok(0) => return Err(Stop::Lost(io::ErrorKind::UnexpectedEof.into())),
            Ok(count) => count,
            Err(error) => return Err(Stop::Lost(error)),
        };
        shared.live.heard.store(true, Relaxed);
        let input = buffer.get(..count).unwrap_or_default();
        if deliver(input, node, decoder, receiving, shared, lost.as_mut()).await? {
            return Ok(());
        }
        let pause = receiving.passage.flow().pause();
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
    receiving: &mut Receiving,
    shared: &Shared<'_>,
    mut lost: Pin<&mut WaitForCancellationFuture<'_>>,
) -> Result<bool, Stop> {
    let Receiving { passage, backlog } = receiving;
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
        let written = match node.try_write_vectored(parts) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => tokio::select! {
                biased;
                written = node.write_vectored(parts) => written,
                () = &mut lost => {
                    for part in &*parts {
                        backlog.extend_from_slice(part);
                    }
                    // What was wrong with it comes first: it is not gone by another connection.
                    end?;
                    return Err(Stop::Lost(io::ErrorKind::Interrupted.into()));
                }
            },
            written => written,
        };
        match written {
            Ok(count @ 1..) => IoSlice::advance_slices(&mut parts, count),
            Ok(0) | Err(_) => return Err(Stop::Over(Error::NodeLeft)),
        }
    }
    Ok(end?)
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
            Piece::DataStart { offset, .. } => live.session().on_data(offset)?,
            Piece::Data(bytes) => {
                let due = {
                    let mut session = live.session();
                    session.on_bytes(bytes.len());
                    session.ack_due()
                };
                if let Some(offset) = due {
                    live.send(&skans_link::ack(offset));
                }
                passage.flow().came(bytes.len());
                passage.pass(bytes, parts)?;
            }
            Piece::Frame(frame) => {
                live.session().on_frame(&frame)?;
                match frame {
                    Frame::Ack(_) => live.acknowledge(),
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
