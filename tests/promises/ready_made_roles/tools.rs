//! Two hosts with a node each, and the tools of their operators.

use serde_json::json;
use skans_lab::erl::Options;
use skans_lab::{ErlNode, Policy};
use skans_promises::PATIENCE;
use skans_promises::attacks;
use skans_promises::host::Hosts;

use super::compile;

/// Everything of these hosts: the short-lived nodes of tools, and all others.
pub const TOOLS: &str = "{cluster: spiffe://prod.example/cluster/main, cli: true}";
/// The others.
pub const NODES: &str = "{cluster: spiffe://prod.example/cluster/main, cli: false}";
/// Before any tool.
pub const CLI: &str = "set -a; . /run/skans/env/cli.env; set +a;";
/// The end of the ID of tools.
const PRINCIPAL: &str = "/node/cli";

/// `app@host-1` and `app@host-2`.
pub struct Tools {
    // Nodes go before the hosts that they are on.
    pub nodes: [ErlNode; 2],
    pub hosts: Hosts,
}

impl Tools {
    /// Under these bindings of roles, with these modules.
    pub async fn start(roles: &[String], code: &[&str]) -> Self {
        let mut hosts = Hosts::start(&["host-1", "host-2"], None).await.unwrap();
        compile(code, hosts.directory());
        let own = ["host-1", "host-2"].map(|host| json!({"nodes": [{"name": format!("app@{host}")}], "cli": {"patterns": ["ctl-*"]}}));
        let policy = Policy::enforced("", &format!("roles:\n{}", roles.concat()));
        hosts.start_agents_with(&own, &policy).await.unwrap();
        let nodes = [
            node(&hosts, 0, "app", "app").await,
            node(&hosts, 1, "app", "app").await,
        ];
        Self { nodes, hosts }
    }

    /// A tool that is a node, on the first host.
    pub async fn tool(&self, name: &str) -> ErlNode {
        node(&self.hosts, 0, "cli", name).await
    }

    /// Runs a command on the first host.
    pub async fn run(&self, command: &str) -> String {
        match self.hosts.host(0).run(command, PATIENCE).await {
            Ok(said) => said.trim().to_owned(),
            Err(error) => panic!("{error}\n{}", self.denied().await.join("\n")),
        }
    }

    /// What the agents have denied by now.
    pub async fn denied(&self) -> Vec<String> {
        let mut all = Vec::new();
        for agent in self.hosts.agents() {
            all.extend(attacks::denials(agent).await.unwrap());
            let events = agent.events().unwrap();
            let denied = events.iter().filter(|event| event["action"] == "Denied");
            all.extend(denied.map(|event| event["unmapped"].to_string()));
        }
        all
    }

    /// What owns a node is refused to a tool at the node of the other host.
    pub async fn owns_nobody(&self, tool: &ErlNode) {
        let agent = self.hosts.agent(0);
        let file = self.hosts.directory().join("owned");
        attacks::are_refused(tool, &self.nodes[1], agent, PRINCIPAL, &file)
            .await
            .unwrap();
    }
}

/// `erl` beside an environment file of its agent.
async fn node(hosts: &Hosts, number: usize, variables: &str, name: &str) -> ErlNode {
    let host = hosts.host(number);
    let start = format!("set -a; . /run/skans/env/{variables}.env; set +a; exec erl \"$@\"");
    let code = hosts.directory().display().to_string();
    let options = Options {
        label: format!("{name}@{}", host.name()),
        erl: host
            .script(&format!("erl-{name}"), &["sh", "-c", &start, "erl"])
            .unwrap(),
        home: host.directory().to_owned(),
        args: ["-sname", name, "-setcookie", "baked", "-pa", &code]
            .map(str::to_owned)
            .to_vec(),
        env: Vec::new(),
    };
    ErlNode::start(&options).await.unwrap()
}
