//! Measures what the data plane costs beside what it replaces; see `script/bench`.
//!
//! Follow `main` into `rounds`; `opponents` says what is compared, `sample` what is measured.

mod across;
mod agent;
mod audit;
mod certificates;
mod epmd;
mod error;
mod gateway;
mod goals;
mod limits;
mod node;
mod opponents;
mod pair;
mod process;
mod quiet;
mod report;
mod rounds;
mod sample;
mod stats;
mod tunnels;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};

use certificates::Issuer;
use error::{Doing, Error, Result};
use opponents::{Opponent, Stage};
use pair::Shape;
use report::Setting;
use rounds::{Plan, Results};
use sample::{Effort, Sample};

/// Measures Skans beside plain TCP, OTP's TLS distribution, TLS tunnels and two plain relays, on this machine.
#[derive(Debug, Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// How often everything is measured.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// One short round, to see that it works: the numbers mean little, and no file is written.
    #[arg(long)]
    quick: bool,
    /// How long to wait for a quiet machine before each sample, in seconds.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(0..=3600))]
    patience: u64,
    /// Where the report goes; docs/measurements/DATE-data-plane.md unless given.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Take samples of this name only: many rounds of one tell more than few of all. No file is written
    /// unless --output names one.
    #[arg(long, value_parser = sample_name, value_name = "NAME")]
    only: Option<&'static str>,
    /// Measure only this one, by its title, and Skans; may be given again. Ratios to plain TCP need `plain TCP`.
    #[arg(long, value_parser = opponents::by_title, value_name = "TITLE")]
    against: Vec<Opponent>,
    /// A remark for the report, such as what else the machine was doing. May be given again.
    #[arg(long, value_name = "TEXT")]
    note: Vec<String>,
    /// The skans binary; the one beside this program unless given.
    #[arg(long)]
    skans: Option<PathBuf>,
    /// The skans binary of another release, to be measured beside this one.
    #[arg(long, value_name = "SKANS")]
    earlier: Option<PathBuf>,
    /// The skans binary that judges nothing, which no release is: `script/bench --enforcement` builds it.
    #[arg(long, value_name = "SKANS")]
    unjudged: Option<PathBuf>,
}

/// Something else than the data plane between two nodes.
#[derive(Debug, clap::Subcommand)]
enum What {
    /// What one agent carries: handshakes for a second of a core, memory of idle links. The report goes to standard output.
    Agent(agent::Args),
    /// What one gateway carries: memory and work of ways over which nothing goes. The report goes to standard output.
    Gateway(gateway::Args),
    /// What the log carries: events a second, and questions over all of them. The report goes to standard output.
    Audit(audit::Args),
}

impl Args {
    fn plan(&self) -> Plan {
        let effort = |ms, set_ups| Effort {
            load: Duration::from_millis(ms),
            set_ups,
        };
        if self.quick {
            return Plan {
                rounds: 1,
                only: self.only,
                effort: effort(150, 5),
                patience: Duration::ZERO,
                tries: 1,
                widest: Shape { a: 2, b: 2 },
            };
        }
        Plan {
            rounds: self.rounds.into(),
            only: self.only,
            effort: effort(1000, 50),
            patience: Duration::from_secs(self.patience),
            tries: 3,
            widest: Shape::WIDE,
        }
    }

    /// The command that does the same again.
    fn command(&self) -> String {
        let only = self
            .only
            .map_or(String::new(), |name| format!(" --only {name}"));
        let mut only = only;
        for opponent in &self.against {
            only += &format!(" --against '{}'", opponent.title());
        }
        if self.earlier.is_some() {
            only += " --earlier SKANS";
        }
        if self.unjudged.is_some() {
            only += " --enforcement";
        }
        if self.quick {
            return format!("script/bench --quick{only}");
        }
        format!(
            "script/bench --rounds {} --patience {}{only}",
            self.rounds, self.patience
        )
    }
}

fn sample_name(text: &str) -> std::result::Result<&'static str, String> {
    let mut names: Vec<_> = Sample::ALL.map(Sample::name).into();
    names.dedup();
    names
        .iter()
        .find(|name| **name == text)
        .copied()
        .ok_or_else(|| format!("wanted one of {}", names.join(", ")))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let args = Args::parse();
    let end = tokio::select! {
        end = run(&args) => end,
        end = stopped() => end,
    };
    match end {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whoever stops the bench also stops all that it has started: dropping does it.
async fn stopped() -> Result<()> {
    let doing = "handle signals";
    let mut terminate = signal(SignalKind::terminate()).doing(doing)?;
    let mut interrupt = signal(SignalKind::interrupt()).doing(doing)?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Err(Error::new("bench", "stopped"))
}

async fn run(args: &Args) -> Result<()> {
    let directory = tempfile::Builder::new()
        .prefix("skans-bench-")
        .tempdir()
        .doing("make a directory")?;
    let stage = stage(directory.path(), args)?;
    if let Some(what) = &args.what {
        let command = std::env::args().skip(1).collect::<Vec<_>>().join(" ");
        let setting = Setting::of_this_machine(
            format!("script/bench {command}"),
            &otp_version()?,
            &stage,
            &args.note,
        );
        let (title, text) = match what {
            What::Agent(asked) => {
                let text = agent::measure(asked, directory.path(), &stage.load, &stage.skans);
                ("One agent", text.await?)
            }
            What::Gateway(asked) => {
                let text = gateway::measure(asked, directory.path(), &stage.skans);
                ("One gateway", text.await?)
            }
            What::Audit(asked) => {
                let text = audit::measure(asked, directory.path());
                ("The log", text.await?)
            }
        };
        println!("{}{text}", report::head(title, &setting));
        return Ok(());
    }
    for kind in stage.missing() {
        eprintln!("bench: {}", kind.missing());
    }
    let setting = Setting::of_this_machine(args.command(), &otp_version()?, &stage, &args.note);
    let plan = args.plan();
    let results = Results::measure(plan, &stage).await?;
    let text = report::render(&results, plan, &setting, &stage.opponents());
    println!("{text}");
    for kind in stage.missing() {
        eprintln!("bench: {}", kind.missing());
    }
    let output = match &args.output {
        None if args.quick || args.only.is_some() => return Ok(()),
        None => PathBuf::from(format!("docs/measurements/{}-data-plane.md", setting.date)),
        Some(path) => path.clone(),
    };
    std::fs::write(&output, text).doing(format!("write {}", output.display()))?;
    eprintln!("written to {}", output.display());
    Ok(())
}

/// Compiles the load driver, makes certificates, finds the programs.
fn stage(directory: &Path, args: &Args) -> Result<Stage> {
    const DRIVER: &str = include_str!("../load/skans_load.erl");
    let source = directory.join("skans_load.erl");
    std::fs::write(&source, DRIVER).doing("write the load driver")?;
    let compiled = Command::new("erlc")
        .arg("-o")
        .arg(directory)
        .arg(&source)
        .output()
        .doing("run erlc")?;
    if !compiled.status.success() {
        let said = String::from_utf8_lossy(&compiled.stdout).into_owned();
        return Err(Error::new("compile the load driver", said));
    }
    Issuer::new()?.write(directory, &Shape::WIDE.all_names())?;
    let beside = |name: &str| -> Result<PathBuf> {
        let own = std::env::current_exe().doing("find this program")?;
        Ok(own.with_file_name(name))
    };
    let stage = Stage {
        directory: directory.to_owned(),
        load: directory.to_owned(),
        skans: args.skans.clone().map_or_else(|| beside("skans"), Ok)?,
        earlier: args.earlier.clone(),
        unjudged: args.unjudged.clone(),
        relay: beside("skans-bench-relay")?,
        tunnels: tunnels::installed(),
        chosen: match args.against.as_slice() {
            [] => Vec::new(),
            others => [others, &[Opponent::Skans]].concat(),
        },
    };
    let programs = [&stage.skans, &stage.relay].into_iter();
    for program in programs.chain(&stage.earlier).chain(&stage.unjudged) {
        if !program.exists() {
            return Err(Error::new(
                "bench",
                format!(
                    "found no {}, wanted it built: script/bench does that",
                    program.display()
                ),
            ));
        }
    }
    Ok(stage)
}

/// The whole version, such as 25.2.3.
fn otp_version() -> Result<String> {
    let program = "{ok, V} = file:read_file(filename:join([code:root_dir(), \"releases\", erlang:system_info(otp_release), \"OTP_VERSION\"])), io:put_chars(V), halt().";
    let said = Command::new("erl")
        .args(["-noshell", "-eval", program])
        .output()
        .doing("run erl")?;
    Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
}
