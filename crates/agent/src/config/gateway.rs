//! The gateway of a cluster: a process that brings links of many nodes to the gateways of other clusters, and theirs to agents.

use std::collections::BTreeMap;

use serde::Deserialize;
use skans_dist::NodeName;

use super::check::check_address;
use super::{CertificateFiles, Config};

/// Gateways that one link leads to, or that a cluster has, at most. Ours: two stand in for each other, a few more share load.
const MAX_GATEWAYS: usize = 16;
/// The port of gateways.
pub const GATEWAY_PORT: u16 = 4371;

/// Makes this process a gateway. It speaks for no node, and `links.listen` is where it is asked; port 4371 unless given.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Gateway {
    /// `id@host`: its identity is `spiffe://<trust domain>/skans/gateway/<id>`, and its certificate is for that host.
    pub name: String,
    /// Where the gateways of other clusters are, `host:port` each, by the name of the link to them. They are tried in this order, but for
    /// those that could not be reached lately.
    #[serde(default)]
    pub routes: BTreeMap<String, Vec<String>>,
    /// Its certificate chain and key, with `identity: files`.
    pub certificate: Option<CertificateFiles>,
}

impl Gateway {
    /// The name, parsed.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn node_name(&self) -> Result<NodeName, String> {
        self.name
            .parse()
            .map_err(|error: skans_dist::Error| error.to_string())
    }
}

impl Config {
    /// What may be a gateway, and lead to one.
    pub(super) fn check_gateways(&self) -> Result<(), String> {
        check_addresses("peers.gateways", &self.peers.gateways)?;
        let Some(gateway) = &self.gateway else {
            return Ok(());
        };
        gateway
            .node_name()
            .map_err(|why| format!("gateway.name: {why}, wanted id@host"))?;
        if self.cli.enabled && self.cli.host.is_some() {
            return Err(
                "cli.host: found one beside gateway, wanted none: no tool speaks through a gateway"
                    .to_owned(),
            );
        }
        if !self.nodes.is_empty() {
            return Err(
                "nodes: found some beside gateway, wanted none: who asks a gateway must not meet nodes there"
                    .to_owned(),
            );
        }
        for (link, addresses) in &gateway.routes {
            let key = format!("gateway.routes.{link}");
            if addresses.is_empty() {
                return Err(format!("{key}: found no address, wanted host:port"));
            }
            check_addresses(&key, addresses)?;
        }
        self.check_certificate(gateway.certificate.is_some(), "gateway.certificate")
    }
}

fn check_addresses(key: &str, addresses: &[String]) -> Result<(), String> {
    if addresses.len() > MAX_GATEWAYS {
        return Err(format!(
            "{key}: found {} addresses, wanted {MAX_GATEWAYS} at most",
            addresses.len()
        ));
    }
    addresses
        .iter()
        .enumerate()
        .try_for_each(|(index, address)| {
            check_address(address).map_err(|why| format!("{key}[{index}]: {why}"))
        })
}
