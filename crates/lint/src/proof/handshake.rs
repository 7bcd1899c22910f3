//! The first steps of the handshake of distribution, in clear, as a peer that has nothing but an address.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use super::machine::{PATIENCE, random};

/// What each node of OTP 25 and later demands of a peer, and a few that all have: `dist.hrl`.
const DIST_FLAGS: u64 = 0x0000_0004_0703_0f94 | 1 << 17 | 1 << 18;

/// The first steps of the handshake of OTP 23 and later, in clear: what the node on a port of
/// 127.0.0.1 answers to a peer on `host`, and its name.
pub(super) fn handshake(host: &str, port: u16) -> Option<(String, String)> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
    stream
        .set_read_timeout(Some(Duration::from_secs(15)))
        .ok()?;
    let name = format!("skans-probe@{host}");
    let mut message = vec![b'N'];
    message.extend(DIST_FLAGS.to_be_bytes());
    message.extend(u32::try_from(random() >> 33).ok()?.to_be_bytes());
    message.extend(u16::try_from(name.len()).ok()?.to_be_bytes());
    message.extend(name.as_bytes());
    stream
        .write_all(&u16::try_from(message.len()).ok()?.to_be_bytes())
        .ok()?;
    stream.write_all(&message).ok()?;
    let status = frame(&mut stream)?;
    let status = status.strip_prefix(b"s")?;
    let challenge = frame(&mut stream)?;
    // 'N', flags, challenge, creation, and the length of the name.
    let name = challenge.get(1 + 8 + 4 + 4 + 2..)?;
    let text = |bytes: &[u8]| -> String {
        String::from_utf8_lossy(bytes)
            .chars()
            .filter(|c| !c.is_control())
            .take(256)
            .collect()
    };
    Some((text(status), text(name)))
}

fn frame(stream: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length).ok()?;
    let mut frame = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut frame).ok()?;
    Some(frame)
}
