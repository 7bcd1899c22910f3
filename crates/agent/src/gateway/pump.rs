//! Bytes from one socket to another, both ways, until both have ended. Memory is held while bytes are under way, none by a link that
//! rests.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// What is read at once, in bytes: what an agent sends at once in eight TLS records, as they are on the wire.
const AT_ONCE: usize = 128 * 1024 + 512;

/// Carries until both directions have ended, or one is lost. Counts the bytes of each: of this way, and of all.
pub async fn run(
    one: &mut TcpStream,
    other: &mut TcpStream,
    [own, all]: [&[AtomicU64; 2]; 2],
) -> io::Result<()> {
    let ([there, back], [all_there, all_back]) = (own, all);
    let (one_reads, one_writes) = one.split();
    let (other_reads, other_writes) = other.split();
    tokio::try_join!(
        carry(one_reads, other_writes, [there, all_there]),
        carry(other_reads, one_writes, [back, all_back])
    )?;
    Ok(())
}

async fn carry(
    from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    carried: [&AtomicU64; 2],
) -> io::Result<()> {
    loop {
        from.readable().await?;
        let mut bytes = Vec::with_capacity(AT_ONCE);
        loop {
            bytes.clear();
            match from.try_read_buf(&mut bytes) {
                Ok(0) => {
                    to.shutdown().await?;
                    return Ok(());
                }
                Ok(count) => {
                    to.write_all(&bytes).await?;
                    for counter in carried {
                        counter.fetch_add(count as u64, Relaxed);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
    }
}
