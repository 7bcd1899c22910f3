//! Which nodes: everything below a SPIFFE ID, or a group, and perhaps the short-lived nodes among them only.

use serde::{Deserialize, Serialize};

/// What an ID stands for, by its shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// `spiffe://<trust domain>`
    TrustDomain,
    /// `…/cluster/<c>`
    Cluster,
    /// `…/ns/<n>`
    Namespace,
    /// `…/sa/<w>`
    Workload,
    /// `…/node/<name>` or `…/node/<name>@<host>`
    Node,
}

/// Longest ID in bytes (SPIFFE-ID 2.3).
const MAX_ID: usize = 2048;

impl Kind {
    /// From the widest to the narrowest.
    pub const ALL: [Self; 5] = [
        Self::TrustDomain,
        Self::Cluster,
        Self::Namespace,
        Self::Workload,
        Self::Node,
    ];

    /// The entity type in Cedar, without `Skans::`.
    #[must_use]
    pub const fn entity_type(self) -> &'static str {
        match self {
            Self::TrustDomain => "TrustDomain",
            Self::Cluster => "Cluster",
            Self::Namespace => "Namespace",
            Self::Workload => "Workload",
            Self::Node => "Node",
        }
    }

    /// The shape of its ID.
    #[must_use]
    pub const fn shape(self) -> &'static str {
        match self {
            Self::TrustDomain => "spiffe://<trust domain>",
            Self::Cluster => "spiffe://<trust domain>/cluster/<c>",
            Self::Namespace => "spiffe://<trust domain>/cluster/<c>/ns/<n>",
            Self::Workload => "spiffe://<trust domain>/cluster/<c>/ns/<n>/sa/<w>",
            Self::Node => "spiffe://<trust domain>/cluster/<c>/ns/<n>/sa/<w>/node/<name>",
        }
    }

    /// The kind of an ID, if it is one: strict, nothing is trimmed or decoded.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        if id.len() > MAX_ID {
            return None;
        }
        let mut parts = id.strip_prefix("spiffe://")?.split('/');
        let domain = parts.next()?;
        let in_domain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > 255 || !domain.bytes().all(in_domain) {
            return None;
        }
        let mut kind = Self::TrustDomain;
        for (key, next) in [
            ("cluster", Self::Cluster),
            ("ns", Self::Namespace),
            ("sa", Self::Workload),
            ("node", Self::Node),
        ] {
            match parts.next() {
                None => return Some(kind),
                Some(found) if found == key => {}
                Some(_) => return None,
            }
            let part = parts.next()?;
            let part = match part.split_once('@') {
                Some((name, host)) if next == Self::Node && is_host(host) => name,
                _ => part,
            };
            if !is_segment(part) {
                return None;
            }
            kind = next;
        }
        parts.next().is_none().then_some(kind)
    }
}

/// A host name or an address, as a node name has it.
fn is_host(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':'))
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// Nodes, by exactly one of the keys. In YAML: `{workload: spiffe://…}`, `{cluster: spiffe://…, cli: true}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Selector {
    /// All nodes of a trust domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust_domain: Option<String>,
    /// All nodes of a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// All nodes of a namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// All nodes of a workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<String>,
    /// One node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<String>,
    /// The nodes of a group of `entities.yaml`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// `true`: of these the short-lived nodes only (`rabbitmqcli-*`, `rem-*`). `false`: all others. Without: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cli: Option<bool>,
}

impl Selector {
    /// Everything below an ID.
    #[must_use]
    pub fn below(id: &str) -> Option<Self> {
        let mut selector = Self::default();
        let id_of = Some(id.to_owned());
        match Kind::of(id)? {
            Kind::TrustDomain => selector.trust_domain = id_of,
            Kind::Cluster => selector.cluster = id_of,
            Kind::Namespace => selector.namespace = id_of,
            Kind::Workload => selector.workload = id_of,
            Kind::Node => selector.node = id_of,
        }
        Some(selector)
    }

    /// The entity that it names: type without `Skans::`, and ID.
    ///
    /// # Errors
    /// What was found, and what would be right.
    pub(crate) fn entity(&self) -> Result<(&'static str, &str), (String, String)> {
        let keys = [
            ("trustDomain", Kind::TrustDomain, &self.trust_domain),
            ("cluster", Kind::Cluster, &self.cluster),
            ("namespace", Kind::Namespace, &self.namespace),
            ("workload", Kind::Workload, &self.workload),
            ("node", Kind::Node, &self.node),
        ];
        let mut given = keys
            .iter()
            .filter_map(|&(key, kind, id)| Some((key, Some(kind), id.as_deref()?)))
            .chain(self.group.as_deref().map(|id| ("group", None, id)));
        let wanted = "one of trustDomain, cluster, namespace, workload, node, group";
        let Some((key, kind, id)) = given.next() else {
            return Err(("a selector without a key".into(), wanted.into()));
        };
        if let Some((other, ..)) = given.next() {
            return Err((format!("both {key} and {other}"), wanted.into()));
        }
        let Some(kind) = kind else {
            return Ok(("Group", id));
        };
        match Kind::of(id) {
            Some(found) if found == kind => Ok((kind.entity_type(), id)),
            Some(found) => Err((
                format!(
                    "{key}: {id:?}, which is the ID of a {}",
                    found.entity_type()
                ),
                kind.shape().into(),
            )),
            None => Err((format!("{key}: {id:?}"), kind.shape().into())),
        }
    }
}
