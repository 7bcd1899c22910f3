//! What is counted. Labels come from fixed lists and from the configuration: nothing that a caller chooses becomes one.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Answer {
    answer: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Origin {
    origin: String,
}

/// The counters of a witness.
#[derive(Default)]
pub(crate) struct Metrics {
    answers: Family<Answer, Counter>,
    refused_connections: Family<Reason, Counter>,
    size: Family<Origin, Gauge<u64, AtomicU64>>,
    cosigned: Family<Origin, Gauge<u64, AtomicU64>>,
}

impl Metrics {
    /// A request was answered: `cosigned`, or the label of why not.
    pub(crate) fn answered(&self, answer: &'static str) {
        self.answers.get_or_create(&Answer { answer }).inc();
    }

    /// A checkpoint of this log was cosigned, at this time.
    pub(crate) fn cosigned(&self, origin: &str, time: u64) {
        let origin = origin.to_owned();
        self.cosigned.get_or_create(&Origin { origin }).set(time);
    }

    /// A connection was not served.
    pub(crate) fn refused_connection(&self, reason: &'static str) {
        self.refused_connections
            .get_or_create(&Reason { reason })
            .inc();
    }

    /// The text format, with the sizes as they are now.
    ///
    /// # Errors
    /// None in practice.
    pub(crate) fn render<'a>(
        &self,
        sizes: impl Iterator<Item = (&'a str, Option<u64>)>,
    ) -> Result<String, std::fmt::Error> {
        for (origin, size) in sizes {
            let origin = origin.to_owned();
            self.size
                .get_or_create(&Origin { origin })
                .set(size.unwrap_or(0));
        }
        let mut registry = Registry::with_prefix("skans_witness");
        registry.register(
            "requests",
            "Checkpoints that were asked to be cosigned, by what came of it",
            self.answers.clone(),
        );
        registry.register(
            "refused_connections",
            "Connections that were not served, by why",
            self.refused_connections.clone(),
        );
        registry.register(
            "size",
            "Entries of the checkpoint of a log that was cosigned last; 0 for none",
            self.size.clone(),
        );
        registry.register_with_unit(
            "last_cosigned",
            "When a checkpoint of a log was cosigned last by this process, since 1970",
            Unit::Seconds,
            self.cosigned.clone(),
        );
        let mut text = String::new();
        encode(&mut text, &registry)?;
        Ok(text)
    }
}
