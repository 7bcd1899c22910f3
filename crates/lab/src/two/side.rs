//! One of two linked clusters: its node, the agent of that, its gateways, and perhaps a control plane.

mod starting;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use super::config::{self, ANY, Place};
use super::{NODE, SPARE};
use crate::erl::atom;
use crate::relay::Relay;
use crate::{AgentProcess, ControlProcess, ErlNode, Error, Policy, clock};

/// Policies that permit whatever the links do, functions and `rpc` by name, as they have to be: what does not pass is not for want of a permit.
const OPEN: &str = r#"@id("all") permit(principal, action, resource);
@id("put") permit(principal, action, resource == Skans::Function::"persistent_term:put/2");
@id("rex") permit(principal, action, resource == Skans::Process::"rex");
@id("kernel") permit(principal, action, resource == Skans::Process::"net_kernel");
"#;
/// What a replica of the control plane calls itself.
const REPLICA: &str = "one";
/// A link of a lab is over before anybody finds it.
const LINK: Duration = Duration::from_secs(24 * 3600);
/// For a gateway to end when told to.
const END: Duration = Duration::from_secs(10);

/// One of them.
#[derive(Debug)]
pub struct Side {
    // In this order: who uses a thing goes before it.
    /// Its node.
    pub node: ErlNode,
    /// The node of which nothing is exported, see [`super::Wish::spare`].
    pub spare: Option<ErlNode>,
    /// The agent of both.
    pub agent: AgentProcess,
    /// Its gateways, in the order in which they are tried.
    pub gateways: Vec<Gateway>,
    /// Its control plane.
    pub control: Option<ControlProcess>,
    /// A relay before its bundle endpoint.
    pub endpoint: Option<Relay>,
    /// What the cluster is called, and before `.test` its trust domain.
    pub name: &'static str,
    directory: PathBuf,
    /// That of both sides.
    within: PathBuf,
    /// How long a bundle of the other side is good that could not be fetched again.
    staleness: Duration,
}

/// A gateway, whether it runs or not.
#[derive(Debug)]
pub struct Gateway {
    /// The process.
    pub process: Option<AgentProcess>,
    /// How the other side reaches it, if not directly.
    pub line: Option<Relay>,
    /// From 1 on.
    number: usize,
    /// Where it listens, also in another life.
    address: SocketAddr,
    /// What its configuration says of that: port 0 in its first life.
    listen: SocketAddr,
}

impl Gateway {
    /// What it is called.
    #[must_use]
    pub fn name(&self) -> String {
        format!("g{}", self.number)
    }

    /// The process.
    ///
    /// # Errors
    /// [`Error::Plan`] if it does not run.
    pub fn running(&self) -> Result<&AgentProcess, Error> {
        self.process
            .as_ref()
            .ok_or_else(|| Error::Plan(format!("gateway {} does not run", self.name())))
    }

    fn part(&self) -> String {
        part(self.number)
    }

    /// Where the other side dials it.
    fn reached_at(&self) -> SocketAddr {
        self.line.as_ref().map_or(self.address, Relay::address)
    }
}

fn part(number: usize) -> String {
    if number == 1 {
        "gateway".to_owned()
    } else {
        format!("gateway-{number}")
    }
}

impl Side {
    /// What it consists of, in a line.
    pub(super) fn parts(&self) -> String {
        let gateways = match self.gateways.len() {
            1 => "gateway".to_owned(),
            count => format!("{count} gateways"),
        };
        let control = self.control.as_ref().map_or("", |_| "control plane, ");
        let spare = self
            .spare
            .as_ref()
            .map_or_else(String::new, |_| format!(" and {SPARE}"));
        format!("{control}agent, {gateways}, node {NODE}{spare}")
    }

    /// Tells gateways and agent where everybody is.
    pub(super) async fn learn(&self, other: &Self) -> Result<(), Error> {
        let there: Vec<_> = other.gateways.iter().map(Gateway::reached_at).collect();
        for gateway in &self.gateways {
            self.configure(gateway, &there)?;
            gateway.running()?.reload().await?;
        }
        let own: Vec<_> = self.gateways.iter().map(|one| one.address).collect();
        let agent = config::agent(self.control.is_some(), self.spare.is_some(), &own);
        self.place("agent", ANY).write(&agent)?;
        self.agent.reload().await
    }

    fn configure(&self, gateway: &Gateway, there: &[SocketAddr]) -> Result<(), Error> {
        let known = (self.agent.link_address()?, there);
        let own = config::gateway(gateway.number, other(self.name), Some(known));
        self.place(&gateway.part(), gateway.listen).write(&own)
    }

    /// Starts a gateway that does not run, where it was.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    pub async fn start_gateway(
        &mut self,
        skans: &Path,
        index: usize,
        other: &Self,
    ) -> Result<(), Error> {
        let there: Vec<_> = other.gateways.iter().map(Gateway::reached_at).collect();
        let gateway = self
            .gateways
            .get_mut(index)
            .ok_or_else(|| Error::Plan(format!("there is no gateway {index}")))?;
        gateway.listen = gateway.address;
        let gateway = self.gateways.get(index);
        let gateway = gateway.ok_or_else(|| Error::Plan(format!("there is no gateway {index}")))?;
        self.configure(gateway, &there)?;
        let files = self.place(&gateway.part(), gateway.listen).files();
        let process = AgentProcess::spawn_gateway(skans, self.name, files)?
            .ready()
            .await?;
        if let Some(gateway) = self.gateways.get_mut(index) {
            gateway.process = Some(process);
        }
        Ok(())
    }

    /// Takes the process of a gateway, to be stopped or killed by the caller.
    ///
    /// # Errors
    /// [`Error::Plan`] if it does not run.
    pub fn take_gateway(&mut self, index: usize) -> Result<AgentProcess, Error> {
        self.gateways
            .get_mut(index)
            .and_then(|gateway| gateway.process.take())
            .ok_or_else(|| Error::Plan(format!("gateway {index} does not run")))
    }

    /// Stops a gateway politely and starts it from this binary, where it was.
    ///
    /// # Errors
    /// [`Error::TimedOut`] if it had to be killed; whatever keeps the new one from starting.
    pub async fn restart_gateway(
        &mut self,
        skans: &Path,
        index: usize,
        other: &Self,
    ) -> Result<(), Error> {
        self.take_gateway(index)?.terminate(END).await?;
        self.start_gateway(skans, index, other).await
    }

    fn place<'a>(&'a self, part: &'a str, listen: SocketAddr) -> Place<'a> {
        Place {
            side: self.name,
            within: &self.directory,
            part,
            controlled: self.control.is_some(),
            listen,
        }
    }

    /// Shifts the clock of agent, gateways and control plane, which go on running; that of the nodes stays. Only where the [`super::Wish`] has a
    /// library for it: otherwise nobody reads it.
    ///
    /// # Errors
    /// [`Error::System`].
    pub fn set_clock(&self, seconds: i64) -> Result<(), Error> {
        clock::set(&self.within, seconds)
    }

    /// Where its bundle is, for the other side.
    fn bundle_url(&self) -> String {
        let path = "v1/federation/bundle";
        match &self.endpoint {
            // A set that has an address that is never asked is refused as a whole.
            Some(relay) if !relay.address().ip().is_loopback() => {
                format!("https://{}/{path}", relay.address())
            }
            // Nobody asks there.
            _ => format!("https://control.{}.test/{path}", self.name),
        }
    }

    fn roots(&self) -> Result<String, Error> {
        let path = match &self.control {
            Some(control) => control.roots(),
            None => self.directory.join("authority/root.pem"),
        };
        std::fs::read_to_string(&path).map_err(Error::system(path.display().to_string()))
    }

    /// Puts a set with a link to the other one in force.
    pub(super) async fn consent(
        &self,
        to: &Self,
        exports: &Value,
        imports: &Value,
    ) -> Result<(), Error> {
        let (name, domain) = (to.name, format!("{}.test", to.name));
        let gateways = to.gateways.iter().map(Gateway::name);
        let gateways = gateways.map(|gateway| format!("spiffe://{domain}/skans/gateway/{gateway}"));
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let link = json!([{
            "name": name,
            "trustDomain": domain,
            "cluster": name,
            "notAfter": (now.unwrap_or_default() + LINK).as_secs(),
            "bundle": {
                "url": to.bundle_url(),
                "profile": "https_spiffe",
                "endpointId": format!("spiffe://{domain}/skans/control/{REPLICA}"),
                "roots": to.roots()?,
                "staleness": self.staleness.as_secs(),
            },
            "gateways": gateways.collect::<Vec<_>>(),
            "forwards": [format!("spiffe://{domain}/cluster/{name}/ns/default/sa/*/node/*")],
            "exports": exports,
            "imports": imports,
        }]);
        let policy = Policy::enforced(OPEN, "").file("links.yaml", &link.to_string());
        self.decide_by(&policy).await
    }

    /// Takes back what was consented to.
    pub(super) async fn consent_to_nothing(&self) -> Result<(), Error> {
        self.decide_by(&Policy::enforced(OPEN, "")).await
    }

    async fn decide_by(&self, policy: &Policy) -> Result<(), Error> {
        let set = self.directory.join("policy");
        policy.write(&set)?;
        if let Some(control) = &self.control {
            return control.push_policy(&set).await;
        }
        for gateway in &self.gateways {
            gateway.running()?.reload().await?;
        }
        self.agent.reload().await
    }

    /// How to open a shell in its node, from another terminal.
    #[must_use]
    pub fn shell(&self) -> String {
        let environment = self.directory.join("agent/run/env/cli.env");
        format!(
            "(set -a; . {}; set +a; erl -sname rem-1 -remsh {})",
            environment.display(),
            atom(NODE).trim_matches('\'')
        )
    }
}

/// What the other one is called.
fn other(name: &str) -> &'static str {
    if name == "ours" { "theirs" } else { "ours" }
}
