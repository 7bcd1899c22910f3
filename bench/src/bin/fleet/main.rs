//! Measures what a fleet of agents costs its control plane: real TLS, real gRPC, a real `skans control` in a process of its
//! own, fsync on. Agents live in processes of their own as well, many in each: this program again, started as `worker`.
//!
//! Here stand what one can ask for, and that everything that was started is stopped. What is measured stands in `measure`, an
//! agent in `agent`, what is done to the control plane in `plane`, both ends of a worker in `workers` and `worker`, and what
//! they say to each other in `wire`.

mod agent;
mod kernel;
mod measure;
mod plane;
mod wire;
mod worker;
mod workers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use tokio::process::Command;
use tokio::runtime::Builder;
use tokio::signal::unix::{SignalKind, signal};

use kernel::Machine;
use plane::Plane;
use workers::Workers;

/// What goes wrong here ends the measurement: a text will do.
type Result<T, E = String> = std::result::Result<T, E>;

/// The only argument of a process that agents live in. Orders come on standard input: tokens are no arguments.
const WORKER: &str = "worker";

/// Measures what agents cost their control plane, on this machine.
#[derive(Debug, Parser)]
struct Args {
    /// How many agents.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    agents: u32,
    /// In how many processes they live.
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=256))]
    processes: u32,
    /// How many certificates each asks for in one call when it renews: its own and those of its nodes.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    nodes: u32,
    /// For how long they renew, in seconds.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// How many calls are under way at once, in all processes together; at least one in each.
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

fn main() -> ExitCode {
    let is_worker = std::env::args().nth(1).is_some_and(|first| first == WORKER);
    // There are more workers than cores: a thread each.
    let runtime = if is_worker {
        Builder::new_current_thread().enable_all().build()
    } else {
        Builder::new_multi_thread().enable_all().build()
    };
    let done = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| {
            if is_worker {
                runtime.block_on(worker::run())
            } else {
                runtime.block_on(run(Args::parse()))
            }
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skans-bench-fleet: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<()> {
    if args.processes > args.agents {
        return Err(format!(
            "--processes: found {}, wanted at most one for each of {} agents",
            args.processes, args.agents
        ));
    }
    let heard = |error: std::io::Error| error.to_string();
    let mut terminated = signal(SignalKind::terminate()).map_err(heard)?;
    let mut interrupted = signal(SignalKind::interrupt()).map_err(heard)?;
    let this = std::env::current_exe().map_err(|error| error.to_string())?;
    let machine = Machine::watch()?;
    println!("load: {} before", machine.load());

    let mut plane = Plane::start(&args.skans, args.dir.as_deref()).await?;
    let workers = Workers::start(args.processes as usize, || {
        let mut command = Command::new(&this);
        command.arg(WORKER);
        command
    });
    let measured = match workers {
        Ok(mut workers) => {
            let measured = tokio::select! {
                measured = measure::all(&args, &mut plane, &mut workers) => measured,
                _ = terminated.recv() => Err("told to end".to_owned()),
                _ = interrupted.recv() => Err("interrupted".to_owned()),
            };
            workers.stop().await;
            measured
        }
        Err(error) => Err(error),
    };
    let stopped = plane.stop().await;
    measured.and(stopped)?;
    println!("others kept {:.2} cores busy", machine.others()?);
    Ok(())
}
