//! What an agent says of itself: the objects behind `skans status|nodes|links --output json`.
//! Fields are added, never renamed or removed.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use serde::{Deserialize, Serialize};

use crate::agent::Agent;
use crate::breaker::Standing;
use crate::control::Control;
use crate::events::Events;
use crate::metrics::{Counters, Traffic};
use crate::policies::Policies;
use crate::registry::Link;

/// An agent at a glance.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct StatusView {
    /// Version of the binary.
    pub version: String,
    /// Its process. 0 from an agent of a release that did not say.
    #[serde(default)]
    pub pid: u32,
    /// How often the agent was replaced by another process since it was started.
    #[serde(default)]
    pub handovers: u64,
    /// When this process took over, Unix time; absent if it was started.
    #[serde(default)]
    pub taken_over: Option<u64>,
    /// The trust domain.
    pub trust_domain: String,
    /// The cluster.
    pub cluster: String,
    /// Whether it takes new links.
    pub draining: bool,
    /// Where other agents dial.
    pub link_address: String,
    /// The port of the local epmd.
    pub epmd_port: u16,
    /// Registered nodes.
    pub nodes: usize,
    /// Established links.
    pub links: usize,
    /// Agents of other hosts that could not be reached lately, and were not since.
    #[serde(default)]
    pub unreachable: Vec<UnreachableView>,
    /// The certificates of this host.
    pub certificates: Vec<CertificateView>,
    /// Certificates renewed since the start.
    #[serde(default)]
    pub renewals: u64,
    /// Seconds until the first certificate in use runs out; absent if there is none.
    #[serde(default)]
    pub outage_budget_seconds: Option<u64>,
    /// Which policy set decides; absent from an agent of a release that has none.
    #[serde(default)]
    pub policy: Option<PolicyView>,
    /// What the control plane says; absent without one.
    #[serde(default)]
    pub control: Option<ControlView>,
    /// What rides along besides nodes.
    #[serde(default)]
    pub services: Vec<ServiceView>,
    /// All links between nodes, past ones included.
    pub traffic: TrafficView,
}

/// Which policy set decides on an agent.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct PolicyView {
    /// `built_in`, `directory`, `signed`; `expired` and `missing` refuse everything.
    pub standing: String,
    /// What its author calls it.
    pub name: String,
    /// Its epoch and number in the order of the control plane's sets; zeros for others.
    pub epoch: u64,
    /// See there.
    pub version: u64,
    /// Last second in which it may be used, Unix time; absent where nothing runs out.
    pub expires: Option<u64>,
    /// The end of its dry run, Unix time, if it is or was one.
    pub dry_run_until: Option<u64>,
}

impl PolicyView {
    fn of(policies: &Policies) -> Self {
        let present = policies.current();
        Self {
            standing: present.standing.label().to_owned(),
            name: present.name.clone(),
            epoch: present.version().epoch,
            version: present.version().n,
            expires: present.expires,
            dry_run_until: present.dry_until(),
        }
    }
}

/// How an agent stands with its control plane.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ControlView {
    /// The agent's own identity; absent before it is enrolled.
    pub identity: Option<String>,
    /// Last second of its certificate, Unix time.
    pub not_after: Option<u64>,
    /// Why it has none.
    pub trouble: Option<String>,
    /// `available` or `strict`.
    pub class: String,
    /// Counts restores of the control plane.
    pub epoch: u64,
    /// Up to which entry it is known here what is revoked.
    pub deny_sequence: u64,
    /// Up to which entry nothing that is revoked is forwarded here any more.
    pub acknowledged: u64,
    /// Seconds since the newest head was signed.
    pub head_age_seconds: u64,
    /// Entries of the control plane's log that is known to go on from all that was seen of it; 0 for none yet.
    #[serde(default)]
    pub log_size: u64,
    /// The log of the control plane was rewritten: when that was found, Unix time.
    #[serde(default)]
    pub log_forked: Option<u64>,
    /// Events that it does not have yet.
    #[serde(default)]
    pub events: Option<EventsView>,
}

/// Events that are kept for the control plane.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct EventsView {
    /// How many wait to be told.
    pub waiting: u64,
    /// Bytes of the disk.
    pub spooled_bytes: u64,
    /// The age of the oldest that waits.
    pub oldest_seconds: u64,
    /// Taken by the control plane since the agent was started.
    pub taken: u64,
    /// Lost since then.
    pub lost: u64,
    /// Whether there is room for more.
    pub can_be_kept: bool,
}

impl EventsView {
    fn of(events: &Events) -> Option<Self> {
        let standing = events.kept()?.standing();
        Some(Self {
            waiting: standing.waiting,
            spooled_bytes: standing.bytes,
            oldest_seconds: standing.age(),
            taken: standing.taken,
            lost: standing.lost,
            can_be_kept: !standing.blocked,
        })
    }
}

impl ControlView {
    fn of(control: &Control, events: &Events) -> Self {
        let own = control.own();
        let (epoch, deny_sequence, _) = control.revocation.position();
        Self {
            identity: own.as_ref().map(|own| own.identity().id.to_string()),
            not_after: own.as_ref().map(|own| own.identity().not_after),
            trouble: control.trouble(),
            class: control.revocation.class().label().to_owned(),
            epoch,
            deny_sequence,
            acknowledged: control.acknowledged.borrow().1,
            head_age_seconds: control.revocation.age().0.as_secs(),
            log_size: control.log.size(),
            log_forked: control.log.fork().map(|fork| fork.time),
            events: EventsView::of(events),
        }
    }
}

/// The agent of another host that could not be reached.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct UnreachableView {
    /// Where it is dialled.
    pub peer: String,
    /// `failing`: it is dialled as ever. `open`: attempts are refused at once. `half_open`: one attempt decides.
    pub state: String,
    /// What happened the last time: a reason as in the log.
    pub reason: String,
    /// Since the first of the failures.
    pub since_seconds: u64,
    /// For how long attempts are refused.
    pub retry_in_milliseconds: u64,
    /// Attempts refused since.
    pub refused: u64,
}

impl UnreachableView {
    fn of(standing: Standing) -> Self {
        Self {
            peer: standing.peer.to_string(),
            state: standing.state.to_owned(),
            reason: standing.why.to_owned(),
            since_seconds: standing.since.as_secs(),
            retry_in_milliseconds: u64::try_from(standing.retry_in.as_millis()).unwrap_or(u64::MAX),
            refused: standing.refused,
        }
    }
}

/// A certificate of this host.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct CertificateView {
    /// The node name, or `cli@host`.
    pub node: String,
    /// Its SPIFFE ID.
    pub identity: String,
    /// Its serial number. Empty from an agent of a release that did not say.
    #[serde(default)]
    pub serial: String,
    /// Last second of validity, Unix time.
    pub not_after: u64,
}

/// A registered node.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Tells its lives apart.
    pub creation: u32,
    /// Its `net_ticktime` in seconds; 0 if unknown.
    pub tick_seconds: u16,
    /// The user that runs it.
    pub uid: u32,
    /// Whether it is a short-lived one.
    pub cli: bool,
    /// Established links.
    pub links: usize,
    /// How many of its processes it said bear a name; 0 from one that does not tell.
    #[serde(default)]
    pub names: usize,
}

/// A service that is offered or used on this host.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct ServiceView {
    /// Its name.
    pub name: String,
    /// `inbound`: it is offered here. `outbound`: it is used here.
    pub direction: String,
    /// The node of this host in whose name that is.
    pub node: String,
    /// The node that offers it, if it is used here.
    pub from: Option<String>,
    /// Where the service listens, or where its clients find it.
    pub address: String,
    /// Connections that are up.
    pub connections: usize,
    /// Connections that were made, by the services of that name.
    pub established: u64,
    /// Attempts that came to nothing, by the services of that name.
    pub refused: u64,
    /// Bytes from the local process.
    pub sent_bytes: u64,
    /// Bytes to it.
    pub received_bytes: u64,
}

impl ServiceView {
    fn all(agent: &Agent) -> Vec<Self> {
        let shown = crate::services::view::all(agent);
        let view = |one: crate::services::view::Shown| Self {
            direction: one.direction.label().to_owned(),
            established: one.counts.results.get("ok").copied().unwrap_or_default(),
            refused: one.counts.refused(),
            sent_bytes: one.counts.sent,
            received_bytes: one.counts.received,
            name: one.name,
            node: one.node,
            from: one.from,
            address: one.address,
            connections: one.connections,
        };
        shown.into_iter().map(view).collect()
    }
}

/// A link.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct LinkView {
    /// Counts up for the life of the agent.
    pub id: u64,
    /// The node of this host.
    pub local: String,
    /// The other node.
    pub peer: String,
    /// The service that it leads to; absent for a link between nodes.
    #[serde(default)]
    pub service: Option<String>,
    /// `inbound` or `outbound`.
    pub direction: String,
    /// `handshake`, `up`, or `resuming`: it has lost its connection, and its nodes do not know.
    pub state: String,
    /// The peer's SPIFFE ID.
    pub identity: String,
    /// Who issued the peer's certificate.
    pub issuer: String,
    /// The serial number of the peer's certificate.
    pub serial: String,
    /// Last second of the peer's certificate, Unix time.
    pub not_after: u64,
    /// Last second of the link, Unix time, unless it is re-authenticated: when the first certificate ends, ours or the
    /// peer's.
    #[serde(default)]
    pub ends: u64,
    /// How often it has been re-authenticated.
    #[serde(default)]
    pub takeovers: u64,
    /// How often it has gone on with another connection after a loss.
    #[serde(default)]
    pub resumed: u64,
    /// The address of the peer's agent.
    pub address: String,
    /// The TLS version.
    pub tls: String,
    /// The cipher suite.
    pub suite: String,
    /// The key exchange.
    pub group: String,
    /// Whether the nodes list each other in `nodes()`.
    pub visible: bool,
    /// Since when, Unix time.
    pub since: u64,
    /// The creation of the peer's node.
    pub peer_creation: u32,
    /// Bytes sent that the peer's agent has not acknowledged yet.
    pub unacknowledged: u64,
    /// What it has carried.
    pub traffic: TrafficView,
}

/// Bytes and messages by direction, as the local node sees them.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
pub struct TrafficView {
    /// Bytes to peers.
    pub sent_bytes: u64,
    /// Messages to peers.
    pub sent_messages: u64,
    /// Ticks to peers.
    pub sent_ticks: u64,
    /// Bytes from peers.
    pub received_bytes: u64,
    /// Messages from peers.
    pub received_messages: u64,
    /// Ticks from peers.
    pub received_ticks: u64,
}

impl StatusView {
    pub(crate) fn of(agent: &Arc<Agent>) -> Self {
        let settings = agent.settings();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            handovers: agent.handovers.before.load(Relaxed),
            taken_over: Some(agent.handovers.since.load(Relaxed)).filter(|since| *since > 0),
            trust_domain: settings.config.trust_domain.clone(),
            cluster: settings.config.cluster.clone(),
            draining: agent.draining.is_cancelled(),
            link_address: agent.link_address.to_string(),
            epmd_port: agent.epmd_port,
            nodes: agent.locals.all().len(),
            links: established(agent).count(),
            unreachable: agent
                .breakers
                .all()
                .into_iter()
                .map(UnreachableView::of)
                .collect(),
            certificates: agent
                .identities
                .shown()
                .into_iter()
                .map(|shown| CertificateView {
                    node: shown.node,
                    identity: shown.id,
                    serial: shown.serial,
                    not_after: shown.not_after,
                })
                .collect(),
            renewals: agent.lifecycle.renewals.of("ok"),
            outage_budget_seconds: crate::lifecycle::outage_budget(agent),
            policy: Some(PolicyView::of(&agent.policies)),
            control: agent
                .control
                .as_ref()
                .map(|control| ControlView::of(control, &agent.events)),
            services: ServiceView::all(agent),
            traffic: TrafficView::of(&agent.registry.total()),
        }
    }
}

impl NodeView {
    pub(crate) fn all(agent: &Arc<Agent>) -> Vec<Self> {
        let links: Vec<_> = established(agent).collect();
        agent
            .locals
            .all()
            .into_iter()
            .map(|local| Self {
                links: links.iter().filter(|link| link.local == local.name).count(),
                name: local.name.to_string(),
                address: local.address.to_string(),
                creation: local.creation,
                tick_seconds: local.tick_seconds,
                uid: local.uid,
                cli: local.cli,
                names: local.names.count(),
            })
            .collect()
    }
}

impl LinkView {
    pub(crate) fn all(agent: &Arc<Agent>) -> Vec<Self> {
        agent
            .registry
            .snapshot()
            .iter()
            .map(|link| Self::of(link))
            .collect()
    }

    fn of(link: &Link) -> Self {
        let (local, peer) = link.names();
        let proof = link.proof();
        let identity = proof.identity();
        Self {
            id: link.id,
            local: local.to_string(),
            peer: peer.to_string(),
            service: link.service.as_deref().map(str::to_owned),
            direction: link.direction.label().to_owned(),
            state: match (link.up.load(Relaxed), link.adrift_since.load(Relaxed)) {
                (false, _) => "handshake",
                (true, 0) => "up",
                (true, _) => "resuming",
            }
            .to_owned(),
            identity: identity.id.to_string(),
            issuer: identity.issuer.clone(),
            serial: identity.serial.clone(),
            not_after: identity.not_after,
            ends: proof.not_after(),
            takeovers: link.takeovers.load(Relaxed),
            resumed: link.resumed.load(Relaxed),
            address: proof.address.to_string(),
            tls: proof.tls.version.to_owned(),
            suite: proof.tls.suite.clone(),
            group: proof.tls.group.clone(),
            visible: link.visible.load(Relaxed),
            since: link.since,
            peer_creation: link.peer_creation.load(Relaxed),
            unacknowledged: link.unacknowledged.load(Relaxed),
            traffic: TrafficView::of(&link.traffic),
        }
    }
}

impl TrafficView {
    fn of(traffic: &Traffic) -> Self {
        let of = |counters: &Counters| {
            (
                counters.bytes.load(Relaxed),
                counters.messages(),
                counters.ticks.load(Relaxed),
            )
        };
        let (sent_bytes, sent_messages, sent_ticks) = of(&traffic.sent);
        let (received_bytes, received_messages, received_ticks) = of(&traffic.received);
        Self {
            sent_bytes,
            sent_messages,
            sent_ticks,
            received_bytes,
            received_messages,
            received_ticks,
        }
    }
}

fn established(agent: &Arc<Agent>) -> impl Iterator<Item = Arc<Link>> {
    agent
        .registry
        .snapshot()
        .into_iter()
        .filter(|link| link.up.load(Relaxed) && link.service.is_none())
}
