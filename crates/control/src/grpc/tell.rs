//! `Agents/Tell`: agents' events, into the table of all events. What is told again is skipped, what comes after a gap is not taken unless
//! the agent says that there is nothing in between, and nothing is answered before it is durable.
//!
//! Whoever tells more than there is room for is answered later, and keeps it until then: nothing is dropped here.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde_json::json;
use skans_api::v1;
use skans_store::bounds::MAX_SPOOLS;
use skans_store::events::{NewEvent, append};
use skans_store::spools::{self, SpoolId};
use skans_store::{Tx, agents};
use tokio::sync::mpsc;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::agent_event::{self, Source, Told};
use crate::clock;
use crate::error::Error;
use crate::event::{self, Kind};
use crate::gate::Permit;
use crate::hex;
use crate::problem;
use crate::state::Control;

/// Events of one agent a second, and five times as many at once. A busy agent tells some dozen in ten seconds, since denials are
/// counted; this is for one that comes back with a full spool.
pub(crate) const EVENTS_OF_ONE: u32 = 2000;
/// The same of all agents: half of what a store takes, so that issuing and revoking have the other half.
pub(crate) const EVENTS_OF_ALL: u32 = 10_000;
/// Requests that are being written at once, each of at most [`MOST_BYTES`].
pub(crate) const INTAKE: usize = 16;
/// Most events of one request.
const MOST: usize = 256;
/// Most bytes of the events of one request.
const MOST_BYTES: usize = 192 * 1024;
/// Streams of one agent at once: its own, and that of the process whose place it has taken.
const STREAMS: usize = 2;
/// Between two looks whether there is room.
const LOOK: Duration = Duration::from_millis(50);
/// For how long an agent may leave an answer unread.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a stream of replies is.
pub(super) type Replies = Pin<Box<dyn Stream<Item = Result<v1::TellReply, Status>> + Send>>;

/// Answers the call.
pub(super) async fn tell(
    control: &Arc<Control>,
    permit: &Permit,
    said: Streaming<v1::TellRequest>,
) -> Result<Replies, Error> {
    let by = permit.within_home()?;
    let agent = permit.caller.agent().unwrap_or_default().to_owned();
    let id = agent.clone();
    let known = control.store.read(move |tx| agents::get(tx, &id)).await?;
    if known.is_none() {
        return Err(Error::Unauthenticated(format!(
            "{} is not enrolled here: enrol again",
            by.actor
        )));
    }
    let place = Place::take(control, &agent)?;
    let (sender, receiver) = mpsc::channel(1);
    let teller = Teller {
        control: Arc::clone(control),
        actor: by.actor,
        agent,
        sender,
        _place: place,
    };
    tokio::spawn(teller.run(said));
    Ok(Box::pin(ReceiverStream::new(receiver)))
}

struct Teller {
    control: Arc<Control>,
    /// Its SPIFFE ID.
    actor: String,
    agent: String,
    sender: mpsc::Sender<Result<v1::TellReply, Status>>,
    _place: Place,
}

impl Teller {
    async fn run(self, mut said: Streaming<v1::TellRequest>) {
        let stopping = self.control.stopping.clone();
        loop {
            let message = tokio::select! {
                message = said.message() => message,
                () = self.sender.closed() => return,
                () = stopping.cancelled() => return,
            };
            let Ok(Some(request)) = message else { return };
            let taken = tokio::select! {
                taken = self.take(request) => taken,
                () = self.sender.closed() => return,
                () = stopping.cancelled() => return,
            };
            let (reply, over) = match taken {
                Ok(taken) => (Ok(v1::TellReply { taken }), false),
                // A full disk, say: the agent keeps what it has, and comes again.
                Err(error) => {
                    tracing::debug!(agent = self.agent, "events not taken: {error}");
                    (Err(problem::status(&error)), true)
                }
            };
            if self.sender.send_timeout(reply, PATIENCE).await.is_err() || over {
                return;
            }
        }
    }

    /// Takes what is new, and gives up to where everything is in the log.
    async fn take(&self, request: v1::TellRequest) -> Result<u64, Error> {
        let batch = Batch::read(request)?;
        let agent = self.agent.clone();
        if batch.events.is_empty() {
            let known = self
                .control
                .store
                .read(move |tx| spools::taken(tx, &agent, &batch.spool));
            return Ok(known.await?.unwrap_or(0));
        }
        self.room(batch.events.len()).await;
        let _turn = self.control.intake.acquire().await;
        let (actor, time_ms) = (self.actor.clone(), clock::milliseconds());
        let told = batch.read_events(&actor, time_ms);
        let (spool, first, gap) = (batch.spool, batch.first, batch.gap);
        let work = move |tx: &mut Tx<'_>| -> skans_store::Result<Outcome> {
            let from = spools::taken(tx, &agent, &spool)?;
            let highest = from.unwrap_or(0);
            let mut outcome = Outcome {
                taken: highest,
                ..Outcome::default()
            };
            let next = highest.saturating_add(1);
            if first > next {
                if !gap {
                    return Ok(outcome);
                }
                outcome.missing = first - next;
                let details = json!({
                    "spool": hex::of(&spool), "first": next, "last": first - 1, "count": outcome.missing,
                });
                event::tell(tx, Kind::AgentGap, &actor, "", &details)?;
            }
            for (number, one) in (first..).zip(&told) {
                if number > highest {
                    append(tx, &one.event(&actor, time_ms))?;
                    outcome.new += 1;
                    outcome.taken = number;
                } else {
                    outcome.again += 1;
                }
            }
            if outcome.new > 0 {
                spools::advance(tx, (&agent, &spool), from, outcome.taken, clock::seconds())?;
            }
            Ok(outcome)
        };
        let outcome = self.control.store.write(work).await?;
        let metrics = &self.control.metrics;
        metrics.agent_events("taken", outcome.new);
        metrics.agent_events("again", outcome.again);
        metrics.agent_events("missing", outcome.missing);
        Ok(outcome.taken)
    }

    /// Waits until so many more may be told. One who goes away meanwhile is not waited for.
    async fn room(&self, count: usize) {
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        let control = &self.control;
        while !control
            .told_events
            .take(self.agent.clone(), count, Instant::now())
        {
            tokio::time::sleep(LOOK).await;
        }
        while !control.all_told_events.take((), count, Instant::now()) {
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Default)]
struct Outcome {
    taken: u64,
    new: u64,
    again: u64,
    missing: u64,
}

/// A request within its bounds.
struct Batch {
    spool: SpoolId,
    first: u64,
    events: Vec<Vec<u8>>,
    gap: bool,
}

impl Batch {
    fn read(request: v1::TellRequest) -> Result<Self, Error> {
        let spool = SpoolId::try_from(request.spool.as_slice()).map_err(|_| {
            let found = request.spool.len();
            Error::Invalid(format!("spool: found {found} bytes, wanted 16"))
        })?;
        let count = request.events.len();
        if count > MOST {
            return Err(Error::Invalid(format!(
                "events: found {count}, wanted at most {MOST}"
            )));
        }
        let bytes: usize = request.events.iter().map(Vec::len).sum();
        if bytes > MOST_BYTES {
            return Err(Error::Invalid(format!(
                "events: found {bytes} bytes, wanted at most {MOST_BYTES}"
            )));
        }
        let last = request.first.checked_add(count as u64);
        if request.first == 0 || last.is_none_or(|last| i64::try_from(last).is_err()) {
            return Err(Error::Invalid(format!(
                "first: found {}, wanted 1 to {}",
                request.first,
                i64::MAX
            )));
        }
        Ok(Self {
            spool,
            first: request.first,
            events: request.events,
            gap: request.gap,
        })
    }

    fn read_events(&self, reporter: &str, time_ms: u64) -> Vec<Told> {
        let numbers = self.first..;
        let all = self.events.iter().zip(numbers);
        all.map(|(event, number)| {
            let source = Source {
                reporter,
                spool: &self.spool,
                number,
                time_ms,
            };
            agent_event::read(event, source)
        })
        .collect()
    }
}

impl Told {
    fn event<'a>(&'a self, actor: &'a str, time_ms: u64) -> NewEvent<'a> {
        NewEvent {
            time_ms,
            kind: self.kind,
            actor,
            object: &self.object,
            body: &self.body,
        }
    }
}

/// A stream of an agent.
struct Place {
    control: Arc<Control>,
    agent: String,
}

impl Place {
    fn take(control: &Arc<Control>, agent: &str) -> Result<Self, Error> {
        let mut tellers = control
            .tellers
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let open = tellers.entry(agent.to_owned()).or_default();
        if *open >= STREAMS {
            return Err(Error::TooMany("streams of events of this agent"));
        }
        *open += 1;
        drop(tellers);
        Ok(Self {
            control: Arc::clone(control),
            agent: agent.to_owned(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let tellers = self.control.tellers.lock();
        let mut tellers = tellers.unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = tellers.get_mut(&self.agent) {
            *open = open.saturating_sub(1);
            if *open == 0 {
                tellers.remove(&self.agent);
            }
        }
    }
}

// What one agent may have open is what it may have spools: a process that goes, and the one that comes.
const _: () = assert!(STREAMS <= MAX_SPOOLS);
