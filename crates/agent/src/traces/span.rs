//! What a span is made of: whose trace it belongs to, under which span it stands, and what it says. Every text in it is cleaned and
//! bounded, whoever chose it.

use aws_lc_rs::digest;
use skans_host::plain;
use skans_link::SessionId;
use skans_otlp::attribute;
pub use skans_otlp::attribute::{number, truth};

use crate::registry::Direction;
use skans_otlp::wire::{Event, KeyValue, Span, SpanKind, Status, StatusCode};

/// By what a span is found in its trace.
pub type SpanId = [u8; 8];

/// The span of the set-up at one end of a link. It follows from the session alone: both agents and the gateways between them know what to
/// stand under without saying a word more to each other, and so does the process that takes an agent's place.
#[must_use]
pub fn set_up(session: &SessionId, direction: Direction) -> SpanId {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"skans-trace-set-up-v1\n");
    context.update(direction.label().as_bytes());
    context.update(session);
    let digest = context.finish();
    let mut id = [0; 8];
    id.iter_mut()
        .zip(digest.as_ref())
        .for_each(|(to, from)| *to = *from);
    id
}

/// A span that took from then to then, in nanoseconds since 1970. Its trace is that of the session.
pub fn of(
    session: &SessionId,
    (id, parent): (SpanId, Option<SpanId>),
    (name, kind): (&str, SpanKind),
    (from, to): (u64, u64),
) -> Span {
    Span {
        trace_id: session.to_vec(),
        span_id: id.to_vec(),
        parent_span_id: parent.map_or_else(Vec::new, |parent| parent.to_vec()),
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: from,
        // A clock that was set back makes no span that ends before it begins.
        end_time_unix_nano: to.max(from),
        // Sampled (W3C Trace Context 2, 3.2.2.5): what is sent is wanted.
        flags: 1,
        ..Span::default()
    }
}

/// What happened within a span.
pub fn event(name: &str, at: u64, attributes: Vec<KeyValue>) -> Event {
    Event {
        time_unix_nano: at,
        name: name.to_owned(),
        attributes,
    }
}

/// It came to a bad end; `reason` is a label of ours, never what a peer said.
pub fn failed(reason: &str) -> Option<Status> {
    Some(Status {
        message: reason.to_owned(),
        code: StatusCode::Error.into(),
    })
}

/// A text, as events show it.
pub fn text(key: &str, text: &str) -> KeyValue {
    attribute::text(key, plain::show(text))
}

/// Epoch and number of a policy set, as in `policy.version` of events.
pub fn version((epoch, n): (u64, u64)) -> KeyValue {
    text("skans.policy.version", &format!("{epoch}.{n}"))
}
