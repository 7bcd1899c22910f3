//! Who is on the other end of a loopback connection, where a port of this host listens, and whether the other end of a
//! connection is still there.
//!
//! From the kernel, which no process can lie to: one connection by netlink (`diag`), and where that
//! cannot be asked, and for ports, from `/proc/net/tcp` and `tcp6` (Linux,
//! Documentation/networking/proc_net_tcp.rst). Why loopback ports need this is recorded in
//! `docs/decisions/0005-loopback-ports.md`.

mod diag;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// One row of the kernel's table.
#[derive(Debug, Eq, PartialEq)]
struct Row {
    local: SocketAddr,
    remote: SocketAddr,
    listening: bool,
    uid: u32,
    /// Whether a process holds the socket. The kernel shows one that was closed and is still saying
    /// goodbye as root's, whoever it was.
    held: bool,
}

/// The user whose process holds the other end of a connection of this host: `theirs` is its own
/// address, `ours` the one it connected to. `None` if no process holds such a socket, as when it has
/// hung up already.
#[must_use]
pub fn owner(theirs: SocketAddr, ours: SocketAddr) -> Option<u32> {
    let (theirs, ours) = (plain(theirs), plain(ours));
    if let Ok(found) = diag::find(theirs, ours) {
        return found.filter(|found| found.held).map(|found| found.uid);
    }
    table()
        .into_iter()
        .find(|row| row.held && !row.listening && row.local == theirs && row.remote == ours)
        .map(|row| row.uid)
}

/// How long ago the other end of a TCP connection has last acknowledged anything.
///
/// # Errors
/// Where the kernel cannot be asked, or knows no such connection.
pub fn acknowledged(ours: SocketAddr, theirs: SocketAddr) -> std::io::Result<std::time::Duration> {
    diag::acknowledged(plain(ours), plain(theirs)).or_else(|_| diag::acknowledged(ours, theirs))
}

/// The addresses on which processes of a user listen on a port. Other users may hold the same port on
/// other addresses, by chance or to be taken for the node.
#[must_use]
pub fn listeners(port: u16, uid: u32) -> Vec<IpAddr> {
    table()
        .into_iter()
        .filter(|row| row.listening && row.local.port() == port && row.uid == uid)
        .map(|row| row.local.ip())
        .collect()
}

fn table() -> Vec<Row> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().skip(1).filter_map(row).collect::<Vec<_>>())
        .collect()
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`
fn row(line: &str) -> Option<Row> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let local = address(fields.next()?)?;
    let remote = address(fields.next()?)?;
    let state = fields.next()?;
    let uid = fields.nth(3)?.parse().ok()?;
    let inode = fields.nth(1)?;
    Some(Row {
        local,
        remote,
        listening: state == "0A",
        uid,
        held: inode != "0",
    })
}

/// `0100007F:1112`: each group of 32 bits is in the machine's own byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let group = |text: &str| u32::from_str_radix(text, 16).ok().map(u32::to_ne_bytes);
    let ip = match ip.len() {
        8 => IpAddr::V4(Ipv4Addr::from(group(ip)?)),
        32 => {
            let mut bytes = [0; 16];
            for (index, chunk) in bytes.chunks_exact_mut(4).enumerate() {
                chunk.copy_from_slice(&group(ip.get(index * 8..index * 8 + 8)?)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes))
        }
        _ => return None,
    };
    Some(plain(SocketAddr::new(ip, port)))
}

/// An IPv4 address in IPv6 clothes is that IPv4 address.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests;
