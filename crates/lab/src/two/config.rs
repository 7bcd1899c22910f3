//! The configuration of agents and gateways of two linked clusters, from what is known by now.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use super::{NODE, SPARE};
use crate::Error;
use crate::agent::Files;

/// Where a process of a side keeps its things, and what it lives on.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// What the cluster is called, and before `.test` its trust domain.
    pub side: &'a str,
    /// The directory of the side.
    pub within: &'a Path,
    /// `agent`, `gateway`, `gateway-2`.
    pub part: &'a str,
    /// Whether certificates and policies come from a control plane.
    pub controlled: bool,
    /// Where it listens for links. A reload must find what was there at the start: port 0 for a first life.
    pub listen: SocketAddr,
}

/// Any port of loopback.
pub(super) const ANY: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// What is an agent's own.
pub(super) fn agent(controlled: bool, spare: bool, gateways: &[SocketAddr]) -> Value {
    let node = |name: &str| {
        if controlled {
            // A registration has one workload for all of its names.
            json!({"name": name, "workload": "lab"})
        } else {
            json!({"name": name})
        }
    };
    let names = [NODE, SPARE].into_iter().take(1 + usize::from(spare));
    json!({
        "nodes": names.map(node).collect::<Vec<_>>(),
        "peers": {"gateways": gateways},
    })
}

/// What is a gateway's own. `known` is where the agent is, and the other gateways, once that is known.
pub(super) fn gateway(
    number: usize,
    other: &str,
    known: Option<(SocketAddr, &[SocketAddr])>,
) -> Value {
    let mut config = json!({"gateway": {"name": format!("g{number}@localhost")}});
    if let Some((agent, there)) = known {
        config["gateway"]["routes"] = json!({other: there});
        // Also of the node that is not exported: it is not for want of a way that nobody gets there.
        let ways = [NODE, SPARE].map(|node| json!({"nodes": node, "address": agent}));
        config["peers"] = json!({"static": ways});
    }
    config
}

impl Place<'_> {
    /// The files of it.
    pub fn files(&self) -> Files {
        Files::within(&self.within.join(self.part))
    }

    /// The join token, where there is a control plane.
    pub fn token(&self) -> std::path::PathBuf {
        self.within.join(self.part).join("join.token")
    }

    /// Writes the configuration.
    pub fn write(&self, own: &Value) -> Result<(), Error> {
        let place = self.within.join(self.part);
        let mut config = json!({
            "apiVersion": skans_agent::config::API_VERSION,
            "trustDomain": format!("{}.test", self.side),
            "cluster": self.side,
            "runtimeDirectory": place.join("run"),
            "links": {"listen": self.listen},
            "epmd": {"port": 0, "addresses": ["127.0.0.1"]},
            "admin": {"listen": "127.0.0.1:0"},
            "drain": {"timeout": "1s"},
            "log": {"format": "json"},
            "events": {"file": place.join("events.jsonl"), "window": "500ms"},
        });
        if self.controlled {
            config["identity"] = json!({"control": {"joinToken": self.token(), "stateDirectory": place.join("state")}});
        } else {
            config["identity"] = json!({"authority": {"directory": self.within.join("authority")}});
            config["policy"] = json!({"directory": self.within.join("policy")});
        }
        crate::plan::merge(&mut config, own);
        self.files().write_config(&config)
    }
}
