//! The moment at which this agent stops in order to be replaced by another process: nothing is accepted, nothing administered,
//! and each link and registration hands in what it knows. It either goes on afterwards, or is over. What is asked and sent is
//! said in `handover`.

use std::os::fd::OwnedFd;
use std::pin::pin;

use skans_handover::Message;
use tokio::sync::{mpsc, watch};

/// What one task knows, and the sockets that belong to it.
#[derive(Debug)]
pub struct Piece {
    /// To be sent as it is.
    pub message: Message,
    /// Beside it.
    pub sockets: Vec<OwnedFd>,
}

/// Where tasks hand in what they know.
pub type Collector = mpsc::UnboundedSender<Piece>;

#[derive(Clone, Debug, Default)]
enum Phase {
    /// All goes on.
    #[default]
    Off,
    /// All stands still.
    On(Collector),
    /// Another process goes on with it.
    Over,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Brake(watch::Sender<Phase>);

impl Brake {
    /// Stops everything that is held by this; what is handed in comes from here.
    pub fn pull(&self) -> mpsc::UnboundedReceiver<Piece> {
        let (collector, pieces) = mpsc::unbounded_channel();
        self.0.send_replace(Phase::On(collector));
        pieces
    }

    /// All goes on as before.
    pub fn release(&self) {
        self.0.send_replace(Phase::Off);
    }

    /// All of it is another process's.
    pub fn finish(&self) {
        self.0.send_replace(Phase::Over);
    }

    /// Whether all of it is another process's.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(*self.0.borrow(), Phase::Over)
    }

    /// Where to hand in what is known, if it is time for it.
    #[must_use]
    pub fn collector(&self) -> Option<Collector> {
        match &*self.0.borrow() {
            Phase::On(collector) => Some(collector.clone()),
            Phase::Off | Phase::Over => None,
        }
    }

    /// Returns as soon as nothing new may begin.
    pub async fn pulled(&self) {
        self.until(|phase| !matches!(phase, Phase::Off)).await;
    }

    /// Returns when it is decided how it goes on: whether it is over.
    pub async fn settled(&self) -> bool {
        self.until(|phase| !matches!(phase, Phase::On(_))).await;
        self.is_over()
    }

    /// Returns once it is over.
    pub async fn over(&self) {
        self.until(|phase| matches!(phase, Phase::Over)).await;
    }

    /// Does a task wherever nothing is held up; to its end, or until all is over.
    pub async fn hold<T>(&self, task: impl Future<Output = T>) -> Option<T> {
        let mut task = pin!(task);
        loop {
            tokio::select! {
                biased;
                // First: what stands still is not even looked at.
                () = self.pulled() => if self.settled().await {
                    return None;
                },
                done = &mut task => return Some(done),
            }
        }
    }

    async fn until(&self, fits: impl FnMut(&Phase) -> bool) {
        // The sender is here.
        let _ = self.0.subscribe().wait_for(fits).await;
    }
}

#[cfg(test)]
mod tests;
