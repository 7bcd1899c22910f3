//! Links: what our side consents to of one foreign cluster. Nothing passes between two clusters unless each has a link that
//! says so.
//!
//! A link only bounds: who may use what is exported is decided by policies, on both sides. How links come to be in force is
//! that of the policy set they are a part of ([`crate::policy_set`]): two people, an order that never goes back, an end.

mod read;
#[cfg(test)]
pub(super) mod tests;

use core::fmt;

use rustls_pki_types::UnixTime;

use super::endpoint::{Profile, Url};
use super::pattern::IdPattern;
use crate::bundle::Bundle;
use crate::error::{Error, shown};
use crate::head::Audience;
use crate::id::{Role, SpiffeId, TrustDomain};
use crate::node_name::NodeName;
use crate::refusal::Refusal;
use crate::verify::Evidence;

pub use read::MAX_TEXT;

/// Most links of one cluster.
pub const MAX_LINKS: usize = 64;
/// Most exports, and most imports, of one link.
pub const MAX_ITEMS: usize = 256;
/// Most gateways of theirs, patterns, and labels, each, of one link.
pub const MAX_SCOPE: usize = 64;
/// Longest name of a registered process, module or function, in bytes. An atom has at most 255 characters.
pub const MAX_ATOM: usize = 255;
/// How long a link may live from now on, in seconds: a year. Who still wants it then says so again.
pub const MAX_LIFE: u64 = 366 * 24 * 3600;
/// How long a bundle is good that could not be fetched again, in seconds, unless the link says otherwise: a day. Long enough
/// for an outage on their side, and no longer than a stolen root that they took out should go on working here.
pub const STALENESS: u64 = 24 * 3600;
/// The least and the most that a link may say instead: a quarter of an hour, a week.
pub const STALENESS_BOUNDS: core::ops::RangeInclusive<u64> = 900..=7 * 24 * 3600;

/// What may be called or sent to, at one node.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum What {
    /// The node as a whole, hidden: all that policies then permit.
    Node,
    /// The process with this registered name.
    Process(Box<str>),
    /// This function.
    Function {
        /// Its module.
        module: Box<str>,
        /// Its name.
        function: Box<str>,
        /// How many arguments it takes.
        arity: u8,
    },
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node => f.write_str("node"),
            Self::Process(name) => write!(f, "process {name}"),
            Self::Function {
                module,
                function,
                arity,
            } => write!(f, "function {module}:{function}/{arity}"),
        }
    }
}

/// What of a node, in the words of the cluster that it is in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Item {
    /// The node.
    pub node: NodeName,
    /// What of it.
    pub what: What,
}

/// Something of theirs, and the node name that stands for its node here. Names of nodes mean nothing across clusters: both
/// may have an `orders@host-a`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Import {
    /// What our nodes call that node.
    pub alias: NodeName,
    /// What it is over there.
    pub item: Item,
}

/// Where the bundle of their domain comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// Where it is.
    pub url: Url,
    /// How whoever answers proves itself.
    pub profile: Profile,
    /// The roots to begin with, brought by hand; always there with [`Profile::Spiffe`].
    pub roots: Option<Bundle>,
    /// How long a bundle is good that could not be fetched again, in seconds.
    pub staleness: u64,
}

impl Source {
    /// Whether both say the same: two links into one domain must.
    fn is_same(&self, other: &Self) -> bool {
        let roots = |of: &Self| of.roots.as_ref().map(Bundle::to_pem);
        self.url == other.url
            && self.profile == other.profile
            && self.staleness == other.staleness
            && roots(self) == roots(other)
    }
}

/// What our side consents to of one foreign cluster.
#[derive(Debug, Clone)]
pub struct Link {
    /// What we call it.
    pub name: Box<str>,
    /// Whose link it is: our trust domain and cluster.
    pub own: Audience,
    /// With whom: another trust domain, and a cluster in it.
    pub peer: Audience,
    /// The last second in which it counts, Unix time.
    pub not_after: u64,
    /// Where their bundle comes from.
    pub source: Source,
    /// Their gateways: the only ones that may connect to ours, and that ours may connect to.
    pub gateways: Vec<SpiffeId>,
    /// Whose connections they may forward.
    pub forwards: Vec<IdPattern>,
    /// Which labels count that they claim for theirs. None of them says what a node of ours is.
    pub labels: Vec<Box<str>>,
    /// What of ours they may use.
    pub exports: Vec<Item>,
    /// What of theirs ours may use.
    pub imports: Vec<Import>,
}

impl Link {
    /// Whether it counts now.
    #[must_use]
    pub const fn in_force(&self, now: UnixTime) -> bool {
        now.as_secs() <= self.not_after
    }

    /// Whether this gateway of theirs may forward a connection of this identity. Both must be verified, each by the bundle of
    /// its own domain, and `identity` end to end: a gateway's word for it is none.
    ///
    /// # Errors
    /// [`Refusal::NotLinked`] says what was found and what the link wants.
    pub fn may_forward(
        &self,
        gateway: &Evidence,
        identity: &Evidence,
        now: UnixTime,
    ) -> Result<(), Refusal> {
        self.is_gateway(gateway, now)?;
        self.may_call(&identity.peer.id, now)
    }

    /// Whether a node with this identity may call nodes of ours, whoever brings its connection. The identity must be verified, by the
    /// bundle of its own domain.
    ///
    /// # Errors
    /// [`Refusal::NotLinked`].
    pub fn may_call(&self, id: &SpiffeId, now: UnixTime) -> Result<(), Refusal> {
        let refused = |wanted| Err(self.refusal(id, wanted));
        if !self.in_force(now) {
            return refused("a link that is not over");
        }
        if *id.trust_domain() != self.peer.trust_domain {
            return refused("an identity of their own trust domain");
        }
        match id.role() {
            Some(Role::Node { cluster, .. }) if cluster != self.peer.cluster => {
                refused("a node of the linked cluster")
            }
            _ if self.forwards.iter().any(|pattern| pattern.matches(id)) => Ok(()),
            _ => refused("one that `forwards` names"),
        }
    }

    /// Whether this is a gateway of theirs that may connect to ours, or answer it.
    ///
    /// # Errors
    /// [`Refusal::NotLinked`].
    pub fn is_gateway(&self, gateway: &Evidence, now: UnixTime) -> Result<(), Refusal> {
        let id = &gateway.peer.id;
        if !self.in_force(now) {
            return Err(self.refusal(id, "a link that is not over"));
        }
        // Clusters of theirs may share a root; certificates of other authorities do not say a cluster.
        let elsewhere = gateway.cluster.as_ref();
        if elsewhere.is_some_and(|cluster| *cluster != self.peer.cluster) {
            return Err(self.refusal(id, "a gateway that the linked cluster's issuer signed"));
        }
        if !self.gateways.contains(id) {
            return Err(self.refusal(id, "one that `gateways` names"));
        }
        Ok(())
    }

    /// The name under which a node of theirs is known to a node of ours: what an import calls it; or its own, at a host that names the
    /// link, short or long as that of `known_to` is. A name that nobody of ours may bear: who chooses the names of nodes and links sees
    /// to that.
    ///
    /// # Errors
    /// [`Error::Name`] if that is no node name: it is too long.
    pub fn known_as(&self, node: &NodeName, known_to: &NodeName) -> Result<NodeName, Error> {
        let imported = self.imports.iter().find(|import| import.item.node == *node);
        if let Some(import) = imported {
            return Ok(import.alias.clone());
        }
        let (alive, host, link) = (node.alive(), node.host(), &self.name);
        // With a dot in it, or without: Erlang's long and short names. Nodes of one kind do not talk to the other.
        let host = if known_to.host().to_string().contains('.') {
            format!("{host}.{link}")
        } else {
            format!("{}-{link}", host.to_string().replace(['.', ':'], "-"))
        };
        NodeName::parse(&format!("{alive}@{host}"))
    }

    /// Whether anything of this node of ours is exported.
    #[must_use]
    pub fn exports_of(&self, node: &NodeName) -> bool {
        self.exports.iter().any(|item| item.node == *node)
    }

    /// Whether anything of this node of theirs is imported.
    #[must_use]
    pub fn imports_of(&self, node: &NodeName) -> bool {
        self.imports.iter().any(|import| import.item.node == *node)
    }

    /// Whether a label counts that they claim for theirs.
    #[must_use]
    pub fn counts(&self, label: &str) -> bool {
        self.labels.iter().any(|one| **one == *label)
    }

    fn refusal(&self, id: &SpiffeId, wanted: &'static str) -> Refusal {
        Refusal::NotLinked {
            id: id.clone(),
            link: self.name.clone(),
            wanted,
        }
    }
}

/// All links of one cluster.
#[derive(Debug, Clone, Default)]
pub struct Links(Vec<Link>);

impl Links {
    /// Reads the links of this cluster: a JSON list, as it stands in a policy set.
    ///
    /// # Errors
    /// [`Error::Encoding`], [`Error::Name`] or [`Error::Bundle`], with the link and the field in which it was found. One bad
    /// link refuses them all: half a consent is somebody's mistake.
    pub fn parse(own: &Audience, text: &str) -> Result<Self, Error> {
        let links = read::links(own, text)?;
        check_together(&links)?;
        Ok(Self(links))
    }

    /// For whoever proposes links: whether all of them are still to come to their end, and within [`MAX_LIFE`].
    ///
    /// # Errors
    /// [`Error::Encoding`] names the link.
    pub fn check_life(&self, now: UnixTime) -> Result<(), Error> {
        let now = now.as_secs();
        match self.0.iter().find(|link| {
            let left = link.not_after.checked_sub(now);
            left.is_none_or(|left| left > MAX_LIFE)
        }) {
            None => Ok(()),
            Some(link) => Err(bad(
                &link.name,
                format!("notAfter {}, now is {now}", link.not_after),
                "an end within the next 366 days",
            )),
        }
    }

    /// All of them, those that are over included.
    pub fn iter(&self) -> impl Iterator<Item = &Link> {
        self.0.iter()
    }

    /// Whether any is with a cluster of this domain, those that are over included.
    #[must_use]
    pub fn is_with(&self, trust_domain: &TrustDomain) -> bool {
        self.0
            .iter()
            .any(|link| link.peer.trust_domain == *trust_domain)
    }

    /// The link in force with a cluster of another domain.
    #[must_use]
    pub fn with(&self, domain: &TrustDomain, cluster: &str, now: UnixTime) -> Option<&Link> {
        self.in_force(now)
            .find(|link| link.peer.trust_domain == *domain && link.peer.cluster == cluster)
    }

    /// The node of theirs that goes by this name here, and the link in force that says so.
    #[must_use]
    pub fn behind(&self, alias: &NodeName, now: UnixTime) -> Option<(&Link, &NodeName)> {
        self.in_force(now).find_map(|link| {
            let import = link.imports.iter().find(|import| import.alias == *alias)?;
            Some((link, &import.item.node))
        })
    }

    /// Those that are not over.
    pub fn in_force(&self, now: UnixTime) -> impl Iterator<Item = &Link> {
        self.0.iter().filter(move |link| link.in_force(now))
    }

    /// From where the bundle of a foreign domain comes while any link to it is in force. All links to one domain say the same.
    #[must_use]
    pub fn source(&self, trust_domain: &TrustDomain, now: UnixTime) -> Option<&Source> {
        self.sources(now)
            .find(|(domain, _)| *domain == trust_domain)
            .map(|(_, source)| source)
    }

    /// The foreign domains with a link in force, some of them more than once, each with its source.
    pub fn sources(&self, now: UnixTime) -> impl Iterator<Item = (&TrustDomain, &Source)> {
        self.in_force(now)
            .map(|link| (&link.peer.trust_domain, &link.source))
    }
}

/// What both sides agreed on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Consent<'a> {
    /// What of ours theirs may use: we export and they import it.
    pub given: Vec<&'a Item>,
    /// What of theirs ours may use: they export and we import it.
    pub taken: Vec<&'a Import>,
}

/// What both sides agreed on: nothing if one of the links is over, or is not about the other side. Each side enforces its own
/// link and needs none of this; it is for telling people why something does not pass.
#[must_use]
pub fn consent<'a>(ours: &'a Link, theirs: &'a Link, now: UnixTime) -> Consent<'a> {
    let mutual = ours.peer == theirs.own && theirs.peer == ours.own;
    if !(mutual && ours.in_force(now) && theirs.in_force(now)) {
        return Consent::default();
    }
    let wanted = |item: &&Item| theirs.imports.iter().any(|import| import.item == **item);
    let offered = |import: &&Import| theirs.exports.contains(&import.item);
    Consent {
        given: ours.exports.iter().filter(wanted).collect(),
        taken: ours.imports.iter().filter(offered).collect(),
    }
}

/// What no link can say alone.
fn check_together(links: &[Link]) -> Result<(), Error> {
    for (at, link) in links.iter().enumerate() {
        let before = links.get(..at).unwrap_or_default();
        for other in before {
            if other.name == link.name {
                return Err(bad(&link.name, "its name again".into(), "each name once"));
            }
            if other.peer == link.peer {
                let found = format!("the cluster of link {} again", shown(&other.name));
                return Err(bad(&link.name, found, "one link to each cluster"));
            }
            let one_domain = other.peer.trust_domain == link.peer.trust_domain;
            if one_domain && !other.source.is_same(&link.source) {
                let found = format!("another bundle than link {} has", shown(&other.name));
                return Err(bad(&link.name, found, "one source for one trust domain"));
            }
        }
        for import in &link.imports {
            let foreign =
                |other: &Import| other.alias == import.alias && other.item.node != import.item.node;
            let clash = link.imports.iter().any(foreign)
                || before
                    .iter()
                    .any(|other| other.imports.iter().any(|one| one.alias == import.alias))
                || links
                    .iter()
                    .any(|other| other.exports.iter().any(|item| item.node == import.alias));
            if clash {
                let found = format!("alias {}, which is another node as well", import.alias);
                return Err(bad(&link.name, found, "one node for one alias"));
            }
        }
    }
    Ok(())
}

fn bad(link: &str, found: String, wanted: &'static str) -> Error {
    Error::Encoding {
        what: "cluster link",
        found: format!("{}: {found}", shown(link)),
        wanted,
    }
}
