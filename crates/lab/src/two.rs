//! Two clusters of two trust domains on this machine, each with a node, its agent and a gateway: what `skans up --clusters 2` shows. Both
//! nodes bear the same name. Without a control plane: each cluster has an authority of its own, and brings the other one's roots with its link.

mod prove;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::agent::Files;
use crate::erl::{self, Options, atom};
use crate::{AgentProcess, ErlNode, Error, Policy};

pub use prove::{ALL, Claim};

/// What both nodes call themselves.
pub const NODE: &str = "orders@localhost";
/// What theirs is called at ours.
pub const ALIAS: &str = "stock@theirs";
/// The server that theirs exports.
const SERVER: &str = "order_server";

/// Policies that permit whatever the links do: what does not pass is not for want of a permit.
const OPEN: &str = "@id(\"all\") permit(principal, action, resource);\n";

/// The two, running. Dropped, they leave no process and no file.
#[derive(Debug)]
pub struct Two {
    // In this order: processes go before the files that they write.
    /// The one that calls.
    pub ours: Side,
    /// The one that exports.
    pub theirs: Side,
    _directory: TempDir,
}

/// One of them.
#[derive(Debug)]
pub struct Side {
    /// Its node.
    pub node: ErlNode,
    /// The agent of that.
    pub agent: AgentProcess,
    /// Its gateway.
    pub gateway: AgentProcess,
    name: &'static str,
    directory: PathBuf,
}

impl Two {
    /// Starts both and links them; says what it does.
    ///
    /// # Errors
    /// Whatever keeps one of them from coming up.
    pub async fn start(skans: &Path, mut progress: impl FnMut(&str)) -> Result<Self, Error> {
        let directory = tempfile::Builder::new()
            .prefix("skans-two-")
            .tempdir()
            .map_err(Error::system("cannot make a directory for the lab"))?;
        let erl = erl::find()?;
        let mut sides = Vec::new();
        for name in ["ours", "theirs"] {
            let side = Side::start(skans, &erl, directory.path(), name).await?;
            progress(&format!("cluster {name}: agent, gateway, node {NODE}"));
            sides.push(side);
        }
        let (Some(theirs), Some(ours)) = (sides.pop(), sides.pop()) else {
            return Err(Error::Plan("two clusters".to_owned()));
        };
        let two = Self {
            ours,
            theirs,
            _directory: directory,
        };
        two.link().await?;
        progress(&format!(
            "linked: theirs exports {SERVER} of {NODE}, ours calls that node {ALIAS}"
        ));
        let server = format!(
            "Loop = fun Loop() -> receive
                {{'$gen_call', From, {{who, X}}}} -> gen_server:reply(From, {{node(), node(element(1, From)), X}}), Loop();
                {{'$gen_call', _, crash}} -> exit(crashed)
            end end,
            register({SERVER}, spawn(Loop)), register(secret, spawn(Loop))"
        );
        two.theirs.node.eval(&server, prove::STEP).await?;
        Ok(two)
    }

    /// Each gateway is told where the other one is, and each side what it consents to.
    async fn link(&self) -> Result<(), Error> {
        let (ours, theirs) = (&self.ours, &self.theirs);
        for (side, other) in [(ours, theirs), (theirs, ours)] {
            let there = other.gateway.link_address()?;
            let (gateway, agent) = (side.gateway.link_address()?, side.agent.link_address()?);
            let known = Some((agent, there));
            side.configure("gateway", &gateway_of(side.name, known))?;
            side.configure("agent", &agent_of(Some(gateway)))?;
            side.gateway.reload().await?;
            side.agent.reload().await?;
        }
        self.take().await?;
        self.give().await
    }

    async fn take(&self) -> Result<(), Error> {
        let import = json!({"alias": ALIAS, "node": NODE, "process": SERVER});
        self.ours
            .consent(&self.theirs, &json!([]), &json!([import]))
            .await
    }

    async fn give(&self) -> Result<(), Error> {
        let export = json!({"node": NODE, "process": SERVER});
        self.theirs
            .consent(&self.ours, &json!([export]), &json!([]))
            .await
    }
}

impl Side {
    async fn start(
        skans: &Path,
        erl: &Path,
        within: &Path,
        name: &'static str,
    ) -> Result<Self, Error> {
        let directory = within.join(name);
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(Error::system(path.display().to_string()))
        };
        for part in ["agent", "gateway", "home"] {
            make(&directory.join(part))?;
        }
        Policy::enforced(OPEN, "").write(&directory.join("policy"))?;
        let (agent, gateway) = (
            Files::within(&directory.join("agent")),
            Files::within(&directory.join("gateway")),
        );
        write_config(name, &directory, "agent", &agent_of(None))?;
        write_config(name, &directory, "gateway", &gateway_of(name, None))?;
        let agent = AgentProcess::spawn(skans, name, agent)?.ready().await?;
        let gateway = AgentProcess::spawn_gateway(skans, name, gateway)?
            .ready()
            .await?;
        let environment = directory.join("agent/run/env/orders.env");
        let node = Options {
            label: format!("{NODE} of {name}"),
            erl: erl.to_owned(),
            home: directory.join("home"),
            args: ["-sname", NODE].map(str::to_owned).to_vec(),
            env: erl::environment(&environment)?,
        };
        Ok(Self {
            node: ErlNode::start(&node).await?,
            agent,
            gateway,
            name,
            directory,
        })
    }

    fn configure(&self, part: &str, own: &Value) -> Result<(), Error> {
        write_config(self.name, &self.directory, part, own)
    }

    /// Puts a set with a link to the other one in force.
    async fn consent(&self, to: &Self, exports: &Value, imports: &Value) -> Result<(), Error> {
        let (name, domain) = (to.name, format!("{}.test", to.name));
        let roots = to.directory.join("authority/root.pem");
        let roots =
            std::fs::read_to_string(&roots).map_err(Error::system(roots.display().to_string()))?;
        let link = json!([{
            "name": name,
            "trustDomain": domain,
            "cluster": name,
            "notAfter": u32::MAX,
            "bundle": {
                "url": format!("https://control.{domain}/v1/federation/bundle"),
                "profile": "https_spiffe",
                "endpointId": format!("spiffe://{domain}/skans/control/one"),
                "roots": roots,
            },
            "gateways": [format!("spiffe://{domain}/skans/gateway/g1")],
            "forwards": [format!("spiffe://{domain}/cluster/{name}/ns/default/sa/*/node/*")],
            "exports": exports,
            "imports": imports,
        }]);
        let policy = Policy::enforced(OPEN, "").file("links.yaml", &link.to_string());
        self.decide_by(&policy).await
    }

    /// Takes back what was consented to.
    async fn consent_to_nothing(&self) -> Result<(), Error> {
        self.decide_by(&Policy::enforced(OPEN, "")).await
    }

    async fn decide_by(&self, policy: &Policy) -> Result<(), Error> {
        policy.write(&self.directory.join("policy"))?;
        self.gateway.reload().await?;
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

fn agent_of(gateway: Option<SocketAddr>) -> Value {
    json!({
        "nodes": [{"name": NODE}],
        "peers": {"gateways": gateway.iter().collect::<Vec<_>>()},
    })
}

/// `known` is where the agent is, and the other gateway, once that is known.
fn gateway_of(name: &str, known: Option<(SocketAddr, SocketAddr)>) -> Value {
    let mut config = json!({"gateway": {"name": "g1@localhost"}});
    if let Some((agent, there)) = known {
        let other = if name == "ours" { "theirs" } else { "ours" };
        config["gateway"]["routes"] = json!({other: [there]});
        config["peers"] = json!({"static": [{"nodes": NODE, "address": agent}]});
    }
    config
}

fn write_config(name: &str, directory: &Path, part: &str, own: &Value) -> Result<(), Error> {
    let place = directory.join(part);
    let mut config = json!({
        "apiVersion": skans_agent::config::API_VERSION,
        "trustDomain": format!("{name}.test"),
        "cluster": name,
        "runtimeDirectory": place.join("run"),
        "identity": {"authority": {"directory": directory.join("authority")}},
        "policy": {"directory": directory.join("policy")},
        // Any port: a reload must find what was there at the start.
        "links": {"listen": "127.0.0.1:0"},
        "epmd": {"port": 0, "addresses": ["127.0.0.1"]},
        "admin": {"listen": "127.0.0.1:0"},
        "drain": {"timeout": "1s"},
        "log": {"format": "json"},
        "events": {"file": place.join("events.jsonl"), "window": "500ms"},
    });
    crate::plan::merge(&mut config, own);
    Files::within(&place).write_config(&config)
}
