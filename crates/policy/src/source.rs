//! What a set says, as its authors wrote it: policies, roles, labels, mode. Reading it from the files of a directory is
//! in `source/read.rs`, the form that is signed in `source/canonical.rs`. No I/O: files come as texts.

mod canonical;
mod links;
mod read;
mod selector;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

pub use links::ClusterLinks;
pub(crate) use links::{ClusterLink, What};
pub(crate) use read::yaml;
pub(crate) use selector::Homes;
pub use selector::{Home, Kind, Selector};

/// The one `apiVersion` of `set.yaml`.
pub const API_VERSION: &str = "skans.io/v1alpha1";
/// Longest set in bytes, files together (0015). Kubernetes stops at 1.5 MiB for an object, OPA's bundles have no bound.
pub const MAX_BYTES: usize = 4 << 20;
/// Most policies in a set, those of its roles included (0015).
pub const MAX_POLICIES: usize = 5_000;
/// Most files in a set: a bound for who counts, not a wish.
pub const MAX_FILES: usize = 1_000;

/// A file of a set, by its path in the set's directory with `/` between the parts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `shop.cedar`, `tests/stock.yaml`.
    pub name: String,
    /// What is in it.
    pub text: String,
}

/// Which of two sets is the newer one: first by epoch, then by number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// Opened by a recovery only.
    pub epoch: u64,
    /// Grows with every set.
    pub n: u64,
}

impl core::fmt::Display for Version {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}.{}", self.epoch, self.n)
    }
}

/// What becomes of what the set refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Mode {
    /// It is refused.
    Enforce,
    /// It passes and is told, until a day; from then on it is refused. Without an end a dry run becomes the rule.
    DryRun {
        /// Seconds since 1970: the first one in which it is refused.
        until: u64,
    },
}

impl Mode {
    /// A dry run of so many whole days from `now` on (seconds since 1970), and the rest of the last one: it ends at the start
    /// of a day (UTC), as one does whose end was written down.
    #[must_use]
    pub const fn dry_run(now: u64, days: u64) -> Self {
        const DAY: u64 = 86_400;
        let until = now.div_ceil(DAY).saturating_add(days).saturating_mul(DAY);
        Self::DryRun { until }
    }
}

/// A role, to whom it is given, and at which receiving nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Binding {
    /// One of [`crate::role::ALL`].
    pub role: String,
    /// The senders.
    pub principals: Vec<Selector>,
    /// The receivers.
    pub on: Vec<Selector>,
    /// Names that the role lets through; for `named-client` alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<String>,
}

/// Labels and groups. Keys of functions, processes and services may end in `*`: a pattern. A pattern labels and groups, but does
/// not *name* what it matches (see [`crate::engine`]).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entities {
    /// Labels of workloads and of nodes, by ID: a node has those of its workload too, its own first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub nodes: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels of processes, by registered name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub processes: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels of functions, by `module:function/arity`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<String, BTreeMap<String, String>>,
    /// Labels of services, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub services: BTreeMap<String, BTreeMap<String, String>>,
    /// Groups by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub groups: BTreeMap<String, Group>,
}

/// Names that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// IDs of nodes, workloads, namespaces, clusters: the nodes in them.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub nodes: BTreeSet<String>,
    /// Registered names.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub processes: BTreeSet<String>,
    /// `module:function/arity`.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub functions: BTreeSet<String>,
    /// Names of services.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub services: BTreeSet<String>,
}

/// A set without its signatures.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Given by whoever signs it; not in the canonical form, but beside it (0015).
    pub version: Version,
    /// What people call it.
    pub name: String,
    /// What becomes of what it refuses.
    pub mode: Mode,
    /// `*.cedar`, by name.
    pub policies: Vec<File>,
    /// `entities.yaml`.
    pub entities: Entities,
    /// The ready-made roles that it binds.
    pub roles: Vec<Binding>,
    /// `links.yaml`: what this cluster consents to of others (docs/decisions/0019).
    pub links: ClusterLinks,
}
