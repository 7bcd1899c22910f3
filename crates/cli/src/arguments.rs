//! What can be said on the command line.

pub mod audit;
pub mod chaos;
pub mod control;
pub mod lint;
pub mod policy;
pub mod witness;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Guards Erlang clusters: carries distribution between hosts over mutual TLS 1.3.
///
/// Exit status: 0 done, 1 failed, 2 usage, 3 could not check.
#[derive(Debug, Parser)]
#[command(
    name = "skans",
    version,
    about,
    long_about,
    propagate_version = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the agent of this host, beside its nodes
    Agent {
        /// Its configuration, YAML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Stop when standard input ends, too: for whoever starts agents as children
        #[arg(long)]
        until_stdin_closes: bool,
        /// Take the place of the agent that runs here; nodes and links notice nothing. If this one cannot start, that one goes on
        #[arg(long)]
        take_over: bool,
    },
    /// Run a gateway of this cluster, by which its nodes and those of linked clusters reach each other
    Gateway {
        /// Its configuration, YAML
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
        /// Stop when standard input ends, too: for whoever starts gateways as children
        #[arg(long)]
        until_stdin_closes: bool,
    },
    /// Show a running agent at a glance
    Status(From),
    /// Show the nodes of this host
    Nodes(From),
    /// Show the links to nodes of other hosts
    Links(From),
    /// Show what the links carry, once a second
    Top {
        /// Which agent, and how
        #[command(flatten)]
        from: From,
        /// Stop after so many times
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
        iterations: Option<u64>,
    },
    /// Make a running agent read its configuration anew, without dropping links
    Reload {
        /// Which agent
        #[command(flatten)]
        agent: Agent,
    },
    /// Switch what a running agent logs, until it is restarted or reloaded
    LogLevel {
        /// Which agent
        #[command(flatten)]
        agent: Agent,
        /// error, warn, info, debug, trace, or a filter such as skans_agent=debug
        level: String,
    },
    /// Run the control plane, or make one
    Control(control::Control),
    /// The authorities that sign certificates
    #[command(subcommand)]
    Ca(control::Ca),
    /// Join tokens: how an agent or a person becomes known
    #[command(subcommand)]
    Token(control::Token),
    /// Identities: register, list, revoke
    #[command(subcommand)]
    Identity(control::Identity),
    /// Backups of the control plane
    #[command(subcommand)]
    Backup(control::Backup),
    /// Policy sets: what nodes may say to each other
    #[command(subcommand)]
    Policy(policy::Policy),
    /// The roots that everybody trusts
    #[command(subcommand)]
    Bundle(control::Bundle),
    /// Who may do what with the control plane
    #[command(subcommand)]
    Grant(control::Grant),
    /// Show the agents of the cluster, and what each has acknowledged
    Agents(control::Ask),
    /// Show what was changed, by whom
    Events {
        /// Those after this one
        #[arg(long, default_value_t = 0, value_name = "N")]
        after: u64,
        /// How to reach the control plane, and in which form
        #[command(flatten)]
        ask: control::Ask,
    },
    /// The log of everything that was done and refused: follow it, search it, copy it, and check a copy without trusting whoever keeps it
    Audit(audit::Audit),
    /// Use a join token for a person, and keep what it gives
    Login(control::Login),
    /// Run a witness of logs, or make its key
    Witness(witness::Witness),
    /// Find what is wrong with the configuration of Erlang nodes and their manifests, without running any of it
    Lint(lint::Lint),
    /// Start a guarded cluster of real nodes on this machine, until Ctrl-C
    Up(Up),
    /// Break what links two clusters, on this machine, and check what is claimed of it
    #[command(subcommand)]
    Chaos(chaos::Chaos),
}

/// Which agent.
#[derive(Debug, Args)]
pub struct Agent {
    /// The Unix socket of the agent
    #[arg(
        long,
        env = "SKANS_SOCKET",
        default_value = "/run/skans/agent.sock",
        value_name = "PATH"
    )]
    pub socket: PathBuf,
}

/// Which agent, and in which form.
#[derive(Debug, Args)]
pub struct From {
    /// Which agent.
    #[command(flatten)]
    pub agent: Agent,
    /// In which form
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// What `up` starts.
#[derive(Debug, Args)]
pub struct Up {
    /// How many nodes, each with an agent
    #[arg(long, default_value_t = 3, value_parser = node_count, value_name = "N")]
    pub nodes: usize,
    /// How many clusters; two of a node each are of two trust domains and share one server, by gateways
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2), value_name = "N", conflicts_with_all = ["nodes", "leaf_ttl"])]
    pub clusters: u8,
    /// Stop after this time, such as 500ms, 30s or 5m
    #[arg(long = "for", value_parser = duration, value_name = "DURATION", conflicts_with = "prove")]
    pub limit: Option<Duration>,
    /// How long certificates live, from 10s to 24h; they are renewed from a sixth of it on
    #[arg(
        long,
        value_parser = leaf_life,
        default_value = "1h",
        value_name = "DURATION",
        conflicts_with = "prove"
    )]
    pub leaf_ttl: Duration,
    /// Prove what is promised, as far as it can be proven without root, and stop
    #[arg(long)]
    pub prove: bool,
    /// In which form; json is one object a second, or one a proof, each on a line of its own
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    pub output: Output,
}

/// In which form something is shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Output {
    /// For people
    Table,
    /// For programs
    Json,
}

fn node_count(text: &str) -> Result<usize, String> {
    let most = skans_lab::up::MAX_NODES;
    match text.parse() {
        Ok(count) if (1..=most).contains(&count) => Ok(count),
        _ => Err(format!("wanted a number from 1 to {most}")),
    }
}

fn leaf_life(text: &str) -> Result<Duration, String> {
    // Below, renewing takes a noticeable part of it.
    duration(text).and_then(|life| {
        if life < Duration::from_secs(10) {
            return Err("wanted at least 10s".to_owned());
        }
        Ok(life)
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let wanted = || "wanted a duration such as 500ms, 30s, 5m or 1h".to_owned();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(wanted)?;
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wanted())?;
    let milliseconds = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wanted()),
    };
    // Longer than the certificates of a lab live would not hold what it says.
    let day = Duration::from_secs(24 * 3600);
    number
        .checked_mul(milliseconds)
        .map(Duration::from_millis)
        .filter(|duration| *duration <= day)
        .ok_or_else(|| "wanted at most 24h".to_owned())
}

#[cfg(test)]
mod tests;
