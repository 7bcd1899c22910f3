//! What one agent carries: handshakes for a second of a core, beside haproxy, and the memory of idle links. A real agent, and
//! peers of it that are none.

mod handshakes;
mod idle;
mod peer;

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::error::{Doing, Result};
use crate::pair::{self, free_port};
use crate::process::Process;
use crate::tunnels;

/// What is measured.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often handshakes are measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// For how long each time, in seconds.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=600))]
    seconds: u16,
    /// Clients that shake hands at once.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=256))]
    clients: u16,
    /// How many links one agent has; 0 to leave that out.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u16).range(0..=10_000))]
    links: u16,
    /// Bytes that each of them carries in each direction before it is idle again.
    #[arg(long, default_value_t = 4 * 1024 * 1024)]
    carry: u32,
    /// Links and their memory only.
    #[arg(long)]
    no_handshakes: bool,
    /// The skans binary; the one beside this program unless given.
    #[arg(long)]
    skans: Option<PathBuf>,
}

/// Measures, and gives a report in Markdown.
pub async fn measure(args: &Args, directory: &Path, load: &Path, skans: &Path) -> Result<String> {
    let skans = args.skans.as_deref().unwrap_or(skans);
    let mut text = String::new();
    if !args.no_handshakes {
        let haproxy = tunnels::installed()
            .into_iter()
            .find(|tunnel| tunnel.kind == tunnels::Kind::Haproxy);
        text += &handshakes::measure(args, directory, skans, haproxy.as_ref()).await?;
    }
    if args.links > 0 {
        text += &idle::measure(args, directory, load, skans).await?;
    }
    Ok(text)
}

/// An agent of the node `b`, with the certificate that lies in a directory.
struct Agent {
    process: Process,
    links: SocketAddr,
}

impl Agent {
    async fn start(name: &str, directory: &Path, skans: &Path) -> Result<(Self, Environment)> {
        let runtime = directory.join(format!("{name}-run"));
        let port = free_port()?;
        let text = format!(
            "apiVersion: skans.io/v1alpha1\n\
             trustDomain: {domain}\n\
             cluster: {cluster}\n\
             runtimeDirectory: {runtime}\n\
             nodes: [{{name: b@localhost, certificate: {{chain: {directory}/b.pem, key: {directory}/b.key}}}}]\n\
             cli: {{enabled: false}}\n\
             identity: {{files: {{bundle: {directory}/roots.pem}}}}\n\
             links: {{listen: '127.0.0.1:{port}'}}\n\
             epmd: {{port: 0, addresses: [127.0.0.1]}}\n\
             admin: {{listen: '127.0.0.1:0'}}\n",
            domain = crate::certificates::DOMAIN,
            cluster = crate::certificates::CLUSTER,
            runtime = runtime.display(),
            directory = directory.display(),
        );
        let config = directory.join(format!("{name}.yaml"));
        fs::write(&config, text).doing("write an agent's configuration")?;
        let log = directory.join(format!("{name}.log"));
        let mut process = pair::agent(name, skans, &config, &log)?;
        let file = runtime.join("env").join("b.env");
        let environment = pair::environment(&mut process, &file).await?;
        let agent = Self {
            process,
            links: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        };
        Ok((agent, environment))
    }
}

/// Of a node.
type Environment = Vec<(String, String)>;
