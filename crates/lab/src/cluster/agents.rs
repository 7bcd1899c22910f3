//! What may happen to the agents of a cluster while it runs.

use std::net::SocketAddr;

use super::Cluster;
use crate::{AgentProcess, Error};

impl Cluster {
    /// Makes a host's agent dial `address` for the nodes that fit `pattern` (`alive@host`), or, with
    /// `None`, where they are. For relays and impostors.
    ///
    /// # Errors
    /// [`Error::Agent`] if the agent refuses it.
    pub async fn detour(
        &mut self,
        host: usize,
        pattern: &str,
        address: Option<SocketAddr>,
    ) -> Result<(), Error> {
        let detours = &mut self.host_mut(host)?.detours;
        match address {
            Some(address) => detours.insert(pattern.to_owned(), address),
            None => detours.remove(pattern),
        };
        self.configure(host).await
    }

    /// Lays a piece of configuration over that of a running host, and reloads it.
    ///
    /// # Errors
    /// [`Error::Agent`] if the agent refuses it; it goes on with the old one.
    pub async fn reconfigure(
        &mut self,
        host: usize,
        config: &serde_json::Value,
    ) -> Result<(), Error> {
        let host_mut = self.host_mut(host)?;
        crate::plan::merge(&mut host_mut.plan.config, config);
        self.configure(host).await
    }

    /// SIGKILL to a host's agent. Its nodes go on, cut off.
    ///
    /// # Errors
    /// [`Error::Plan`] if it does not run.
    pub async fn kill_agent(&mut self, host: usize) -> Result<(), Error> {
        self.take_agent(host)?.kill().await
    }

    /// Takes a running agent out of the cluster, to be stopped by the caller.
    ///
    /// # Errors
    /// [`Error::Plan`] if it does not run.
    pub fn take_agent(&mut self, host: usize) -> Result<AgentProcess, Error> {
        self.host_mut(host)?
            .agent
            .take()
            .ok_or_else(|| Error::Plan(format!("no agent runs on host {host}")))
    }

    /// Replaces the agent of a host by another process, which takes over from the one that runs.
    ///
    /// # Errors
    /// [`Error::Plan`] if none runs; whatever keeps the new one from taking over, and the old one goes on then.
    pub async fn replace_agent(&mut self, host: usize) -> Result<(), Error> {
        let agent = self.host_mut(host)?.agent.as_mut();
        let agent = agent.ok_or_else(|| Error::Plan(format!("no agent runs on host {host}")))?;
        agent.replace().await
    }

    /// Replaces the agents of two hosts, both at once.
    ///
    /// # Errors
    /// As [`Cluster::replace_agent`].
    pub async fn replace_agents(&mut self, hosts: [usize; 2]) -> Result<(), Error> {
        let mut agents = Vec::new();
        for (number, host) in self.hosts.iter_mut().enumerate() {
            agents.extend(host.agent.as_mut().filter(|_| hosts.contains(&number)));
        }
        let mut agents = agents.into_iter();
        let (Some(one), Some(other)) = (agents.next(), agents.next()) else {
            return Err(Error::Plan(format!("no agents run on hosts {hosts:?}")));
        };
        let (one, other) = tokio::join!(one.replace(), other.replace());
        one.and(other)
    }

    /// Starts the agent of a host again, on the ports that it had.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn start_agent(&mut self, host: usize) -> Result<(), Error> {
        let agent = self.spawn_agent(host)?.ready().await?;
        self.host_mut(host)?.agent = Some(agent);
        Ok(())
    }
}
