//! What is told of a link: its set-up at once, and then what it carries (`follow`).

use skans_link::SessionId;

use super::follow::Subject;
use super::span;
use super::{Step, Trace, Traces, now};
use crate::Error;
use crate::registry::{Direction, Link, Registered};
use skans_otlp::wire::{KeyValue, Span, SpanKind};

/// A set-up that came to nothing.
#[derive(Debug)]
pub struct Refused<'a> {
    /// Its session, which both ends know.
    pub session: SessionId,
    /// Which end this is.
    pub direction: Direction,
    /// When somebody wanted it.
    pub began: u64,
    /// The names of both nodes as they were claimed, the local one first.
    pub names: [&'a str; 2],
    /// Who has proven to be at the other end, if anybody has.
    pub peer: Option<String>,
    /// The service that was wanted, if it was not the node.
    pub service: Option<&'a str>,
}

impl Traces {
    /// A link is up: tells how that went, and follows it from here on.
    #[must_use]
    pub fn up(&self, link: &Registered, version: (u64, u64)) -> Option<Trace> {
        let on = self.on.as_ref()?;
        on.queue.put(&set_up(link, version, now()));
        self.follow(link, version)
    }

    /// Follows a link that another process has told of.
    #[must_use]
    pub fn follow(&self, link: &Registered, version: (u64, u64)) -> Option<Trace> {
        let on = self.on.as_ref()?;
        let subject = Subject::Link(link.link().clone());
        Some(Trace::begin(on, subject, version))
    }

    /// Tells of a set-up that came to nothing.
    pub fn refused(&self, refused: &Refused<'_>, version: (u64, u64), error: &Error) {
        if let Some(on) = &self.on {
            on.refuse(error.label(), || Ok(of_refused(refused, version, error)));
        }
    }
}

pub(super) fn of_refused(refused: &Refused<'_>, version: (u64, u64), error: &Error) -> Span {
    let [local, peer] = refused.names;
    let mut span = begun(&refused.session, refused.direction, (refused.began, now()));
    span.attributes = vec![
        span::text("skans.direction", refused.direction.label()),
        span::text("skans.local.node", local),
        span::text("skans.peer.node", peer),
        span::version(version),
        span::text("skans.end", error.label()),
    ];
    let id = refused.peer.as_deref();
    span.attributes
        .extend(id.map(|id| span::text("skans.peer.id", id)));
    let service = refused.service;
    span.attributes
        .extend(service.map(|service| span::text("skans.service", service)));
    span.status = span::failed(error.label());
    span
}

/// The set-up of a link that is up.
pub(super) fn set_up(link: &Link, version: (u64, u64), now: u64) -> Span {
    let began = link.steps.at(Step::Began);
    let began = began.unwrap_or_else(|| link.since.saturating_mul(1_000_000_000));
    let mut span = begun(&link.correlation(), link.direction, (began, now));
    span.attributes = who(link);
    span.attributes.push(span::version(version));
    let steps = link.steps.all().into_iter().chain([("ready", now)]);
    span.events = steps
        .map(|(step, at)| span::event(step, at, Vec::new()))
        .collect();
    span
}

/// The set-up at the end that dialled is the root of the trace; all others stand under it.
fn begun(session: &SessionId, direction: Direction, times: (u64, u64)) -> Span {
    let id = span::set_up(session, direction);
    match direction {
        Direction::Outbound => span::of(session, (id, None), ("connect", SpanKind::Client), times),
        Direction::Inbound => {
            let root = span::set_up(session, Direction::Outbound);
            let parent = Some(root);
            span::of(session, (id, parent), ("accept", SpanKind::Server), times)
        }
    }
}

/// Which link it is, and who is at its ends.
pub(super) fn who(link: &Link) -> Vec<KeyValue> {
    let (local, peer) = crate::told::parties(link);
    let mut who = vec![
        span::number("skans.link", link.id),
        span::text("skans.direction", link.direction.label()),
        span::text("skans.local.id", &local.id),
        span::text("skans.local.node", &local.node),
        span::text("skans.peer.id", &peer.id),
        span::text("skans.peer.node", &peer.node),
        span::truth("skans.across", link.foreign),
    ];
    if let Some(service) = &link.service {
        who.push(span::text("skans.service", service));
    }
    who
}
