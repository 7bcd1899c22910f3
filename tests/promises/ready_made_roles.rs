//! A ready-made role is enough for what it is for, and for no more: in one run, under that role alone, its traffic passes
//! without one denial, and what owns a node is denied to the very same peer.
//!
//! The roles of RabbitMQ are with RabbitMQ. What each role is put through is in a file of its own.

mod cli_tool;
mod global_member;
mod member;
mod methods;
mod metrics_reader;
mod mnesia_peer;
mod named_client;
mod pubsub_peer;
mod remsh_operator;
mod tools;

use std::path::{Path, PathBuf};
use std::process::Command;

use skans_lab::{Cluster, HostPlan, NodePlan, Plan, Policy};
use skans_promises::PATIENCE;
use skans_promises::attacks;

/// Everything of a lab.
const CLUSTER: &str = "{cluster: spiffe://lab.test/cluster/lab}";

/// One node.
fn node(number: usize) -> String {
    format!("{{node: spiffe://lab.test/cluster/lab/ns/default/sa/n{number}/node/n{number}}}")
}

/// `role` bound to who may, and where; `servers` as they stand in `set.yaml`.
fn bind(role: &str, principals: &str, on: &str, servers: &str) -> String {
    let servers = if servers.is_empty() {
        String::new()
    } else {
        format!("\n    servers: [{servers}]")
    };
    format!("  - role: {role}\n    principals: [{principals}]\n    on: [{on}]{servers}\n")
}

/// Two nodes, `n1` and `n2`, under these bindings of roles, and nothing else.
struct Stage {
    cluster: Cluster,
    // The nodes' code, for as long as they run.
    _code: tempfile::TempDir,
}

impl Stage {
    async fn start(roles: &[String], cedar: &str, code: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        compile(code, directory.path());
        let host = |number: usize| {
            let path = directory.path().display().to_string();
            // One that stops between nodes is one that goes on: nothing of OTP's is waited for longer than needed.
            let node = NodePlan::new(format!("n{number}@n{number}.lab")).args(["-pa", &path]);
            HostPlan::new(format!("n{number}")).node(node)
        };
        let cluster = Plan::new(skans_lab::plan::find_skans().unwrap())
            .unwrap()
            .host(host(1))
            .host(host(2))
            .policy(Policy::enforced(
                cedar,
                &format!("roles:\n{}", roles.concat()),
            ))
            .start()
            .await
            .unwrap();
        Self {
            cluster,
            _code: directory,
        }
    }

    /// Members of one cluster, each of whom has the role at each other.
    async fn of_peers(role: &str, servers: &str, code: &[&str]) -> Self {
        Self::start(&[bind(role, CLUSTER, CLUSTER, servers)], "", code).await
    }

    /// Evaluates at a node, where `{N1}` and `{N2}` are the two nodes.
    async fn eval(&self, number: usize, expression: &str) -> String {
        let node = self.cluster.node(number - 1).unwrap();
        match node.eval(&self.named(expression), PATIENCE).await {
            Ok(found) => found,
            Err(error) => panic!("{error}\n{}", self.denied().await.join("\n")),
        }
    }

    /// The same for each row: an expression, and what it yields.
    async fn all(&self, number: usize, rows: &[(&str, &str)]) {
        for (expression, wanted) in rows {
            let found = self.eval(number, expression).await;
            assert_eq!(
                found,
                self.named(wanted),
                "{expression}\n{}",
                self.denied().await.join("\n")
            );
        }
    }

    /// Waits until an expression is true.
    async fn wait(&self, number: usize, expression: &str) {
        let node = self.cluster.node(number - 1).unwrap();
        let waited = node.wait_until(&self.named(expression), PATIENCE).await;
        if let Err(error) = waited {
            panic!("{error}\n{}", self.denied().await.join("\n"));
        }
    }

    fn named(&self, expression: &str) -> String {
        expression
            .replace("{N1}", &self.cluster.atom(0).unwrap())
            .replace("{N2}", &self.cluster.atom(1).unwrap())
    }

    /// What the agents have denied by now, by their metrics and by their events.
    async fn denied(&self) -> Vec<String> {
        let mut all = Vec::new();
        for host in self.cluster.running_agents() {
            let agent = self.cluster.agent(host).unwrap();
            let counted = attacks::denials(agent).await.unwrap();
            all.extend(
                counted
                    .into_iter()
                    .map(|line| format!("n{}: {line}", host + 1)),
            );
            let events = agent.events().unwrap();
            let denied = events.iter().filter(|event| event["action"] == "Denied");
            all.extend(denied.map(|event| format!("n{}: {}", host + 1, event["unmapped"])));
        }
        all
    }

    /// The first statement: what the role is for has passed.
    async fn nothing_was_denied(&self) {
        assert_eq!(self.denied().await, Vec::<String>::new());
    }

    /// The second: what owns a node does not, from that same peer. Both, since the first is of what went on until now.
    async fn and_nothing_else_passes(self, from: usize, to: usize) {
        self.nothing_was_denied().await;
        let agent = self.cluster.agent(from - 1).unwrap();
        attacks::are_refused(
            self.cluster.node(from - 1).unwrap(),
            self.cluster.node(to - 1).unwrap(),
            agent,
            &format!("/sa/n{from}/node/n{from}"),
            &self.cluster.directory().join("owned"),
        )
        .await
        .unwrap();
        self.cluster.stop().await.unwrap();
    }
}

/// Compiles modules of `tests/roles`.
pub fn compile(modules: &[&str], into: &Path) {
    if modules.is_empty() {
        return;
    }
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("roles");
    let files: Vec<PathBuf> = modules
        .iter()
        .map(|module| sources.join(module).with_extension("erl"))
        .collect();
    let output = Command::new("erlc")
        .arg("-o")
        .arg(into)
        .args(&files)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
}
