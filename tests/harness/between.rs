//! Between an agent and the process that is to take its place: hands on what they say with the sockets beside it, and kills the new one at
//! a chosen word.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use rustix::process::{Signal, kill_process};
use skans_handover::{HEADER, Header, Kind, MAX_FDS};
use skans_promises::PATIENCE;

/// Listens where the agent does until it is dropped.
pub struct Between {
    listener: UnixListener,
    path: PathBuf,
    aside: PathBuf,
}

impl Between {
    /// Puts itself before the socket at `path`.
    pub fn at(path: &Path) -> Self {
        let aside = path.with_extension("aside");
        std::fs::rename(path, &aside).unwrap();
        Self {
            listener: UnixListener::bind(path).unwrap(),
            path: path.to_owned(),
            aside,
        }
    }

    /// Hands on everything between the agent and the next process that asks, up to this word, which stays here: whoever says it, the new
    /// process dies of SIGKILL. Blocks.
    pub fn kill_at(&self, last: Kind) {
        let (mut new, _) = self.listener.accept().unwrap();
        let mut old = UnixStream::connect(&self.aside).unwrap();
        for socket in [&new, &old] {
            socket.set_read_timeout(Some(PATIENCE)).unwrap();
        }
        // As the kernel knows it.
        let pid = rustix::net::sockopt::socket_peercred(&new).unwrap().pid;
        let mut turn_of_the_new = true;
        loop {
            let (from, to) = if turn_of_the_new {
                (&mut new, &mut old)
            } else {
                (&mut old, &mut new)
            };
            let (kind, bytes, sockets) = receive(from);
            if kind == last {
                break;
            }
            send(to, &bytes, &sockets);
            turn_of_the_new = match kind {
                Kind::Ask | Kind::Ready | Kind::Taken => false,
                Kind::Doors | Kind::Done => true,
                Kind::Refused | Kind::Go => panic!("found {kind:?}, wanted {last:?} before"),
                _ => turn_of_the_new,
            };
        }
        kill_process(pid, Signal::KILL).unwrap();
    }
}

impl Drop for Between {
    fn drop(&mut self) {
        let _ = std::fs::rename(&self.aside, &self.path);
    }
}

const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

fn receive(from: &mut UnixStream) -> (Kind, Vec<u8>, Vec<OwnedFd>) {
    let mut head = [0; HEADER];
    let mut sockets = Vec::new();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [IoSliceMut::new(&mut head)];
    let received = recvmsg(&*from, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            sockets.extend(rights);
        }
    }
    assert_ne!(received.bytes, 0, "the other one is gone");
    from.read_exact(&mut head[received.bytes..]).unwrap();
    let header = Header::decode(head).unwrap();
    let mut bytes = vec![0; HEADER + header.text + header.bytes];
    bytes[..HEADER].copy_from_slice(&head);
    from.read_exact(&mut bytes[HEADER..]).unwrap();
    (header.kind, bytes, sockets)
}

fn send(to: &mut UnixStream, bytes: &[u8], sockets: &[OwnedFd]) {
    let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
    let mut space = [MaybeUninit::uninit(); SPACE];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !borrowed.is_empty() {
        assert!(control.push(SendAncillaryMessage::ScmRights(&borrowed)));
    }
    let (head, rest) = bytes.split_at(HEADER);
    let sent = sendmsg(
        &*to,
        &[IoSlice::new(head)],
        &mut control,
        SendFlags::NOSIGNAL,
    )
    .unwrap();
    assert_eq!(sent, HEADER);
    to.write_all(rest).unwrap();
}
