//! What links cost that carry nothing: resident memory of an agent with a thousand of them, fresh, and once they have carried
//! something. Each is that of a peer of its own, with a certificate of its own.

use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use super::peer::{Peer, Tally};
use super::{Agent, Args};
use crate::certificates::Issuer;
use crate::error::{Error, Result};
use crate::node::Node;

/// What is wanted for 1,000 links, in MiB.
const WANTED: f64 = 64.0;
/// Links that carry bytes at the same time.
const AT_ONCE: usize = 16;
/// Bytes come within this.
const CARRIED: Duration = Duration::from_secs(600);

/// Measures, and gives a section of the report.
pub async fn measure(args: &Args, directory: &Path, load: &Path, skans: &Path) -> Result<String> {
    let issuer = Issuer::new()?;
    issuer.write(directory, &["b".to_owned()])?;
    let (agent, environment) = Agent::start("agent-idle", directory, skans).await?;
    let log = directory.join("idle-b.log");
    let mut node = Node::start("b", &[], &environment, load, &log).await?;
    let verifier = issuer.verifier()?;
    let tally = Arc::new(Tally::default());
    let before = agent.process.settled_memory().await?;
    eprintln!("no links: {before:.1} MiB");
    let mut peers = Vec::new();
    for number in 0..args.links {
        let name = format!("p{number}");
        peers.push(Peer::connect(&name, agent.links, (&issuer, &verifier), &tally).await?);
    }
    let fresh = agent.process.settled_memory().await?;
    eprintln!("{} links: {fresh:.1} MiB", args.links);
    carry(&mut node, &peers, &tally, args.carry).await?;
    let most = agent.process.peak_memory()? * 1e6 / f64::from(1 << 20);
    let after = agent.process.settled_memory().await?;
    eprintln!(
        "{} links that have carried bytes: {after:.1} MiB",
        args.links
    );
    match tally.ended.load(Relaxed) {
        0 => {}
        ended => return Err(Error::new("idle links", format!("{ended} of them ended"))),
    }
    let links = f64::from(args.links);
    let each = |memory: f64| (memory - before) * 1024.0 / links;
    let mut text = format!(
        "\n## Memory of an agent with {links} idle links\n\n| | resident, MiB | KiB for each link |\n|---|---|---|\n"
    );
    let _ = writeln!(text, "| no links | {before:.1} | |");
    let _ = writeln!(text, "| just up | {fresh:.1} | {:.1} |", each(fresh));
    let _ = writeln!(
        text,
        "| idle again, after each has carried {:.1} MiB in each direction | {after:.1} | {:.1} |",
        f64::from(args.carry) / f64::from(1 << 20),
        each(after)
    );
    let _ = writeln!(
        text,
        "| the most in between | {most:.1} | {:.1} |",
        each(most)
    );
    let worst = fresh.max(after);
    let _ = write!(
        text,
        "\n- Wanted: below {WANTED} MiB for 1,000 links. {}.\n\
         - Every link is a real one, through TLS and both handshakes, to one real node; the peers are one process that speaks the protocol by hand. \
         {AT_ONCE} of them carry bytes at once. Memory is VmRSS, once it has been the same for {} s.\n",
        if args.links != 1000 {
            "Another number of links was measured"
        } else if worst < WANTED {
            "Met"
        } else {
            "**Missed**"
        },
        crate::process::SETTLED.as_secs()
    );
    Ok(text)
}

/// Bytes over each link, first from the node and then to it.
async fn carry(node: &mut Node, peers: &[Peer], tally: &Tally, bytes: u32) -> Result<()> {
    let mut sent = 0;
    for (turn, some) in peers.chunks(AT_ONCE).enumerate() {
        for peer in some {
            peer.send(bytes.into()).await?;
        }
        let first = turn * AT_ONCE;
        let names: Vec<_> = (first..first + some.len())
            .map(|number| format!("p{number}@localhost"))
            .collect();
        let before = tally.received.load(Relaxed);
        let command = format!("{{flood, [{}], {bytes}}}", names.join(", "));
        node.run::<0>(&command).await?;
        let count = u64::try_from(some.len()).unwrap_or(u64::MAX);
        sent += u64::from(bytes) * count;
        let deadline = Instant::now() + CARRIED;
        while tally.received.load(Relaxed) - before < u64::from(bytes) * count {
            if Instant::now() >= deadline {
                let came = tally.received.load(Relaxed);
                return Err(Error::new(
                    "idle links",
                    format!("{came} bytes came of {sent}"),
                ));
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    Ok(())
}
