//! From the node of this host to the peer: read, judged, sent, and kept until the other agent has it.

use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;

use super::{
    AsyncReadExt, AsyncWriteExt, DATA_HEADER, Error, LinkWriter, ReadHalf, Shared, Stop, TLS_LIMIT,
    Way, Window, abandoned,
};

/// What is read from the node, and sent to the peer, at once at most, in bytes: with its header it fills eight TLS records to the
/// last byte. One byte more would make a frame, a record and a system call of its own, at both ends.
const AT_ONCE: usize = TLS_LIMIT - DATA_HEADER;

/// What is worth a read, in bytes, where some of the room is to be left.
const LEAST: usize = 16 * 1024;

/// What goes on with the session, whatever connection carries it.
pub struct Sending {
    /// What was read from the node.
    pub window: Window,
    /// Judges it.
    pub passage: Way,
    /// Nothing more comes: END stands behind it.
    pub ended: bool,
}

impl Sending {
    /// Decides about what was read.
    fn judge(&mut self) -> Result<(), Error> {
        let held = self.window.held();
        let decided = self.passage.feed(held)?;
        let goes_on = held.get(..decided).unwrap_or_default();
        match self.passage.edited(goes_on)? {
            Some(edited) => self.window.replace(decided, &edited),
            None => self.window.decide(decided),
        }
        Ok(())
    }

    /// Answers to what the peer was refused go out between two messages of the node.
    fn answer(&mut self, shared: &Shared<'_>) -> Result<(), Error> {
        if self.passage.is_between_frames()
            && let Some(frames) = shared.to_peer.take()
        {
            let frames = self.passage.also(frames)?;
            self.window.replace(0, &frames);
        }
        Ok(())
    }
}

/// Relays until the connection is lost or the session is over.
pub async fn to_link(
    mut node: ReadHalf<'_>,
    link: &mut LinkWriter,
    sending: &mut Sending,
    shared: &Shared<'_>,
) -> Stop {
    let live = shared.live;
    // Made once: they enter a list and leave it, which a message need not wait for.
    let mut rung = pin!(live.rung());
    let mut answered = pin!(shared.to_peer.rung());
    let mut acknowledged = pin!(live.acknowledged());
    let mut stop = pin!(shared.stop.cancelled());
    loop {
        if let Err(error) = sending.answer(shared) {
            return Stop::Over(error);
        }
        if sending.window.is_unsent() {
            let sent = tokio::select! {
                biased;
                sent = flush(link, &mut sending.window, shared) => sent,
                () = abandoned(&node, shared) => return left_behind(),
            };
            if let Err(error) = sent {
                return Stop::Lost(error);
            }
        }
        let ended = sending.ended;
        // A link that rests has no memory to read to. What comes is waited for, and then there is some.
        let rests = !ended && sending.window.size() == 0;
        // What comes out may be longer than what is read.
        let reserve = sending.passage.reserve();
        let least = if reserve == 0 { 0 } else { reserve + LEAST };
        if !ended && !rests && sending.window.room_of(least).is_empty() {
            sending.window.release(shared.acknowledged());
        }
        let room = if ended || rests {
            &mut [][..]
        } else {
            sending.window.room_of(least)
        };
        let most = match room.len().saturating_sub(reserve) {
            0 => room.len(),
            most => most,
        };
        let most = most.min(AT_ONCE);
        let free = room.get_mut(..most).unwrap_or_default();
        let full = free.is_empty() && !rests;
        let read = async {
            if rests {
                // What is wrong with the socket the read says.
                let _ = node.readable().await;
                return Turn::Wakes;
            }
            if full {
                abandoned(&node, shared).await;
                return Turn::LeftBehind;
            }
            Turn::Read(node.read(free).await)
        };
        let count = tokio::select! {
            biased;
            // First, or a busy node would keep acknowledgements back for ever.
            () = &mut rung => {
                rung.set(live.rung());
                if let Err(error) = attend(link, shared).await {
                    return Stop::Lost(error);
                }
                if live.rests() {
                    sending.window.release(shared.acknowledged());
                    sending.window.shrink();
                    sending.passage.rest();
                }
                continue;
            }
            () = &mut answered => {
                answered.set(shared.to_peer.rung());
                continue;
            }
            () = &mut acknowledged, if full => {
                acknowledged.set(live.acknowledged());
                continue;
            }
            () = &mut stop => return Stop::Over(shared.left()),
            read = read => match read {
                Turn::Wakes => {
                    sending.window.grow();
                    continue;
                }
                Turn::LeftBehind => return left_behind(),
                Turn::Read(Ok(0)) if shared.service => {
                    sending.window.finish();
                    sending.ended = true;
                    continue;
                }
                Turn::Read(Ok(0) | Err(_)) => return Stop::Over(shared.left()),
                Turn::Read(Ok(count)) => count,
            },
        };
        sending.window.read(count);
        sending.passage.came(count);
        if let Err(error) = sending.judge() {
            return Stop::Over(error);
        }
        if count == most && most < AT_ONCE {
            sending.window.grow();
        }
    }
}

/// What came of waiting for the node.
enum Turn {
    /// It has something to say, and there is no memory for it yet.
    Wakes,
    /// It is gone.
    LeftBehind,
    /// What reading gave.
    Read(io::Result<usize>),
}

/// Nobody is left who could be told, and nothing to resume for.
fn left_behind() -> Stop {
    Stop::Over(Error::LinkLost(io::Error::new(
        io::ErrorKind::TimedOut,
        "the local node has left, and the peer takes nothing more of what it said",
    )))
}

impl Shared<'_> {
    /// Takes note of bytes that go to the peer; the offset before which all need not be kept.
    fn sent(&self, count: usize) -> u64 {
        let mut session = self.live.session();
        session.send(count);
        self.link
            .unacknowledged
            .store(session.unacknowledged(), Relaxed);
        self.released(session.acknowledged())
    }

    /// The offset before which nothing need be kept.
    fn acknowledged(&self) -> u64 {
        self.released(self.live.session().acknowledged())
    }

    const fn released(&self, acknowledged: u64) -> u64 {
        // What cannot be sent again need not be kept.
        if self.resumable {
            acknowledged
        } else {
            u64::MAX
        }
    }
}

/// Sends what was decided.
async fn flush(link: &mut LinkWriter, window: &mut Window, shared: &Shared<'_>) -> io::Result<()> {
    while window.is_unsent() {
        if window.is_at_end() {
            let (offset, _) = window.send(1);
            shared.live.session().end();
            return write(link, &skans_link::end(offset), shared).await;
        }
        let (offset, bytes) = window.send(AT_ONCE);
        let acknowledged = shared.sent(bytes.len());
        let header = skans_link::data_header(offset, bytes.len());
        shared.at_border.store(false, Relaxed);
        let mut parts = [IoSlice::new(&header), IoSlice::new(bytes)];
        let mut parts = parts.as_mut_slice();
        while !parts.is_empty() {
            match link.write_vectored(parts).await? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                count => IoSlice::advance_slices(&mut parts, count),
            }
        }
        link.flush().await?;
        shared.at_border.store(true, Relaxed);
        window.release(acknowledged);
    }
    Ok(())
}

/// Sends whole frames.
async fn write(link: &mut LinkWriter, frames: &[u8], shared: &Shared<'_>) -> io::Result<()> {
    shared.at_border.store(false, Relaxed);
    link.write_all(frames).await?;
    link.flush().await?;
    shared.at_border.store(true, Relaxed);
    Ok(())
}

/// What is done between two frames: answers go out, and the stream moves to a fresh connection.
async fn attend(link: &mut LinkWriter, shared: &Shared<'_>) -> io::Result<()> {
    let frames = shared.live.collect();
    if !frames.is_empty() {
        write(link, &frames, shared).await?;
    }
    if let Some((moved, fresh)) = shared.live.depart() {
        write(link, &moved.encode(), shared).await?;
        // All that was written has been handed to the kernel, and nothing follows: the old connection closes when its
        // other half is read to the end.
        *link = fresh;
    }
    Ok(())
}
