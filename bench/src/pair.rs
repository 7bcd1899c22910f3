//! Two nodes, or a few on each side, and what is between them: how every opponent is started.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use crate::across;
use crate::epmd::Epmd;
use crate::error::{Doing, Error, Result};
use crate::node::Node;
use crate::opponents::{BUFFERS, Opponent, Stage};
use crate::process::Process;
use crate::tunnels::Side;

/// How many nodes there are on each side.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Shape {
    /// Nodes that dial.
    pub a: usize,
    /// Nodes that are dialled.
    pub b: usize,
}

impl Shape {
    /// One node on each side.
    pub const PAIR: Self = Self { a: 1, b: 1 };
    /// 32 connections, of each node of one side to each of the other.
    pub const WIDE: Self = Self { a: 4, b: 8 };

    /// The names before `@` of one side: `a`, `a2`, `a3`.
    pub fn names(count: usize, side: &str) -> Vec<String> {
        let name = |number| match number {
            1 => side.to_owned(),
            number => format!("{side}{number}"),
        };
        (1..=count).map(name).collect()
    }

    /// All of them.
    pub fn all_names(self) -> Vec<String> {
        [Self::names(self.a, "a"), Self::names(self.b, "b")].concat()
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
    /// More like `a`.
    pub more_a: Vec<Node>,
    /// More like `b`.
    pub more_b: Vec<Node>,
    /// Agents or relays: of `a`, then of `b`.
    pub between: Vec<Process>,
    _epmd: Option<Epmd>,
}

impl Pair {
    /// Starts an opponent and connects every node of one side with every one of the other.
    pub async fn start(
        opponent: Opponent,
        stage: &Stage,
        shape: Shape,
        round: usize,
    ) -> Result<Self> {
        let directory = stage
            .directory
            .join(format!("{opponent:?}-{round}-{}", shape.a * shape.b));
        fs::create_dir(&directory).doing("make a directory")?;
        if opponent == Opponent::Gateways {
            let mut pair = across::start(&stage.skans, stage, shape, &directory).await?;
            pair.connect().await?;
            return Ok(pair);
        }
        let binary = match opponent {
            Opponent::Skans => Some(&stage.skans),
            Opponent::Earlier => stage.earlier.as_ref(),
            Opponent::Unjudged => stage.unjudged.as_ref(),
            _ => None,
        };
        let mut pair = match binary {
            Some(binary) => skans(opponent, binary, stage, shape, &directory).await?,
            None => ordinary(opponent, stage, shape, &directory).await?,
        };
        pair.connect().await?;
        Ok(pair)
    }

    /// Every node of one side with every one of the other.
    async fn connect(&mut self) -> Result<()> {
        let others: Vec<_> = self.b_names().collect();
        for a in self.all_a() {
            for other in &others {
                a.run::<1>(&format!("{{connect, {other}}}")).await?;
            }
        }
        Ok(())
    }

    /// All nodes that dial.
    pub fn all_a(&mut self) -> impl Iterator<Item = &mut Node> {
        [&mut self.a].into_iter().chain(&mut self.more_a)
    }

    /// The names of all that are dialled.
    pub fn b_names(&self) -> impl Iterator<Item = String> {
        let all = [&self.b].into_iter().chain(&self.more_b);
        all.map(|node| node.name.clone())
    }

    /// All processes.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        let nodes = [&self.a, &self.b].into_iter();
        let nodes = nodes.chain(&self.more_a).chain(&self.more_b);
        nodes.map(|node| &node.process).chain(&self.between)
    }

    /// Of nodes that run, the first one of each side in front.
    ///
    /// # Errors
    /// A side without any.
    pub fn new(
        opponent: Opponent,
        [a, b]: [Vec<Node>; 2],
        between: Vec<Process>,
        epmd: Option<Epmd>,
    ) -> Result<Self> {
        let (mut a, mut b) = (a.into_iter(), b.into_iter());
        let (Some(first_a), Some(first_b)) = (a.next(), b.next()) else {
            return Err(Error::new("start", "wanted a node on each side"));
        };
        Ok(Self {
            opponent,
            a: first_a,
            b: first_b,
            more_a: a.collect(),
            more_b: b.collect(),
            between,
            _epmd: epmd,
        })
    }
}

/// What nodes are told beside what an opponent needs. Those of one side are not to connect to each other, and `global` is not to
/// take the others apart for it.
pub fn node_flags(shape: Shape) -> Vec<String> {
    if shape == Shape::PAIR {
        return Vec::new();
    }
    ["-connect_all", "false"].map(str::to_owned).into()
}

/// Nodes that use an epmd, directly or through relays.
async fn ordinary(
    opponent: Opponent,
    stage: &Stage,
    shape: Shape,
    directory: &Path,
) -> Result<Pair> {
    let epmd = Epmd::start().await?;
    let env = [("ERL_EPMD_PORT".to_owned(), epmd.port.to_string())];
    let mut flags: Vec<String> =
        "-start_epmd false -setcookie bench -kernel inet_dist_use_interface {127,0,0,1}"
            .split(' ')
            .map(str::to_owned)
            .collect();
    flags.extend(node_flags(shape));
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
    let mut nodes = [Vec::new(), Vec::new()];
    let sides = [(shape.a, "a"), (shape.b, "b")];
    for (nodes, (count, side)) in nodes.iter_mut().zip(sides) {
        for name in Shape::names(count, side) {
            nodes.push(start(&name).await?);
        }
    }
    let called = Shape::names(shape.b, "b");
    let between = match opponent {
        Opponent::Relays | Opponent::TlsRelays => {
            relays(opponent, stage, &epmd, &called, directory).await?
        }
        _ => tunnel(opponent, stage, &epmd, &called, directory).await?,
    };
    Pair::new(opponent, nodes, between, Some(epmd))
}

/// Two relays in front of each node: they have one target each.
async fn relays(
    opponent: Opponent,
    stage: &Stage,
    epmd: &Epmd,
    called: &[String],
    directory: &Path,
) -> Result<Vec<Process>> {
    let mut between = Vec::new();
    for alive in called {
        let mut port = epmd.port_of(alive)?;
        for (name, side) in [("relay-b", "accept"), ("relay-a", "dial")] {
            let log = directory.join(format!("{name}-{alive}.log"));
            let mut args = vec![format!("127.0.0.1:{port}")];
            if opponent == Opponent::TlsRelays {
                args.extend([side.to_owned(), stage.directory.display().to_string()]);
            }
            let mut relay = Process::start(name, &stage.relay, &args, &[], &log)?;
            port = relay.first_line().await?.parse().doing(name)?;
            between.insert(0, relay);
        }
        epmd.divert(alive, port);
    }
    Ok(between)
}

/// A tunnel in front of all nodes, if the opponent is one.
async fn tunnel(
    opponent: Opponent,
    stage: &Stage,
    epmd: &Epmd,
    called: &[String],
    directory: &Path,
) -> Result<Vec<Process>> {
    let Some(tunnel) = opponent.tunnel().and_then(|kind| stage.tunnel(kind)) else {
        return Ok(Vec::new());
    };
    let mut between = Vec::new();
    for side in [Side::Accept, Side::Dial] {
        let mut ports = Vec::new();
        for alive in called {
            let (taking, going) = (free_port()?, epmd.port_of(alive)?);
            ports.push((taking, going));
            epmd.divert(alive, taking);
        }
        let process = tunnel.start(side, &stage.directory, directory, &ports);
        between.insert(0, process.await?);
    }
    Ok(between)
}

/// Nodes with an agent for each side.
async fn skans(
    opponent: Opponent,
    binary: &Path,
    stage: &Stage,
    shape: Shape,
    directory: &Path,
) -> Result<Pair> {
    let links = [free_port()?, free_port()?];
    let mut between = Vec::new();
    let mut sides = [Vec::new(), Vec::new()];
    let of = [
        ("a", "b", shape.a, links),
        ("b", "a", shape.b, [links[1], links[0]]),
    ];
    for (nodes, (side, other, count, [port, other_port])) in sides.iter_mut().zip(of) {
        let runtime = directory.join(side);
        let config = directory.join(format!("{side}.yaml"));
        let names = Shape::names(count, side);
        let listed: Vec<_> = names
            .iter()
            .map(|name| format!("{{name: {name}@localhost}}"))
            .collect();
        let text = format!(
            "apiVersion: skans.io/v1alpha1\n\
             trustDomain: bench.test\n\
             runtimeDirectory: {}\n\
             nodes: [{}]\n\
             identity: {{authority: {{directory: {}}}}}\n\
             links: {{listen: '127.0.0.1:{port}'}}\n\
             epmd: {{port: 0, addresses: [127.0.0.1]}}\n\
             peers: {{static: [{{nodes: '{other}*@localhost', address: '127.0.0.1:{other_port}'}}]}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n",
            runtime.display(),
            listed.join(", "),
            directory.join("authority").display(),
        );
        fs::write(&config, text).doing("write an agent's configuration")?;
        let log = directory.join(format!("agent-{side}.log"));
        let mut agent = agent(&format!("agent {side}"), binary, &config, &log)?;
        for name in names {
            let file = runtime.join("env").join(format!("{name}.env"));
            let env = environment(&mut agent, &file).await?;
            let log = directory.join(format!("{name}.log"));
            nodes.push(Node::start(&name, &node_flags(shape), &env, &stage.load, &log).await?);
        }
        between.push(agent);
    }
    Pair::new(opponent, sides, between, None)
}

/// Starts an agent with a configuration.
pub fn agent(name: &str, binary: &Path, config: &Path, log: &Path) -> Result<Process> {
    part("agent", name, binary, config, log)
}

/// The same of a gateway, by its subcommand.
pub fn part(what: &str, name: &str, binary: &Path, config: &Path, log: &Path) -> Result<Process> {
    let args = [what, "--until-stdin-closes", "--config"].map(str::to_owned);
    let args = [args.as_slice(), &[config.display().to_string()]].concat();
    Process::start(name, binary, &args, &[], log)
}

/// The variables that the agent writes for its node, once all its ports are open.
pub async fn environment(agent: &mut Process, file: &Path) -> Result<Vec<(String, String)>> {
    agent.wait_for_file(file).await?;
    let text = fs::read_to_string(file).doing("read an environment")?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once('='))
        .map(|(key, value)| (key.to_owned(), value.trim_matches('"').to_owned()))
        .collect())
}

/// A port that was free a moment ago: both agents must know the other's before either starts.
pub fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .map(|address| address.port())
        .doing("find a free port")
}
