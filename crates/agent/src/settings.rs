//! The configuration in the form that decisions are made from. Replaced whole on reload, so that no
//! decision sees half of an old one and half of a new one.

use std::collections::HashSet;

use aws_lc_rs::digest;
use skans_dist::NodeName;
use skans_identity::pattern::{NamePattern, glob_fits};

use crate::config::{Config, Endpoint};
use crate::node_pattern::NodePattern;
use crate::setup::UNNAMED;

/// Decisions and what they are made from.
#[derive(Debug)]
pub struct Settings {
    /// The configuration as it was written.
    pub config: Config,
    /// Patterns of short-lived names of any host.
    pub cli_patterns: Vec<NamePattern>,
    refuse: Vec<NodePattern>,
    members: Vec<NodePattern>,
    clique: [u8; 32],
    fixed: Vec<(NodePattern, String)>,
    dns: Option<(String, u16)>,
    hosts: HashSet<String>,
    offers: Vec<Offered>,
}

/// A service of this host that others may use.
#[derive(Debug)]
pub struct Offered {
    /// Its name.
    pub name: String,
    /// In whose name it is offered.
    pub node: NodeName,
    /// Where it listens.
    pub target: Endpoint,
    /// Connections at once.
    pub max_connections: usize,
    /// Connections at once of one peer.
    pub max_per_peer: usize,
}

/// Where the agent of a node is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Place {
    /// It is this one.
    Here,
    /// `host:port`, to be resolved.
    There(String),
}

impl Settings {
    /// Compiles a configuration that [`crate::config::parse`] has checked.
    ///
    /// # Errors
    /// A pattern that cannot be used; checked configurations have none.
    pub fn new(config: Config) -> Result<Self, String> {
        let patterns = |texts: &[String]| {
            texts
                .iter()
                .map(|t| NodePattern::parse(t))
                .collect::<Result<Vec<_>, _>>()
        };
        let refuse = patterns(&config.refuse)?;
        let members = patterns(&config.clique.members)?;
        let clique = clique_digest(&config, &members, &refuse);
        let fixed = config
            .peers
            .fixed
            .iter()
            .map(|peer| Ok((NodePattern::parse(&peer.nodes)?, peer.address.clone())))
            .collect::<Result<Vec<_>, String>>()?;
        let dns = config
            .peers
            .dns
            .as_ref()
            .map(|dns| (dns.hosts.clone(), dns.port));
        let hosts = config
            .nodes
            .iter()
            .filter_map(|node| node.node_name().ok())
            .map(|name| name.host().to_owned())
            .chain(config.cli_host())
            .collect();
        let offers = config.services.offers.iter().map(|offer| {
            Ok(Offered {
                name: offer.name.clone(),
                node: config.bearer(offer.node.as_deref())?,
                target: Endpoint::parse(&offer.target)?,
                max_connections: offer.max_connections,
                max_per_peer: offer.max_per_peer,
            })
        });
        Ok(Self {
            offers: offers.collect::<Result<_, String>>()?,
            cli_patterns: config.cli_patterns(),
            refuse,
            members,
            clique,
            fixed,
            dns,
            hosts,
            config,
        })
    }

    /// A service that a node of this host offers.
    #[must_use]
    pub fn offer(&self, node: &NodeName, name: &str) -> Option<&Offered> {
        let mut offers = self.offers.iter();
        offers.find(|offer| offer.node == *node && offer.name == name)
    }

    /// All that are offered here.
    #[must_use]
    pub fn offers(&self) -> &[Offered] {
        &self.offers
    }

    /// Why this pair may not connect; `None` if it may. Called for the identity, which must be of
    /// the same cluster, elsewhere: this is about names alone.
    #[must_use]
    pub fn refusal(&self, from: &NodeName, to: &NodeName) -> Option<String> {
        self.refuse.iter().find_map(|pattern| {
            [from, to]
                .into_iter()
                .find(|name| pattern.matches(name))
                .map(|name| format!("{name} matches refuse: {}", pattern.as_str()))
        })
    }

    /// The digest under which this side would let the pair see each other; `None` hides it.
    ///
    /// Only equal digests make a visible link. Being equal is an equivalence, so visible links form
    /// closed cliques whatever the other agents are told: one with another list is hidden from all
    /// of them, and `global` never sees a mesh with a hole (it would take nodes apart).
    #[must_use]
    pub fn clique(&self, from: &NodeName, to: &NodeName) -> Option<[u8; 32]> {
        let member = |name: &NodeName| {
            !self.is_cli(name) && self.members.iter().any(|pattern| pattern.matches(name))
        };
        (member(from) && member(to)).then_some(self.clique)
    }

    /// Whether a name is one of a short-lived node, or still to be given.
    #[must_use]
    pub fn is_cli(&self, name: &NodeName) -> bool {
        !self.is_configured(name)
            && (name.alive() == UNNAMED
                || self.cli_patterns.iter().any(|p| p.matches(name.alive())))
    }

    /// Whether a name is one of the nodes of this host.
    #[must_use]
    pub fn is_configured(&self, name: &NodeName) -> bool {
        self.config
            .nodes
            .iter()
            .any(|node| node.name == name.as_str())
    }

    /// Whether nodes of this host name part are served by this agent.
    #[must_use]
    pub fn is_own_host(&self, host: &str) -> bool {
        self.hosts.contains(host)
    }

    /// Where the agent of a node is, or `None` if nothing says so. Answers from memory.
    #[must_use]
    pub fn place(&self, name: &NodeName) -> Option<Place> {
        // A host of ours is served here or nowhere: its agent is this one.
        if self.is_own_host(name.host()) && (self.is_configured(name) || self.is_cli(name)) {
            return Some(Place::Here);
        }
        if let Some((_, address)) = self.fixed.iter().find(|(pattern, _)| pattern.matches(name)) {
            return Some(Place::There(address.clone()));
        }
        let (hosts, port) = self.dns.as_ref()?;
        glob_fits(hosts, name.host()).then(|| {
            // An IPv6 address needs brackets before a port.
            if name.host().contains(':') {
                Place::There(format!("[{}]:{port}", name.host()))
            } else {
                Place::There(format!("{}:{port}", name.host()))
            }
        })
    }
}

/// A digest over who is a member, and who of them is refused here.
fn clique_digest(config: &Config, members: &[NodePattern], refuse: &[NodePattern]) -> [u8; 32] {
    let literal = members.iter().all(NodePattern::is_literal);
    let mut lines: Vec<String> = members
        .iter()
        .map(|p| format!("member {}", p.as_str()))
        .collect();
    lines.extend(
        refuse
            .iter()
            // Someone who is no member anyway makes no hole in the clique.
            .filter(|pattern| !literal || hits_a_member(pattern, members))
            .map(|pattern| format!("refuse {}", pattern.as_str())),
    );
    // These say which names are no members.
    lines.push(format!("cli {}", config.cli.enabled));
    lines.extend(config.cli.patterns.iter().map(|p| format!("cli {p}")));
    lines.sort();
    lines.dedup();
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"skans-clique-v1\n");
    for line in [&config.trust_domain, &config.cluster]
        .into_iter()
        .chain(&lines)
    {
        context.update(line.as_bytes());
        context.update(b"\n");
    }
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

fn hits_a_member(pattern: &NodePattern, members: &[NodePattern]) -> bool {
    members
        .iter()
        .filter_map(|member| member.as_str().parse::<NodeName>().ok())
        .any(|name| pattern.matches(&name))
}

#[cfg(test)]
mod tests;
