//! What is told of a way through a gateway: that it was asked for and what became of that, at once, and then what it carries (`follow`).

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use skans_link::{Ask, SessionId};

use super::follow::Subject;
use super::span::{self, SpanId};
use super::{Trace, Traces, now};
use crate::registry::Direction;
use crate::{Error, random};
use skans_otlp::wire::{KeyValue, Span, SpanKind};

/// A way that was asked for.
#[derive(Debug)]
pub struct Asked<'a> {
    /// What was asked.
    pub ask: &'a Ask,
    /// Who asked: a node of this cluster, or a gateway of another.
    pub by: String,
    /// When.
    pub began: u64,
}

/// A way that is open, as it is followed.
#[derive(Debug)]
pub struct Carried {
    pub(super) session: SessionId,
    pub(super) id: SpanId,
    pub(super) who: Vec<KeyValue>,
    /// Bytes from who asked to where the way leads, and back.
    pub bytes: [AtomicU64; 2],
}

/// A way that is open.
#[derive(Debug)]
pub struct Way {
    /// What it carries.
    pub carried: Arc<Carried>,
    trace: Option<Trace>,
}

impl Way {
    /// It is over. `reason` is a label of ours.
    pub fn end(self, version: (u64, u64), reason: &'static str, failed: bool) {
        if let Some(trace) = self.trace {
            trace.end(version, reason, failed);
        }
    }
}

impl Traces {
    /// A way is open: tells of it, and follows it from here on.
    ///
    /// # Errors
    /// [`Error::Internal`] if the system gives no random bytes.
    pub fn open_way(&self, asked: &Asked<'_>, version: (u64, u64)) -> Result<Way, Error> {
        let carried = Arc::new(Carried {
            session: asked.ask.session,
            id: random()?,
            who: who(asked),
            bytes: [AtomicU64::new(0), AtomicU64::new(0)],
        });
        let trace = self.on.as_ref().map(|on| {
            let mut span = of(asked, carried.id);
            span.attributes = carried.who.clone();
            span.attributes.push(span::version(version));
            on.queue.put(&span);
            Trace::begin(on, Subject::Way(Arc::clone(&carried)), version)
        });
        Ok(Way { carried, trace })
    }

    /// Tells of a way that there is not.
    pub fn no_way(&self, asked: &Asked<'_>, version: (u64, u64), error: &Error) {
        let Some(on) = &self.on else {
            return;
        };
        on.refuse(error.label(), || {
            let mut span = of(asked, random()?);
            span.attributes = who(asked);
            span.attributes.push(span::version(version));
            span.attributes.push(span::text("skans.end", error.label()));
            span.status = span::failed(error.label());
            Ok(span)
        });
    }
}

/// It stands under the set-up of the link, whose agent may be of another cluster: the session is all that it takes.
fn of(asked: &Asked<'_>, id: SpanId) -> Span {
    let session = &asked.ask.session;
    let root = span::set_up(session, Direction::Outbound);
    span::of(
        session,
        (id, Some(root)),
        ("way", SpanKind::Server),
        (asked.began, now()),
    )
}

fn who(asked: &Asked<'_>) -> Vec<KeyValue> {
    let (from, to) = (&asked.ask.from, &asked.ask.to);
    vec![
        span::text("skans.by.id", &asked.by),
        span::text("skans.from.node", &from.node),
        span::text("skans.from.cluster", &cluster(from)),
        span::text("skans.to.node", &to.node),
        span::text("skans.to.cluster", &cluster(to)),
    ]
}

fn cluster(end: &skans_link::End) -> String {
    format!("spiffe://{}/cluster/{}", end.trust_domain, end.cluster)
}
