//! Sets that nobody has to write: the one to begin with, and the one that refuses everything. How sets are signed, ordered and
//! kept is in `skans_identity::policy_set`, which knows of their content no more than that it is bytes.

#[cfg(test)]
mod tests;

use crate::role;
use crate::source::{ClusterLinks, Entities, Mode, Source, Version};

impl Source {
    /// The set that a new cluster begins with: its nodes are members of it, and nothing else. `control init` puts it in force,
    /// and agents that nobody tells anything have it built in.
    #[must_use]
    pub fn same_cluster_members(trust_domain: &str, cluster: &str) -> Self {
        let id = format!("spiffe://{trust_domain}/cluster/{cluster}");
        Self {
            name: "same-cluster-members".to_owned(),
            roles: role::same_cluster_members(&id),
            ..Self::nothing(Version::default())
        }
    }

    /// A set without a permit: it refuses everything.
    #[must_use]
    pub fn nothing(version: Version) -> Self {
        Self {
            version,
            name: "nothing".to_owned(),
            mode: Mode::Enforce,
            policies: Vec::new(),
            entities: Entities::default(),
            roles: Vec::new(),
            links: ClusterLinks::default(),
        }
    }
}
