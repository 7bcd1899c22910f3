//! Which ports policies of the network leave open. Who may come through is looked at by rules.

use super::{Container, Object};
use crate::yaml::Node;

/// Seen from the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To it.
    Ingress,
    /// From it.
    Egress,
}

impl Direction {
    /// The name of the policy type.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ingress => "Ingress",
            Self::Egress => "Egress",
        }
    }

    /// The field of `spec` with its rules.
    #[must_use]
    pub const fn field(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

/// Whether a policy says something about a direction: `policyTypes`, and what is taken if it is not written.
#[must_use]
pub fn policy_types(policy: &Object, direction: Direction) -> bool {
    match policy.node.path(&["spec", "policyTypes"]) {
        Some(types) => types
            .items()
            .iter()
            .any(|one| one.as_str() == Some(direction.name())),
        None => direction == Direction::Ingress || policy.node.path(&["spec", "egress"]).is_some(),
    }
}

/// What the policies of a workload leave open in one direction.
#[derive(Debug, Default)]
pub struct Allowed<'o> {
    /// The policies that say something about it; if there is none, all is open.
    pub policies: Vec<&'o Object>,
    /// Their rules.
    pub rules: Vec<(&'o Object, &'o Node)>,
}

impl<'o> Allowed<'o> {
    /// What these policies leave open.
    pub fn new(policies: impl Iterator<Item = &'o Object>, direction: Direction) -> Self {
        let mut allowed = Self::default();
        for policy in policies.filter(|policy| policy_types(policy, direction)) {
            allowed.policies.push(policy);
            let rules = policy
                .node
                .path(&["spec", direction.field()])
                .map_or(&[][..], Node::items);
            allowed
                .rules
                .extend(rules.iter().map(|rule| (policy, rule)));
        }
        allowed
    }

    /// The rules that let a port through; names of ports are those of the containers.
    pub fn by(
        &self,
        port: i64,
        protocol: &'static str,
        containers: &'o [Container<'o>],
    ) -> impl Iterator<Item = (&'o Object, &'o Node)> {
        self.rules
            .iter()
            .copied()
            .filter(move |(_, rule)| opens(rule, port, protocol, containers))
    }

    /// Whether a port is open.
    #[must_use]
    pub fn is_open(&self, port: i64, protocol: &'static str, of: &'o [Container<'o>]) -> bool {
        self.policies.is_empty() || self.by(port, protocol, of).next().is_some()
    }
}

fn opens(rule: &Node, port: i64, protocol: &str, containers: &[Container<'_>]) -> bool {
    let ports = rule.get("ports").map_or(&[][..], Node::items);
    ports.is_empty()
        || ports.iter().any(|one| {
            let same = one.text(&["protocol"]).unwrap_or("TCP") == protocol;
            let Some(low) = one.get("port") else {
                return same;
            };
            let is = match low.as_int() {
                Some(low) => {
                    let high = one.get("endPort").and_then(Node::as_int).unwrap_or(low);
                    (low..=high).contains(&port)
                }
                None => containers.iter().any(|container| {
                    container.port(low.as_str().unwrap_or_default()) == Some(port)
                }),
            };
            same && is
        })
}

impl<'o> Container<'o> {
    /// The ports that it names.
    #[must_use]
    pub fn ports(&self) -> &'o [Node] {
        self.node.get("ports").map_or(&[], Node::items)
    }

    /// The number of a port by its name.
    #[must_use]
    pub fn port(&self, name: &str) -> Option<i64> {
        self.ports()
            .iter()
            .find(|port| port.text(&["name"]) == Some(name))?
            .get("containerPort")?
            .as_int()
    }
}
