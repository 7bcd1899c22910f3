//! `/metrics`: what the agent counts, in the OpenMetrics text format. Built when somebody asks.
//!
//! No label ever holds what a peer can choose freely: directions, results and operations are fixed
//! sets, node names are those of this host's configuration.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};
use skans_identity::federation::foreign::{self, Overview};

use crate::agent::Agent;
use crate::metrics::Counters;
use crate::policies::Standing;
use crate::services::view;

/// The text of `/metrics`.
pub fn render(agent: &Arc<Agent>) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Snapshot(Arc::clone(agent))));
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry)?;
    Ok(text)
}

struct Snapshot(Arc<Agent>);

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Snapshot")
    }
}

type Encoder<'a> = DescriptorEncoder<'a>;

impl Collector for Snapshot {
    fn encode(&self, mut encoder: Encoder<'_>) -> fmt::Result {
        let agent = &self.0;
        links(agent, &mut encoder)?;
        handshakes(agent, &mut encoder)?;
        breakers(agent, &mut encoder)?;
        services(agent, &mut encoder)?;
        ways(agent, &mut encoder)?;
        takeovers(agent, &mut encoder)?;
        handovers(agent, &mut encoder)?;
        control(agent, &mut encoder)?;
        traffic(agent, &mut encoder)?;
        certificates(agent, &mut encoder)?;
        events(agent, &mut encoder)?;
        traces(agent, &mut encoder)?;
        policies(agent, &mut encoder)?;
        let links = Arc::clone(&agent.policies.current().links);
        agent
            .believed
            .look(&links, |domains| foreign(domains, &mut encoder))?;
        let nodes = agent.locals.all().len();
        let family = encoder.encode_descriptor(
            "skans_registered_nodes",
            "Nodes registered with this agent",
            None,
            MetricType::Gauge,
        )?;
        ConstGauge::new(signed(nodes as u64)).encode(family)
    }
}

fn links(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let links = agent.registry.snapshot();
    let mut family = encoder.encode_descriptor(
        "skans_links",
        "Established links between nodes",
        None,
        MetricType::Gauge,
    )?;
    for direction in [
        crate::registry::Direction::Inbound,
        crate::registry::Direction::Outbound,
    ] {
        for visible in [true, false] {
            let count = links
                .iter()
                .filter(|l| {
                    l.up.load(Relaxed)
                        && l.service.is_none()
                        && l.direction == direction
                        && l.visible.load(Relaxed) == visible
                })
                .count();
            let labels = [
                ("direction", direction.label()),
                ("visible", if visible { "true" } else { "false" }),
            ];
            ConstGauge::new(signed(count as u64)).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

/// What a gateway carries; nothing of it where there is none.
fn ways(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    if agent.settings().config.gateway.is_none() {
        return Ok(());
    }
    let family = encoder.encode_descriptor(
        "skans_gateway_ways",
        "Links between clusters that this gateway carries now",
        None,
        MetricType::Gauge,
    )?;
    ConstGauge::new(signed(agent.ways.open.load(Relaxed))).encode(family)?;
    let family = encoder.encode_descriptor(
        "skans_gateway_ejections",
        "How often a gateway did not get through where others did, and was asked last from then on",
        None,
        MetricType::Counter,
    )?;
    ConstCounter::new(agent.ways.outliers.count()).encode(family)?;
    let mut family = encoder.encode_descriptor(
        "skans_gateway_asked",
        "Ways that this gateway was asked for, by result",
        None,
        MetricType::Counter,
    )?;
    for (result, count) in agent.ways.asked.all() {
        let labels = [("result", result)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    let mut family = encoder.encode_descriptor(
        "skans_gateway",
        "Bytes that this gateway has carried: there is from who asked to where the way leads",
        Some(&Unit::Bytes),
        MetricType::Counter,
    )?;
    for (direction, bytes) in ["there", "back"].into_iter().zip(&agent.ways.bytes) {
        let labels = [("direction", direction)];
        ConstCounter::new(bytes.load(Relaxed)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// What rides along. The names are those of this host's configuration, and one for all others that peers ask for.
fn services(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let shown = view::all(agent);
    let mut family = encoder.encode_descriptor(
        "skans_service_connections",
        "Connections to services that are up: inbound to those offered here, outbound to those used here",
        None,
        MetricType::Gauge,
    )?;
    for one in &shown {
        let labels = [
            ("service", one.name.as_str()),
            ("direction", one.direction.label()),
            ("node", one.node.as_str()),
            ("from", one.from.as_deref().unwrap_or_default()),
        ];
        ConstGauge::new(signed(one.connections as u64)).encode(family.encode_family(&labels)?)?;
    }
    let counts = view::counts(agent);
    let mut family = encoder.encode_descriptor(
        "skans_service_set_ups",
        "Set-ups of connections to services by result",
        None,
        MetricType::Counter,
    )?;
    for (direction, name, counts) in &counts {
        for (result, count) in &counts.results {
            let labels = [
                ("service", name.as_str()),
                ("direction", direction),
                ("result", result),
            ];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "skans_service",
        "Bytes of connections to services: sent by the local process, received by it",
        Some(&Unit::Bytes),
        MetricType::Counter,
    )?;
    for (direction, name, counts) in &counts {
        for (way, count) in [("sent", counts.sent), ("received", counts.received)] {
            let labels = [
                ("service", name.as_str()),
                ("direction", direction),
                ("way", way),
            ];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn handshakes(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "skans_handshakes",
        "Set-ups of links between nodes by result",
        None,
        MetricType::Counter,
    )?;
    for (direction, result, count) in agent.outcomes.all() {
        let labels = [("direction", direction), ("result", result)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

/// Which peers are meant, `skans status` says: their addresses may come out of names that nodes choose.
fn breakers(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let peers = agent.breakers.all();
    let mut family = encoder.encode_descriptor(
        "skans_unreachable_peers",
        "Agents of other hosts that could not be reached lately: open are those that are not even tried for a while",
        None,
        MetricType::Gauge,
    )?;
    for state in ["failing", "open", "half_open"] {
        let count = peers.iter().filter(|peer| peer.state == state).count();
        ConstGauge::new(signed(count as u64)).encode(family.encode_family(&[("state", state)])?)?;
    }
    let mut family = encoder.encode_descriptor(
        "skans_circuit_breakers",
        "How often circuit breakers have opened and closed again, and how many attempts to connect they have refused",
        None,
        MetricType::Counter,
    )?;
    for (event, count) in agent.breakers.counts() {
        ConstCounter::new(count).encode(family.encode_family(&[("event", event)])?)?;
    }
    Ok(())
}

fn handovers(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "skans_handovers",
        "Processes that wanted to take this agent's place since it was started, by result",
        None,
        MetricType::Counter,
    )?;
    let handovers = &agent.handovers;
    for (result, count) in [
        ("ok", &handovers.before),
        ("refused", &handovers.refused),
        ("failed", &handovers.failed),
    ] {
        let labels = [("result", result)];
        ConstCounter::new(count.load(Relaxed)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

fn takeovers(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "skans_takeovers",
        "Attempts to move a live link to a fresh connection, with fresh certificates, by result",
        None,
        MetricType::Counter,
    )?;
    for (direction, result, count) in agent.registry.takeovers.all() {
        let labels = [("direction", direction), ("result", result)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    let mut family = encoder.encode_descriptor(
        "skans_resumptions",
        "Losses of a live link's connection, by what became of the link: ok is another connection",
        None,
        MetricType::Counter,
    )?;
    for (direction, result, count) in agent.registry.resumptions.all() {
        let labels = [("direction", direction), ("result", result)];
        ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
    }
    let family = encoder.encode_descriptor(
        "skans_links_expired",
        "Live links that ended because a certificate had run out",
        None,
        MetricType::Counter,
    )?;
    ConstCounter::new(agent.registry.expired.load(Relaxed)).encode(family)
}

fn traffic(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let total = agent.registry.total();
    let both: [(&str, &Counters); 2] = [("sent", &total.sent), ("received", &total.received)];
    let mut family = encoder.encode_descriptor(
        "skans_distribution",
        "Bytes of distribution streams",
        Some(&Unit::Bytes),
        MetricType::Counter,
    )?;
    for (direction, counters) in both {
        ConstCounter::new(counters.bytes.load(Relaxed))
            .encode(family.encode_family(&[("direction", direction)])?)?;
    }
    let mut family =
        encoder.encode_descriptor("skans_ticks", "Ticks forwarded", None, MetricType::Counter)?;
    for (direction, counters) in both {
        ConstCounter::new(counters.ticks.load(Relaxed))
            .encode(family.encode_family(&[("direction", direction)])?)?;
    }
    let mut family = encoder.encode_descriptor(
        "skans_messages",
        "Distribution messages by operation",
        None,
        MetricType::Counter,
    )?;
    for (direction, counters) in both {
        for (op, count) in counters.by_operation() {
            let labels = [("direction", direction), ("operation", op.name())];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    let mut family = encoder.encode_descriptor(
        "skans_decisions",
        "Decisions about messages and links by verdict, action and reason",
        None,
        MetricType::Counter,
    )?;
    for (direction, counters) in both {
        for (verdict, action, reason, count) in counters.decisions.all() {
            let labels = [
                ("direction", direction),
                ("verdict", verdict),
                ("action", action),
                ("reason", reason),
            ];
            ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn certificates(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "skans_certificate_not_after_timestamp",
        "Last second of validity of this host's certificates, Unix time",
        Some(&Unit::Seconds),
        MetricType::Gauge,
    )?;
    for shown in agent.identities.shown() {
        ConstGauge::new(signed(shown.not_after))
            .encode(family.encode_family(&[("node", shown.node.as_str())])?)?;
    }
    if let Some(seconds) = crate::lifecycle::outage_budget(agent) {
        let family = encoder.encode_descriptor(
            "skans_outage_budget",
            "Time until the first certificate in use runs out: how long nothing may be renewed without harm",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::new(signed(seconds)).encode(family)?;
    }
    let mut family = encoder.encode_descriptor(
        "skans_renewals",
        "Renewals of certificates by result",
        None,
        MetricType::Counter,
    )?;
    for (result, count) in agent.lifecycle.renewals.all() {
        ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
    }
    Ok(())
}

fn events(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let (written, lost) = agent.events.counts();
    let mut family = encoder.encode_descriptor(
        "skans_events",
        "Events by what became of them: lost are those that nobody took in time",
        None,
        MetricType::Counter,
    )?;
    for (result, count) in [("written", written), ("lost", lost)] {
        ConstCounter::new(count).encode(family.encode_family(&[("result", result)])?)?;
    }
    let Some(kept) = agent.events.kept() else {
        return Ok(());
    };
    let standing = kept.standing();
    for (name, help, value) in [
        (
            "skans_events_spooled_bytes",
            "Bytes of the disk that hold events, those among them that the control plane has and that are not removed yet",
            standing.bytes,
        ),
        (
            "skans_events_waiting",
            "Events that the control plane does not have yet",
            standing.waiting,
        ),
        (
            "skans_events_oldest_age_seconds",
            "Age of the oldest event that the control plane does not have, 0 if it has all",
            standing.age(),
        ),
        (
            "skans_events_can_be_kept",
            "Whether there is room for events on disk",
            u64::from(!standing.blocked),
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        ConstGauge::new(signed(value)).encode(family)?;
    }
    for (name, help, value) in [
        (
            "skans_events_lost",
            "Events that were not kept for the control plane: no room, or more than the share of a peer",
            standing.lost,
        ),
        (
            "skans_events_taken",
            "Events that the control plane has taken",
            standing.taken,
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(value).encode(family)?;
    }
    Ok(())
}

/// What is believed of other trust domains. Whose name is a label, people have linked.
fn foreign(domains: &[Overview<'_>], encoder: &mut Encoder<'_>) -> fmt::Result {
    let mut family = encoder.encode_descriptor(
        "skans_foreign_bundle_standing",
        "1 for how it stands with the bundle of another trust domain; only fresh and due count",
        None,
        MetricType::Gauge,
    )?;
    for one in domains {
        for standing in foreign::Standing::ALL {
            let labels = [
                ("trust_domain", one.domain.as_str()),
                ("standing", standing.label()),
            ];
            ConstGauge::new(i64::from(standing == one.standing))
                .encode(family.encode_family(&labels)?)?;
        }
    }
    type Number = fn(&Overview<'_>) -> Option<u64>;
    let numbers: [(_, _, _, Number); 3] = [
        (
            "skans_foreign_bundle_age",
            "Since the bundle of another trust domain was last confirmed",
            Some(&Unit::Seconds),
            |one| one.age,
        ),
        (
            "skans_foreign_bundle_sequence",
            "The sequence of the bundle of another trust domain that was accepted last",
            None,
            |one| one.sequence,
        ),
        (
            "skans_foreign_bundle_roots",
            "Roots that are held of another trust domain",
            None,
            |one| u64::try_from(one.roots).ok(),
        ),
    ];
    for (name, help, unit, number) in numbers {
        let mut family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        for one in domains {
            if let Some(number) = number(one) {
                let labels = [("trust_domain", one.domain.as_str())];
                ConstGauge::new(signed(number)).encode(family.encode_family(&labels)?)?;
            }
        }
    }
    Ok(())
}

/// What was told as traces; nothing of it where nobody collects them.
fn traces(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let Some((exported, dropped)) = agent.traces.counts() else {
        return Ok(());
    };
    for (name, help, count) in [
        (
            "skans_traces_exported",
            "Spans that the collector has",
            exported,
        ),
        (
            "skans_traces_dropped",
            "Spans that nobody will have: the collector did not take them, or there were too many",
            dropped,
        ),
    ] {
        let family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
        ConstCounter::new(count).encode(family)?;
    }
    Ok(())
}

/// Which policy set decides.
fn policies(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let present = agent.policies.current();
    let mut family = encoder.encode_descriptor(
        "skans_policy_standing",
        "1 for where the policy set in force comes from; expired and missing refuse everything",
        None,
        MetricType::Gauge,
    )?;
    for standing in Standing::ALL {
        ConstGauge::new(i64::from(standing == present.standing))
            .encode(family.encode_family(&[("standing", standing.label())])?)?;
    }
    let family = encoder.encode_descriptor(
        "skans_policy_version",
        "The number of the control plane's policy set in force",
        None,
        MetricType::Gauge,
    )?;
    ConstGauge::new(signed(present.version().n)).encode(family)?;
    if let Some(expires) = present.expires {
        let family = encoder.encode_descriptor(
            "skans_policy_not_after_timestamp",
            "Last second in which the policy set in force may be used, Unix time",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::new(signed(expires)).encode(family)?;
    }
    if let Some(until) = present.dry_until() {
        let family = encoder.encode_descriptor(
            "skans_policy_dry_run_until_timestamp",
            "When the dry run of the policy set in force ends, Unix time: until then nothing is refused",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        ConstGauge::new(signed(until)).encode(family)?;
    }
    let mut family = encoder.encode_descriptor(
        "skans_policy_refused",
        "Policy sets of the control plane that were not taken, by reason",
        None,
        MetricType::Counter,
    )?;
    for (reason, count) in agent.policies.refused.all() {
        ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)?;
    }
    Ok(())
}

/// How fresh the word of the control plane is, where there is one.
fn control(agent: &Agent, encoder: &mut Encoder<'_>) -> fmt::Result {
    let Some(control) = &agent.control else {
        return Ok(());
    };
    let (epoch, sequence, _) = control.revocation.position();
    let (opens, holds, _) = control.revocation.verdict();
    let gauges = [
        (
            "skans_head_age",
            "Since the newest head of the control plane was signed",
            Some(&Unit::Seconds),
            control.revocation.age().0.as_secs(),
        ),
        (
            "skans_deny_sequence",
            "Up to which entry it is known here what is revoked",
            None,
            sequence,
        ),
        (
            "skans_deny_acknowledged",
            "Up to which entry nothing that is revoked is forwarded here",
            None,
            control.acknowledged.borrow().1,
        ),
        ("skans_epoch", "The epoch of the control plane", None, epoch),
        (
            "skans_log_size",
            "Entries of the control plane's log that is known to go on from all that was seen of it",
            None,
            control.log.size(),
        ),
        (
            "skans_log_forked",
            "1 if the log of the control plane was rewritten: it no longer begins with what was seen of it",
            None,
            u64::from(control.log.fork().is_some()),
        ),
        (
            "skans_links_may_open",
            "Whether new links may be opened, by the age of the newest head and the class",
            None,
            u64::from(opens),
        ),
        (
            "skans_links_may_stay",
            "Whether live links may go on, by the same",
            None,
            u64::from(holds),
        ),
    ];
    for (name, help, unit, value) in gauges {
        let family = encoder.encode_descriptor(name, help, unit, MetricType::Gauge)?;
        ConstGauge::new(signed(value)).encode(family)?;
    }
    Ok(())
}

fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
