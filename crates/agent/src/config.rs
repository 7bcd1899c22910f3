//! The agent's configuration: what may be written, what it means, what is refused.
//!
//! Nothing is read from disk here but the file itself ([`load`]); nothing is opened or bound.
//! Every default stands beside its reason.

mod check;
mod gateway;
mod identity;
mod services;
mod traces;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use skans_dist::NodeName;
use skans_host::duration::deserialize as duration;
use skans_host::logs::Log;
use skans_identity::pattern::NamePattern;

use crate::Error;
pub use crate::enforce::LimitsConfig;
pub use crate::events::EventsConfig;
pub use gateway::{GATEWAY_PORT, Gateway};
pub use identity::{
    AuthoritySource, CertificateFiles, ControlSource, FilesSource, IdentitySource, KubernetesToken,
    WorkloadApi, WorkloadApiSource,
};
pub use services::{Endpoint, Offer, Services, Use};
pub use traces::Traces;

/// The only version of the format so far.
pub const API_VERSION: &str = "skans.io/v1alpha1";

/// Largest configuration file, in bytes: 1 MiB, some ten thousand static peers.
const MAX_FILE: u64 = 1024 * 1024;

/// The configuration of one agent.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Config {
    /// Must be [`API_VERSION`].
    pub api_version: String,
    /// The SPIFFE trust domain of this agent's nodes.
    pub trust_domain: String,
    /// The cluster: nodes of one cluster may connect to each other.
    #[serde(default = "main_cluster")]
    pub cluster: String,
    /// The namespace in the nodes' SPIFFE IDs.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Where cookies, environment files, the shim and the Unix socket are written. Memory-backed:
    /// `/run` is, on every distribution with systemd, and an `emptyDir` of medium `Memory` is.
    #[serde(default = "run_skans")]
    pub runtime_directory: PathBuf,
    /// The nodes of this host.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// Short-lived nodes of this host: `rabbitmqctl`, remote shells, `erl_call`.
    #[serde(default)]
    pub cli: Cli,
    /// Where certificates come from.
    pub identity: IdentitySource,
    /// The SPIFFE Workload API for the nodes of this host; not served unless given.
    pub workload_api: Option<WorkloadApi>,
    /// The port that other agents dial.
    #[serde(default)]
    pub links: Links,
    /// The epmd of the nodes of this host.
    #[serde(default)]
    pub epmd: Epmd,
    /// Where the agents of other hosts are.
    #[serde(default)]
    pub peers: Peers,
    /// Whether this is a gateway to other clusters, and where those are.
    pub gateway: Option<Gateway>,
    /// Node names that may not connect, in either direction: `alive@host` with `*` and `?`.
    #[serde(default)]
    pub refuse: Vec<String>,
    /// What nodes may say to each other, where no control plane says it.
    #[serde(default)]
    pub policy: Policy,
    /// Who sees whom in `nodes()`.
    #[serde(default)]
    pub clique: Clique,
    /// Health, metrics and the Unix socket.
    #[serde(default)]
    pub admin: Admin,
    /// What happens on SIGTERM.
    #[serde(default)]
    pub drain: Drain,
    /// What is logged, and how.
    #[serde(default)]
    pub log: Log,
    /// How much a peer may send.
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Where it is told who was denied what, and who connected.
    #[serde(default)]
    pub events: EventsConfig,
    /// What rides along besides nodes.
    #[serde(default)]
    pub services: Services,
    /// Where links are told as traces.
    #[serde(default)]
    pub traces: Traces,
}

/// One node of this host.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Node {
    /// `alive@host`, as the node calls itself.
    pub name: String,
    /// The workload in the SPIFFE ID; the part of the name before `@` unless given.
    pub workload: Option<String>,
    /// Who runs the node: a user name or a numeric id. Only this user's processes may register the
    /// name or dial out in it, and its cookie file belongs to them. The agent's own user unless given.
    pub user: Option<String>,
    /// Who speaks TLS for it.
    #[serde(default)]
    pub mode: Mode,
    /// The address family of its distribution.
    #[serde(default)]
    pub family: Family,
    /// Certificate chain, key and bundle of this node, with `identity: files`.
    pub certificate: Option<CertificateFiles>,
}

/// Who speaks TLS for a node.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The agent: everything that Skans promises holds.
    #[default]
    Guarded,
    /// The node itself, with OTP's `inet_tls`. The agent keeps its certificate, roots and option file fresh, and nothing
    /// else: no names bound to certificates, no revocation of live connections, no policy.
    Native,
}

/// Address family of a node's distribution.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `-proto_dist inet_tcp`: OTP's own default.
    #[default]
    Inet,
    /// `-proto_dist inet6_tcp`.
    Inet6,
}

/// Short-lived nodes of this host.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cli {
    /// Whether they may connect at all.
    pub enabled: bool,
    /// Who may run them, and owns their cookie file; unless given, the users of the nodes may, and the
    /// first of them owns it.
    pub user: Option<String>,
    /// The host part of their names; that of the first node unless given.
    pub host: Option<String>,
    /// Patterns of names before `@`, beside those known: `rabbitmqcli-*`, `rem-*`, `rpc-*`,
    /// `epmd-starter-*`, `c<number>` of `erl_call`, and OTP's dynamic names.
    pub patterns: Vec<String>,
    /// Certificate of these nodes, with `identity: files`; its SPIFFE ID ends in `/node/cli`.
    pub certificate: Option<CertificateFiles>,
}

impl Default for Cli {
    /// On: `rabbitmqctl` in a probe and a remote shell at night must work. They get a cookie and an
    /// identity of their own, are hidden, and reach what the policy lets them.
    fn default() -> Self {
        Self {
            enabled: true,
            user: None,
            host: None,
            patterns: Vec::new(),
            certificate: None,
        }
    }
}

/// The port that other agents dial.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Links {
    /// Address and port. All addresses, both families: the one thing other hosts must reach.
    pub listen: SocketAddr,
    /// For TCP, TLS and the hello of an inbound link, each. 3 s: a handshake takes a few
    /// milliseconds; Envoy waits 15 s, ztunnel for ever, OTP gives the whole set-up 7 s.
    #[serde(deserialize_with = "duration")]
    pub handshake_timeout: Duration,
    /// For the whole set-up between two nodes: below OTP's `net_setuptime` of 7 s, so that the
    /// caller gets an answer of ours before its own node gives up.
    #[serde(deserialize_with = "duration")]
    pub setup_timeout: Duration,
    /// How long a live link that is no longer permitted stays open, with nothing passing, before it
    /// is closed. 10 s: time to tell every agent, so that `global` does not take others apart for it;
    /// far below the 45 s after which a node misses its ticks.
    #[serde(deserialize_with = "duration")]
    pub silence: Duration,
    /// Inbound connections that have not proven an identity and sent their HELLO yet. When one more comes, the oldest of
    /// the address that holds most of them goes. 1,024 cost about 20 MB; OTP stops at 128.
    pub max_pending: usize,
    /// Links with one peer identity. 128: two nodes need one; 60 simultaneous connects of a pair
    /// are ordinary after a partition.
    pub max_per_peer: usize,
    /// How long a link that has lost its connection looks for another before its nodes see it end; never so long that
    /// with finding out it takes half of a node's `net_ticktime`, after which nodes give each other up. 20 s, a third of
    /// the default tick time of 60 s: long enough for a switch that reboots; a TCP connection alone takes minutes, and no
    /// mesh proxy resumes. 0 for not at all.
    #[serde(deserialize_with = "duration")]
    pub resume_timeout: Duration,
    /// What a link keeps of each direction at most until the other agent has it, in bytes; a node that is faster waits.
    /// 4 MiB: 1 GB/s over 4 ms, or 1 Gbit/s over 30 ms. OTP queues up to 1 MiB in the node before a sender waits; HTTP/2
    /// proxies keep 256 KiB to 16 MiB a connection.
    pub window: usize,
}

impl Default for Links {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0u16; 8], 4370)),
            handshake_timeout: Duration::from_secs(3),
            setup_timeout: Duration::from_secs(6),
            silence: Duration::from_secs(10),
            max_pending: 1024,
            max_per_peer: 128,
            resume_timeout: Duration::from_secs(20),
            window: 4 * 1024 * 1024,
        }
    }
}

/// The epmd of the nodes of this host.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Epmd {
    /// The port on every loopback address of this host; 4369, as epmd, unless given.
    pub port: Option<u16>,
    /// Loopback addresses to listen on. Unless given: 127.0.0.1, ::1, and whatever this host's own
    /// name resolves to inside 127/8 (Debian writes 127.0.1.1), since `erl_call` asks there.
    pub addresses: Option<Vec<IpAddr>>,
}

/// Where the agents of other hosts are. A name is looked up in this order; the first hit counts.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Peers {
    /// A list by hand.
    #[serde(rename = "static")]
    pub fixed: Vec<StaticPeer>,
    /// The host part of the node name is looked up, as with a headless service.
    pub dns: Option<DnsPeers>,
    /// The gateways of this cluster, `host:port` each: by them nodes of other clusters are reached. They are tried in this order, but for
    /// those that could not be reached lately.
    pub gateways: Vec<String>,
}

/// One line of the list by hand.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StaticPeer {
    /// Which nodes: `alive@host` with `*` and `?`, such as `*@host-b`.
    pub nodes: String,
    /// `host:port` of their agent.
    pub address: String,
}

/// Look-up in DNS.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsPeers {
    /// Which hosts are looked up, such as `*.rabbit.prod.svc.cluster.local`; the first label of a
    /// short name counts as a host. Required: a look-up of any name that a local process makes up
    /// would let it send queries anywhere.
    pub hosts: String,
    /// The port of their agents.
    #[serde(default = "link_port")]
    pub port: u16,
}

/// What nodes may say to each other, where no control plane says it.
#[derive(Clone, Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Policy {
    /// A directory with a policy set (docs/policy.md), read at the start and on reload. Without one, the set that is built in:
    /// nodes of one cluster are members of it.
    pub directory: Option<PathBuf>,
}

/// Who sees whom. A missing link in a visible mesh makes `global` take nodes apart, so links are
/// visible only inside a clique whose members all agree on; every other link is hidden.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Clique {
    /// Node names, with `*` and `?`. Every agent of the cluster must hold the same list: agents with
    /// different lists hide from each other.
    pub members: Vec<String>,
}

impl Default for Clique {
    /// All nodes of the cluster, as without Skans.
    fn default() -> Self {
        Self {
            members: vec!["*@*".to_owned()],
        }
    }
}

/// Health, metrics and the Unix socket.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Admin {
    /// `/livez`, `/readyz`, `/metrics`. Loopback: metrics name nodes and peers. A pod that is probed
    /// from outside sets its own address.
    pub listen: SocketAddr,
    /// The Unix socket for `skans status`; `agent.sock` in the runtime directory unless given.
    pub socket: Option<PathBuf>,
}

impl Default for Admin {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 4372)),
            socket: None,
        }
    }
}

/// What happens on SIGTERM.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Drain {
    /// How long live links may go on while local nodes leave by themselves. 20 s: Kubernetes kills
    /// after 30 s, and a node that stops takes a few.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

impl Default for Drain {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(20),
        }
    }
}

fn main_cluster() -> String {
    "main".to_owned()
}

fn default_namespace() -> String {
    "default".to_owned()
}

fn run_skans() -> PathBuf {
    PathBuf::from("/run/skans")
}

const fn link_port() -> u16 {
    4370
}

/// Reads, overrides from the environment, and checks a configuration.
///
/// # Errors
/// [`Error::Config`] that says which key, what was found, and what was wanted.
pub fn load(path: &Path) -> Result<Config, Error> {
    let text = skans_host::files::read_text(path, MAX_FILE)?;
    parse(&text, &path.display().to_string(), |name| {
        std::env::var(name).ok()
    })
}

/// Like [`load`], from text; `origin` stands for the file in errors.
///
/// # Errors
/// As [`load`].
pub fn parse(
    text: &str,
    origin: &str,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Config, Error> {
    let mut config: Config =
        serde_saphyr::from_str(text).map_err(|error| Error::config(origin, error.to_string()))?;
    if config.gateway.is_some() && config.links == Links::default() {
        config.links.listen.set_port(GATEWAY_PORT);
    }
    config.apply(env)?;
    config
        .check()
        .map_err(|problem| Error::config(origin, problem))?;
    Ok(config)
}

impl Config {
    /// What the environment may override: the values that differ between hosts that otherwise
    /// share one file.
    fn apply(&mut self, env: impl Fn(&str) -> Option<String>) -> Result<(), Error> {
        fn parsed<T: std::str::FromStr<Err: std::fmt::Display>>(
            name: &str,
            value: &str,
        ) -> Result<T, Error> {
            value
                .parse()
                .map_err(|error| Error::config(name, format!("found {value:?}: {error}")))
        }
        if let Some(value) = env("SKANS_TRUST_DOMAIN") {
            self.trust_domain = value;
        }
        if let Some(value) = env("SKANS_CLUSTER") {
            self.cluster = value;
        }
        if let Some(value) = env("SKANS_NAMESPACE") {
            self.namespace = value;
        }
        if let Some(value) = env("SKANS_RUNTIME_DIRECTORY") {
            self.runtime_directory = value.into();
        }
        if let Some(value) = env("SKANS_LINKS_LISTEN") {
            self.links.listen = parsed("SKANS_LINKS_LISTEN", &value)?;
        }
        if let Some(value) = env("SKANS_ADMIN_LISTEN") {
            self.admin.listen = parsed("SKANS_ADMIN_LISTEN", &value)?;
        }
        if let Some(value) = env("SKANS_LOG_LEVEL") {
            self.log.level = value;
        }
        Ok(())
    }

    /// The patterns of short-lived names.
    #[must_use]
    pub fn cli_patterns(&self) -> Vec<NamePattern> {
        if !self.cli.enabled {
            return Vec::new();
        }
        let mut patterns = NamePattern::cli_defaults();
        patterns.extend(
            self.cli
                .patterns
                .iter()
                .filter_map(|p| NamePattern::parse(p).ok()),
        );
        // RabbitMQ boots under `<name>_prelaunch_<pid>` before it takes its own name, and `rabbitmq-plugins` asks it as
        // `<name>_ctl_<1 to 100>` before it takes one of `rabbitmqcli-*`: refused, it tries fifty of them, for a minute.
        let alive = self
            .nodes
            .iter()
            .filter_map(|node| node.name.split_once('@'));
        patterns.extend(alive.flat_map(|(alive, _)| {
            let of_it = move |what| NamePattern::parse(&format!("{alive}_{what}_*")).ok();
            ["prelaunch", "ctl"].into_iter().filter_map(of_it)
        }));
        patterns
    }

    /// The host part of short-lived nodes' names.
    #[must_use]
    pub fn cli_host(&self) -> Option<String> {
        self.cli.host.clone().or_else(|| {
            let first = self.nodes.first()?.node_name().ok()?;
            Some(first.host().to_owned())
        })
    }

    /// The nodes that the agent speaks for.
    pub fn guarded(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.mode == Mode::Guarded)
    }

    /// Whether the agent speaks for any node: if not, it needs no epmd, no cookies, and serves no tools.
    #[must_use]
    pub fn guards(&self) -> bool {
        self.guarded().next().is_some()
    }

    /// Where the Unix socket is.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.admin
            .socket
            .clone()
            .unwrap_or_else(|| self.runtime_directory.join("agent.sock"))
    }
}

impl Node {
    /// The workload in its SPIFFE ID.
    #[must_use]
    pub fn workload(&self) -> &str {
        let alive = self.name.split('@').next().unwrap_or_default();
        self.workload.as_deref().unwrap_or(alive)
    }

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

#[cfg(test)]
mod tests;
