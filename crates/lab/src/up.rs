//! `skans up`: a cluster that runs until it is told to stop, or until it is proven. How it is shown
//! is for the caller to decide.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::prove::{self, Proof};
use crate::traffic::{Counts, Traffic};
use crate::two::{self, Two};
use crate::view::{self, View};
use crate::{Cluster, Error, Plan, control};

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
    /// Whether there are two clusters, of a node each, that share one server.
    pub two: bool,
    /// When to end; at a signal unless given.
    pub limit: Option<Duration>,
    /// Whether to prove and end.
    pub prove: bool,
    /// How long certificates live.
    pub leaf: Duration,
}

/// What became of a cluster over its whole time.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Summary {
    /// How long it ran, in seconds.
    pub elapsed_seconds: f64,
    /// Certificates that took the place of others.
    pub renewals: u64,
    /// Live links that moved to a connection with new certificates.
    pub takeovers: u64,
    /// What became of the numbered messages that all nodes send each other.
    #[serde(flatten)]
    pub traffic: Counts,
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
    /// What became of it, before it is stopped.
    Summary(&'a Summary),
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
    if options.two {
        return meet(options, began, &mut signals, &mut show).await;
    }
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
        live(&cluster, began, options.limit, &mut signals, &mut show).await
    };
    let told = show(Event::Stopping).map_err(shown);
    cluster.stop().await?;
    told?;
    outcome
}

/// Two clusters: what they show, and then how to look around in them.
async fn meet(
    options: &Options,
    began: Instant,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Outcome, Error> {
    let mut told = Ok(());
    let starting = Two::start(&options.skans, |step| {
        let elapsed = began.elapsed();
        if told.is_ok() {
            told = show(Event::Progress { elapsed, step });
        }
    });
    let two = tokio::select! {
        two = starting => two?,
        () = signals.next() => return Ok(Outcome::Interrupted),
    };
    told.map_err(shown)?;
    let (mut passed, mut failed) = (0, 0);
    for proof in two::ALL {
        show(Event::Proving(proof.name)).map_err(shown)?;
        let result = tokio::select! {
            result = proof.run(&two) => result,
            () = signals.next() => return Ok(Outcome::Interrupted),
        };
        *if result.passed {
            &mut passed
        } else {
            &mut failed
        } += 1;
        show(Event::Proof(&result)).map_err(shown)?;
    }
    if !options.prove && failed == 0 {
        for side in [&two.ours, &two.theirs] {
            let elapsed = began.elapsed();
            let step = &side.shell();
            show(Event::Progress { elapsed, step }).map_err(shown)?;
        }
        let over = async {
            match options.limit {
                Some(limit) => sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = signals.next() => {}
            () = over => {}
        }
    }
    show(Event::Stopping).map_err(shown)?;
    Ok(Outcome::Proven { passed, failed })
}

async fn start(
    options: &Options,
    began: Instant,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Option<Cluster>, Error> {
    let (progress, mut steps) = unbounded_channel();
    let mut plan = Plan::new(&options.skans)?.nodes(options.nodes);
    // Some proofs forge what no control plane would sign: they need an authority at hand.
    if !options.prove {
        plan = plan.control(control::Options { leaf: options.leaf });
    }
    let start = plan.progress(progress).start();
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

/// Has all nodes talk to each other as long as the cluster is watched, and tells what became of it.
async fn live(
    cluster: &Cluster,
    began: Instant,
    limit: Option<Duration>,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Outcome, Error> {
    let traffic = Traffic::start(cluster).await?;
    let outcome = watch(cluster, began, limit, signals, show).await?;
    let traffic = traffic.end(cluster).await?;
    let (mut renewals, mut takeovers) = (0, 0);
    for host in cluster.running_agents() {
        let agent = cluster.agent(host)?;
        renewals += agent.status().await?.renewals;
        let links = agent.links().await?;
        // Both ends count them.
        let called = links.iter().filter(|link| link.direction == "outbound");
        takeovers += called.map(|link| link.takeovers).sum::<u64>();
    }
    let summary = Summary {
        elapsed_seconds: began.elapsed().as_secs_f64(),
        renewals,
        takeovers,
        traffic,
    };
    show(Event::Summary(&summary)).map_err(shown)?;
    Ok(outcome)
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

pub(crate) fn shown(source: io::Error) -> Error {
    Error::System {
        what: "cannot write the output".to_owned(),
        source,
    }
}

/// Ctrl-C, SIGTERM, and a terminal that is closed.
pub(crate) struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(crate) fn new() -> Result<Self, Error> {
        let on = |kind| signal(kind).map_err(Error::system("cannot handle signals"));
        Ok(Self {
            hangup: on(SignalKind::hangup())?,
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    pub(crate) async fn next(&mut self) {
        tokio::select! {
            _ = self.hangup.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
