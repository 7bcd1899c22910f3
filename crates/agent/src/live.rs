//! What others can do to a link while bytes flow: hand it a fresh connection, or something to send between two frames.
//! The bytes themselves are moved in `relay`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use skans_link::{Denials, Frame, Gossip, Moved, Phase, Session, VERSION_TAKEOVER};
use tokio::runtime::Handle;
use tokio::sync::Notify;

use crate::Error;
use crate::wire::{LinkStream, LinkWriter, Reading};

/// How long MOVED may come before the connection that it speaks of: the two are handed over by different threads, within
/// microseconds.
const HANDED_OVER: Duration = Duration::from_secs(2);

/// A running link.
#[derive(Debug)]
pub struct Live {
    session: Mutex<Session>,
    post: Mutex<Post>,
    /// There is something to send.
    bell: Notify,
    /// A connection was handed over.
    arrived: Notify,
    /// The peer has acknowledged something.
    acknowledged: Notify,
    /// Nothing has been sent or received for a while.
    rested: Notify,
    /// The connection is to be given up.
    given_up: Notify,
    /// It was, and nothing is read from it any more.
    stopped: Notify,
    /// Something has come from the peer since this was last looked at.
    pub heard: AtomicBool,
    /// The thread that moves its bytes.
    runtime: Handle,
    version: u8,
    /// Whether it outlives the loss of its connection.
    pub outlives: bool,
}

/// What waits to be sent, and to be read from.
#[derive(Debug, Default)]
struct Post {
    /// Control frames that answer the peer.
    control: Vec<u8>,
    gossip: Gossip,
    /// The newest head, if the peer has not got it.
    news: Option<Arc<[u8]>>,
    /// The last head that the peer sent.
    heard: Option<Vec<u8>>,
    want: Option<u64>,
    entries: Option<Denials>,
    /// To write to after MOVED.
    writer: Option<LinkWriter>,
    next: Option<Next>,
    /// To go on with after a loss: the number of the attempt, the offset that the peer wants, the connection.
    rescue: Option<(u32, u64, Box<LinkStream>)>,
    /// The connection is to be given up.
    gives_up: bool,
    /// Nothing was sent for a while: memory may go back.
    rests: bool,
    /// Both ends of the connection, ours first.
    path: Option<(SocketAddr, SocketAddr)>,
    /// The link is over: what is handed over now is dropped.
    over: bool,
}

/// A connection to read from after MOVED.
#[derive(Debug)]
enum Next {
    /// Ours: the other half is used already.
    Reading(Reading),
    /// The peer's, on the thread that accepted it.
    Whole(u32, Box<LinkStream>),
}

impl Live {
    /// Of a session that streams, or is to be resumed; `runtime` is the thread that is going to move its bytes.
    pub fn new(session: Session, outlives: bool, runtime: Handle) -> Self {
        Self {
            version: session.version(),
            session: Mutex::new(session),
            post: Mutex::default(),
            bell: Notify::new(),
            arrived: Notify::new(),
            acknowledged: Notify::new(),
            rested: Notify::new(),
            given_up: Notify::new(),
            stopped: Notify::new(),
            heard: AtomicBool::new(false),
            runtime,
            outlives,
        }
    }

    /// Phase, offsets and takeover. Never held across an await.
    pub fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The thread that moves its bytes.
    pub const fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Whether the peer knows takeovers and heads.
    pub const fn may_move(&self) -> bool {
        self.version >= VERSION_TAKEOVER
    }

    /// Sends a control frame between two frames.
    pub fn send(&self, frame: &[u8]) {
        let mut post = self.post();
        // A peer that asks for pongs and reads none gets no more than this.
        if post.control.len() < skans_link::MAX_CONTROL {
            post.control.extend_from_slice(frame);
        }
        drop(post);
        self.bell.notify_one();
    }

    /// Sends a head when it is its turn.
    pub fn tell(&self, head: Arc<[u8]>) {
        if self.may_move() {
            self.post().news = Some(head);
            self.bell.notify_one();
        }
    }

    /// Answers a head or entries.
    pub fn want(&self, seq: u64) {
        self.post().want = Some(seq);
        self.bell.notify_one();
    }

    /// Answers what was wanted.
    pub fn deny(&self, entries: Denials) {
        self.post().entries = Some(entries);
        self.bell.notify_one();
    }

    /// Takes note of a HEAD, WANT or DENY of the peer.
    pub fn hear(&self, frame: &Frame) -> Result<(), Error> {
        let mut post = self.post();
        post.gossip.on_frame(frame, Instant::now())?;
        match frame {
            Frame::Head(signed) => post.heard = Some(signed.clone()),
            // Its turn is over: there may be a newer head.
            Frame::Want(0) => self.bell.notify_one(),
            _ => {}
        }
        Ok(())
    }

    /// Returns when there is something to send.
    pub async fn rung(&self) {
        self.bell.notified().await;
    }

    /// The frames to send now.
    pub fn collect(&self) -> Vec<u8> {
        let mut post = self.post();
        let mut frames = std::mem::take(&mut post.control);
        if post.news.as_deref() == post.heard.as_deref() {
            post.news = None;
        }
        if post.news.is_some()
            && post.gossip.tell()
            && let Some(head) = post.news.take()
        {
            frames.extend(skans_link::head(&head));
        }
        if let Some(seq) = post.want.take()
            && post.gossip.ask(seq)
        {
            frames.extend(skans_link::want(seq));
        }
        if let Some(entries) = post.entries.take()
            && post.gossip.answer()
        {
            frames.extend(entries.encode());
        }
        frames
    }

    /// A connection of ours that the peer has welcomed: bytes go over it as soon as MOVED is out.
    pub fn go_over(&self, writer: LinkWriter, reading: Reading) {
        self.hand_over(Some(writer), Next::Reading(reading));
        self.bell.notify_one();
    }

    /// A connection of the peer's that we have welcomed: bytes go over it as soon as the peer's MOVED has come.
    pub fn offer(&self, number: u32, stream: Box<LinkStream>) {
        self.hand_over(None, Next::Whole(number, stream));
        self.arrived.notify_one();
    }

    fn hand_over(&self, writer: Option<LinkWriter>, next: Next) {
        let mut post = self.post();
        if !post.over {
            post.writer = writer;
            post.next = Some(next);
        }
    }

    /// MOVED, and where to write from then on, if it is time for it. To be asked between two frames.
    pub fn depart(&self) -> Option<(Moved, LinkWriter)> {
        let mut post = self.post();
        post.writer.as_ref()?;
        let moved = self.session().depart()?;
        Some((moved, post.writer.take()?))
    }

    /// The connection that the peer's MOVED speaks of. One of the peer's is brought to this thread, and is to be written
    /// to as well. Once it is in use, the session is to be told ([`Session::settle`]): until then no other can be proposed.
    ///
    /// # Errors
    /// [`Error::Internal`] if it was never handed over, or cannot be brought here.
    pub async fn next(&self) -> Result<Reading, Error> {
        let newest = self.session().connection();
        let wait = async {
            loop {
                if let Some(next) = self.take_next(newest) {
                    return next;
                }
                self.arrived.notified().await;
            }
        };
        let next = tokio::time::timeout(HANDED_OVER, wait)
            .await
            .map_err(|_| Error::TimedOut("the connection that a session moves to"))?;
        match next {
            Next::Reading(reading) => Ok(reading),
            Next::Whole(_, mut stream) => {
                stream
                    .settle_here()
                    .map_err(|error| Error::Internal(format!("cannot move a socket: {error}")))?;
                let (_, writer, reading) = stream.part();
                self.post().writer = Some(writer);
                self.bell.notify_one();
                Ok(reading)
            }
        }
    }

    fn take_next(&self, newest: u32) -> Option<Next> {
        let mut post = self.post();
        match &post.next {
            Some(Next::Whole(number, _)) if *number != newest => None,
            _ => post.next.take(),
        }
    }

    /// The peer has acknowledged something: there may be room for more.
    pub fn acknowledge(&self) {
        self.acknowledged.notify_one();
    }

    /// Returns when the peer has acknowledged something.
    pub async fn acknowledged(&self) {
        self.acknowledged.notified().await;
    }

    /// Nothing was sent or received for a while: who keeps memory for it may give it back.
    pub fn rest(&self) {
        self.post().rests = true;
        self.bell.notify_one();
        self.rested.notify_one();
    }

    /// Returns when memory for what is received may be given back.
    pub async fn rested(&self) {
        self.rested.notified().await;
    }

    /// Whether [`Live::rest`] was called since this was last asked.
    pub fn rests(&self) -> bool {
        std::mem::take(&mut self.post().rests)
    }

    /// Both ends of the connection that is read from, ours first.
    pub fn path(&self) -> Option<(SocketAddr, SocketAddr)> {
        self.post().path
    }

    /// The connection that is read from goes from here to there.
    pub fn reads_from(&self, path: Option<(SocketAddr, SocketAddr)>) {
        self.heard.store(true, Relaxed);
        self.post().path = path;
    }

    /// Asks the thread that moves the bytes to give its connection up: it leads nowhere, or the peer has another.
    pub fn give_up(&self) {
        self.post().gives_up = true;
        self.given_up.notify_one();
    }

    /// Returns when the connection is to be given up.
    pub async fn gives_up(&self) {
        loop {
            self.given_up.notified().await;
            if std::mem::take(&mut self.post().gives_up) {
                return;
            }
        }
    }

    /// The connection is gone, and nothing more is read from it. What waited to be sent over it is forgotten, but for the
    /// stream. Whether there may be another.
    pub fn lost(&self) -> bool {
        let mut post = self.post();
        post.control.clear();
        post.gossip = Gossip::default();
        (post.want, post.entries) = (None, None);
        (post.writer, post.next, post.rescue) = (None, None, None);
        post.gives_up = false;
        drop(post);
        // Last: from here on the peer may bring another.
        let resumable = self.session().lost();
        self.stopped.notify_waiters();
        resumable
    }

    /// Whether it has no connection.
    pub fn is_adrift(&self) -> bool {
        self.session().phase() == Phase::Adrift
    }

    /// Has the connection given up, if there is one; returns once nothing is read from it any more.
    pub async fn stop(&self) {
        loop {
            let mut stopped = std::pin::pin!(self.stopped.notified());
            stopped.as_mut().enable();
            if self.is_adrift() {
                return;
            }
            self.give_up();
            stopped.await;
        }
    }

    /// A connection of the peer's to go on with after a loss, which has been welcomed; the peer wants the stream from
    /// `offset` on.
    pub fn rescue(&self, number: u32, offset: u64, stream: Box<LinkStream>) {
        let mut post = self.post();
        if !post.over {
            post.rescue = Some((number, offset, stream));
        }
        drop(post);
        self.arrived.notify_one();
    }

    /// The connection that the peer brings after a loss, on this thread, and the offset that it wants.
    ///
    /// # Errors
    /// [`Error::Internal`] if it cannot be brought here.
    pub async fn rescued(&self) -> Result<(Box<LinkStream>, u64), Error> {
        loop {
            let newest = self.session().connection();
            let rescue = self.post().rescue.take();
            if let Some((number, offset, mut stream)) = rescue
                && number == newest
            {
                stream
                    .settle_here()
                    .map_err(|error| Error::Internal(format!("cannot move a socket: {error}")))?;
                return Ok((stream, offset));
            }
            tokio::select! {
                () = self.arrived.notified() => {}
                // A welcome was lost on its way, and the peer tries again.
                () = self.gives_up() => {
                    self.lost();
                }
            }
        }
    }

    /// The link is over: nothing that was handed over is of use.
    pub fn over(&self) {
        let mut post = self.post();
        post.over = true;
        (post.writer, post.next, post.rescue) = (None, None, None);
    }

    /// Whether it is.
    pub fn is_over(&self) -> bool {
        self.post().over
    }

    fn post(&self) -> MutexGuard<'_, Post> {
        self.post.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
pub mod testing {
    //! Sessions for tests that are about something else.

    use skans_link::{Hello, Welcome};

    use super::*;
    use crate::registry::Direction;

    /// What both ends of [`session`] have.
    pub const ID: [u8; 16] = [5; 16];

    /// The greeting of such a session, or of a takeover.
    pub fn hello(version: u8, takeover: u32, offset: u64) -> Hello {
        Hello {
            version_min: 1,
            version_max: version,
            session: ID,
            offset,
            tick_seconds: 60,
            clique: None,
            from: "b@there".into(),
            to: "a@here".into(),
            takeover,
            resume: false,
            service: String::new(),
        }
    }

    /// The answer.
    pub fn welcome(version: u8, offset: u64) -> Welcome {
        Welcome {
            version,
            session: ID,
            offset,
            tick_seconds: 60,
            clique: None,
        }
    }

    /// The same of one to a service.
    pub fn of_service(direction: Direction) -> Session {
        let mut session = match direction {
            Direction::Outbound => Session::initiator(ID).for_service(),
            Direction::Inbound => Session::responder(),
        };
        let greeting = match direction {
            Direction::Outbound => Frame::Welcome(welcome(skans_link::VERSION_MAX, 0)),
            Direction::Inbound => Frame::Hello(Hello {
                service: "postgres".into(),
                ..hello(skans_link::VERSION_MAX, 0, 0)
            }),
        };
        session.on_frame(&greeting).unwrap();
        session.start_streaming();
        session
    }

    /// One end of a session that streams.
    pub fn session(direction: Direction, version: u8) -> Session {
        let mut session = match direction {
            Direction::Outbound => Session::initiator(ID),
            Direction::Inbound => Session::responder(),
        };
        let greeting = match direction {
            Direction::Outbound => Frame::Welcome(welcome(version, 0)),
            Direction::Inbound => Frame::Hello(hello(version, 0, 0)),
        };
        session.on_frame(&greeting).unwrap();
        session.start_streaming();
        session
    }
}
