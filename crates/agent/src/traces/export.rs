//! Brings what waits to the collector, on a task of its own. One that is gone, slow or hostile costs a request under way and what
//! waits behind it, no more, and holds nobody up.

use std::sync::Arc;
use std::time::Duration;

use hyper::body::Bytes;
use prost::Message as _;
use tokio_util::sync::CancellationToken;

use super::queue::Queue;
use skans_otlp::Post;
use skans_otlp::wire::{
    ExportTraceServiceRequest, InstrumentationScope, Resource, ResourceSpans, ScopeSpans,
};

/// How long spans wait for others. The OpenTelemetry SDKs wait 5 s: a second still makes one request of a thousand links, and shows a
/// link to whoever looks for it now.
const GATHER: Duration = Duration::from_secs(1);
/// Before a request is tried again. One that fails three times is dropped: what waits behind it is as good, and some of it would be
/// lost for it.
const PAUSES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(4)];

/// Sends spans of one process to one collector.
#[derive(Debug)]
pub struct Exporter {
    /// Who collects.
    pub post: Post,
    /// Who sends.
    pub resource: Resource,
    /// What waits.
    pub queue: Arc<Queue>,
    /// Nothing more will come: what waits is tried once.
    pub closing: CancellationToken,
    /// It was.
    pub closed: CancellationToken,
}

impl Exporter {
    /// Sends until nothing more will come.
    pub async fn run(self) {
        let mut reached = true;
        loop {
            let last = tokio::select! {
                () = self.closing.cancelled() => true,
                () = tokio::time::sleep(GATHER) => false,
            };
            loop {
                let batch = self.queue.take();
                if batch.is_empty() {
                    break;
                }
                let arrived = self.deliver(batch, reached).await;
                if last && !arrived {
                    // Others would not arrive either, and the process waits for this.
                    break;
                }
                reached = arrived;
            }
            if last {
                break;
            }
        }
        self.closed.cancel();
    }

    /// Whether one request has arrived, now or on another attempt. `reached`: whether the one before has.
    async fn deliver(&self, spans: Vec<Vec<u8>>, reached: bool) -> bool {
        let count = spans.len() as u64;
        let body = self.request(spans);
        let mut pauses = PAUSES.iter();
        let failure = loop {
            match self.post.send(body.clone()).await {
                Ok(rejected) => {
                    let rejected = rejected.min(count);
                    self.queue.sent(count - rejected);
                    self.queue.lose(rejected);
                    if !reached {
                        tracing::info!(collector = %self.post.shown(), "traces arrive again");
                    }
                    return true;
                }
                Err(failure) => {
                    let pause = pauses.next().filter(|_| failure.retry);
                    let Some(pause) = pause.filter(|_| !self.closing.is_cancelled()) else {
                        break failure;
                    };
                    tokio::select! {
                        () = tokio::time::sleep(*pause) => {}
                        () = self.closing.cancelled() => {}
                    }
                }
            }
        };
        self.queue.lose(count);
        if reached {
            // Once, not for each request: metrics count the rest.
            tracing::warn!(collector = %self.post.shown(), spans = count, "traces do not arrive, and are dropped: {}", failure.why);
        }
        false
    }

    fn request(&self, spans: Vec<Vec<u8>>) -> Bytes {
        let scope = InstrumentationScope {
            name: "skans".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(self.resource.clone()),
                scope_spans: vec![ScopeSpans {
                    scope: Some(scope),
                    spans,
                }],
            }],
        };
        request.encode_to_vec().into()
    }
}
