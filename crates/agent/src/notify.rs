//! What a service manager is told (`sd_notify(3)`): that this process serves, and which one is the unit's from now on. Without
//! `NOTIFY_SOCKET` nobody is told anything.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Tells that this process serves.
pub fn ready() {
    let pid = std::process::id();
    tell(&format!("READY=1\nMAINPID={pid}\n"));
}

/// Tells that another process has taken this one's place. Before this one ends: whoever manages the unit would take it for
/// over otherwise.
pub fn replaced_by(pid: u32) {
    tell(&format!("MAINPID={pid}\n"));
}

/// Tells that this process ends.
pub fn stopping() {
    tell("STOPPING=1\n");
}

fn tell(text: &str) {
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET")
        && let Err(error) = send(&socket, text)
    {
        tracing::warn!(socket = ?socket, "cannot tell the service manager: {error}");
    }
}

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsString::from(OsStr::from_bytes(path)))?,
    };
    let from = UnixDatagram::unbound()?;
    // Whoever does not read must not hold an agent up.
    from.set_nonblocking(true)?;
    from.send_to_addr(text.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests;
