//! Links to other clusters, as a set carries them: which clusters they are with, so that policies may name their nodes. What else they
//! say is read by those who act on it (`skans_identity::federation::Links`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Kind;

/// Most links of a set (0019).
pub const MAX_LINKS: usize = 64;

/// The links of a set, in the order in which they were written.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ClusterLinks(Vec<Link>);

type Link = BTreeMap<String, Value>;

/// What a link is made of. Members of maps have one order, so that one set has one form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Value {
    Number(u64),
    Text(String),
    List(Vec<Value>),
    Map(Link),
}

/// What a link says, as far as it decides anything here.
pub(crate) struct ClusterLink<'a> {
    /// What we call it.
    pub(crate) name: &'a str,
    /// With whom.
    pub(crate) trust_domain: &'a str,
    pub(crate) cluster: &'a str,
    /// What of which node of ours they may use.
    pub(crate) exports: Vec<(&'a str, What<'a>)>,
    /// What of which node of theirs ours may use.
    pub(crate) imports: Vec<(&'a str, What<'a>)>,
}

/// What of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What<'a> {
    /// All of it.
    Node,
    /// The process with this registered name.
    Process(&'a str),
    /// Module, function, arity.
    Function(&'a str, &'a str, u8),
}

impl ClusterLinks {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As JSON, a list: what their reader takes.
    #[must_use]
    pub fn to_json(&self) -> String {
        // Strings, numbers, lists, maps: nothing in it that JSON does not have.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The trust domains and clusters that they are with.
    pub(crate) fn peers(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().filter_map(|link| peer(link))
    }

    /// What they say. An item that cannot be read opens nothing: whoever proposes a set has it read by those who know what a link is.
    pub(crate) fn iter(&self) -> impl Iterator<Item = ClusterLink<'_>> {
        self.0.iter().filter_map(|link| {
            let (trust_domain, cluster) = peer(link)?;
            Some(ClusterLink {
                name: text(link, "name").unwrap_or(trust_domain),
                trust_domain,
                cluster,
                exports: items(link, "exports"),
                imports: items(link, "imports"),
            })
        })
    }

    /// What is wrong with them, as far as it is looked at here: what was found, and what would be right.
    pub(crate) fn problems(&self) -> Vec<(String, String)> {
        let mut problems = Vec::new();
        if self.0.len() > MAX_LINKS {
            let found = format!("{} links", self.0.len());
            problems.push((found, format!("at most {MAX_LINKS}")));
        }
        for (n, link) in self.0.iter().enumerate() {
            let id =
                peer(link).map(|(domain, cluster)| format!("spiffe://{domain}/cluster/{cluster}"));
            if id.as_deref().and_then(Kind::of) != Some(Kind::Cluster) {
                let found = format!("links[{n}]: no cluster that it is with");
                problems.push((
                    found,
                    "trustDomain: theirs.example and cluster: main, as in its nodes' SPIFFE IDs"
                        .to_owned(),
                ));
            }
        }
        problems
    }
}

fn peer(link: &Link) -> Option<(&str, &str)> {
    Some((text(link, "trustDomain")?, text(link, "cluster")?))
}

fn text<'a>(link: &'a Link, key: &str) -> Option<&'a str> {
    match link.get(key) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    }
}

fn items<'a>(link: &'a Link, key: &str) -> Vec<(&'a str, What<'a>)> {
    let Some(Value::List(list)) = link.get(key) else {
        return Vec::new();
    };
    let item = |value: &'a Value| match value {
        Value::Map(item) => Some((text(item, "node")?, what(item)?)),
        _ => None,
    };
    list.iter().filter_map(item).collect()
}

fn what(item: &Link) -> Option<What<'_>> {
    match (item.get("process"), item.get("function")) {
        (None, None) => Some(What::Node),
        (Some(Value::Text(name)), None) => Some(What::Process(name)),
        (None, Some(Value::Text(name))) => {
            let (module, rest) = name.split_once(':')?;
            let (function, arity) = rest.rsplit_once('/')?;
            Some(What::Function(module, function, arity.parse().ok()?))
        }
        _ => None,
    }
}
