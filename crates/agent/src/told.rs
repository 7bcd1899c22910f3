//! That a link came up and that it ended, told alike at both ends: in the log, as events, and as a trace.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use skans_link::Reason;

use crate::Error;
use crate::agent::Agent;
use crate::enforce;
use crate::events::{Connection, Party, Share};
use crate::registry::{Link, Registered};
use crate::traces::Trace;

/// A link whose beginning was told.
pub struct Told {
    share: Arc<Share>,
    trace: Option<Trace>,
}

impl Told {
    /// Tells that it is up.
    pub fn begin(agent: &Agent, link: &Registered) -> Self {
        let (local, peer) = parties(link);
        let share = agent.events.share(&local, &peer);
        let version = enforce::version(&agent.policies);
        share.opened(which(link), link.direction, version);
        let trace = agent.traces.up(link, version);
        Self { share, trace }
    }

    /// Of a link that another process has told of.
    pub fn before(agent: &Agent, link: &Registered) -> Self {
        let (local, peer) = parties(link);
        Self {
            share: agent.events.share(&local, &peer),
            trace: agent.traces.follow(link, enforce::version(&agent.policies)),
        }
    }

    /// Another process goes on with it, and tells the rest.
    pub fn hand_over(self, agent: &Agent) {
        if let Some(trace) = self.trace {
            trace.end(enforce::version(&agent.policies), "replaced", false);
        }
    }

    /// Tells that it is over, and why.
    pub fn end(self, agent: &Agent, link: &Registered, end: &Error) {
        let (local, peer) = link.names();
        let service = link.service.as_deref();
        tracing::info!(link = link.id, %local, %peer, service, direction = link.direction.label(), reason = end.label(), "link down: {end}");
        let bytes = (
            link.traffic.sent.bytes.load(Relaxed),
            link.traffic.received.bytes.load(Relaxed),
        );
        let version = enforce::version(&agent.policies);
        self.share
            .closed(which(link), link.direction, end.label(), bytes, version);
        if let Some(trace) = self.trace {
            trace.end(version, end.label(), !end.is_ordinary() && !is_planned(end));
        }
    }
}

/// Nothing is wrong where an agent is stopped, or a node has been started anew: whoever watches for errors is not called for it.
const fn is_planned(end: &Error) -> bool {
    match end {
        Error::Closed(close) | Error::Ended(close) => {
            matches!(close.reason, Reason::Draining | Reason::Superseded)
        }
        _ => false,
    }
}

fn which(link: &Link) -> Connection<'_> {
    Connection {
        link: link.id,
        service: link.service.as_deref(),
        session: link.correlation(),
    }
}

/// Who is at the two ends of a link, the local node first.
pub fn parties(link: &Link) -> (Party, Party) {
    let proof = link.proof();
    let (local, peer) = link.names();
    let party = |id: &dyn ToString, node: &dyn ToString| Party {
        id: id.to_string().into(),
        node: node.to_string().into(),
    };
    (
        party(&proof.own.peer.id, local),
        party(&proof.identity().id, peer),
    )
}
