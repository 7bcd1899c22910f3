//! The services of a host, as `skans status` and `/metrics` show them: what is offered and used here, with its counts.

use std::sync::atomic::Ordering::Relaxed;

use crate::agent::Agent;
use crate::registry::Direction;

use super::tally::Counts;

/// One of them.
#[derive(Debug)]
pub struct Shown {
    /// Its name.
    pub name: String,
    /// Inbound: it is offered here. Outbound: it is used here.
    pub direction: Direction,
    /// The node of this host that bears it.
    pub node: String,
    /// Who offers it, if it is used here.
    pub from: Option<String>,
    /// Where the service listens, or where its clients find it.
    pub address: String,
    /// Connections that are up.
    pub connections: usize,
    /// What became of others. Those of one name are counted together, whichever node bears it.
    pub counts: Counts,
}

/// All of the configuration; the bytes of live connections are in the counts.
pub fn all(agent: &Agent) -> Vec<Shown> {
    let settings = agent.settings();
    let offers = settings.offers().iter().map(|offer| Shown {
        name: offer.name.clone(),
        direction: Direction::Inbound,
        node: offer.node.to_string(),
        from: None,
        address: offer.target.to_string(),
        connections: 0,
        counts: Counts::default(),
    });
    let doors = agent.doors.all();
    let uses = doors.iter().map(|door| Shown {
        name: door.service.to_string(),
        direction: Direction::Outbound,
        node: door.node.to_string(),
        from: Some(door.from.to_string()),
        address: door.listen.to_string(),
        connections: 0,
        counts: Counts::default(),
    });
    let mut shown: Vec<_> = offers.chain(uses).collect();
    let counts = counts(agent);
    let links = agent.registry.snapshot();
    for one in &mut shown {
        let mine = links.iter().filter(|link| {
            link.up.load(Relaxed)
                && link.direction == one.direction
                && link.service.as_deref() == Some(&one.name)
                && link.local.as_str() == one.node
                && one
                    .from
                    .as_deref()
                    .is_none_or(|from| link.peer.as_str() == from)
        });
        one.connections = mine.count();
        let found = counts
            .iter()
            .find(|(direction, name, _)| *direction == one.direction.label() && *name == one.name);
        one.counts = found.map(|(.., counts)| counts.clone()).unwrap_or_default();
    }
    shown
}

/// What was counted, live connections included: direction, service, counts.
pub fn counts(agent: &Agent) -> Vec<(&'static str, String, Counts)> {
    let mut all: Vec<_> = agent
        .registry
        .services
        .all()
        .into_iter()
        .map(|(direction, name, counts)| (direction, name.to_string(), counts))
        .collect();
    for link in agent.registry.snapshot() {
        let Some(service) = link.service.as_deref().filter(|_| link.up.load(Relaxed)) else {
            continue;
        };
        let key = (link.direction.label(), service);
        let at = all
            .iter()
            .position(|(direction, name, _)| (*direction, name.as_str()) == key);
        let at = at.unwrap_or_else(|| {
            all.push((key.0, key.1.to_owned(), Counts::default()));
            all.len() - 1
        });
        if let Some((.., counts)) = all.get_mut(at) {
            counts.sent += link.traffic.sent.bytes.load(Relaxed);
            counts.received += link.traffic.received.bytes.load(Relaxed);
        }
    }
    all
}

impl Counts {
    /// Set-ups that came to nothing.
    #[must_use]
    pub fn refused(&self) -> u64 {
        let results = self.results.iter();
        results
            .filter(|(result, _)| **result != "ok")
            .map(|(_, count)| count)
            .sum()
    }
}
