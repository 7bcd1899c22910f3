//! What is compared: the ways for two nodes of one machine to reach each other, and how each is
//! set up.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::certificates;
use crate::epmd::Epmd;
use crate::error::{Doing, Error, Result};
use crate::node::Node;
use crate::process::{Process, START};

/// A way for two nodes to reach each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opponent {
    /// OTP as it comes.
    Tcp,
    /// OTP's TLS distribution with its default buffers: what people run.
    Tls,
    /// The same with larger buffers: what is to be beaten.
    TunedTls,
    /// Two agents.
    Skans,
    /// Two agents of another release, if there is one to compare with.
    Earlier,
    /// Two relays with TLS in between that take no trouble: Skans must never be slower.
    TlsRelays,
    /// Two relays without TLS and parsing: what two hops cost at least.
    Relays,
}

const BUFFERS: &str = "[{buffer,65536}]";

impl Opponent {
    /// All of them, in the order of the tables.
    const ALL: [Self; 7] = [
        Self::Tcp,
        Self::Tls,
        Self::TunedTls,
        Self::Skans,
        Self::Earlier,
        Self::TlsRelays,
        Self::Relays,
    ];

    /// What stands above its column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Tcp => "plain TCP",
            Self::Tls => "inet_tls default",
            Self::TunedTls => "inet_tls tuned",
            Self::Skans => "Skans",
            Self::Earlier => "Skans, earlier",
            Self::TlsRelays => "TLS relays",
            Self::Relays => "plain relays",
        }
    }

    /// How it is set up, for people who want to do the same.
    pub fn configuration(self) -> String {
        let tls = certificates::options("DIR", "a").replace('\n', " ");
        match self {
            Self::Tcp => "`erl` with `-kernel inet_dist_use_interface {127,0,0,1}`, all else by default".to_owned(),
            Self::Tls => format!("as plain TCP, with `-proto_dist inet_tls -ssl_dist_optfile FILE`, FILE: `{}`", tls.trim()),
            Self::TunedTls => format!("as inet_tls default, with `-kernel inet_dist_listen_options {BUFFERS} inet_dist_connect_options {BUFFERS}`"),
            Self::Skans => "two `skans agent` processes, an embedded authority, all else by default; nodes with the environment that the agent writes".to_owned(),
            Self::Earlier => "the same with the other release's binary".to_owned(),
            Self::TlsRelays => "plain TCP through two `skans-bench-relay` processes: one thread each, 128 KiB buffers; mutual TLS 1.3 between them with the agents' settings, nothing read or parsed".to_owned(),
            Self::Relays => "the same without TLS".to_owned(),
        }
    }
}

/// What is needed to start any opponent.
#[derive(Debug)]
pub struct Stage {
    /// Everything is written under here.
    pub directory: PathBuf,
    /// The compiled load driver.
    pub load: PathBuf,
    /// The `skans` binary.
    pub skans: PathBuf,
    /// The `skans` binary of another release.
    pub earlier: Option<PathBuf>,
    /// The relay's binary.
    pub relay: PathBuf,
}

impl Stage {
    /// Those that are compared, in the order of the tables.
    pub fn opponents(&self) -> Vec<Opponent> {
        let there = |opponent: &Opponent| *opponent != Opponent::Earlier || self.earlier.is_some();
        Opponent::ALL.into_iter().filter(there).collect()
    }
}

/// Two nodes, `a` and `b`, and what is between them. All of it ends when this is dropped.
#[derive(Debug)]
pub struct Pair {
    /// Which opponent this is.
    pub opponent: Opponent,
    /// The node that dials, sends and calls.
    pub a: Node,
    /// The other one.
    pub b: Node,
    /// Agents or relays: of `a`, then of `b`.
    pub between: Vec<Process>,
    _epmd: Option<Epmd>,
}

impl Pair {
    /// Starts an opponent and connects `a` with `b`.
    pub async fn start(opponent: Opponent, stage: &Stage, round: usize) -> Result<Self> {
        let directory = stage.directory.join(format!("{opponent:?}-{round}"));
        fs::create_dir(&directory).doing("make a directory")?;
        let mut pair = match opponent {
            Opponent::Skans => skans(opponent, &stage.skans, stage, &directory).await?,
            Opponent::Earlier => {
                let binary = stage.earlier.as_deref().unwrap_or(&stage.skans);
                skans(opponent, binary, stage, &directory).await?
            }
            _ => ordinary(opponent, stage, &directory).await?,
        };
        pair.a.run::<1>("{connect, b@localhost}").await?;
        Ok(pair)
    }

    /// All processes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        [&self.a.process, &self.b.process]
            .into_iter()
            .chain(&self.between)
    }
}

/// Nodes that use an epmd, directly or through relays.
async fn ordinary(opponent: Opponent, stage: &Stage, directory: &Path) -> Result<Pair> {
    let epmd = Epmd::start().await?;
    let env = [("ERL_EPMD_PORT".to_owned(), epmd.port.to_string())];
    let mut flags: Vec<String> =
        "-start_epmd false -setcookie bench -kernel inet_dist_use_interface {127,0,0,1}"
            .split(' ')
            .map(str::to_owned)
            .collect();
    if matches!(opponent, Opponent::Tls | Opponent::TunedTls) {
        flags.extend(["-proto_dist".to_owned(), "inet_tls".to_owned()]);
    }
    if opponent == Opponent::TunedTls {
        for key in ["inet_dist_listen_options", "inet_dist_connect_options"] {
            flags.extend(["-kernel", key, BUFFERS].map(str::to_owned));
        }
    }
    let start = async |alive: &str| {
        let mut flags = flags.clone();
        if matches!(opponent, Opponent::Tls | Opponent::TunedTls) {
            let options = stage.directory.join(format!("{alive}.conf"));
            flags.extend([
                "-ssl_dist_optfile".to_owned(),
                options.display().to_string(),
            ]);
        }
        let log = directory.join(format!("{alive}.log"));
        Node::start(alive, &flags, &env, &stage.load, &log).await
    };
    let (a, b) = (start("a").await?, start("b").await?);
    let mut between = Vec::new();
    if matches!(opponent, Opponent::Relays | Opponent::TlsRelays) {
        let mut port = epmd.port_of("b")?;
        for (name, side) in [("relay-b", "accept"), ("relay-a", "dial")] {
            let log = directory.join(format!("{name}.log"));
            let mut args = vec![format!("127.0.0.1:{port}")];
            if opponent == Opponent::TlsRelays {
                args.extend([side.to_owned(), stage.directory.display().to_string()]);
            }
            let mut relay = Process::start(name, &stage.relay, &args, &[], &log)?;
            port = relay.first_line().await?.parse().doing(name)?;
            between.insert(0, relay);
        }
        epmd.divert("b", port);
    }
    Ok(Pair {
        opponent,
        a,
        b,
        between,
        _epmd: Some(epmd),
    })
}

/// Nodes with an agent each.
async fn skans(opponent: Opponent, binary: &Path, stage: &Stage, directory: &Path) -> Result<Pair> {
    let links = [free_port()?, free_port()?];
    let mut between = Vec::new();
    let mut nodes = Vec::new();
    for (own, other) in [(0, 1), (1, 0)] {
        let names = ["a", "b"];
        let [own_name, other_name] = [own, other].map(|at: usize| names.get(at).unwrap_or(&""));
        let [own_port, other_port] = [own, other].map(|at: usize| links.get(at).unwrap_or(&0));
        let runtime = directory.join(own_name);
        let config = directory.join(format!("{own_name}.yaml"));
        let text = format!(
            "apiVersion: skans.io/v1alpha1\n\
             trustDomain: bench.test\n\
             runtimeDirectory: {}\n\
             nodes: [{{name: {own_name}@localhost}}]\n\
             identity: {{authority: {{directory: {}}}}}\n\
             links: {{listen: '127.0.0.1:{own_port}'}}\n\
             epmd: {{port: 0, addresses: [127.0.0.1]}}\n\
             peers: {{static: [{{nodes: {other_name}@localhost, address: '127.0.0.1:{other_port}'}}]}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n",
            runtime.display(),
            directory.join("authority").display(),
        );
        fs::write(&config, text).doing("write an agent's configuration")?;
        let args = ["agent", "--until-stdin-closes", "--config"].map(str::to_owned);
        let args = [args.as_slice(), &[config.display().to_string()]].concat();
        let log = directory.join(format!("agent-{own_name}.log"));
        let mut agent = Process::start(&format!("agent {own_name}"), binary, &args, &[], &log)?;
        let env = environment(
            &mut agent,
            &runtime.join("env").join(format!("{own_name}.env")),
        )
        .await?;
        between.push(agent);
        let log = directory.join(format!("{own_name}.log"));
        nodes.push(Node::start(own_name, &[], &env, &stage.load, &log).await?);
    }
    let ([a, b], between) = (
        <[Node; 2]>::try_from(nodes).map_err(|_| Error::new("start Skans", "wanted two nodes"))?,
        between,
    );
    Ok(Pair {
        opponent,
        a,
        b,
        between,
        _epmd: None,
    })
}

/// The variables that the agent writes for its node, once all its ports are open.
async fn environment(agent: &mut Process, file: &Path) -> Result<Vec<(String, String)>> {
    let deadline = Instant::now() + START;
    loop {
        if let Ok(text) = fs::read_to_string(file) {
            return Ok(text
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
                .collect());
        }
        if !agent.is_running() {
            return Err(agent.failed("it ended"));
        }
        if Instant::now() >= deadline {
            return Err(agent.failed("it does not start"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// A port that was free a moment ago: both agents must know the other's before either starts.
fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .doing("find a free port")
}
