//! Asking the kernel for one connection by its two addresses: `NETLINK_SOCK_DIAG`, as `ss` does.
//!
//! Takes microseconds however many sockets there are, where `/proc/net/tcp` lists them all: after a
//! flood of strangers that is tens of thousands, most of them long closed.
//!
//! Source: sock_diag(7), netlink(7), `linux/inet_diag.h`. Numbers are in the machine's own byte order,
//! ports and addresses in that of the network.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use rustix::net::netlink::{SOCK_DIAG, SocketAddrNetlink};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recvfrom, sendto, socket_with,
};

/// What the kernel knows of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Found {
    /// The user whose socket it is.
    pub uid: u32,
    /// Whether a process holds it.
    pub held: bool,
}

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST: u16 = 1;
const TCP_LISTEN: u8 = 10;
/// `struct nlmsghdr`.
const HEADER: usize = 16;
/// `struct inet_diag_sockid`.
const SOCKET_ID: usize = 48;
/// `struct inet_diag_msg`.
const MESSAGE: usize = 72;
const INET_DIAG_INFO: u16 = 2;
/// Where `tcpi_last_ack_recv` stands in `struct tcp_info`, in milliseconds.
const LAST_ACK_RECV: usize = 56;

/// Whether the kernel has ever found a connection. One that was built without this answers as if
/// there were none.
static ANSWERS: AtomicBool = AtomicBool::new(false);

/// The connection whose own end is `local`; `None` if there is none.
///
/// # Errors
/// Where the kernel cannot be asked, or may be one of those that never find any.
pub fn find(local: SocketAddr, remote: SocketAddr) -> io::Result<Option<Found>> {
    let found = ask(local, remote, 0).and_then(|answer| parse(&answer, local, remote));
    match found {
        Ok(found) => {
            ANSWERS.store(true, Relaxed);
            Ok(Some(found))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && ANSWERS.load(Relaxed) => Ok(None),
        Err(error) => Err(error),
    }
}

/// How long ago the other end of a connection has last acknowledged anything: its kernel does as long as it can be reached,
/// whether or not its process reads. `struct tcp_info` (`linux/tcp.h`).
///
/// # Errors
/// Where the kernel cannot be asked, or knows no such connection.
pub fn acknowledged(local: SocketAddr, remote: SocketAddr) -> io::Result<Duration> {
    let answer = ask(local, remote, 1 << (INET_DIAG_INFO - 1))?;
    parse(&answer, local, remote)?;
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let mut rest = answer.get(HEADER + MESSAGE..).unwrap_or_default();
    // `struct rtattr`: length with this header, kind; then the value, padded to 4.
    while let Some(([l0, l1, k0, k1], _)) = rest.split_first_chunk::<4>() {
        let length = usize::from(u16::from_ne_bytes([*l0, *l1]));
        let value = rest.get(4..length).ok_or_else(short)?;
        if u16::from_ne_bytes([*k0, *k1]) == INET_DIAG_INFO {
            let field = value.get(LAST_ACK_RECV..).ok_or_else(short)?;
            let millis = field.first_chunk().copied().ok_or_else(short)?;
            return Ok(Duration::from_millis(u32::from_ne_bytes(millis).into()));
        }
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Err(short())
}

fn ask(local: SocketAddr, remote: SocketAddr, extensions: u8) -> io::Result<Vec<u8>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(SOCK_DIAG),
    )?;
    let kernel = SocketAddrNetlink::new(0, 0);
    sendto(
        &socket,
        &request(local, remote, extensions),
        SendFlags::empty(),
        &kernel,
    )?;
    let mut answer = vec![0; 2048];
    // The kernel answers before the call above returns.
    let (length, _, from) = recvfrom(&socket, &mut answer, RecvFlags::DONTWAIT)?;
    let from = from.and_then(|from| SocketAddrNetlink::try_from(from).ok());
    if from.is_none_or(|from| from.pid() != 0) {
        return Err(io::Error::other("an answer that is not the kernel's"));
    }
    answer.truncate(length);
    Ok(answer)
}

/// `struct nlmsghdr`, then `struct inet_diag_req_v2`.
fn request(local: SocketAddr, remote: SocketAddr, extensions: u8) -> Vec<u8> {
    let length = u32::try_from(HEADER + 8 + SOCKET_ID).unwrap_or_default();
    let mut out = length.to_ne_bytes().to_vec();
    out.extend_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    out.extend_from_slice(&NLM_F_REQUEST.to_ne_bytes());
    // Sequence number and sender, which one question needs not.
    out.extend_from_slice(&[0; 8]);
    let family = if local.is_ipv4() { AF_INET } else { AF_INET6 };
    out.extend_from_slice(&[family, IPPROTO_TCP, extensions, 0]);
    // Any state.
    out.extend_from_slice(&u32::MAX.to_ne_bytes());
    out.extend_from_slice(&addresses(local, remote));
    // Any interface, no cookie.
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&[0xff; 8]);
    out
}

/// The first 36 bytes of `struct inet_diag_sockid`: both ports, then both addresses.
fn addresses(local: SocketAddr, remote: SocketAddr) -> [u8; 36] {
    let mut out = [0; 36];
    let padded = |ip: IpAddr| {
        let mut bytes = [0; 16];
        match ip {
            IpAddr::V4(ip) => bytes
                .iter_mut()
                .zip(ip.octets())
                .for_each(|(to, from)| *to = from),
            IpAddr::V6(ip) => bytes = ip.octets(),
        }
        bytes
    };
    let parts = local
        .port()
        .to_be_bytes()
        .into_iter()
        .chain(remote.port().to_be_bytes())
        .chain(padded(local.ip()))
        .chain(padded(remote.ip()));
    out.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
    out
}

/// An IPv4 address in IPv6 clothes.
fn dressed(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// `struct nlmsghdr`, then `struct inet_diag_msg`, or an error.
fn parse(answer: &[u8], local: SocketAddr, remote: SocketAddr) -> io::Result<Found> {
    let short = || io::Error::from(io::ErrorKind::UnexpectedEof);
    let (header, body) = answer.split_first_chunk::<HEADER>().ok_or_else(short)?;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    if kind != SOCK_DIAG_BY_FAMILY {
        let number = body.first_chunk().copied().ok_or_else(short)?;
        let number = i32::from_ne_bytes(number).checked_neg().unwrap_or_default();
        return Err(io::Error::from_raw_os_error(number));
    }
    let ([_, state, _, _], body) = body.split_first_chunk::<4>().ok_or_else(short)?;
    let (id, body) = body.split_first_chunk::<SOCKET_ID>().ok_or_else(short)?;
    // Without a connection the kernel finds whoever listens on the port.
    // An IPv6 socket that speaks IPv4 is found by that, and shown in IPv6 clothes.
    let same = id.starts_with(&addresses(local, remote))
        || id.starts_with(&addresses(dressed(local), dressed(remote)));
    if *state == TCP_LISTEN || !same {
        return Err(io::ErrorKind::NotFound.into());
    }
    // Timer and both queues come first.
    let tail = body.get(12..20).ok_or_else(short)?;
    let (uid, inode) = tail.split_first_chunk::<4>().ok_or_else(short)?;
    Ok(Found {
        uid: u32::from_ne_bytes(*uid),
        held: inode != [0; 4],
    })
}
