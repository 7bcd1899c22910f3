//! A cluster at a glance: what `skans up` shows.

use serde::Serialize;
use skans_agent::admin::{LinkView, TrafficView};

use crate::{Cluster, Error};

/// All nodes.
#[derive(Clone, Debug, Serialize)]
pub struct View {
    /// Seconds since the start.
    pub elapsed_seconds: f64,
    /// The nodes, in the order of the plan.
    pub nodes: Vec<NodeRow>,
}

/// One node.
#[derive(Clone, Debug, Serialize)]
pub struct NodeRow {
    /// Its name.
    pub node: String,
    /// Whether it is registered with its agent.
    pub registered: bool,
    /// Tells its lives apart; 0 while it is not registered.
    pub creation: u32,
    /// Its SPIFFE ID.
    pub identity: String,
    /// Last second of its certificate, Unix time.
    pub not_after: u64,
    /// Its established links.
    pub links: Vec<LinkView>,
    /// What its agent has carried, past links included.
    pub traffic: TrafficView,
    /// The Unix socket of its agent, for `skans status --socket`.
    pub socket: String,
}

/// Looks at every agent.
///
/// # Errors
/// [`Error::Agent`] if one does not answer.
pub async fn look(cluster: &Cluster, elapsed_seconds: f64) -> Result<View, Error> {
    let mut nodes = Vec::new();
    for host in cluster.running_agents() {
        let agent = cluster.agent(host)?;
        let (status, registered, links) = (
            agent.status().await?,
            agent.nodes().await?,
            agent.links().await?,
        );
        for node in 0..cluster.node_count() {
            if cluster.host_of(node)? != host {
                continue;
            }
            let name = cluster.name(node)?;
            let certificate = status
                .certificates
                .iter()
                .find(|certificate| certificate.node == name);
            let own = registered.iter().find(|view| view.name == name);
            nodes.push(NodeRow {
                node: name.to_owned(),
                registered: own.is_some(),
                creation: own.map_or(0, |view| view.creation),
                identity: certificate
                    .map(|certificate| certificate.identity.clone())
                    .unwrap_or_default(),
                not_after: certificate.map_or(0, |certificate| certificate.not_after),
                links: links
                    .iter()
                    .filter(|link| link.local == name && link.state == "up")
                    .cloned()
                    .collect(),
                traffic: status.traffic,
                socket: agent.files().socket.display().to_string(),
            });
        }
    }
    Ok(View {
        elapsed_seconds,
        nodes,
    })
}
