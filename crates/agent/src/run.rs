//! Starting an agent, keeping it running, reloading it, and stopping it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use skans_host::logs;
use skans_link::{Close, Reason};

use crate::agent::Agent;
use crate::config::{self, Config, IdentitySource};
use crate::handover::Inheritance;
use crate::{Error, control, lifecycle, native, notify, policies, revoking, workload};

mod opening;
mod reload;
mod signals;

pub use opening::once_ready;
pub use reload::{Reload, decide_again};

use opening::open;
use signals::{Event, Signals};

/// How many files and sockets the agent asks to have open: a link takes two sockets, and thousands
/// of links are ordinary at a gateway. systemd's hard limit is 524,288 by default.
const OPEN_FILES: u64 = 262_144;
/// How long the ends of links may take once they were told to.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// What ends an agent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lifetime {
    /// SIGTERM or SIGINT.
    Signals,
    /// These, or the end of standard input: whoever started it is gone.
    Stdin,
}

/// What it is that runs, and what its configuration has to be of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Part {
    /// The agent beside nodes.
    Agent,
    /// A gateway to other clusters: a configuration with `gateway` in it.
    Gateway,
}

/// How an agent comes to be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// By itself.
    Start,
    /// In the place of the one that runs here.
    TakeOver,
}

/// Runs an agent until it is told to stop, or until another process has taken its place.
///
/// # Errors
/// Whatever keeps it from starting: which key or file, what was found, what was wanted. The agent that was to be replaced goes on
/// then.
pub async fn run(path: &Path, part: Part, lifetime: Lifetime, origin: Origin) -> Result<(), Error> {
    let config = config::load(path)?;
    check_part(path, part, &config)?;
    logs::start(&config.log)?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let reload = Reload::of(path);
    let (agent, doors, taken) = match origin {
        Origin::Start => {
            let (agent, doors) = open(config, &mut None)?;
            (agent, doors, None)
        }
        Origin::TakeOver => {
            let mut inheritance = Some(Inheritance::ask(&config).await?);
            let opened = open(config, &mut inheritance);
            let Some(inheritance) = inheritance else {
                return Err(Error::Internal("nothing to take over".to_owned()));
            };
            match opened {
                Ok((agent, doors)) => {
                    let taken = inheritance.receive(&agent).await?;
                    (agent, doors, Some(taken))
                }
                Err(error) => {
                    inheritance.decline(&error).await;
                    return Err(error);
                }
            }
        }
    };
    if let Some(taken) = taken {
        taken.serve(&agent);
    }
    doors.serve(&agent, reload.clone());
    administer(&agent);
    let settings = agent.settings();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), links = %agent.link_address, epmd = agent.epmd_port, trust_domain = %settings.config.trust_domain, cluster = %settings.config.cluster, "agent ready");
    notify::ready();
    loop {
        let event = tokio::select! {
            event = signals.next(lifetime) => event,
            () = agent.brake.over() => {
                leave(&agent).await;
                return Ok(());
            }
        };
        match event {
            // The old configuration stays if the new one cannot be used.
            Event::Reload => {
                if let Err(error) = reload.now(&agent) {
                    tracing::error!("reload failed, the old configuration stays: {error}");
                }
            }
            Event::Stop => break,
        }
    }
    stop(&agent, &mut signals).await;
    Ok(())
}

/// Whoever starts a gateway gets one, and nothing else.
fn check_part(path: &Path, part: Part, config: &Config) -> Result<(), Error> {
    let problem = match (part, config.gateway.is_some()) {
        (Part::Agent, false) | (Part::Gateway, true) => return Ok(()),
        (Part::Agent, true) => "gateway: found one, wanted none: start it by `skans gateway`",
        (Part::Gateway, false) => "gateway: found none, wanted its name, such as {name: g1@host-a}",
    };
    Err(Error::config(
        &path.display().to_string(),
        problem.to_owned(),
    ))
}

/// Starts everything that is not asked for by a connection. It stands still when another process takes over: what it keeps on
/// disk is that one's to read.
fn administer(agent: &Arc<Agent>) {
    held(agent, lifecycle::keep(Arc::clone(agent)));
    if let Some(control) = &agent.control {
        revoking::start(agent, control);
        held(
            agent,
            control::keep_watching(Arc::clone(agent), Arc::clone(control)),
        );
        held(
            agent,
            control::witness(Arc::clone(agent), Arc::clone(control)),
        );
        held(
            agent,
            control::keep_telling(Arc::clone(agent), Arc::clone(control)),
        );
    }
    held(agent, reload::follow_roots(Arc::clone(agent)));
    held(agent, native::keep(Arc::clone(agent)));
    if let IdentitySource::WorkloadApi(source) = &agent.settings().config.identity {
        let socket = source.socket.clone();
        held(agent, workload::source::follow(Arc::clone(agent), socket));
    }
    held(agent, crate::keeper::run(Arc::clone(agent)));
    held(agent, policies::keep(Arc::clone(agent)));
    held(agent, crate::enforce::follow(Arc::clone(agent)));
    held(agent, crate::foreign::follow(Arc::clone(agent)));
    let telling = Arc::clone(agent);
    tokio::spawn(async move { telling.traces.keep_telling(&telling).await });
    let telling = Arc::clone(agent);
    tokio::spawn(async move {
        let of = |burst: &_| telling.denied(burst);
        telling.events.keep_telling(of).await;
    });
}

/// Does a task wherever nothing is held up.
pub fn held(agent: &Arc<Agent>, task: impl Future<Output = ()> + Send + 'static) {
    let agent = Arc::clone(agent);
    tokio::spawn(async move { agent.brake.hold(task).await.unwrap_or_default() });
}

/// Another process has taken this one's place. What it could not take ends in order: links of peers that cannot resume, and
/// those that are being ended anyway.
async fn leave(agent: &Arc<Agent>) {
    agent.draining.cancel();
    agent.tasks.close();
    for link in agent.registry.snapshot() {
        link.end(Close::new(Reason::Draining, "the agent is being replaced"));
    }
    let silence = agent.settings().config.links.silence;
    if tokio::time::timeout(silence + LAST_WORDS, agent.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("some links did not end in time");
    }
    agent.stopping.cancel();
    agent.events.finish(LAST_WORDS);
    agent.traces.finish(&agent.tasks).await;
    tracing::info!("replaced");
}

/// Drains, then ends what is left.
async fn stop(agent: &Arc<Agent>, signals: &mut Signals) {
    notify::stopping();
    let timeout = agent.settings().config.drain.timeout;
    tracing::info!(
        ?timeout,
        links = agent.registry.snapshot().len(),
        "draining"
    );
    agent.draining.cancel();
    agent.tasks.close();
    tokio::select! {
        () = agent.tasks.wait() => {}
        () = tokio::time::sleep(timeout) => {}
        // Asked twice means now.
        () = signals.stop_again() => {}
    }
    for link in agent.registry.snapshot() {
        link.end(Close::new(Reason::Draining, "the agent is being stopped"));
    }
    // Set-ups have no link yet that could be ended: they run into their own time-outs.
    if tokio::time::timeout(LAST_WORDS, agent.tasks.wait())
        .await
        .is_err()
    {
        tracing::warn!("some links did not end in time");
    }
    agent.stopping.cancel();
    agent.events.finish(LAST_WORDS);
    agent.traces.finish(&agent.tasks).await;
    tracing::info!("stopped");
}

/// As many open files as the hard limit allows, up to [`OPEN_FILES`].
fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit
        .maximum
        .map_or(OPEN_FILES, |most| most.min(OPEN_FILES));
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: Some(wanted),
                maximum: limit.maximum,
            },
        );
        if let Err(error) = raised {
            tracing::warn!(wanted, "cannot raise the limit of open files: {error}");
        }
    }
}
