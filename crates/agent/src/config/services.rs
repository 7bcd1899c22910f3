//! `services`: what rides along besides nodes. What is offered here, and what of other hosts is used here.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use skans_dist::NodeName;

use super::{Config, Node};

/// Longest path of a Unix socket in bytes (unix(7): 108 with its end).
const MAX_PATH: usize = 107;

/// What rides along.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Services {
    /// Services of this host that others may use, if the policy lets them.
    pub offers: Vec<Offer>,
    /// Services of other hosts, each behind a door of this one.
    pub uses: Vec<Use>,
}

/// A service of this host.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Offer {
    /// What others ask for, and what policies call it: 1 to 63 of `a-z 0-9 -`, a letter first.
    pub name: String,
    /// The node in whose name it is offered; the only one of this host unless given.
    pub node: Option<String>,
    /// Where it listens: an address of loopback, or `unix:` and a path.
    pub target: String,
    /// Connections at once, of all peers together. 512: what a well-sized database takes; `PostgreSQL` itself stops at 100,
    /// Envoy at 1,024.
    #[serde(default = "most")]
    pub max_connections: usize,
    /// Connections at once of one peer. 128, as for links; so it takes several peers to use a service up.
    #[serde(default = "most_per_peer")]
    pub max_per_peer: usize,
}

/// A service of another host.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Use {
    /// What it is called there.
    pub name: String,
    /// The node in whose name it is offered; found as nodes are (`peers`).
    pub from: String,
    /// The node of this host in whose name it is used; the only one unless given.
    pub node: Option<String>,
    /// Where clients of this host find it: an address of loopback, or `unix:` and a path.
    pub listen: String,
    /// Whose processes may connect: user names or numeric ids. The user of the node unless given. Root may always.
    pub users: Option<Vec<String>>,
    /// Connections at once, those that are being set up included. 512, as for an offer.
    #[serde(default = "most")]
    pub max_connections: usize,
}

const fn most() -> usize {
    512
}

const fn most_per_peer() -> usize {
    128
}

/// One end of a service, on this host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// An address of loopback.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

impl std::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Endpoint {
    /// Reads `127.0.0.1:5432` or `unix:/run/postgresql/.s.PGSQL.5432`.
    ///
    /// # Errors
    /// What was found, and what was wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("unix:") {
            if !Path::new(path).is_absolute() || path.len() > MAX_PATH {
                return Err(format!(
                    "found {text:?}, wanted unix: and an absolute path of at most {MAX_PATH} bytes"
                ));
            }
            return Ok(Self::Unix(path.into()));
        }
        let address: SocketAddr = text.parse().map_err(|_| {
            // No names: whoever answers for one says where it leads.
            format!(
                "found {text:?}, wanted an address of loopback such as 127.0.0.1:5432, or unix: and a path"
            )
        })?;
        if !address.ip().to_canonical().is_loopback() {
            return Err(format!(
                "found {text:?}, wanted an address of loopback or a Unix socket: between an agent and a service nothing is encrypted, so it must not leave this host"
            ));
        }
        if address.port() == 0 {
            return Err(format!("found {text:?}, wanted a port other than 0"));
        }
        Ok(Self::Tcp(address))
    }
}

impl Config {
    /// The node in whose name a service is offered or used.
    ///
    /// # Errors
    /// What was found under `key`, and what was wanted.
    pub fn bearer(&self, node: Option<&str>) -> Result<NodeName, String> {
        let named = |node: &Node| node.node_name();
        if let Some(name) = node {
            let known = self.guarded().find(|known| known.name == name);
            return known
                .ok_or_else(|| {
                    format!("found {name:?}, wanted a node under nodes that is not mode: native")
                })
                .and_then(named);
        }
        let mut all = self.guarded();
        match (all.next(), all.next()) {
            (Some(only), None) => named(only),
            (None, _) => Err("found no node that is not mode: native, wanted one: its certificate proves who offers and who uses a service".to_owned()),
            (Some(_), Some(_)) => Err(
                "found none, wanted one: with several nodes it has to be said whose certificate counts"
                    .to_owned(),
            ),
        }
    }

    /// What the types of `services` cannot refuse.
    pub(super) fn check_services(&self) -> Result<(), String> {
        let name = |key: &str, name: &str| {
            if skans_policy::name::is_label(name) {
                return Ok(());
            }
            Err(format!(
                "{key}.name: found {name:?}, wanted 1 to 63 of a-z 0-9 - with a letter first"
            ))
        };
        let bound = |key: &str, found: usize| {
            if (1..=65_536).contains(&found) {
                return Ok(());
            }
            Err(format!("{key}: found {found}, wanted 1 to 65536"))
        };
        let mut doors = Vec::new();
        for (index, used) in self.services.uses.iter().enumerate() {
            let key = format!("services.uses[{index}]");
            name(&key, &used.name)?;
            bound(&format!("{key}.maxConnections"), used.max_connections)?;
            self.bearer(used.node.as_deref())
                .map_err(|why| format!("{key}.node: {why}"))?;
            used.from
                .parse::<NodeName>()
                .map_err(|error| format!("{key}.from: {error}"))?;
            let listen =
                Endpoint::parse(&used.listen).map_err(|why| format!("{key}.listen: {why}"))?;
            if doors.contains(&listen) || self.is_a_door(&listen) {
                return Err(format!(
                    "{key}.listen: found {listen}, wanted one that nothing else listens on"
                ));
            }
            doors.push(listen);
        }
        let mut offered = std::collections::HashSet::new();
        for (index, offer) in self.services.offers.iter().enumerate() {
            let key = format!("services.offers[{index}]");
            name(&key, &offer.name)?;
            bound(&format!("{key}.maxConnections"), offer.max_connections)?;
            bound(&format!("{key}.maxPerPeer"), offer.max_per_peer)?;
            let node = self
                .bearer(offer.node.as_deref())
                .map_err(|why| format!("{key}.node: {why}"))?;
            let target =
                Endpoint::parse(&offer.target).map_err(|why| format!("{key}.target: {why}"))?;
            if doors.contains(&target) {
                return Err(format!(
                    "{key}.target: found {target}, wanted no listener of services.uses: that would lead in a circle"
                ));
            }
            if self.is_a_door(&target) {
                return Err(format!(
                    "{key}.target: found {target}, wanted no port of the agent itself: what it keeps to this host would be open to others"
                ));
            }
            if !offered.insert((offer.name.clone(), node.clone())) {
                return Err(format!(
                    "{key}.name: found {:?} of {node} twice, wanted each service of a node once",
                    offer.name
                ));
            }
        }
        Ok(())
    }

    /// Whether the agent itself listens there: for links, as epmd, for those who administer it.
    fn is_a_door(&self, endpoint: &Endpoint) -> bool {
        match endpoint {
            Endpoint::Tcp(address) => {
                let epmd = self.epmd.port.unwrap_or(4369);
                [self.links.listen.port(), epmd].contains(&address.port())
            }
            Endpoint::Unix(path) => *path == self.socket(),
        }
    }
}
