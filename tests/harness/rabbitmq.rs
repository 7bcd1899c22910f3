//! RabbitMQ as Debian packages it, installed on hosts of their own and pointed at their agents by the
//! one line that README.md gives. What it is put through is in the promise.

pub mod attacks;
pub mod life;
pub mod streams;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::json;
use skans_lab::agent::AgentProcess;
use skans_lab::{Error, Policy};

use crate::host::{Host, Hosts, Service};
use crate::readme;

/// Boot of a node, or joining a cluster: a few seconds each when idle, with three VMs on two cores that do something else besides
/// minutes.
const BOOT: Duration = Duration::from_secs(240);

/// What the package's own scripts (`postinst`) do.
const INSTALL: &str = "
mkdir -p /var/lib/rabbitmq /var/log/rabbitmq
chown -R rabbitmq:rabbitmq /var/lib/rabbitmq /var/log/rabbitmq
";

/// As in the package's unit.
const SERVER: &str =
    "cd /var/lib/rabbitmq && umask 027 && exec /usr/lib/rabbitmq/bin/rabbitmq-server";

/// What RabbitMQ's nodes are to each other.
pub const PEER: &str = "rabbitmq-peer";
/// What they need beside it where there are streams.
pub const STREAMS: &str = "rabbitmq-streams";

/// Nodes `rabbit@host-1`, …, each with a host and an agent of its own.
#[derive(Debug)]
pub struct Rabbits {
    servers: Vec<Service>,
    hosts: Hosts,
}

impl Rabbits {
    /// Starts agents and servers under the role `rabbitmq-peer`, and waits until each runs by itself.
    ///
    /// # Errors
    /// [`Error::Unexpected`] if the package is not unpacked; whatever a server said.
    pub async fn start(names: &[&str]) -> Result<Self, Error> {
        Self::start_under(names, &[PEER], "").await
    }

    /// The same with streams, their plugin included, under the role for them as well.
    ///
    /// # Errors
    /// As [`Rabbits::start`].
    pub async fn start_with_streams(names: &[&str]) -> Result<Self, Error> {
        Self::start_under(names, &[PEER, STREAMS], "rabbitmq_stream").await
    }

    /// The same while a set is tried out that makes them members of one cluster, and permits none of what RabbitMQ needs.
    ///
    /// # Errors
    /// As [`Rabbits::start`].
    pub async fn start_watched(names: &[&str]) -> Result<Self, Error> {
        Self::start_with(names, &watched(), "").await
    }

    async fn start_under(names: &[&str], roles: &[&str], plugin: &str) -> Result<Self, Error> {
        Self::start_with(names, &policy(roles), plugin).await
    }

    async fn start_with(names: &[&str], policy: &Policy, plugin: &str) -> Result<Self, Error> {
        let [line, file] = &readme::how("RabbitMQ")[..] else {
            return Err(Error::Unexpected(
                "README.md names no line and file for RabbitMQ".to_owned(),
            ));
        };
        let mut hosts = Hosts::start(names, Some(&package()?)).await?;
        for host in hosts.iter() {
            host.run(INSTALL, BOOT).await?;
            host.run(
                &format!("mkdir -p /etc/rabbitmq && echo '{line}' > {file} && echo '[{plugin}].' > /etc/rabbitmq/enabled_plugins"),
                BOOT,
            )
            .await?;
        }
        let nodes: Vec<_> = names
            .iter()
            .map(|name| json!({"nodes": [{"name": format!("rabbit@{name}"), "user": "rabbitmq"}]}))
            .collect();
        hosts.start_agents_with(&nodes, policy).await?;
        let servers = hosts
            .iter()
            .map(|host| host.serve("rabbitmq", SERVER))
            .collect::<Result<_, _>>()?;
        let rabbits = Self { servers, hosts };
        for number in 0..names.len() {
            rabbits.wait_for_boot(number).await?;
        }
        Ok(rabbits)
    }

    /// Other roles from now on.
    ///
    /// # Errors
    /// What an agent says of them.
    pub async fn put_roles(&self, roles: &[&str]) -> Result<(), Error> {
        self.hosts.put_policy(&policy(roles)).await
    }

    /// Another set from now on.
    ///
    /// # Errors
    /// What an agent says of it.
    pub async fn put_policy(&self, policy: &Policy) -> Result<(), Error> {
        self.hosts.put_policy(policy).await
    }

    /// What agents have refused, as [`Rabbits::denials`], without what a set that was tried out let pass.
    ///
    /// # Errors
    /// As [`Rabbits::denials`].
    pub async fn refused(&self) -> Result<Vec<String>, Error> {
        let mut denied = self.denials().await?;
        denied.retain(|line| !line.contains("verdict=\"would-deny\""));
        Ok(denied)
    }

    /// The host of a node, counted from 0.
    #[must_use]
    pub fn host(&self, number: usize) -> &Host {
        self.hosts.host(number)
    }

    /// All hosts.
    #[must_use]
    pub const fn hosts(&self) -> &Hosts {
        &self.hosts
    }

    /// Runs a tool of RabbitMQ as root, with nothing but `PATH` in its environment, as after `sudo`.
    /// Returns its output and how long it took.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub async fn tool(&self, number: usize, line: &str) -> Result<(String, Duration), Error> {
        let began = Instant::now();
        let text = self.host(number).run(line, BOOT).await?;
        Ok((text, began.elapsed()))
    }

    /// Makes a node join the cluster of the first.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub async fn join_first(&self, number: usize) -> Result<(), Error> {
        let first = self.host(0).name();
        let line = format!(
            "rabbitmqctl -q stop_app && rabbitmqctl -q join_cluster rabbit@{first} && rabbitmqctl -q start_app"
        );
        self.tool(number, &line).await?;
        Ok(())
    }

    /// SIGKILL to the Erlang VM of a node, and until its server is gone.
    ///
    /// # Errors
    /// As [`Host::run`]; [`Error::TimedOut`].
    pub async fn kill(&mut self, number: usize) -> Result<(), Error> {
        let host = self.hosts.host(number);
        host.run(&format!("kill -KILL $(cat {})", pid_file(host)), BOOT)
            .await?;
        self.servers[number].ended(BOOT).await?;
        Ok(())
    }

    /// Starts a node that was killed, and waits until it is up.
    ///
    /// # Errors
    /// Whatever the server said.
    pub async fn restart(&mut self, number: usize) -> Result<(), Error> {
        let host = self.hosts.host(number);
        host.run(&format!("rm -f {}", pid_file(host)), BOOT).await?;
        self.servers[number] = host.serve("rabbitmq", SERVER)?;
        self.wait_for_boot(number).await
    }

    /// Has a node asked something in Erlang, by a tool on its host. Returns what it printed.
    ///
    /// # Errors
    /// As [`Host::run`].
    pub async fn eval(&self, number: usize, expression: &str) -> Result<String, Error> {
        let line = format!("rabbitmqctl -q eval '{expression}.'");
        Ok(self.tool(number, &line).await?.0.trim().to_owned())
    }

    /// What agents have refused, one line each: by their events, which come half a second later, and by their counters, which
    /// nothing is lost on its way to. None is all.
    ///
    /// # Errors
    /// [`Error::System`], and whatever the admin socket says.
    pub async fn denials(&self) -> Result<Vec<String>, Error> {
        let mut denied = Vec::new();
        for agent in self.hosts.agents() {
            for event in agent.events()? {
                let skans = &event["unmapped"]["skans"];
                if event["action"] == "Denied" {
                    denied.push(format!(
                        "{}: {} {} from {} to {}",
                        agent.label(),
                        skans["action"],
                        skans["resources"],
                        skans["principal"],
                        skans["target"]
                    ));
                }
            }
            let metrics = metrics(agent).await?;
            let counted = metrics.lines().filter(|line| {
                line.starts_with("skans_decisions_total")
                    && !line.contains("verdict=\"permit\"")
                    && !line.ends_with(" 0")
            });
            denied.extend(counted.map(|line| format!("{}: {line}", agent.label())));
        }
        Ok(denied)
    }

    /// How many decisions of the agents let something through, both ends counted.
    ///
    /// # Errors
    /// Whatever the admin socket says.
    pub async fn permitted(&self) -> Result<u64, Error> {
        let mut sum = 0;
        for agent in self.hosts.agents() {
            let metrics = metrics(agent).await?;
            let counted = metrics.lines().filter(|line| {
                line.starts_with("skans_decisions_total") && line.contains("verdict=\"permit\"")
            });
            sum += counted
                .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
                .sum::<u64>();
        }
        Ok(sum)
    }

    /// What a server wrote.
    #[must_use]
    pub fn said(&self, number: usize) -> String {
        self.servers[number].said()
    }

    async fn wait_for_boot(&self, number: usize) -> Result<(), Error> {
        let host = self.host(number);
        let line = format!(
            "rabbitmqctl -q wait --timeout {} {}",
            BOOT.as_secs() - 10,
            pid_file(host)
        );
        self.tool(number, &line).await.map(drop).map_err(|error| {
            Error::Unexpected(format!("{error}\nthe server said:\n{}", self.said(number)))
        })
    }
}

async fn metrics(agent: &AgentProcess) -> Result<String, Error> {
    skans_agent::admin::ask(&agent.files().socket, "GET", "/metrics", "")
        .await
        .map_err(|error| Error::Unexpected(error.to_string()))
}

/// The ready-made roles, and one thing more: tools may have their node evaluate what the test asks it for. Whoever may that owns
/// the node; RabbitMQ's own nodes may not.
fn policy(roles: &[&str]) -> Policy {
    let cluster = "spiffe://prod.example/cluster/main";
    let roles: String = roles
        .iter()
        .map(|role| (*role, false))
        .chain([("cli-tool", true)])
        .map(|(role, cli)| {
            format!(
                "  - {{role: {role}, principals: [{{cluster: \"{cluster}\", cli: {cli}}}], on: [{{cluster: \"{cluster}\"}}]}}\n"
            )
        })
        .collect();
    let eval = [2, 3].map(|arity| {
        format!(
            "@id(\"eval-{arity}\") permit (principal, action == Skans::Action::\"call\", \
             resource == Skans::Function::\"erl_eval:exprs/{arity}\") when {{ principal.cli }};\n"
        )
    });
    Policy::enforced(&eval.concat(), &format!("roles:\n{roles}"))
}

/// What `control init --brownfield` begins with.
fn watched() -> Policy {
    let cluster = "spiffe://prod.example/cluster/main";
    let bind = |role: &str, cli: &str| {
        format!(
            "  - {{role: {role}, principals: [{{cluster: \"{cluster}\"{cli}}}], on: [{{cluster: \"{cluster}\"}}]}}\n"
        )
    };
    let roles = [
        bind("member", ""),
        bind("cli-tool", ", cli: true"),
        bind("remsh-operator", ", cli: true"),
    ];
    crate::learned::dry_run(&format!("roles:\n{}", roles.concat()))
}

/// The AMQP client that ships with RabbitMQ, run by an Erlang VM that is no node: `tests/rabbitmq`.
#[must_use]
pub fn client(arguments: &str) -> String {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("rabbitmq/client.escript");
    format!(
        "ERL_LIBS=/usr/lib/rabbitmq/lib/rabbitmq_server-3.10.8/plugins HOME=/tmp escript {} {arguments}",
        script.display()
    )
}

/// Where the server writes its process id.
fn pid_file(host: &Host) -> String {
    format!("/var/lib/rabbitmq/mnesia/rabbit@{}.pid", host.name())
}

/// The unpacked package.
fn package() -> Result<PathBuf, Error> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.cache/rabbitmq");
    package.canonicalize().map_err(|_| {
        Error::Unexpected(format!(
            "{} is missing: script/bootstrap test",
            package.display()
        ))
    })
}
