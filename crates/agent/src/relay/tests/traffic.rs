//! What the nodes of these tests say, and how it is checked.

use super::*;

/// The number `n` of a stream: a message of some 200,000 bytes at most, made of its number.
pub fn message(n: u32) -> Vec<u8> {
    // Pass-through, version, {REG_SEND, Pid of a@here, '', sink}; version, a binary.
    let mut body = vec![112, 131, 104, 4, 97, 6];
    body.extend(b"\x58\x77\x06a@here\0\0\0\x50\0\0\0\0\0\0\0\x07\x77\0\x77\x04sink");
    let length = if n.is_multiple_of(50) {
        200_000
    } else {
        n.wrapping_mul(7919) % 30_000
    };
    body.extend([131, 109]);
    body.extend((length / 4 * 4).to_be_bytes());
    body.extend(n.to_be_bytes().repeat(length as usize / 4));
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.append(&mut body);
    frame
}

/// A node that sends as fast as it can until `stop`; how many messages.
pub fn source(
    mut node: tokio::net::tcp::OwnedWriteHalf,
    stop: CancellationToken,
) -> JoinHandle<(u32, tokio::net::tcp::OwnedWriteHalf)> {
    tokio::spawn(async move {
        let mut n = 0;
        while !stop.is_cancelled() && node.write_all(&message(n)).await.is_ok() {
            n += 1;
        }
        (n, node)
    })
}

/// A node that checks what comes, up to the end or until it has `enough` messages; how many, and how many bytes.
pub fn sink(
    node: tokio::net::tcp::OwnedReadHalf,
    enough: tokio::sync::watch::Receiver<u32>,
) -> JoinHandle<(u32, u64)> {
    tokio::spawn(async move {
        let mut node = tokio::io::BufReader::new(node);
        let (mut n, mut bytes) = (0, 0);
        while n < *enough.borrow() {
            let wanted = message(n);
            let mut found = vec![0; wanted.len()];
            let mut filled = 0;
            while filled < found.len() {
                match node.read(&mut found[filled..]).await {
                    Ok(count @ 1..) => filled += count,
                    _ => return (n, bytes + filled as u64),
                }
            }
            assert!(found == wanted, "message {n}");
            (n, bytes) = (n + 1, bytes + filled as u64);
        }
        (n, bytes)
    })
}

/// What both nodes send and see.
pub struct Traffic {
    stop: CancellationToken,
    sources: Vec<JoinHandle<(u32, tokio::net::tcp::OwnedWriteHalf)>>,
    sinks: Vec<JoinHandle<(u32, u64)>>,
    known: Vec<tokio::sync::watch::Sender<u32>>,
}

impl Traffic {
    /// Both send as fast as they can.
    pub fn begin(nodes: [TcpStream; 2]) -> Self {
        let stop = CancellationToken::new();
        let (mut sources, mut sinks, mut known) = (Vec::new(), Vec::new(), Vec::new());
        for node in nodes {
            let (reads, writes) = node.into_split();
            let (told, enough) = tokio::sync::watch::channel(u32::MAX);
            sources.push(source(writes, stop.clone()));
            sinks.push(sink(reads, enough));
            known.push(told);
        }
        Self {
            stop,
            sources,
            sinks,
            known,
        }
    }

    /// No more; each must have got all that the other has sent. The nodes are there as long as what this gives is kept: they end with it, and the
    /// link with them.
    #[must_use]
    pub async fn finish(self) -> Vec<tokio::net::tcp::OwnedWriteHalf> {
        self.stop.cancel();
        let mut held = Vec::new();
        // What one has sent the other must see.
        for (sent, told) in self.sources.into_iter().zip(self.known.iter().rev()) {
            let (count, writes) = bounded("the last message to go", sent).await.unwrap();
            assert!(count > 40, "{count}");
            told.send(count).unwrap();
            // One more, for a sink that waits already.
            held.push((count, writes));
        }
        for (count, writes) in &mut held {
            writes.write_all(&message(*count)).await.unwrap();
        }
        for ((count, _), sunk) in held.iter().rev().zip(self.sinks) {
            let (seen, _) = bounded("the last message to come", sunk).await.unwrap();
            assert!(seen == *count || seen == count + 1, "{seen} of {count}");
        }
        held.into_iter().map(|(_, writes)| writes).collect()
    }
}
