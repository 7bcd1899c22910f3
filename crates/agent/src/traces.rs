//! Traces (docs/decisions/0021): links, and ways through a gateway, told to a collector as spans of OTLP. The trace of a link is its
//! session, so that what both agents and the gateways between them tell stands together, and beside their events.
//!
//! What moves bytes knows nothing of this: spans are made of counters that are there anyway, when a link comes up, ends, and from time to
//! time in between. What is told of a link is in `link`, of a way in `way`, how it gets away in `export`.

mod export;
mod follow;
mod link;
mod queue;
mod span;
mod steps;
mod way;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::agent::Agent;
use crate::config::Config;
use crate::restraint::Restraint;
use crate::{Error, enforce, keeper};
use export::Exporter;
use follow::Followed;
use queue::Queue;
use skans_otlp::wire::{Resource, Span};
use skans_otlp::{Post, Signal};

pub use follow::Trace;
pub use link::Refused;
pub use steps::{Step, Steps};
pub use way::Asked;

/// What is wrong with `traces.otlp`.
fn unusable(error: skans_otlp::Error) -> Error {
    match error {
        skans_otlp::Error::Field(field, why) => Error::config(&format!("traces.otlp.{field}"), why),
        skans_otlp::Error::File(error) => Error::File(error),
    }
}

/// How long what waits may take to arrive when the process ends.
const LAST_SPANS: Duration = Duration::from_secs(1);

/// The traces of one process; nothing happens where nobody collects.
#[derive(Debug)]
pub struct Traces {
    on: Option<Arc<On>>,
}

/// What there is where somebody collects.
#[derive(Debug)]
struct On {
    queue: Arc<Queue>,
    followed: Mutex<Following>,
    /// Set-ups that come to nothing are anybody's to cause.
    restraint: Restraint,
    interval: Duration,
    /// Until it runs.
    exporter: Mutex<Option<Exporter>>,
    closing: CancellationToken,
    closed: CancellationToken,
}

/// What goes on, by a number of ours.
#[derive(Debug, Default)]
struct Following {
    next: u64,
    all: HashMap<u64, Arc<Mutex<Followed>>>,
}

impl Traces {
    /// Reads what it takes to reach the collector; sends nothing yet.
    ///
    /// # Errors
    /// [`Error::Config`] or [`Error::File`] for what cannot be used.
    pub fn open(config: &Config) -> Result<Self, Error> {
        let Some(otlp) = &config.traces.otlp else {
            return Ok(Self { on: None });
        };
        let queue = Arc::<Queue>::default();
        let (closing, closed) = (CancellationToken::new(), CancellationToken::new());
        let exporter = Exporter {
            post: Post::open(otlp, Signal::Traces).map_err(unusable)?,
            resource: resource(config),
            queue: Arc::clone(&queue),
            closing: closing.clone(),
            closed: closed.clone(),
        };
        Ok(Self {
            on: Some(Arc::new(On {
                queue,
                followed: Mutex::default(),
                restraint: Restraint::default(),
                interval: config.traces.interval,
                exporter: Mutex::new(Some(exporter)),
                closing,
                closed,
            })),
        })
    }

    /// Sends, and tells of what goes on, for as long as the process runs.
    pub async fn keep_telling(&self, agent: &Agent) {
        let Some(on) = &self.on else {
            return;
        };
        let exporter = { on.exporter.lock().unwrap_or_else(PoisonError::into_inner) }.take();
        if let Some(exporter) = exporter {
            tokio::spawn(exporter.run());
        }
        // A change of the policy, and a fresh connection, are noted to the second.
        let often = (on.interval / 10).min(Duration::from_secs(1));
        let mut often = tokio::time::interval(often);
        loop {
            often.tick().await;
            on.look(now(), enforce::version(&agent.policies));
        }
    }

    /// Waits until the last is told, and has arrived; a second for each.
    pub async fn finish(&self, tasks: &TaskTracker) {
        if let Some(on) = &self.on {
            // Ways of a gateway have just been told to end.
            let _ = tokio::time::timeout(LAST_SPANS, tasks.wait()).await;
            on.closing.cancel();
            if tokio::time::timeout(LAST_SPANS, on.closed.cancelled())
                .await
                .is_err()
            {
                tracing::warn!("the last traces did not arrive in time");
            }
        }
    }

    /// How many spans the collector has, and how many nobody will have; `None` where nobody collects.
    #[must_use]
    pub fn counts(&self) -> Option<(u64, u64)> {
        self.on.as_ref().map(|on| on.queue.counts())
    }
}

impl On {
    /// Tells of what has gone on for long enough.
    fn look(&self, now: u64, version: (u64, u64)) {
        // Taken out first: whoever ends a link waits for no more than this one.
        let all: Vec<_> = { self.following() }.all.values().cloned().collect();
        for followed in all {
            let mut followed = followed.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(span) = followed.look(now, version, || self.pause()) {
                self.queue.put(&span);
            }
        }
    }

    /// From one telling to the next, half of it at least: links that came up together are not told together.
    fn pause(&self) -> u64 {
        nanos(self.interval.mul_f64(keeper::chance().mul_add(0.5, 0.5)))
    }

    /// Tells of a set-up that came to nothing, unless there are too many of the kind.
    fn refuse(&self, reason: &'static str, span: impl FnOnce() -> Result<Span, Error>) {
        match self.restraint.admit(reason, Instant::now()) {
            Some(_) => self.put(span()),
            None => self.queue.lose(1),
        }
    }

    fn put(&self, span: Result<Span, Error>) {
        match span {
            Ok(span) => self.queue.put(&span),
            // No random number for it.
            Err(_) => self.queue.lose(1),
        }
    }

    fn following(&self) -> std::sync::MutexGuard<'_, Following> {
        self.followed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds since 1970.
#[must_use]
pub fn now() -> u64 {
    nanos(keeper::now())
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

/// Who tells (OpenTelemetry semantic conventions, "Service").
fn resource(config: &Config) -> Resource {
    let mut attributes = vec![
        span::text("service.version", env!("CARGO_PKG_VERSION")),
        span::text("skans.trust_domain", &config.trust_domain),
        span::text("skans.cluster", &config.cluster),
    ];
    match &config.gateway {
        None => attributes.push(span::text("service.name", "skans-agent")),
        Some(gateway) => {
            attributes.push(span::text("service.name", "skans-gateway"));
            attributes.push(span::text("skans.gateway", &gateway.name));
        }
    }
    Resource { attributes }
}

#[cfg(test)]
mod tests;
