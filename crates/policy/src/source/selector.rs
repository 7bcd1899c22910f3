//! Which nodes: everything below a SPIFFE ID, or a group, and perhaps the short-lived nodes among them only.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::ClusterLinks;

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
/// Longest trust domain in bytes (SPIFFE-ID 2.1).
const MAX_TRUST_DOMAIN: usize = 255;
/// Longest cluster, namespace or workload in bytes, as certificates have it.
const MAX_PART: usize = 63;
/// Longest part of a node name before `@`, in bytes.
const MAX_ALIVE: usize = 200;

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

    /// The kind of an ID, if it is one that a certificate of a node can have: strict, nothing is trimmed or decoded. The agent,
    /// which knows both, holds this against how IDs in certificates are read.
    #[must_use]
    pub fn of(id: &str) -> Option<Self> {
        if id.len() > MAX_ID {
            return None;
        }
        let mut parts = id.strip_prefix("spiffe://")?.split('/');
        let domain = parts.next()?;
        let in_domain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_');
        if domain.is_empty() || domain.len() > MAX_TRUST_DOMAIN || !domain.bytes().all(in_domain) {
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
            let fits = match next {
                Self::Node => is_alive(part),
                _ => is_segment(part),
            };
            if !fits {
                return None;
            }
            kind = next;
        }
        parts.next().is_none().then_some(kind)
    }
}

/// A host name or an address, as certificates have it: anything else would match nobody.
fn is_host(text: &str) -> bool {
    if let Ok(ip) = text.parse::<IpAddr>() {
        return ip.to_string() == text;
    }
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
    };
    let last = text.rsplit('.').next().unwrap_or_default();
    text.len() <= 253 && text.split('.').all(label) && !last.bytes().all(|b| b.is_ascii_digit())
}

fn is_segment(text: &str) -> bool {
    text.len() <= MAX_PART
        && !matches!(text, "" | "." | "..")
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// The part of a node name before `@`, as `net_kernel:valid_name_head/1` wants it.
fn is_alive(text: &str) -> bool {
    (1..=MAX_ALIVE).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// The cluster whose agents a set is for. They take no node of another one (`WrongName`), so that what a set says of others
/// never applies: a permit that is in vain, or a `forbid` that forbids nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Home {
    trust_domain: String,
    cluster: String,
}

impl Home {
    /// By the names of trust domain and cluster.
    #[must_use]
    pub fn new(trust_domain: &str, cluster: &str) -> Self {
        let trust_domain = format!("spiffe://{trust_domain}");
        Self {
            cluster: format!("{trust_domain}/cluster/{cluster}"),
            trust_domain,
        }
    }

    /// Whether something of this cluster can be in an ID.
    fn has(&self, id: &str) -> bool {
        let inside = |rest: &str| rest.is_empty() || rest.starts_with('/');
        id == self.trust_domain || id.strip_prefix(&*self.cluster).is_some_and(inside)
    }
}

/// The clusters that a set may speak of: its own, and those that it has links with.
#[derive(Clone, Debug)]
pub(crate) struct Homes {
    own: Home,
    linked: Vec<Home>,
}

impl Homes {
    pub(crate) fn new(own: &Home, links: &ClusterLinks) -> Self {
        let linked = links
            .peers()
            .map(|(domain, cluster)| Home::new(domain, cluster));
        Self {
            own: own.clone(),
            linked: linked.collect(),
        }
    }

    /// Whether something of one of these clusters can be in an ID.
    pub(crate) fn has(&self, id: &str) -> bool {
        self.own.has(id) || self.linked.iter().any(|home| home.has(id))
    }

    /// What would be right.
    pub(crate) fn wanted(&self) -> String {
        let cluster = &self.own.cluster;
        format!("{cluster}, whose agents take no node of another one, or a cluster of links.yaml")
    }
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
