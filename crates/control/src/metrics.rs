//! What is counted. Labels come from fixed lists: nothing that a caller chooses becomes one.

use std::sync::atomic::{AtomicI64, AtomicU64};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};
use skans_identity::federation::foreign::{Overview, Standing};

use crate::error::Error;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Call {
    method: String,
    status: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RefusedCall {
    method: String,
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Another trust domain: people have linked it.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Domain {
    trust_domain: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ForeignStanding {
    trust_domain: String,
    standing: &'static str,
}

/// What is believed of other trust domains, as agents show it, too.
#[derive(Default)]
struct OfOthers {
    standing: Family<ForeignStanding, Gauge>,
    age: Family<Domain, Gauge<u64, AtomicU64>>,
    sequence: Family<Domain, Gauge<u64, AtomicU64>>,
    roots: Family<Domain, Gauge<u64, AtomicU64>>,
}

impl OfOthers {
    fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("skans_foreign_bundle");
        registry.register(
            "standing",
            "1 for how it stands with the bundle of another trust domain; only fresh and due count",
            self.standing.clone(),
        );
        registry.register_with_unit(
            "age",
            "Since the bundle of another trust domain was last confirmed",
            Unit::Seconds,
            self.age.clone(),
        );
        registry.register(
            "sequence",
            "The sequence of the bundle of another trust domain that was accepted last",
            self.sequence.clone(),
        );
        registry.register(
            "roots",
            "Roots that are held of another trust domain",
            self.roots.clone(),
        );
    }

    fn set(&self, domains: &[Overview<'_>]) {
        self.standing.clear();
        for family in [&self.age, &self.sequence, &self.roots] {
            family.clear();
        }
        for one in domains {
            let trust_domain = one.domain.to_string();
            for standing in Standing::ALL {
                let labels = ForeignStanding {
                    trust_domain: trust_domain.clone(),
                    standing: standing.label(),
                };
                let is_so = i64::from(standing == one.standing);
                self.standing.get_or_create(&labels).set(is_so);
            }
            let labels = Domain { trust_domain };
            let roots = u64::try_from(one.roots).ok();
            for (family, number) in [
                (&self.age, one.age),
                (&self.sequence, one.sequence),
                (&self.roots, roots),
            ] {
                if let Some(number) = number {
                    family.get_or_create(&labels).set(number);
                }
            }
        }
    }
}

/// All counters of this process.
pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<Call, Counter>,
    refused_calls: Family<RefusedCall, Counter>,
    refused_connections: Family<Reason, Counter>,
    latency: Histogram,
    issued: Counter,
    not_issued: Family<Reason, Counter>,
    enrolments: Family<Reason, Counter>,
    watchers: Gauge,
    cut_watchers: Family<Reason, Counter>,
    strange: Counter,
    whose: Family<Reason, Counter>,
    removed_events: Counter,
    log_size: Gauge<u64, AtomicU64>,
    log_waiting: Gauge<u64, AtomicU64>,
    log_failed: Counter,
    log_witnessed: Gauge<u64, AtomicU64>,
    not_witnessed: Family<Reason, Counter>,
    log_copied: Gauge<u64, AtomicU64>,
    log_copy_failed: Counter,
    log_copy_lost: Family<Reason, Counter>,
    agent_events: Family<Reason, Counter>,
    cohort_seen: Gauge<u64, AtomicU64>,
    cohort_have: Gauge<u64, AtomicU64>,
    epoch: Gauge<u64, AtomicU64>,
    deny_seq: Gauge<u64, AtomicU64>,
    bundle: Gauge<u64, AtomicU64>,
    head_time: Gauge<i64, AtomicI64>,
    issuer_not_after: Gauge<i64, AtomicI64>,
    policy: Gauge<u64, AtomicU64>,
    policy_dry_run_until: Gauge<i64, AtomicI64>,
    rollout: Gauge,
    rollout_held: Gauge,
    of_others: OfOthers,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::default(),
            calls: Family::default(),
            refused_calls: Family::default(),
            refused_connections: Family::default(),
            latency: Histogram::new(exponential_buckets(0.0005, 2.0, 14)),
            issued: Counter::default(),
            not_issued: Family::default(),
            enrolments: Family::default(),
            watchers: Gauge::default(),
            cut_watchers: Family::default(),
            strange: Counter::default(),
            whose: Family::default(),
            removed_events: Counter::default(),
            log_size: Gauge::default(),
            log_waiting: Gauge::default(),
            log_failed: Counter::default(),
            log_witnessed: Gauge::default(),
            not_witnessed: Family::default(),
            log_copied: Gauge::default(),
            log_copy_failed: Counter::default(),
            log_copy_lost: Family::default(),
            agent_events: Family::default(),
            cohort_seen: Gauge::default(),
            cohort_have: Gauge::default(),
            epoch: Gauge::default(),
            deny_seq: Gauge::default(),
            bundle: Gauge::default(),
            head_time: Gauge::default(),
            issuer_not_after: Gauge::default(),
            policy: Gauge::default(),
            policy_dry_run_until: Gauge::default(),
            rollout: Gauge::default(),
            rollout_held: Gauge::default(),
            of_others: OfOthers::default(),
        };
        metrics.of_others.register(&mut metrics.registry);
        let registry = metrics.registry.sub_registry_with_prefix("skans_control");
        registry.register(
            "calls",
            "Calls of the API that were let in",
            metrics.calls.clone(),
        );
        registry.register(
            "calls_refused",
            "Calls that were not let in",
            metrics.refused_calls.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were not let in",
            metrics.refused_connections.clone(),
        );
        registry.register(
            "call_seconds",
            "How long calls took",
            metrics.latency.clone(),
        );
        registry.register(
            "certificates_issued",
            "Certificates handed out",
            metrics.issued.clone(),
        );
        registry.register(
            "certificates_refused",
            "Certificates asked for and refused",
            metrics.not_issued.clone(),
        );
        registry.register(
            "enrolments",
            "Attempts to enrol, by their outcome",
            metrics.enrolments.clone(),
        );
        registry.register(
            "watchers",
            "Agents that are connected and listening",
            metrics.watchers.clone(),
        );
        registry.register(
            "watchers_cut",
            "Agents that were cut off",
            metrics.cut_watchers.clone(),
        );
        registry.register(
            "certificates_strange",
            "Certificates seen by agents that were never issued here",
            metrics.strange.clone(),
        );
        registry.register(
            "links_asked_about",
            "Whether links on which a key was seen are those of whoever it was issued to, by the answer",
            metrics.whose.clone(),
        );
        registry.register(
            "events_removed",
            "Events that this replica removed, since they were older or more than the settings keep",
            metrics.removed_events.clone(),
        );
        registry.register(
            "log_entries",
            "Entries of the log, when this replica last looked as the writer",
            metrics.log_size.clone(),
        );
        registry.register(
            "log_waiting_events",
            "Events that had no place in the log yet, when this replica last looked as the writer; on PostgreSQL at most",
            metrics.log_waiting.clone(),
        );
        registry.register(
            "log_failures",
            "Times that events could not be given their place in the log, or the log not be signed",
            metrics.log_failed.clone(),
        );
        registry.register(
            "log_witnessed_entries",
            "Entries of the log that witnesses have signed, as this replica knows as the writer",
            metrics.log_witnessed.clone(),
        );
        registry.register(
            "log_not_witnessed",
            "Times that a witness did not sign the log: refused says that it knows another one",
            metrics.not_witnessed.clone(),
        );
        registry.register(
            "log_copied_entries",
            "Entries of the log that were sent to the collector, as this replica knows as the writer",
            metrics.log_copied.clone(),
        );
        registry.register(
            "log_copy_failures",
            "Times that the collector did not take entries of the log: they are sent again",
            metrics.log_copy_failed.clone(),
        );
        registry.register(
            "log_copy_lost_entries",
            "Entries of the log that the collector will never have: pruned before it took them, or rejected by it",
            metrics.log_copy_lost.clone(),
        );
        registry.register(
            "agent_events",
            "Events that agents told, by what became of them: again were taken before, missing are those that agents have lost",
            metrics.agent_events.clone(),
        );
        registry.register(
            "rotation_cohort_agents",
            "Agents of the cohort seen in the last hour, when this replica last looked as the writer",
            metrics.cohort_seen.clone(),
        );
        registry.register(
            "rotation_cohort_adopted",
            "Those of them that live on the next authority",
            metrics.cohort_have.clone(),
        );
        registry.register(
            "epoch",
            "Counts restores from a backup",
            metrics.epoch.clone(),
        );
        registry.register(
            "deny_seq",
            "The last entry of the deny stream",
            metrics.deny_seq.clone(),
        );
        registry.register(
            "bundle_version",
            "The version of the trust bundle",
            metrics.bundle.clone(),
        );
        registry.register(
            "head_time_seconds",
            "When the last head was signed",
            metrics.head_time.clone(),
        );
        registry.register(
            "issuer_not_after_seconds",
            "When the active authority runs out",
            metrics.issuer_not_after.clone(),
        );
        registry.register(
            "policy_version",
            "The number of the policy set in force",
            metrics.policy.clone(),
        );
        registry.register(
            "policy_dry_run_until_seconds",
            "When the dry run of the policy set in force ends; 0 for one that is none",
            metrics.policy_dry_run_until.clone(),
        );
        registry.register(
            "policy_rollout",
            "1 while a policy set is being rolled out",
            metrics.rollout.clone(),
        );
        registry.register(
            "policy_rollout_held",
            "1 while a roll-out stands still until a person goes on with it or takes it back",
            metrics.rollout_held.clone(),
        );
        metrics
    }
}

impl Metrics {
    pub(crate) fn call(&self, method: &str, status: u16, took: Duration) {
        let method = method.to_owned();
        self.calls.get_or_create(&Call { method, status }).inc();
        self.latency.observe(took.as_secs_f64());
    }

    pub(crate) fn refused_call(&self, method: &str, reason: &'static str) {
        let method = method.to_owned();
        self.refused_calls
            .get_or_create(&RefusedCall { method, reason })
            .inc();
    }

    pub(crate) fn refused_connection(&self, reason: &'static str) {
        self.refused_connections
            .get_or_create(&Reason { reason })
            .inc();
    }

    pub(crate) fn issued(&self, count: u64) {
        self.issued.inc_by(count);
    }

    pub(crate) fn not_issued(&self, reason: &'static str) {
        self.not_issued.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn enrolment(&self, outcome: &'static str) {
        self.enrolments
            .get_or_create(&Reason { reason: outcome })
            .inc();
    }

    pub(crate) fn watching(&self, change: i64) {
        self.watchers.inc_by(change);
    }

    pub(crate) fn watcher_cut(&self, reason: &'static str) {
        self.cut_watchers.get_or_create(&Reason { reason }).inc();
    }

    /// An agent has said whether a link is its own.
    pub(crate) fn whose(&self, answer: skans_store::shown::Answer) {
        use skans_store::shown::Answer;
        let reason = match answer {
            Answer::Open => "open",
            Answer::Mine => "mine",
            Answer::NotMine => "not_mine",
            Answer::Unsure => "unsure",
        };
        self.whose.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn strange(&self, count: u64) {
        self.strange.inc_by(count);
    }

    pub(crate) fn agent_events(&self, what: &'static str, count: u64) {
        self.agent_events
            .get_or_create(&Reason { reason: what })
            .inc_by(count);
    }

    pub(crate) fn removed_events(&self, count: u64) {
        self.removed_events.inc_by(count);
    }

    pub(crate) fn log(&self, size: u64, waiting: u64) {
        self.log_size.set(size);
        self.log_waiting.set(waiting);
    }

    pub(crate) fn witnessed(&self, size: u64) {
        self.log_witnessed.set(size);
    }

    pub(crate) fn not_witnessed(&self, reason: &'static str) {
        self.not_witnessed.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn log_copied(&self, size: u64) {
        self.log_copied.set(size);
    }

    pub(crate) fn log_copy_failed(&self) {
        self.log_copy_failed.inc();
    }

    pub(crate) fn log_copy_lost(&self, reason: &'static str, entries: u64) {
        let lost = Reason { reason };
        self.log_copy_lost.get_or_create(&lost).inc_by(entries);
    }

    pub(crate) fn log_failed(&self) {
        self.log_failed.inc();
    }

    pub(crate) fn cohort(&self, seen: u64, have: u64) {
        self.cohort_seen.set(seen);
        self.cohort_have.set(have);
    }

    pub(crate) fn news(
        &self,
        epoch: u64,
        deny_seq: u64,
        bundle: u64,
        head: Option<u64>,
        issuer_not_after: u64,
    ) {
        self.epoch.set(epoch);
        self.deny_seq.set(deny_seq);
        self.bundle.set(bundle);
        if let Some(time) = head {
            self.head_time.set(i64::try_from(time).unwrap_or(i64::MAX));
        }
        self.issuer_not_after
            .set(i64::try_from(issuer_not_after).unwrap_or(i64::MAX));
    }

    pub(crate) fn policy(&self, n: u64, dry_run_until: Option<u64>) {
        self.policy.set(n);
        let until = i64::try_from(dry_run_until.unwrap_or(0)).unwrap_or(i64::MAX);
        self.policy_dry_run_until.set(until);
    }

    pub(crate) fn rollout(&self, under_way: bool, held: bool) {
        self.rollout.set(i64::from(under_way));
        self.rollout_held.set(i64::from(held));
    }

    /// The text that Prometheus reads, with what is believed of others just now.
    ///
    /// # Errors
    /// [`Error::Internal`]: none in practice.
    pub(crate) fn render(&self, domains: &[Overview<'_>]) -> Result<String, Error> {
        self.of_others.set(domains);
        let mut text = String::new();
        encode(&mut text, &self.registry)
            .map_err(|error| Error::Internal(format!("metrics: {error}")))?;
        Ok(text)
    }
}
