//! Measures what a fleet of agents costs its control plane: real TLS, real gRPC, a real `skans control` in a process of its
//! own, fsync on. What an agent is here stands in `agent`, what is done to the control plane in `plane`.

mod agent;
mod plane;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use agent::Agent;
use plane::Plane;

/// What goes wrong here ends the measurement: a text will do.
type Result<T, E = String> = std::result::Result<T, E>;

/// Measures what agents cost their control plane, on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// How many agents.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    agents: u32,
    /// How many certificates each asks for in one call when it renews: its own and those of its nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// For how long they renew, in seconds.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many calls are under way at once.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=4096))]
    at_once: u32,
    /// Kill the control plane in the middle (SIGKILL), start it again, and look whether it knows every certificate that an
    /// agent holds.
    #[arg(long)]
    kill: bool,
    /// The skans binary.
    #[arg(long)]
    skans: PathBuf,
    /// Where the store is put; a temporary directory unless given. The speed of its disk is measured too.
    #[arg(long)]
    dir: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skans-bench-fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    let mut plane = Plane::start(&args.skans, args.dir.as_deref()).await?;
    println!("disk: {:.0} fsyncs of 4 KiB a second", plane.fsyncs()?);
    let idle = plane.memory()?;
    let gate = Arc::new(Semaphore::new(args.at_once as usize));
    let agents = enrol(&args, &plane, &gate).await?;
    watch(&plane, &agents, &gate).await?;
    println!(
        "memory: {} KiB idle, {} KiB for each agent",
        idle / 1024,
        (plane.memory()? - idle) / 1024 / u64::from(args.agents)
    );
    revoke(&plane, &agents).await?;
    let held = renew(&args, &mut plane, &agents, &gate).await?;
    if args.kill {
        println!(
            "kill -9: looking for {} certificates that agents hold",
            held.len()
        );
        plane.must_know(&held).await?;
        println!("kill -9: every one of them is in the store");
    }
    plane.stop().await
}

async fn enrol(args: &Args, plane: &Plane, gate: &Arc<Semaphore>) -> Result<Vec<Arc<Agent>>> {
    let tokens = Arc::new(plane.tokens(args.agents, gate).await?);
    let (began, cpu) = (Instant::now(), plane.cpu()?);
    let mut all = JoinSet::new();
    for number in 0..args.agents {
        let (tokens, gate) = (Arc::clone(&tokens), Arc::clone(gate));
        all.spawn(async move {
            let _place = gate.acquire().await;
            let token = tokens.get(number as usize).ok_or("no token")?;
            Agent::enrol(token, &format!("host-{number}"))
                .await
                .map(Arc::new)
        });
    }
    let mut agents = Vec::new();
    while let Some(done) = all.join_next().await {
        agents.push(done.map_err(|error| error.to_string())??);
    }
    report(
        "enrolments",
        u64::from(args.agents),
        began,
        plane.cpu()? - cpu,
    );
    Ok(agents)
}

async fn watch(plane: &Plane, agents: &[Arc<Agent>], gate: &Arc<Semaphore>) -> Result<()> {
    let (began, cpu) = (Instant::now(), plane.cpu()?);
    let mut all = JoinSet::new();
    for agent in agents {
        let (agent, gate) = (Arc::clone(agent), Arc::clone(gate));
        all.spawn(async move {
            let _place = gate.acquire().await;
            agent.watch().await
        });
    }
    while let Some(done) = all.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    report(
        "streams opened",
        agents.len() as u64,
        began,
        plane.cpu()? - cpu,
    );
    Ok(())
}

async fn revoke(plane: &Plane, agents: &[Arc<Agent>]) -> Result<()> {
    let mut times = Vec::new();
    for round in 1..=10_u64 {
        let before: Vec<u64> = agents.iter().map(|agent| agent.denied()).collect();
        let began = Instant::now();
        plane.deny(&format!("x{round}@host-x")).await?;
        for (agent, before) in agents.iter().zip(before) {
            agent.until_denied(before + 1).await?;
        }
        times.push(began.elapsed());
    }
    times.sort();
    let at = |part: usize| {
        times
            .get(times.len() * part / 100)
            .copied()
            .unwrap_or_default()
    };
    println!(
        "revocation until the last of {} agents has it: median {:?}, most {:?}",
        agents.len(),
        at(50),
        at(99)
    );
    Ok(())
}

/// Agents renew as fast as they are let; gives the serial numbers that they hold in the end.
async fn renew(
    args: &Args,
    plane: &mut Plane,
    agents: &[Arc<Agent>],
    gate: &Arc<Semaphore>,
) -> Result<Vec<String>> {
    let (began, cpu) = (Instant::now(), plane.cpu()?);
    let end = began + Duration::from_secs(args.seconds);
    let issued = Arc::new(AtomicU64::new(0));
    let mut all = JoinSet::new();
    for agent in agents {
        let (agent, gate, issued, nodes) = (
            Arc::clone(agent),
            Arc::clone(gate),
            Arc::clone(&issued),
            args.nodes,
        );
        let kill = args.kill;
        all.spawn(async move {
            while Instant::now() < end {
                let _place = gate.acquire().await;
                match agent.renew(nodes).await {
                    Ok(count) => _ = issued.fetch_add(count, Ordering::Relaxed),
                    // Its control plane is being killed.
                    Err(_) if kill => tokio::time::sleep(Duration::from_millis(50)).await,
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
    }
    if args.kill {
        tokio::time::sleep(Duration::from_secs(args.seconds) / 2).await;
        plane.kill_and_restart().await?;
    }
    while let Some(done) = all.join_next().await {
        done.map_err(|error| error.to_string())??;
    }
    if args.kill {
        println!(
            "certificates: {} in spite of it",
            issued.load(Ordering::Relaxed)
        );
    } else {
        report(
            "certificates",
            issued.load(Ordering::Relaxed),
            began,
            plane.cpu()? - cpu,
        );
    }
    let mut held = Vec::new();
    for agent in agents {
        held.extend(agent.held());
    }
    Ok(held)
}

/// The machine is shared with those who ask: what counts is what the control plane's own processor time would give.
fn report(what: &str, count: u64, began: Instant, cpu: Duration) {
    #[allow(clippy::cast_precision_loss)]
    let count_of = count as f64;
    println!(
        "{what}: {count} in {:.1} s, {:.0} a second; {:.0} for a second of a core",
        began.elapsed().as_secs_f64(),
        count_of / began.elapsed().as_secs_f64(),
        count_of / cpu.as_secs_f64().max(0.001),
    );
}
