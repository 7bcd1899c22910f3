//! Opening TCP ports.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel holds until they are accepted. The 128 that are customary fill up when every peer reconnects
/// at once, and each one too many waits a second for its next SYN. The kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 4096;

/// A listener on this address. "All addresses" of IPv6 means IPv4 as well, and IPv4 alone on a host without IPv6.
///
/// # Errors
/// The kernel's own: in use, not ours, not allowed.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let all = address.is_ipv6() && address.ip().is_unspecified();
    match open(address) {
        Err(error) if all && is_missing(&error) => {
            tracing::info!("this host has no IPv6: listening on IPv4 alone");
            open(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        opened => opened,
    }
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        // Explicitly, for the default is a setting of the host (net.ipv6.bindv6only).
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    // So that a restarted process gets its port back while old connections linger in TIME_WAIT.
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Whether this host does not have the address, or not even its family.
#[must_use]
pub fn is_missing(error: &io::Error) -> bool {
    let missing = rustix::io::Errno::AFNOSUPPORT.raw_os_error();
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(missing)
}
