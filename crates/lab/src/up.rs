//! `skans up`: a cluster that runs until it is told to stop, or until it is proven. How it is shown
//! is for the caller to decide.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::prove::{self, Proof};
use crate::view::{self, View};
use crate::{Cluster, Error, Plan};

/// Between two views.
const REFRESH: Duration = Duration::from_secs(1);
/// More VMs than this are a test of the machine, not of Skans.
pub const MAX_NODES: usize = 32;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `skans` to start agents from.
    pub skans: PathBuf,
    /// How many nodes.
    pub nodes: usize,
    /// When to end; at a signal unless given.
    pub limit: Option<Duration>,
    /// Whether to prove and end.
    pub prove: bool,
}

/// What happens, for the caller to show.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step of the start.
    Progress {
        /// Since the beginning.
        elapsed: Duration,
        /// What is done.
        step: &'a str,
    },
    /// The cluster, once a second.
    View(&'a View),
    /// A proof is begun.
    Proving(&'a str),
    /// A proof is done.
    Proof(&'a Proof),
    /// Everything is being stopped.
    Stopping,
}

/// How it ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The time was over, or a signal came.
    Ended,
    /// A signal came before the last proof.
    Interrupted,
    /// All proofs were tried.
    Proven {
        /// How many hold.
        passed: usize,
        /// How many do not.
        failed: usize,
    },
}

/// Runs it. An error of `show` ends it as a signal does.
///
/// # Errors
/// Whatever kept the cluster from coming up or ended it unasked, or [`Error::System`] of `show`.
pub async fn run(
    options: &Options,
    mut show: impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Outcome, Error> {
    let began = Instant::now();
    let mut signals = Signals::new()?;
    let Some(mut cluster) = start(options, began, &mut signals, &mut show).await? else {
        return Ok(if options.prove {
            Outcome::Interrupted
        } else {
            Outcome::Ended
        });
    };
    let outcome = if options.prove {
        prove_all(&mut cluster, &mut signals, &mut show).await
    } else {
        watch(&cluster, began, options.limit, &mut signals, &mut show).await
    };
    let told = show(Event::Stopping).map_err(shown);
    cluster.stop().await?;
    told?;
    outcome
}

async fn start(
    options: &Options,
    began: Instant,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Option<Cluster>, Error> {
    let (progress, mut steps) = unbounded_channel();
    let start = Plan::new(&options.skans)?
        .nodes(options.nodes)
        .progress(progress)
        .start();
    tokio::pin!(start);
    loop {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(None),
            Some(step) = steps.recv() => {
                show(Event::Progress { elapsed: began.elapsed(), step: &step }).map_err(shown)?;
            }
            cluster = &mut start => {
                let cluster = cluster?;
                while let Ok(step) = steps.try_recv() {
                    show(Event::Progress { elapsed: began.elapsed(), step: &step }).map_err(shown)?;
                }
                return Ok(Some(cluster));
            }
        }
    }
}

async fn watch(
    cluster: &Cluster,
    began: Instant,
    limit: Option<Duration>,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Outcome, Error> {
    let over = async {
        match limit {
            Some(limit) => sleep(limit).await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(over);
    let mut refresh = interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = refresh.tick() => {
                let view = view::look(cluster, began.elapsed().as_secs_f64()).await?;
                show(Event::View(&view)).map_err(shown)?;
            }
            () = signals.next() => return Ok(Outcome::Ended),
            () = &mut over => return Ok(Outcome::Ended),
        }
    }
}

async fn prove_all(
    cluster: &mut Cluster,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Outcome, Error> {
    let (mut passed, mut failed) = (0, 0);
    for proof in prove::ALL {
        show(Event::Proving(proof.name)).map_err(shown)?;
        let result = tokio::select! {
            result = proof.run(cluster) => result,
            () = signals.next() => return Ok(Outcome::Interrupted),
        };
        if result.passed {
            passed += 1;
        } else {
            failed += 1;
        }
        show(Event::Proof(&result)).map_err(shown)?;
    }
    Ok(Outcome::Proven { passed, failed })
}

fn shown(source: io::Error) -> Error {
    Error::System {
        what: "cannot write the output".to_owned(),
        source,
    }
}

/// Ctrl-C, SIGTERM, and a terminal that is closed.
struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let on = |kind| signal(kind).map_err(Error::system("cannot handle signals"));
        Ok(Self {
            hangup: on(SignalKind::hangup())?,
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
