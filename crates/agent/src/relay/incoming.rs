//! From the peer to the node of this host: cut into frames, judged, delivered.

use std::borrow::Cow;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll, ready};

use skans_link::{Decoder, Frame, Piece};
use tokio::io::AsyncRead;
use tokio::net::tcp::WriteHalf;
use tokio_util::sync::{CancellationToken, WaitForCancellationFuture};

use super::{
    AsyncWriteExt, BUFFER_AT_REST, BUFFER_LEAST, BUFFER_MOST, Error, Reading, Shared, Stop, Way,
    wire,
};

/// What goes on with the session, whatever connection carries it.
pub struct Receiving {
    pub(super) passage: Way,
    /// What the node had not taken when the connection before was given up.
    pub(super) backlog: Vec<u8>,
}

impl Receiving {
    pub const fn new(passage: Way, backlog: Vec<u8>) -> Self {
        Self { passage, backlog }
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
            Ok(0) | Err(_) => return Stop::Over(shared.left()),
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
        // In this order: a takeover that begins in between would have its connection taken for this one.
        shared.link.adopt();
        shared.live.session().settle();
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
        rests,
    } = link;
    shared.live.reads_from(*path);
    let pending = std::mem::take(pending);
    if deliver(&pending, node, decoder, receiving, shared, lost.as_mut()).await? {
        return Ok(());
    }
    drop(pending);
    let mut buffer = vec![0; BUFFER_AT_REST];
    let mut answered = pin!(shared.to_node.rung());
    let mut rested = pin!(shared.live.rested());
    loop {
        let read = tokio::select! {
            biased;
            () = &mut answered => {
                answered.set(shared.to_node.rung());
                // Nothing came, so that nothing but the answers goes on.
                deliver(&[], node, decoder, receiving, shared, lost.as_mut()).await?;
                continue;
            }
            read = poll_fn(|context| poll_read(half, context, &mut buffer)) => read,
            () = &mut lost => return Err(Stop::Lost(io::ErrorKind::Interrupted.into())),
            // Last: whoever has something to read does not rest.
            () = &mut rested => {
                rested.set(shared.live.rested());
                rests.rest();
                receiving.passage.rest();
                if buffer.len() > BUFFER_AT_REST {
                    buffer = vec![0; BUFFER_AT_REST];
                }
                continue;
            }
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
        let pause = receiving.passage.pause();
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        if count == buffer.len() && count < BUFFER_MOST {
            buffer.resize((count * 2).min(BUFFER_MOST), 0);
        }
    }
}

/// Reads into the whole of the buffer; into a larger one if that of a link at rest does not take what has come.
fn poll_read<R: AsyncRead + Unpin>(
    half: &mut R,
    context: &mut Context<'_>,
    buffer: &mut Vec<u8>,
) -> Poll<io::Result<usize>> {
    let count = ready!(wire::poll_fill(half, context, buffer))?;
    if count < buffer.len() || count >= BUFFER_LEAST {
        return Poll::Ready(Ok(count));
    }
    buffer.resize(BUFFER_LEAST, 0);
    let rest = buffer.get_mut(count..).unwrap_or_default();
    Poll::Ready(Ok(match wire::poll_fill(half, context, rest) {
        Poll::Ready(Ok(more)) => count + more,
        // An end or an error comes again.
        Poll::Ready(Err(_)) | Poll::Pending => count,
    }))
}

/// Hands what came from the link to the node, in one write whatever number of frames it came in. Says whether it was
/// the last of its connection.
async fn deliver(
    mut input: &[u8],
    node: &mut WriteHalf<'_>,
    decoder: &mut Decoder,
    receiving: &mut Receiving,
    shared: &Shared<'_>,
    mut lost: Pin<&mut WaitForCancellationFuture<'_>>,
) -> Result<bool, Stop> {
    let Receiving { passage, backlog } = receiving;
    loop {
        let mut bytes = Vec::new();
        let end = accept(&mut input, &mut bytes, decoder, passage, shared);
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
                Ok(0) | Err(_) => return Err(Stop::Over(shared.left())),
            }
        }
        match end? {
            Accepted::All => return Ok(false),
            Accepted::Moved => return Ok(true),
            Accepted::End => end_of_stream(node, shared).await?,
            Accepted::Acknowledged if shared.is_over() => return Err(Stop::Over(Error::Done)),
            Accepted::Acknowledged => {}
        }
    }
}

/// The peer's direction has ended, and all of it was taken: so does ours towards the client or service.
async fn end_of_stream(node: &mut WriteHalf<'_>, shared: &Shared<'_>) -> Result<(), Stop> {
    if node.shutdown().await.is_err() {
        return Err(Stop::Over(shared.left()));
    }
    let acknowledged = {
        let mut session = shared.live.session();
        session.took_end();
        session.ack_now()
    };
    if let Some(offset) = acknowledged {
        shared.live.send(&skans_link::ack(offset));
    }
    if shared.is_over() {
        return Err(Stop::Over(Error::Done));
    }
    Ok(())
}

/// Where a turn of [`accept`] ends.
enum Accepted {
    /// With what came.
    All,
    /// The stream goes on with another connection.
    Moved,
    /// The stream of a service ends.
    End,
    /// The peer of a service has more of ours, perhaps all.
    Acknowledged,
}

/// Checks what came from the link, acts on control frames, and puts what is for the node in `parts`.
fn accept<'a>(
    input: &mut &'a [u8],
    parts: &mut Vec<Cow<'a, [u8]>>,
    decoder: &mut Decoder,
    passage: &mut Way,
    shared: &Shared<'_>,
) -> Result<Accepted, Error> {
    let live = shared.live;
    while let Some(piece) = decoder.next(input)? {
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
                passage.came(bytes.len());
                passage.pass(bytes, parts)?;
            }
            Piece::Frame(frame) => {
                live.session().on_frame(&frame)?;
                match frame {
                    Frame::Ack(_) => {
                        live.acknowledge();
                        if shared.service {
                            return Ok(Accepted::Acknowledged);
                        }
                    }
                    Frame::End(_) => return Ok(Accepted::End),
                    Frame::Ping(number) => live.send(&skans_link::pong(number)),
                    Frame::Close(close) => return Err(Error::Closed(close)),
                    Frame::Moved(_) if input.is_empty() => return Ok(Accepted::Moved),
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
    Ok(Accepted::All)
}
