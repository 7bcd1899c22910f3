//! `skans chaos`: what may break between two linked clusters, broken on purpose under load, and whether what is promised of it holds. Each
//! experiment stands on two clusters of its own, of real processes on this machine, and needs no root. How it is shown is for the caller to decide.

mod address;
mod bundle_endpoint_gone;
mod clock_off;
mod control_planes_gone;
mod gateway_killed;
mod link_cut;
mod load;
mod one_side_upgraded;
pub mod page;
pub mod report;
mod rows;
mod stage;

use std::io;
use std::net::IpAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::mpsc::unbounded_channel;
use tokio::time::{Instant, timeout};

use crate::two::Wish;
use crate::up::{Signals, shown};
use crate::{Error, erl};
use report::{Experimented, Moment, Report, Verdict, Versions};
use stage::Stage;

/// Beyond what an experiment takes on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is broken, and what is claimed of it.
#[derive(Clone, Copy, Debug)]
pub struct Experiment {
    /// What it is called.
    pub name: &'static str,
    /// What is claimed, in a sentence.
    pub hypothesis: &'static str,
    /// How long it takes on a quiet machine.
    pub takes: Duration,
    needs: fn(&Options) -> Result<Wish, Missing>,
    run: Run,
}

type Run = for<'a> fn(&'a mut Stage) -> Pin<Box<dyn Future<Output = Result<(), Error>> + 'a>>;

/// What this machine has not got.
#[derive(Debug)]
struct Missing(String);

/// All of them, in the order in which they are run.
pub const ALL: &[Experiment] = &[
    gateway_killed::EXPERIMENT,
    link_cut::EXPERIMENT,
    control_planes_gone::EXPERIMENT,
    one_side_upgraded::EXPERIMENT,
    clock_off::EXPERIMENT,
    bundle_endpoint_gone::EXPERIMENT,
];

/// The experiments of these names, in the order of [`ALL`]; all without names.
///
/// # Errors
/// A name that none has.
pub fn named(names: &[String]) -> Result<Vec<Experiment>, String> {
    if let Some(unknown) = names
        .iter()
        .find(|name| ALL.iter().all(|one| one.name != **name))
    {
        return Err(unknown.clone());
    }
    let wanted = |one: &&Experiment| names.is_empty() || names.iter().any(|name| name == one.name);
    Ok(ALL.iter().filter(wanted).copied().collect())
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The `skans` to start everything from.
    pub skans: PathBuf,
    /// The release that one side is upgraded to; the same without it, which shows the replacing and not the difference.
    pub newer: Option<PathBuf>,
    /// An address of this machine that is not loopback, for bundle endpoints; one is looked for without it.
    pub address: Option<IpAddr>,
    /// Which.
    pub experiments: Vec<Experiment>,
}

/// What happens, for the caller to show.
#[derive(Debug)]
pub enum Event<'a> {
    /// One is begun.
    Begun(&'a Experiment),
    /// A step of it.
    Step {
        /// Since it was begun.
        elapsed: Duration,
        /// What is done, or was seen.
        what: &'a str,
    },
    /// One is done.
    Done(&'a Experimented),
}

/// Runs them one after the other, each on clusters of its own. `None` if a signal came first; nothing is left running then. An error of `show`
/// ends it as well.
///
/// # Errors
/// [`Error::NoErl`] and [`Error::NoSkans`], or [`Error::System`] of `show`. What fails in an experiment is in the report.
pub async fn run(
    options: &Options,
    mut show: impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Option<Report>, Error> {
    let mut signals = Signals::new()?;
    erl::find()?;
    let versions = tokio::select! {
        versions = Versions::ask(options) => versions?,
        () = signals.next() => return Ok(None),
    };
    let mut report = Report::begin(versions);
    for experiment in &options.experiments {
        show(Event::Begun(experiment)).map_err(shown)?;
        let done = match (experiment.needs)(options) {
            Ok(wish) => one(experiment, &wish, options, &mut signals, &mut show).await?,
            Err(Missing(what)) => Some(Experimented::skipped(experiment, what)),
        };
        let Some(done) = done else {
            return Ok(None);
        };
        show(Event::Done(&done)).map_err(shown)?;
        report.add(done);
    }
    Ok(Some(report.end()))
}

async fn one(
    experiment: &Experiment,
    wish: &Wish,
    options: &Options,
    signals: &mut Signals,
    show: &mut impl FnMut(Event<'_>) -> io::Result<()>,
) -> Result<Option<Experimented>, Error> {
    let (began, at) = (Instant::now(), Moment::now());
    let (told, mut steps) = unbounded_channel::<String>();
    let newer = options.newer.clone();
    let newer = newer.unwrap_or_else(|| options.skans.clone());
    let running = Box::pin(timeout(experiment.takes + PATIENCE, async {
        let mut stage = Stage::set(wish, newer, told).await?;
        let ran = (experiment.run)(&mut stage).await;
        // What was seen until then is in the report, however it went on.
        Ok::<_, Error>(stage.strike(ran).await)
    }));
    tokio::pin!(running);
    let ran = loop {
        tokio::select! {
            biased;
            () = signals.next() => return Ok(None),
            Some(step) = steps.recv() => {
                let event = Event::Step { elapsed: began.elapsed(), what: &step };
                show(event).map_err(shown)?;
            }
            ran = &mut running => break ran,
        }
    };
    while let Ok(step) = steps.try_recv() {
        let event = Event::Step {
            elapsed: began.elapsed(),
            what: &step,
        };
        show(event).map_err(shown)?;
    }
    let ended = match ran {
        Ok(Ok(ended)) => ended,
        Ok(Err(error)) => stage::Ended::before_it_began(error.to_string()),
        Err(_) => stage::Ended::before_it_began(format!(
            "not done within {:?}",
            experiment.takes + PATIENCE
        )),
    };
    Ok(Some(Experimented::of(
        experiment,
        at,
        began.elapsed(),
        ended,
    )))
}

/// The exit status of a whole run: failed before skipped before held.
#[must_use]
pub fn worst<'a>(verdicts: impl Iterator<Item = &'a Verdict>) -> Verdict {
    let rank = |verdict: &Verdict| match verdict {
        Verdict::Held => 0,
        Verdict::Skipped => 1,
        Verdict::Failed => 2,
    };
    verdicts
        .copied()
        .max_by_key(rank)
        .unwrap_or(Verdict::Skipped)
}

#[cfg(test)]
mod tests;
