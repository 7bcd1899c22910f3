//! What every promise test needs: a cluster in a line, and patience with a bound.

pub mod attacks;
pub mod host;
pub mod learned;
pub mod rabbitmq;
pub mod readme;
pub mod releases;
pub mod talk;
pub mod up;

use std::time::Duration;

use skans_lab::{Cluster, Plan, Policy};

/// How long anything may take that takes milliseconds on a quiet machine. Tests wait on conditions;
/// this only bounds a failure.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A plan with the `skans` under test: `SKANS_BINARY`, or the one that Cargo built. Its policy lets everything pass: tests
/// that are about policy name their own.
///
/// # Panics
/// Where there is no such binary, or no `erl`: neither may be skipped.
#[must_use]
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
pub fn plan() -> Plan {
    Plan::new(skans_lab::plan::find_skans().unwrap())
        .unwrap()
        .policy(Policy::open())
}

/// `count` nodes on a host each, connected to each other.
///
/// # Panics
/// If they cannot be started.
#[expect(clippy::unwrap_used, reason = "tests fail by panicking")]
pub async fn cluster(count: usize) -> Cluster {
    plan().nodes(count).start().await.unwrap()
}
