//! Nodes of two clusters: what is between them are an agent on each side, and a gateway of each cluster.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Doing, Error, Result};
use crate::node::Node;
use crate::opponents::{Opponent, Stage};
use crate::pair::{Pair, Shape, environment, free_port, node_flags, part};
use crate::process::Process;

/// One of the two clusters, which is called like its nodes.
pub struct Cluster {
    name: &'static str,
    other: &'static str,
    nodes: Vec<String>,
    /// Where all of it is.
    pub directory: PathBuf,
    agent: u16,
    /// Where its gateway listens, on loopback.
    pub gateway: u16,
}

/// Starts both, links them, and starts their nodes: those of `a` call all of `b`, each under its own name.
pub async fn start(binary: &Path, stage: &Stage, shape: Shape, directory: &Path) -> Result<Pair> {
    let clusters = [
        Cluster::new("a", "b", shape.a, directory, None)?,
        Cluster::new("b", "a", shape.b, directory, None)?,
    ];
    let [a, b] = &clusters;
    let mut between = Vec::new();
    let mut environments = Vec::new();
    for (own, other) in [(a, b), (b, a)] {
        own.decide("")?;
        let mut agent = own.start(binary, "agent", &own.agent_config())?;
        let mut of_nodes = Vec::new();
        for name in &own.nodes {
            let file = own.directory.join(format!("agent/env/{name}.env"));
            of_nodes.push(environment(&mut agent, &file).await?);
        }
        environments.push(of_nodes);
        between.push(agent);
        let mut gateway = own.start(binary, "gateway", &own.gateway_config(other))?;
        gateway.wait_for_file(&own.socket("gateway")).await?;
        between.push(gateway);
    }
    for (own, other) in [(a, b), (b, a)] {
        own.decide(&own.links(other)?)?;
        for part in ["agent", "gateway"] {
            own.reload(binary, part).await?;
        }
    }
    let mut sides = [Vec::new(), Vec::new()];
    for ((nodes, own), environments) in sides.iter_mut().zip(&clusters).zip(&environments) {
        for (name, env) in own.nodes.iter().zip(environments) {
            let log = directory.join(format!("{name}.log"));
            nodes.push(Node::start(name, &node_flags(shape), env, &stage.load, &log).await?);
        }
    }
    Pair::new(Opponent::Gateways, sides, between, None)
}

impl Cluster {
    /// In a directory of its own. Its agent is at this port, if that is anything else than an agent.
    pub fn new(
        name: &'static str,
        other: &'static str,
        nodes: usize,
        within: &Path,
        agent: Option<u16>,
    ) -> Result<Self> {
        let directory = within.join(name);
        fs::create_dir(&directory).doing("make a directory")?;
        Ok(Self {
            name,
            other,
            nodes: Shape::names(nodes, name),
            directory,
            agent: agent.map_or_else(free_port, Ok)?,
            gateway: free_port()?,
        })
    }

    /// Starts its agent or its gateway.
    pub fn start(&self, binary: &Path, what: &str, text: &str) -> Result<Process> {
        let config = self.directory.join(format!("{what}.yaml"));
        let common = format!(
            "apiVersion: skans.io/v1alpha1\n\
             trustDomain: {name}.test\n\
             cluster: {name}\n\
             runtimeDirectory: {directory}/{what}\n\
             identity: {{authority: {{directory: {directory}/authority}}}}\n\
             policy: {{directory: {directory}/policy}}\n\
             epmd: {{port: 0, addresses: [127.0.0.1]}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n",
            name = self.name,
            directory = self.directory.display(),
        );
        fs::write(&config, common + text).doing("write a configuration")?;
        let log = self.directory.join(format!("{what}.log"));
        part(
            what,
            &format!("{what} {}", self.name),
            binary,
            &config,
            &log,
        )
    }

    fn agent_config(&self) -> String {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|name| format!("{{name: {name}@localhost}}"))
            .collect();
        format!(
            "nodes: [{}]\nlinks: {{listen: '127.0.0.1:{}'}}\npeers: {{gateways: ['127.0.0.1:{}']}}\n",
            nodes.join(", "),
            self.agent,
            self.gateway
        )
    }

    /// What its gateway is told.
    pub fn gateway_config(&self, other: &Self) -> String {
        format!(
            "gateway: {{name: g1@localhost, routes: {{{}: ['127.0.0.1:{}']}}}}\n\
             links: {{listen: '127.0.0.1:{}'}}\n\
             peers: {{static: [{{nodes: '*@localhost', address: '127.0.0.1:{}'}}]}}\n",
            self.other, other.gateway, self.gateway, self.agent
        )
    }

    /// Where one of them answers.
    pub fn socket(&self, part: &str) -> PathBuf {
        self.directory.join(part).join("agent.sock")
    }

    /// Writes the policy set: members of both clusters are members of each other, as far as links let them.
    pub fn decide(&self, links: &str) -> Result<()> {
        let policy = self.directory.join("policy");
        fs::create_dir_all(&policy).doing("make a directory")?;
        let both = format!(
            "[{{cluster: spiffe://{0}.test/cluster/{0}}}, {{cluster: spiffe://{1}.test/cluster/{1}}}]",
            self.name, self.other
        );
        let own = format!("[{{cluster: spiffe://{0}.test/cluster/{0}}}]", self.name);
        let members = if links.is_empty() { &own } else { &both };
        let set = format!(
            "apiVersion: skans.io/v1alpha1\nname: bench\nmode: enforce\nroles:\n  - {{role: member, principals: {members}, on: {members}}}\n"
        );
        fs::write(policy.join("set.yaml"), set).doing("write a policy set")?;
        if !links.is_empty() {
            fs::write(policy.join("links.yaml"), links).doing("write links")?;
        }
        Ok(())
    }

    /// Exports all of its nodes as a whole, and imports all of the other's by their own names.
    pub fn links(&self, other: &Self) -> Result<String> {
        let roots = other.directory.join("authority/root.pem");
        let roots = fs::read_to_string(roots).doing("read a root")?;
        let name = other.name;
        let list = |cluster: &Self, alias: bool| -> String {
            let items = cluster.nodes.iter().map(|node| {
                let alias = if alias {
                    format!("alias: {node}@localhost, ")
                } else {
                    String::new()
                };
                format!("{{{alias}node: {node}@localhost}}")
            });
            items.collect::<Vec<_>>().join(", ")
        };
        let roots: String = roots
            .lines()
            .map(|line| format!("      {line}\n"))
            .collect();
        Ok(format!(
            "- name: {name}\n  trustDomain: {name}.test\n  cluster: {name}\n  notAfter: 4000000000\n  bundle:\n    \
             url: https://control.{name}.test/v1/federation/bundle\n    profile: https_spiffe\n    \
             endpointId: spiffe://{name}.test/skans/control/one\n    roots: |\n{roots}  \
             gateways: [spiffe://{name}.test/skans/gateway/g1]\n  \
             forwards: [spiffe://{name}.test/cluster/{name}/ns/default/sa/*/node/*]\n  \
             exports: [{}]\n  imports: [{}]\n",
            list(self, false),
            list(other, true)
        ))
    }

    /// Has one of them read what it is told anew.
    pub async fn reload(&self, binary: &Path, part: &str) -> Result<()> {
        let mut command = tokio::process::Command::new(binary);
        command.args(["reload", "--socket"]).arg(self.socket(part));
        let done = command.kill_on_drop(true).output().await;
        let done = done.doing("reload")?;
        if done.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        Err(Error::new("reload", said))
    }
}
