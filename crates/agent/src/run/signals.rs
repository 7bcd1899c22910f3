//! What tells an agent to stop or to read its configuration again.

use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Lifetime;
use crate::Error;

/// What a signal asks for.
pub enum Event {
    Reload,
    Stop,
}

/// The signals that an agent listens to.
pub struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    /// Listens from here on.
    pub fn new() -> Result<Self, Error> {
        let on = |kind| {
            signal(kind).map_err(|error| Error::Internal(format!("cannot handle signals: {error}")))
        };
        Ok(Self {
            hangup: on(SignalKind::hangup())?,
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    /// The next signal that means to stop: a reload that comes while the agent drains is too late.
    pub async fn stop_again(&mut self) {
        while let Event::Reload = self.next(Lifetime::Signals).await {}
    }

    /// What is asked for next.
    pub async fn next(&mut self, lifetime: Lifetime) -> Event {
        tokio::select! {
            _ = self.hangup.recv() => Event::Reload,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.terminate.recv() => Event::Stop,
            () = end_of_stdin(lifetime) => Event::Stop,
        }
    }
}

async fn end_of_stdin(lifetime: Lifetime) {
    use tokio::io::AsyncReadExt;
    if lifetime == Lifetime::Signals {
        std::future::pending::<()>().await;
    }
    let mut sink = [0; 64];
    while matches!(tokio::io::stdin().read(&mut sink).await, Ok(1..)) {}
}
