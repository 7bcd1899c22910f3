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
    let text = |key: &str| match link.get(key) {
        Some(Value::Text(text)) => Some(text.as_str()),
        _ => None,
    };
    Some((text("trustDomain")?, text("cluster")?))
}
