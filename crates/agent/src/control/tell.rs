//! What happened here, told to the control plane: events from the spool, in order, until it says that it has them. A control plane that is away or
//! has no room costs nothing but the disk.

use std::sync::Arc;
use std::time::Duration;

use skans_api::v1;
use skans_api::v1::agents_client::AgentsClient;
use skans_host::spool::{Batch, Spool, SpoolId};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::Control;
use crate::Error;
use crate::agent::Agent;
use crate::events::Kept;
use crate::renewal::Chance;

/// Most events of one request, and most bytes of them: what the contract allows.
const MOST: usize = 256;
const MOST_BYTES: usize = 192 * 1024;
/// For an answer. It may be late on purpose, when everybody tells at once.
const PATIENCE: Duration = Duration::from_secs(120);
/// The first wait after a failure, and the longest: nobody is in a hurry but who fills the disk.
const WAIT: Duration = Duration::from_millis(500);
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// The same where the control plane is of a release that takes no events.
const UNKNOWN_WAIT: Duration = Duration::from_secs(300);
/// Between two looks whether another process of this agent has left something.
const LOOK: Duration = Duration::from_secs(10);

/// Tells until the agent stops.
pub async fn keep_telling(agent: Arc<Agent>, control: Arc<Control>) {
    let Some(kept) = agent.events.kept().cloned() else {
        return;
    };
    let stopping = agent.stopping.clone();
    tokio::select! {
        () = again_and_again(&kept, &control) => {}
        () = stopping.cancelled() => {}
    }
}

async fn again_and_again(kept: &Arc<Kept>, control: &Control) {
    let mut wait = WAIT;
    let mut renewed = control.sessions.renewed();
    loop {
        if control.own().is_none() {
            if renewed.changed().await.is_err() {
                return;
            }
            continue;
        }
        let mut heard = false;
        let longest = match tell(kept, control, &mut heard).await {
            // The agent has a new certificate: the same again with that.
            Ok(()) => continue,
            Err(error) => {
                tracing::debug!(
                    reason = error.label(),
                    "events are not told to the control plane: {error}"
                );
                if error.label() == "unimplemented" {
                    UNKNOWN_WAIT
                } else {
                    LONGEST_WAIT
                }
            }
        };
        wait = if heard { WAIT } else { (wait * 2).min(longest) };
        tokio::time::sleep(wait / 2 + Chance::draw().of(wait / 2)).await;
    }
}

/// One stream, until it is lost or the agent has another certificate.
async fn tell(kept: &Arc<Kept>, control: &Control, heard: &mut bool) -> Result<(), Error> {
    let mut renewed = control.sessions.renewed();
    renewed.mark_unchanged();
    let (channel, address) = control.sessions.channel().await?;
    let (say, said) = mpsc::channel(1);
    let mut client = AgentsClient::new(channel);
    let replies = match client.tell(ReceiverStream::new(said)).await {
        Ok(replies) => replies.into_inner(),
        // That it does not know this says nothing about the rest.
        Err(status) => return Err(super::session::refusal(&address, &status)),
    };
    let mut stream = Stream {
        say,
        replies,
        address,
        heard,
    };
    let telling = async {
        loop {
            for rest in blocking(kept, |kept| kept.remains()).await? {
                stream.rest(kept, rest).await?;
            }
            stream.own(kept).await?;
        }
    };
    tokio::select! {
        over = telling => over,
        _ = renewed.changed() => Ok(()),
    }
}

struct Stream<'a> {
    say: mpsc::Sender<v1::TellRequest>,
    replies: Streaming<v1::TellReply>,
    address: String,
    heard: &'a mut bool,
}

impl Stream<'_> {
    /// What another process has left: all of it, and then it goes.
    async fn rest(&mut self, kept: &Arc<Kept>, rest: Spool) -> Result<(), Error> {
        let id = *rest.id();
        let mut taken = self.ask(&id, Batch::default(), 0).await?;
        let mut rest = rest;
        loop {
            let (batch, back) = apart(move || {
                rest.taken(taken);
                let batch = rest.read(taken.saturating_add(1), MOST, MOST_BYTES);
                (batch, rest)
            })
            .await?;
            rest = back;
            let batch = batch?;
            if batch.bodies.is_empty() {
                return blocking(kept, move |kept| kept.remove(rest)).await;
            }
            taken = self.ask(&id, batch, taken).await?;
        }
    }

    /// The spool of this process, for a while.
    async fn own(&mut self, kept: &Arc<Kept>) -> Result<(), Error> {
        let look = tokio::time::Instant::now() + LOOK;
        let Some(id) = kept.id() else {
            tokio::time::sleep_until(look).await;
            return Ok(());
        };
        let mut taken = self.ask(&id, Batch::default(), 0).await?;
        loop {
            let batch = blocking(kept, move |kept| {
                kept.taken(taken)?;
                kept.read(taken.saturating_add(1), MOST, MOST_BYTES)
            })
            .await?;
            if kept.id() != Some(id) {
                return Ok(());
            }
            if batch.bodies.is_empty() {
                tokio::select! {
                    () = kept.some.notified() => continue,
                    () = tokio::time::sleep_until(look) => return Ok(()),
                }
            }
            taken = self.ask(&id, batch, taken).await?;
        }
    }

    /// Tells, and gives up to where it was taken. Nothing to tell asks.
    async fn ask(&mut self, spool: &SpoolId, batch: Batch, taken: u64) -> Result<u64, Error> {
        let asked = batch.bodies.is_empty();
        let first = batch.first.max(1);
        let request = v1::TellRequest {
            spool: spool.to_vec(),
            first,
            gap: !asked && first > taken.saturating_add(1),
            events: batch.bodies,
        };
        let lost = |problem: &str| Error::Control {
            address: self.address.clone(),
            problem: problem.to_owned(),
            retry: true,
            label: "lost",
        };
        if self.say.send(request).await.is_err() {
            return Err(lost("it ended the stream of events"));
        }
        let reply = match tokio::time::timeout(PATIENCE, self.replies.message()).await {
            Ok(Ok(Some(reply))) => reply,
            Ok(Ok(None)) => return Err(lost("it ended the stream of events")),
            Ok(Err(status)) => return Err(super::session::refusal(&self.address, &status)),
            Err(_) => return Err(lost("no answer to events")),
        };
        if !asked && reply.taken < first {
            return Err(lost("it takes no events"));
        }
        *self.heard = true;
        Ok(reply.taken)
    }
}

/// Where waiting for a disk holds up nobody.
async fn blocking<T: Send + 'static>(
    kept: &Arc<Kept>,
    work: impl FnOnce(&Kept) -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let kept = Arc::clone(kept);
    apart(move || work(&kept)).await?
}

async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Error::Internal(format!("reading events: {error}")))
}
