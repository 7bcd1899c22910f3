//! Messages and sockets between two processes of one user, over a Unix socket. What they mean is not said here.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};
use skans_handover::{HEADER, Header, MAX_FDS, Message};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::failed;
use crate::Error;

/// One end.
#[derive(Debug)]
pub struct Channel(UnixStream);

impl Channel {
    /// To the agent that listens there.
    ///
    /// # Errors
    /// [`Error::File`] if there is none, or another user's.
    pub async fn connect(path: &Path) -> Result<Self, Error> {
        let stream = UnixStream::connect(path).await.map_err(|error| {
            Error::file(
                path,
                format!("found no agent to take over from ({error}), wanted one; without --take-over an agent starts by itself"),
            )
        })?;
        Self::of(stream).map_err(|error| Error::file(path, error.to_string()))
    }

    /// An accepted connection, if it is of our user's, or root's.
    ///
    /// # Errors
    /// [`Error::LocalStranger`].
    pub fn of(stream: UnixStream) -> Result<Self, Error> {
        let own = rustix::process::geteuid().as_raw();
        match stream.peer_cred().map(|peer| peer.uid()) {
            Ok(uid) if uid == own || uid == 0 => Ok(Self(stream)),
            Ok(uid) => Err(Error::LocalStranger(format!(
                "a process of user {uid} at the handover socket, wanted user {own} or root"
            ))),
            Err(error) => Err(Error::LocalStranger(format!(
                "a process that cannot be identified: {error}"
            ))),
        }
    }

    /// The other process, if the kernel says.
    pub fn peer(&self) -> Option<u32> {
        let pid = self.0.peer_cred().ok()?.pid()?;
        u32::try_from(pid).ok()
    }

    /// Sends a message, and sockets beside it.
    ///
    /// # Errors
    /// [`Error::Handover`] for what is too long; [`Error::Internal`] if the other process is gone.
    pub async fn send(&mut self, message: &Message, sockets: &[OwnedFd]) -> Result<(), Error> {
        let (head, bytes) = message.encode(sockets.len())?;
        let borrowed: Vec<_> = sockets.iter().map(AsFd::as_fd).collect();
        let sent = async {
            // The sockets go with the first byte.
            let count = self
                .0
                .async_io(Interest::WRITABLE, || {
                    let mut space = [MaybeUninit::uninit(); SPACE];
                    let mut control = SendAncillaryBuffer::new(&mut space);
                    if !borrowed.is_empty()
                        && !control.push(SendAncillaryMessage::ScmRights(&borrowed))
                    {
                        return Err(io::ErrorKind::InvalidInput.into());
                    }
                    let parts = [IoSlice::new(&head)];
                    Ok(sendmsg(&self.0, &parts, &mut control, SendFlags::NOSIGNAL)?)
                })
                .await?;
            self.0
                .write_all(head.get(count..).unwrap_or_default())
                .await?;
            self.0.write_all(&bytes).await
        };
        sent.await.map_err(|error| lost(&error))
    }

    /// The next message, and the sockets beside it.
    ///
    /// # Errors
    /// [`Error::Handover`] for what is none; [`Error::Internal`] if the other process is gone.
    pub async fn receive(&mut self) -> Result<(Message, Vec<OwnedFd>), Error> {
        let mut head = [0; HEADER];
        let mut sockets = Vec::new();
        let count = self
            .0
            .async_io(Interest::READABLE, || {
                let mut space = [MaybeUninit::uninit(); SPACE];
                let mut control = RecvAncillaryBuffer::new(&mut space);
                let mut parts = [IoSliceMut::new(&mut head)];
                let received = recvmsg(&self.0, &mut parts, &mut control, RecvFlags::CMSG_CLOEXEC)?;
                for message in control.drain() {
                    if let RecvAncillaryMessage::ScmRights(rights) = message {
                        sockets.extend(rights);
                    }
                }
                Ok(received.bytes)
            })
            .await
            .map_err(|error| lost(&error))?;
        if count == 0 {
            return Err(lost(&io::ErrorKind::UnexpectedEof.into()));
        }
        let rest = head.get_mut(count..).unwrap_or_default();
        self.0
            .read_exact(rest)
            .await
            .map_err(|error| lost(&error))?;
        let header = Header::decode(head)?;
        if header.fds != sockets.len() {
            return Err(Error::Handover(skans_handover::Error::Sockets {
                kind: header.kind,
                found: sockets.len(),
                wanted: header.fds,
            }));
        }
        let text = self.read(header.text).await?;
        let bytes = self.read(header.bytes).await?;
        Ok((Message::decode(&header, &text, &bytes)?, sockets))
    }

    /// Grows with what comes, whatever was announced.
    async fn read(&mut self, count: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let mut rest = (&mut self.0).take(count as u64);
        let read = rest.read_to_end(&mut bytes).await;
        read.map_err(|error| lost(&error))?;
        if bytes.len() < count {
            return Err(lost(&io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(bytes)
    }
}

/// For as many sockets as may come beside one message.
const SPACE: usize = rustix::cmsg_space!(ScmRights(MAX_FDS));

fn lost(error: &io::Error) -> Error {
    failed(&format!("the other process is gone: {error}"))
}

#[cfg(test)]
mod tests;
