//! Where a process listens, as the kernel says: `/proc/<pid>/fd` and `/proc/net/tcp` (Linux,
//! Documentation/networking/proc_net_tcp.rst).

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// The state `TCP_LISTEN` (include/net/tcp_states.h).
const LISTEN: &str = "0A";

/// The TCP addresses on which a process of ours listens, sorted.
///
/// # Errors
/// What the system says if the process is gone or another user's, or if this is not Linux.
pub fn listeners(pid: u32) -> io::Result<Vec<SocketAddr>> {
    let inodes = sockets_of(pid)?;
    let mut found = Vec::new();
    // The tables of the process's own network namespace.
    for table in ["tcp", "tcp6"] {
        let path = format!("/proc/{pid}/net/{table}");
        match std::fs::read_to_string(path) {
            Ok(text) => found.extend(
                text.lines()
                    .skip(1)
                    .filter_map(row)
                    .filter(|(inode, _)| inodes.contains(inode))
                    .map(|(_, address)| address),
            ),
            // A kernel without IPv6 has no second table.
            Err(error) if error.kind() == io::ErrorKind::NotFound && table == "tcp6" => {}
            Err(error) => return Err(error),
        }
    }
    found.sort();
    Ok(found)
}

/// The inodes of all its sockets.
fn sockets_of(pid: u32) -> io::Result<HashSet<u64>> {
    let mut inodes = HashSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fd"))? {
        // One that was closed in between is none.
        let Ok(target) = std::fs::read_link(entry?.path()) else {
            continue;
        };
        let inode: Option<u64> = target
            .to_str()
            .and_then(|text| text.strip_prefix("socket:["))
            .and_then(|text| text.strip_suffix(']'))
            .and_then(|text| text.parse().ok());
        inodes.extend(inode);
    }
    Ok(inodes)
}

/// `sl local rem st tx:rx tr:when retrnsmt uid timeout inode …`, if it listens.
fn row(line: &str) -> Option<(u64, SocketAddr)> {
    let fields: Vec<_> = line.split_ascii_whitespace().collect();
    if *fields.get(3)? != LISTEN {
        return None;
    }
    Some((fields.get(9)?.parse().ok()?, address(fields.get(1)?)?))
}

/// `0100007F:1112`: each group of 32 bits is in the machine's own byte order.
fn address(text: &str) -> Option<SocketAddr> {
    let (ip, port) = text.split_once(':')?;
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
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

#[cfg(test)]
mod tests;
