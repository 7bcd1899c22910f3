//! What agents hand on to each other over links, so that cutting one agent's own channel hides nothing: the newest signed
//! head, and deny entries (docs/decisions/0012). Bytes only: whoever listens verifies them.
//!
//! For the listener: [`Gossip::listen`] gives what peers say. A [`Said::Head`] is to be answered by [`Link::want`] with the
//! first entry that is missing, or 0; a [`Said::Want`] by [`Link::deny`] with entries from there on (none is an answer
//! too); [`Said::Entries`] by [`Link::want`] again. What does not verify ends the link: [`Link::end`] with
//! [`Reason::Unverifiable`](skans_link::Reason::Unverifiable). A head that has been verified and is newer is handed on by
//! [`broadcast`].

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use skans_link::{Denials, Frame};
use tokio::sync::mpsc;

use crate::agent::Agent;
use crate::registry::{Link, Registry};

/// Heads are sent to all links this often at most; in between, only the newest is kept. Far below what a peer takes (8 a
/// second), far above what is needed (one every 10 s, and one for each change).
const PACE: Duration = Duration::from_millis(200);

/// What waits for the listener. Of each link at most two things wait, for each has to be answered before more may come; so
/// a listener that is this far behind stands still.
const INBOX: usize = 4096;

/// What a peer said.
#[derive(Debug)]
pub struct Heard {
    /// By which link.
    pub link: Arc<Link>,
    /// What.
    pub said: Said,
}

/// What peers say.
#[derive(Debug, Eq, PartialEq)]
pub enum Said {
    /// A signed head, not verified. To be answered by [`Link::want`].
    Head(Vec<u8>),
    /// Wants the deny stream from this entry on. To be answered by [`Link::deny`].
    Want(u64),
    /// Entries of the deny stream, not verified. To be answered by [`Link::want`].
    Entries(Denials),
}

/// Both ways.
#[derive(Debug)]
pub struct Gossip {
    outbox: Mutex<Outbox>,
    inbox: mpsc::Sender<Heard>,
    unread: Mutex<Option<mpsc::Receiver<Heard>>>,
    listening: AtomicBool,
}

#[derive(Debug, Default)]
struct Outbox {
    newest: Option<Arc<[u8]>>,
    /// When it, or one before it, was sent.
    sent: Option<Instant>,
    /// It was not sent yet.
    waiting: bool,
}

impl Default for Gossip {
    fn default() -> Self {
        let (inbox, unread) = mpsc::channel(INBOX);
        Self {
            outbox: Mutex::default(),
            inbox,
            unread: Mutex::new(Some(unread)),
            listening: AtomicBool::new(false),
        }
    }
}

/// Hands a verified head on to all links, present and future. At most [`skans_link::MAX_HEAD`] bytes.
pub fn broadcast(agent: &Agent, signed: Arc<[u8]>) {
    agent.gossip.spread(&agent.registry, signed, Instant::now());
}

impl Gossip {
    /// What peers say from now on; `None` for a second listener. Until somebody listens, heads are answered by "nothing
    /// wanted", and questions by no entries.
    #[must_use]
    pub fn listen(&self) -> Option<mpsc::Receiver<Heard>> {
        let unread = self
            .unread
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        self.listening.fetch_or(unread.is_some(), Relaxed);
        unread
    }

    /// A frame came. Another trust domain has heads of its own: what is revoked there, and here, is nobody else's affair.
    pub fn hear(&self, link: &Arc<Link>, frame: Frame) {
        let said = match frame {
            Frame::Head(signed) => Said::Head(signed),
            // The end of a turn.
            Frame::Want(0) => return,
            Frame::Want(seq) => Said::Want(seq),
            Frame::Deny(entries) => Said::Entries(entries),
            _ => return,
        };
        let heard = Heard {
            link: Arc::clone(link),
            said,
        };
        let left = if self.listening.load(Relaxed) && !link.foreign {
            // Nobody waits for the listener: not the link, and not those beside it.
            self.inbox
                .try_send(heard)
                .err()
                .map(|full| full.into_inner())
        } else {
            Some(heard)
        };
        match left.map(|heard| heard.said) {
            None => {}
            Some(Said::Want(_)) => link.deny(Denials::default()),
            Some(Said::Head(_) | Said::Entries(_)) => link.want(0),
        }
    }

    /// A link is up: it gets the newest head.
    pub fn greet(&self, link: &Link) {
        let newest = self.outbox().newest.clone();
        if let Some(head) = newest.filter(|_| !link.foreign) {
            link.tell(head);
        }
    }

    fn spread(&self, registry: &Registry, signed: Arc<[u8]>, now: Instant) {
        if signed.len() > skans_link::MAX_HEAD {
            tracing::error!(
                bytes = signed.len(),
                "a head that is too long to be handed on"
            );
            return;
        }
        let mut outbox = self.outbox();
        outbox.newest = Some(signed);
        outbox.waiting = true;
        drop(outbox);
        self.tick(registry, now);
    }

    /// Sends what waits, if it is time for it.
    pub fn tick(&self, registry: &Registry, now: Instant) {
        let mut outbox = self.outbox();
        let early = outbox
            .sent
            .is_some_and(|sent| now.saturating_duration_since(sent) < PACE);
        if !outbox.waiting || early {
            return;
        }
        outbox.waiting = false;
        outbox.sent = Some(now);
        let newest = outbox.newest.clone();
        drop(outbox);
        if let Some(head) = newest {
            for link in registry.snapshot().iter().filter(|link| !link.foreign) {
                link.tell(Arc::clone(&head));
            }
        }
    }

    fn outbox(&self) -> std::sync::MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
