//! A running cluster: agents, nodes, and the directory that holds everything they write.

mod agents;
mod config;

pub(crate) use config::{CLUSTER, TRUST_DOMAIN};

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use skans_identity::authority::{Authority, AuthorityPem};
use tempfile::TempDir;
use tokio::sync::mpsc::UnboundedSender;

use crate::erl::{Options, atom};
use crate::plan::{HostPlan, NodePlan, Plan, Policy};
use crate::{AgentProcess, ControlProcess, ErlNode, Error, agent, erl, until};

/// For all nodes to see each other. A pair needs some milliseconds; boot and first code loading of
/// many nodes on few cores need more.
const JOIN: Duration = Duration::from_secs(30);
/// For a node or an agent to end when told to.
const END: Duration = Duration::from_secs(10);

/// A running cluster. Dropped, it leaves no process and no file; [`Cluster::stop`] does it politely.
#[derive(Debug)]
pub struct Cluster {
    // In this order: processes go before the files that they write.
    nodes: Vec<Member>,
    hosts: Vec<Host>,
    control: Option<ControlProcess>,
    skans: PathBuf,
    erl: PathBuf,
    progress: Option<UnboundedSender<String>>,
    /// Agents decide by the set in [`Cluster::policy_directory`].
    policed: bool,
    directory: TempDir,
}

/// A host: one agent.
#[derive(Debug)]
struct Host {
    plan: HostPlan,
    directory: PathBuf,
    agent: Option<AgentProcess>,
    /// Link address and epmd port of its first life: what others were told, and its nodes.
    ports: Option<(SocketAddr, u16)>,
    /// Comes before what is known of the other hosts.
    detours: BTreeMap<String, SocketAddr>,
}

/// A node.
#[derive(Debug)]
struct Member {
    host: usize,
    plan: NodePlan,
    process: Option<ErlNode>,
}

impl Cluster {
    pub(crate) async fn start(plan: Plan) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("skans-lab-")
            .tempdir()
            .map_err(Error::system("cannot make a directory for the lab"))?;
        let Plan {
            skans,
            erl,
            hosts,
            control,
            policy,
            progress,
        } = plan;
        let mut cluster = Self {
            nodes: Vec::new(),
            hosts: Vec::new(),
            control: None,
            skans,
            erl,
            progress,
            policed: policy.is_some() && control.is_none(),
            directory,
        };
        if let Some(policy) = policy {
            policy.write(&cluster.policy_directory())?;
        }
        if let Some(options) = control {
            let directory = cluster.directory.path().join("control");
            let process = ControlProcess::start(&cluster.skans, &directory, options).await?;
            cluster.tell(&format!(
                "the control plane runs (process {}); leaves live {:?}",
                process.pid(),
                options.leaf
            ));
            cluster.control = Some(process);
        }
        let count = hosts.len();
        cluster.add_agents(hosts).await?;
        let from = if cluster.control.is_some() {
            "enrolled by a join token"
        } else {
            "with a certificate from one authority"
        };
        cluster.tell(&format!("{count} agents run, each {from}"));
        let wanted: Vec<_> = (0..cluster.nodes.len())
            .filter(|&node| cluster.nodes[node].plan.start)
            .collect();
        cluster.start_nodes(&wanted).await?;
        cluster.connect(JOIN).await?;
        cluster.tell("all nodes see each other");
        Ok(cluster)
    }

    /// Adds a host to the running cluster: its agent runs and all agents know each other; its nodes
    /// are started by [`Cluster::start_node`]. Returns the number of the host and of its first node.
    ///
    /// # Errors
    /// Whatever keeps the agent from starting.
    pub async fn add_host(&mut self, plan: HostPlan) -> Result<(usize, usize), Error> {
        let numbers = (self.hosts.len(), self.nodes.len());
        self.add_agents(vec![plan]).await?;
        Ok(numbers)
    }

    async fn add_agents(&mut self, plans: Vec<HostPlan>) -> Result<(), Error> {
        let first = self.hosts.len();
        for plan in plans {
            let directory = self.directory.path().join(&plan.label);
            std::fs::create_dir(&directory)
                .map_err(Error::system(directory.display().to_string()))?;
            let host = self.hosts.len();
            self.nodes.extend(plan.nodes.iter().map(|node| Member {
                host,
                plan: node.clone(),
                process: None,
            }));
            self.hosts.push(Host {
                plan,
                directory,
                agent: None,
                ports: None,
                detours: BTreeMap::new(),
            });
        }
        for host in first..self.hosts.len() {
            self.write_token(host).await?;
        }
        let mut starting = Vec::new();
        for host in first..self.hosts.len() {
            starting.push((host, self.spawn_agent(host)?));
        }
        for (host, agent) in starting {
            let agent = agent.ready().await?;
            let host = &mut self.hosts[host];
            host.ports = Some((agent.link_address()?, agent.epmd_port()));
            host.agent = Some(agent);
        }
        // Where everybody is, is known only now.
        for host in self.running_agents() {
            self.configure(host).await?;
        }
        Ok(())
    }

    /// Where the policy set of the plan is.
    #[must_use]
    pub fn policy_directory(&self) -> PathBuf {
        self.directory.path().join("policy")
    }

    /// Puts another policy set in force at all agents that run.
    ///
    /// # Errors
    /// [`Error::Agent`] if one refuses it; it goes on with the old one.
    pub async fn put_policy(&self, policy: &Policy) -> Result<(), Error> {
        policy.write(&self.policy_directory())?;
        for host in self.running_agents() {
            self.agent(host)?.reload().await?;
        }
        Ok(())
    }

    /// The control plane.
    ///
    /// # Errors
    /// [`Error::Plan`] if the plan has none.
    pub fn control(&self) -> Result<&ControlProcess, Error> {
        self.control
            .as_ref()
            .ok_or_else(|| Error::Plan("there is no control plane".to_owned()))
    }

    /// The same, to kill and restart it.
    ///
    /// # Errors
    /// As [`Cluster::control`].
    pub fn control_mut(&mut self) -> Result<&mut ControlProcess, Error> {
        self.control
            .as_mut()
            .ok_or_else(|| Error::Plan("there is no control plane".to_owned()))
    }

    /// How many hosts there are.
    #[must_use]
    pub fn host_count(&self) -> usize {
        self.hosts.len()
    }

    /// How many nodes are planned.
    #[must_use]
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }

    /// The agent of a host, counted from 0.
    ///
    /// # Errors
    /// [`Error::Plan`] if there is none, or it does not run.
    pub fn agent(&self, host: usize) -> Result<&AgentProcess, Error> {
        self.hosts
            .get(host)
            .and_then(|host| host.agent.as_ref())
            .ok_or_else(|| Error::Plan(format!("no agent runs on host {host}")))
    }

    /// A running node, counted from 0 over all hosts.
    ///
    /// # Errors
    /// [`Error::Plan`] if there is none, or it does not run.
    pub fn node(&self, node: usize) -> Result<&ErlNode, Error> {
        self.nodes
            .get(node)
            .and_then(|member| member.process.as_ref())
            .ok_or_else(|| Error::Plan(format!("node {node} does not run")))
    }

    /// The name of a node, whether it runs or not.
    ///
    /// # Errors
    /// [`Error::Plan`] if there is none.
    pub fn name(&self, node: usize) -> Result<&str, Error> {
        self.member(node).map(|member| member.plan.name.as_str())
    }

    /// The name of a node as an Erlang atom, quoted.
    ///
    /// # Errors
    /// As [`Cluster::name`].
    pub fn atom(&self, node: usize) -> Result<String, Error> {
        self.name(node).map(atom)
    }

    /// The host of a node.
    ///
    /// # Errors
    /// As [`Cluster::name`].
    pub fn host_of(&self, node: usize) -> Result<usize, Error> {
        self.member(node).map(|member| member.host)
    }

    /// The numbers of the nodes that run.
    #[must_use]
    pub fn running(&self) -> Vec<usize> {
        (0..self.nodes.len())
            .filter(|&node| self.nodes[node].process.is_some())
            .collect()
    }

    /// The numbers of the hosts whose agents run.
    #[must_use]
    pub fn running_agents(&self) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|&host| self.hosts[host].agent.is_some())
            .collect()
    }

    /// The directory of everything; gone with the cluster.
    #[must_use]
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// The runtime directory of a host's agent.
    ///
    /// # Errors
    /// [`Error::Plan`] if there is no such host.
    pub fn runtime(&self, host: usize) -> Result<PathBuf, Error> {
        Ok(self.host(host)?.directory.join("run"))
    }

    /// The file with a node's cookie.
    ///
    /// # Errors
    /// As [`Cluster::name`].
    pub fn cookie_file(&self, node: usize) -> Result<PathBuf, Error> {
        let member = self.member(node)?;
        Ok(self
            .runtime(member.host)?
            .join("cookies")
            .join(format!("{}.cookie", alive(&member.plan.name))))
    }

    /// How to start a short-lived node (`rem-…`, `c1`) on a host, with the variables that its agent
    /// wrote for tools.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn tool(&self, host: usize, name: &str) -> Result<Options, Error> {
        self.options(host, &NodePlan::new(name), "cli")
    }

    /// The authority that all agents share, to issue what no agent would ask for.
    ///
    /// # Errors
    /// [`Error::System`], [`Error::Unexpected`].
    pub fn authority(&self) -> Result<Authority, Error> {
        let directory = self.directory.path().join("authority");
        let read = |name: &str| {
            let path = directory.join(name);
            std::fs::read_to_string(&path).map_err(Error::system(path.display().to_string()))
        };
        Authority::from_pem(&AuthorityPem {
            root_cert: read("root.pem")?,
            root_key: Some(read("root.key")?.into()),
            issuer_cert: read("issuer.pem")?,
            issuer_key: read("issuer.pem")?.into(),
        })
        .map_err(|error| Error::Unexpected(format!("{}: {error}", directory.display())))
    }

    /// Starts a node that does not run, and connects it to nobody.
    ///
    /// # Errors
    /// As [`ErlNode::start`].
    pub async fn start_node(&mut self, node: usize) -> Result<(), Error> {
        self.start_nodes(&[node]).await
    }

    async fn start_nodes(&mut self, nodes: &[usize]) -> Result<(), Error> {
        let mut starting = Vec::new();
        for &node in nodes {
            let member = self.member(node)?;
            if member.process.is_some() {
                return Err(Error::Plan(format!("{} runs already", member.plan.name)));
            }
            let options = self.options(member.host, &member.plan, alive(&member.plan.name))?;
            starting.push((node, ErlNode::spawn(&options)?));
        }
        for (node, process) in starting {
            let process = process.booted().await?;
            self.tell(&format!(
                "{} runs (process {})",
                process.label(),
                process.pid()
            ));
            self.nodes[node].process = Some(process);
        }
        Ok(())
    }

    /// Takes a running node out of the cluster, to be stopped or killed by the caller.
    ///
    /// # Errors
    /// [`Error::Plan`] if it does not run.
    pub fn take_node(&mut self, node: usize) -> Result<ErlNode, Error> {
        self.nodes
            .get_mut(node)
            .and_then(|member| member.process.take())
            .ok_or_else(|| Error::Plan(format!("node {node} does not run")))
    }

    /// SIGKILL to a node, and until it is gone. [`Cluster::start_node`] brings it back.
    ///
    /// # Errors
    /// As [`Cluster::take_node`].
    pub async fn kill_node(&mut self, node: usize) -> Result<(), Error> {
        self.take_node(node)?.kill().await
    }

    /// Connects every running node to every other, and waits until each sees all others.
    ///
    /// # Errors
    /// [`Error::TimedOut`] that says who sees whom.
    pub async fn connect(&self, limit: Duration) -> Result<(), Error> {
        self.connect_among(&self.running(), limit).await
    }

    /// The same among some of the nodes. Others may be seen as well.
    ///
    /// # Errors
    /// As [`Cluster::connect`].
    pub async fn connect_among(&self, nodes: &[usize], limit: Duration) -> Result<(), Error> {
        until(limit, "all nodes to see each other", async || {
            let mut missing = Vec::new();
            for &node in nodes {
                let others: Vec<_> = nodes
                    .iter()
                    .filter(|&&other| other != node)
                    .filter_map(|&other| self.atom(other).ok())
                    .collect();
                let expression = format!(
                    "[net_adm:ping(N) || N <- [{others}] -- nodes()], [{others}] -- nodes()",
                    others = others.join(",")
                );
                let process = self.node(node).map_err(|error| error.to_string())?;
                match process.eval(&expression, limit).await {
                    Ok(none) if none == "[]" => {}
                    Ok(some) => missing.push(format!("{} does not see {some}", process.label())),
                    Err(error) => missing.push(error.to_string()),
                }
            }
            if missing.is_empty() {
                Ok(())
            } else {
                Err(missing.join("; "))
            }
        })
        .await
    }

    /// Ends everything in order: nodes, agents, files.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if something had to be killed; it is gone all the same.
    pub async fn stop(mut self) -> Result<(), Error> {
        let mut result = Ok(());
        for node in self.nodes.drain(..).filter_map(|member| member.process) {
            result = result.and(node.halt(END).await);
        }
        for agent in self.hosts.iter_mut().filter_map(|host| host.agent.take()) {
            result = result.and(agent.terminate(END).await);
        }
        if let Some(control) = self.control.take() {
            result = result.and(control.terminate(END).await);
        }
        let path = self.directory.path().display().to_string();
        result.and(
            self.directory
                .close()
                .map_err(Error::system(format!("cannot remove {path}"))),
        )
    }

    /// Where the control plane is one, gives a host what its agent enrols with.
    async fn write_token(&self, host: usize) -> Result<(), Error> {
        let Some(control) = &self.control else {
            return Ok(());
        };
        let host = self.host(host)?;
        let label = &host.plan.label;
        let names: Vec<_> = host
            .plan
            .nodes
            .iter()
            .map(|node| node.name.clone())
            .collect();
        let token = control.token(label, label, &names).await?;
        let path = host.directory.join("join.token");
        let failed = || Error::system(path.display().to_string());
        std::fs::write(&path, token).map_err(failed())?;
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&path, private).map_err(failed())
    }

    fn spawn_agent(&self, host: usize) -> Result<agent::Starting, Error> {
        let label = &self.host(host)?.plan.label;
        let files = agent::Files::within(&self.host(host)?.directory);
        files.write_config(&self.config(host)?)?;
        AgentProcess::spawn(&self.skans, label, files)
    }

    /// Writes the configuration of a host anew, and makes its agent read it.
    async fn configure(&self, host: usize) -> Result<(), Error> {
        let agent = self.agent(host)?;
        agent.files().write_config(&self.config(host)?)?;
        agent.reload().await
    }

    fn options(&self, host: usize, plan: &NodePlan, variables: &str) -> Result<Options, Error> {
        let directory = &self.host(host)?.directory;
        let home = directory.join(format!("home-{}", alive(&plan.name)));
        std::fs::create_dir_all(&home).map_err(Error::system(home.display().to_string()))?;
        let long = plan
            .name
            .split_once('@')
            .is_some_and(|(_, host)| host.contains(['.', ':']));
        let mut args = Vec::new();
        if !plan
            .args
            .iter()
            .any(|arg| arg == "-name" || arg == "-sname")
        {
            args.extend([
                if long { "-name" } else { "-sname" }.to_owned(),
                plan.name.clone(),
            ]);
        }
        if self.host(host)?.plan.ipv6 {
            args.extend(["-proto_dist", "inet6_tcp"].map(str::to_owned));
        }
        // Several VMs share few cores here: schedulers that spin would take them from each other.
        args.extend(["+sbwt", "none", "+sbwtdcpu", "none", "+sbwtdio", "none"].map(str::to_owned));
        args.extend(plan.args.iter().cloned());
        let mut env =
            erl::environment(&directory.join("run/env").join(format!("{variables}.env")))?;
        env.retain(|(name, _)| !plan.env.iter().any(|(own, _)| own == name));
        env.extend(plan.env.iter().cloned());
        Ok(Options {
            label: plan.name.clone(),
            erl: plan.erl.clone().unwrap_or_else(|| self.erl.clone()),
            home,
            args,
            env,
        })
    }

    fn host(&self, host: usize) -> Result<&Host, Error> {
        self.hosts
            .get(host)
            .ok_or_else(|| Error::Plan(format!("there is no host {host}")))
    }

    fn host_mut(&mut self, host: usize) -> Result<&mut Host, Error> {
        self.hosts
            .get_mut(host)
            .ok_or_else(|| Error::Plan(format!("there is no host {host}")))
    }

    fn member(&self, node: usize) -> Result<&Member, Error> {
        self.nodes
            .get(node)
            .ok_or_else(|| Error::Plan(format!("there is no node {node}")))
    }

    fn tell(&self, step: &str) {
        if let Some(progress) = &self.progress {
            // Whoever listened may have gone.
            let _ = progress.send(step.to_owned());
        }
    }
}

/// The part of a node name before the `@`.
fn alive(name: &str) -> &str {
    name.split('@').next().unwrap_or(name)
}
