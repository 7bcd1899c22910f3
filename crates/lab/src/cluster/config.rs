//! The configuration of each agent of a cluster, from the plan and from what is known by now.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::{Value, json};

use crate::plan::merge;
use crate::{Cluster, Error};

/// The trust domain of labs. RFC 6761 keeps `.test` for this.
pub(crate) const TRUST_DOMAIN: &str = "lab.test";
/// The cluster of labs.
pub(crate) const CLUSTER: &str = "lab";

impl Cluster {
    /// The configuration of a host as it should be now.
    pub(super) fn config(&self, host: usize) -> Result<Value, Error> {
        let own = self.host(host)?;
        let loopback = if own.plan.ipv6 { "::1" } else { "127.0.0.1" };
        let any_port = SocketAddr::new(
            loopback
                .parse()
                .map_err(|_| Error::Plan(loopback.to_owned()))?,
            0,
        );
        // An agent that comes back keeps its ports; one that runs must not see them change.
        let (links, epmd) = match own.ports {
            Some(ports) if own.agent.is_none() => ports,
            _ => (any_port, 0),
        };
        let nodes: Vec<_> = own
            .plan
            .nodes
            .iter()
            .map(|node| {
                let mut entry = json!({"name": node.name, "family": if own.plan.ipv6 { "inet6" } else { "inet" }});
                if self.control.is_some() {
                    // A registration has one workload for all of its names.
                    entry["workload"] = json!(own.plan.label);
                }
                merge(&mut entry, &node.config);
                entry
            })
            .collect();
        let mut config = json!({
            "apiVersion": skans_agent::config::API_VERSION,
            "trustDomain": TRUST_DOMAIN,
            "cluster": CLUSTER,
            "runtimeDirectory": own.directory.join("run"),
            "nodes": nodes,
            "identity": self.identity(&own.directory),
            "links": {"listen": links},
            "epmd": {"port": epmd, "addresses": [loopback]},
            "admin": {"listen": any_port},
            // Nobody waits for a lab to drain.
            "drain": {"timeout": "1s"},
            "log": {"format": "json"},
            // Whoever watches a lab does not wait ten seconds for a line.
            "events": {"file": own.directory.join("events.jsonl"), "window": "500ms"},
            "peers": {"static": self.peers(host)?},
        });
        if self.policed {
            config["policy"] = json!({"directory": self.policy_directory()});
        }
        merge(&mut config, &own.plan.config);
        if config["identity"].get("control").is_some()
            && let Some(config) = config.as_object_mut()
        {
            // A control plane signs sets of its own.
            config.remove("policy");
        }
        Ok(config)
    }

    fn identity(&self, directory: &Path) -> Value {
        if self.control.is_some() {
            return json!({"control": {
                "joinToken": directory.join("join.token"),
                "stateDirectory": directory.join("state"),
            }});
        }
        json!({"authority": {"directory": self.directory().join("authority")}})
    }

    fn peers(&self, host: usize) -> Result<Vec<Value>, Error> {
        let entry = |nodes: &str, address: SocketAddr| json!({"nodes": nodes, "address": address});
        let own = self.host(host)?;
        // The first that fits counts.
        let mut peers: Vec<_> = own
            .detours
            .iter()
            .map(|(nodes, &address)| entry(nodes, address))
            .collect();
        for (index, other) in self
            .hosts
            .iter()
            .enumerate()
            .filter(|(index, _)| *index != host)
        {
            let Some((address, _)) = other.ports else {
                continue;
            };
            let names = self
                .nodes
                .iter()
                .filter(|node| node.host == index)
                .map(|node| &node.plan.name);
            peers.extend(names.clone().map(|name| entry(name, address)));
            // Its short-lived nodes.
            let mut hosts: Vec<_> = names
                .filter_map(|name| name.split_once('@'))
                .map(|(_, host)| host)
                .collect();
            hosts.dedup();
            peers.extend(
                hosts
                    .into_iter()
                    .map(|host| entry(&format!("*@{host}"), address)),
            );
        }
        Ok(peers)
    }
}
