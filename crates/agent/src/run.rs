//! Starting an agent, keeping it running, reloading it, and stopping it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use skans_handover::Use;
use skans_host::strangers::Pending;
use skans_host::{listen, logs};
use skans_link::{Close, Reason};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::admin::{self, Shared, Socket};
use crate::agent::{Agent, MAX_SETUPS, MAX_UNKNOWN};
use crate::config::{self, Config, IdentitySource};
use crate::control::{self, Control};
use crate::cookies::Cookies;
use crate::environment::{self, Layout};
use crate::events::Events;
use crate::handover::{self, Inheritance, Openings};
use crate::identities::Identities;
use crate::lifecycle::{self, Lifecycle};
use crate::policies::{self, Policies};
use crate::settings::Settings;
use crate::users::Users;
use crate::workers::Workers;
use crate::{
    Error, epmd, inbound, locals, native, notify, random, revoking, services, setup, standins,
    workload,
};

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
pub async fn run(path: &Path, lifetime: Lifetime, origin: Origin) -> Result<(), Error> {
    let config = config::load(path)?;
    logs::start(&config.log)?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let reload = Reload {
        path: path.to_owned(),
        turn: Arc::default(),
    };
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
    }
    held(agent, follow_roots(Arc::clone(agent)));
    held(agent, native::keep(Arc::clone(agent)));
    if let IdentitySource::WorkloadApi(source) = &agent.settings().config.identity {
        let socket = source.socket.clone();
        held(agent, workload::source::follow(Arc::clone(agent), socket));
    }
    held(agent, crate::keeper::run(Arc::clone(agent)));
    held(agent, policies::keep(Arc::clone(agent)));
    held(agent, crate::enforce::follow(Arc::clone(agent)));
    let events = Arc::clone(&agent.events);
    tokio::spawn(async move { events.keep_telling().await });
}

/// Does a task wherever nothing is held up.
pub fn held(agent: &Arc<Agent>, task: impl Future<Output = ()> + Send + 'static) {
    let agent = Arc::clone(agent);
    tokio::spawn(async move { agent.brake.hold(task).await.unwrap_or_default() });
}

/// Everything that listens.
struct Doors {
    links: TcpListener,
    epmd: Vec<TcpListener>,
    health: TcpListener,
    socket: Socket,
    workload: Option<workload::serve::Socket>,
    handover: Socket,
    /// The same once more, for another process.
    openings: Openings,
    /// Doors of services.
    services: services::Prepared,
    /// Others may be open in the process before.
    taken_over: bool,
}

/// Opens everything, or nothing. What another process has open already is used as it is.
fn open(
    config: Config,
    inheritance: &mut Option<Inheritance>,
) -> Result<(Arc<Agent>, Doors), Error> {
    let mut openings = Openings::default();
    let users = Users::resolve(&config)?;
    skans_host::files::directory(&config.runtime_directory, 0o755)?;
    let mut open_socket = |what, path: &Path| {
        let inherited = match inheritance {
            Some(inheritance) => inheritance.unix(what, path)?,
            None => None,
        };
        let socket = match inherited {
            Some(listener) => Socket::of(listener, path),
            None => Socket::open(path)?,
        };
        openings.keep(what, path.display(), &socket.listener)?;
        Ok::<_, Error>(socket)
    };
    let socket = open_socket(Use::Admin, &config.socket())?;
    let handover = open_socket(Use::Handover, &handover::socket(&config.runtime_directory))?;
    let workload = open_workload(&config, inheritance, &mut openings)?;
    let layout = Layout::of(&config.runtime_directory);
    let owners: Vec<_> = config
        .guarded()
        .filter_map(|node| node.node_name().ok())
        .map(|name| (name.alive().to_owned(), users.of_node(name.alive())))
        .collect();
    let cookies = Cookies::prepare(&layout.cookies, &owners, users.of_cli())?;
    let identities = Identities::new(&config)?;
    lifecycle::load(&config, &identities)?;
    let control = match &config.identity {
        IdentitySource::Control(source) => {
            let lock = inheritance
                .as_mut()
                .and_then(|inheritance| inheritance.lock(&source.state_directory));
            let control = Control::open(&config, source, &identities, lock)?;
            Some(Arc::new(control))
        }
        _ => None,
    };
    let policies = match &control {
        Some(control) => control.policies(&identities)?,
        None => Policies::local(&config)?,
    };
    let links = bind(
        (config.links.listen, Use::Links, "links (links.listen)"),
        inheritance,
        &mut openings,
    )?;
    let health = bind(
        (
            config.admin.listen,
            Use::Health,
            "health and metrics (admin.listen)",
        ),
        inheritance,
        &mut openings,
    )?;
    let (epmd_port, epmd, loopbacks) = open_epmd(&config, inheritance, &mut openings)?;
    let doors = services::Doors::default();
    let services = match inheritance {
        None => doors.prepare(&config, &users)?,
        Some(inheritance) => doors.inherit(&config, &users, inheritance)?,
    };
    environment::write(&config, &layout, epmd_port)?;
    native::prepare(&config, &layout)?;
    let link_address = links
        .local_addr()
        .map_err(|error| Error::Internal(error.to_string()))?;
    let events = Arc::new(Events::open(&config.events)?);
    let settings = Settings::new(config).map_err(|why| Error::config("configuration", why))?;
    let agent = Arc::new(Agent {
        settings: ArcSwap::from_pointee(settings),
        identities,
        control,
        policies: Arc::new(policies),
        lifecycle: Lifecycle::default(),
        cookies,
        locals: Arc::default(),
        registry: Arc::default(),
        gossip: crate::gossip::Gossip::default(),
        standins: standins::StandIns::default(),
        doors,
        restraint: crate::restraint::Restraint::default(),
        outcomes: crate::outcomes::Outcomes::default(),
        breakers: crate::breaker::Breakers::default(),
        targets: crate::breaker::Breakers::default(),
        events,
        enforcement: crate::enforce::Enforcement::default(),
        link_address,
        loopbacks,
        epmd_port,
        users,
        layout,
        draining: CancellationToken::new(),
        stopping: CancellationToken::new(),
        tasks: TaskTracker::new(),
        workers: Workers::start()?,
        setups: tokio::sync::Semaphore::new(MAX_SETUPS),
        unknown: Pending::new(MAX_UNKNOWN),
        set_ups: TaskTracker::new(),
        brake: crate::brake::Brake::default(),
        handovers: handover::Handovers::default(),
        creations: AtomicU64::new(u64::from(u32::from_be_bytes(random()?))),
    });
    Ok((
        agent,
        Doors {
            links,
            epmd,
            health,
            socket,
            workload,
            handover,
            openings,
            services,
            taken_over: inheritance.is_some(),
        },
    ))
}

fn open_workload(
    config: &Config,
    inheritance: &mut Option<Inheritance>,
    openings: &mut Openings,
) -> Result<Option<workload::serve::Socket>, Error> {
    let Some(api) = &config.workload_api else {
        return Ok(None);
    };
    let beside = config.runtime_directory.join("workload.sock");
    let path = api.socket.as_ref().unwrap_or(&beside);
    let inherited = match inheritance {
        Some(inheritance) => inheritance.unix(Use::Workload, path)?,
        None => None,
    };
    let socket = match inherited {
        Some(listener) => workload::serve::Socket::of(listener, path),
        None => workload::serve::Socket::open(path)?,
    };
    openings.keep(Use::Workload, path.display(), &socket.listener)?;
    Ok(Some(socket))
}

/// A listener: the one of another process if there is one of this address, or a new one.
fn bind(
    (address, what, purpose): (SocketAddr, Use, &'static str),
    inheritance: &mut Option<Inheritance>,
    openings: &mut Openings,
) -> Result<TcpListener, Error> {
    let inherited = match inheritance {
        Some(inheritance) => inheritance.listener(what, address)?,
        None => None,
    };
    let listener = match inherited {
        Some(listener) => listener,
        None => listen::bind(address).map_err(|source| Error::Bind {
            purpose,
            address,
            source,
        })?,
    };
    openings.keep(what, address, &listener)?;
    Ok(listener)
}

impl Doors {
    fn serve(self, agent: &Arc<Agent>, reload: Reload) {
        let pending = Pending::new(agent.settings().config.links.max_pending);
        // Neither a peer nor a node of this host gets a link before it is known what was revoked while this agent was away.
        let links = inbound::accept(Arc::clone(agent), self.links, pending);
        held(agent, once_ready(Arc::clone(agent), links));
        for listener in self.epmd {
            let nodes = epmd::accept(Arc::clone(agent), listener);
            held(agent, once_ready(Arc::clone(agent), nodes));
        }
        agent.doors.install(agent, self.services);
        if self.taken_over {
            tokio::spawn(services::open_late(Arc::clone(agent)));
        }
        if let Some(socket) = self.workload {
            held(agent, workload::serve::serve(Arc::clone(agent), socket));
        }
        let shared = Shared {
            agent: Arc::clone(agent),
            reload,
        };
        held(agent, admin::serve_public(self.health, shared.clone()));
        held(agent, admin::serve_private(self.socket, shared));
        let taken = handover::serve(Arc::clone(agent), self.handover, self.openings);
        tokio::spawn(taken);
    }
}

/// Not before it is known what was revoked while this agent was away.
pub async fn once_ready(agent: Arc<Agent>, serve: impl Future<Output = ()>) {
    if let Some(control) = &agent.control {
        tokio::select! {
            () = async {
                control.ready().await;
                agent.policies.settled().await;
            } => {}
            () = agent.draining.cancelled() => return,
        }
    }
    serve.await;
}

/// Opens the epmd port on every loopback address of this host. The first must work; of the others
/// those count that this host has.
fn open_epmd(
    config: &Config,
    inheritance: &mut Option<Inheritance>,
    openings: &mut Openings,
) -> Result<(u16, Vec<TcpListener>, Vec<std::net::IpAddr>), Error> {
    let purpose = "the nodes of this host (epmd.port, epmd.addresses)";
    let addresses = config
        .epmd
        .addresses
        .clone()
        .unwrap_or_else(locals::own_loopbacks);
    // epmd's own port (erts/epmd/src/epmd.h).
    let mut port = config.epmd.port.unwrap_or(4369);
    let mut listeners = Vec::new();
    let mut used = Vec::new();
    if !config.guards() {
        // Nodes that speak TLS themselves have an epmd of their own, perhaps at this very port.
        return Ok((port, listeners, used));
    }
    let configured = port;
    for ip in addresses {
        let address = SocketAddr::new(ip, port);
        // One of another process has the port that it found then.
        let asked = SocketAddr::new(ip, configured);
        let inherited = match inheritance {
            Some(inheritance) => inheritance.listener(Use::Epmd, asked)?,
            None => None,
        };
        let bound = inherited.map_or_else(|| listen::bind(address), Ok);
        match bound {
            Ok(listener) => {
                openings.keep(Use::Epmd, asked, &listener)?;
                port = listener
                    .local_addr()
                    .map_err(|error| Error::Internal(error.to_string()))?
                    .port();
                listeners.push(listener);
                used.push(ip);
            }
            Err(source) if listen::is_missing(&source) && !listeners.is_empty() => {
                tracing::debug!(%address, "not an address of this host");
            }
            Err(source) => {
                return Err(Error::Bind {
                    purpose,
                    address,
                    source,
                });
            }
        }
    }
    Ok((port, listeners, used))
}

/// Reads the configuration anew.
#[derive(Clone, Debug)]
pub struct Reload {
    path: PathBuf,
    turn: Arc<Mutex<()>>,
}

impl Reload {
    /// Puts a changed configuration in force. Links that still hold go on untouched; those that no
    /// longer do are ended.
    ///
    /// # Errors
    /// What is wrong with the new configuration; the old one then stays in force, whole.
    pub(crate) fn now(&self, agent: &Arc<Agent>) -> Result<(), Error> {
        // A signal and the Unix socket may both ask: the file that was read last has to win.
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let new = config::load(&self.path)?;
        let old = agent.settings();
        if let Some(key) = needs_restart(&old.config, &new) {
            return Err(Error::config(
                &self.path.display().to_string(),
                format!(
                    "{key}: found another value than at start, wanted the same: this key takes a restart"
                ),
            ));
        }
        // What can fail comes first, and changes nothing.
        logs::check(&new.log.level)?;
        let settings = Settings::new(new).map_err(|why| Error::config("configuration", why))?;
        let policy = agent.policies.reread(&settings.config)?;
        let doors = agent.doors.prepare(&settings.config, &agent.users)?;
        lifecycle::load(&settings.config, &agent.identities)?;
        agent.events.reopen(&settings.config.events)?;
        logs::switch(&settings.config.log.level)?;
        agent.settings.store(Arc::new(settings));
        agent.lifecycle.reloaded.notify_one();
        agent.doors.install(agent, doors);
        if let Some(policy) = policy {
            agent.policies.install(&agent.settings().config, policy);
        }
        decide_again(agent);
        tracing::info!("configuration reloaded");
        Ok(())
    }
}

/// The first key that changed and cannot change in a running agent.
fn needs_restart(old: &Config, new: &Config) -> Option<&'static str> {
    let checks = [
        ("trustDomain", old.trust_domain != new.trust_domain),
        ("cluster", old.cluster != new.cluster),
        ("namespace", old.namespace != new.namespace),
        (
            "runtimeDirectory",
            old.runtime_directory != new.runtime_directory,
        ),
        ("workloadApi", old.workload_api != new.workload_api),
        (
            "identity",
            is_opened_once(old, new) && old.identity != new.identity,
        ),
        ("nodes", old.nodes != new.nodes),
        ("cli", old.cli != new.cli),
        ("links.listen", old.links.listen != new.links.listen),
        (
            "links.maxPending",
            old.links.max_pending != new.links.max_pending,
        ),
        ("epmd", old.epmd != new.epmd),
        ("admin", old.admin != new.admin),
        ("log.format", old.log.format != new.log.format),
        ("events.window", old.events.window != new.events.window),
    ];
    checks
        .into_iter()
        .find(|(_, changed)| *changed)
        .map(|(key, _)| key)
}

/// What comes over a connection is opened once: its directory, its socket, its tasks.
fn is_opened_once(old: &Config, new: &Config) -> bool {
    [old, new].into_iter().any(|config| {
        matches!(
            config.identity,
            IdentitySource::Control(_) | IdentitySource::WorkloadApi(_)
        )
    })
}

/// Looks at every live link again when the roots have changed: what hangs on one that left ends.
async fn follow_roots(agent: Arc<Agent>) {
    let mut roots = agent.identities.roots();
    while roots.changed().await.is_ok() {
        decide_again(&agent);
    }
}

/// Looks at every live link with the settings and the trust of now, and ends those that no longer hold.
pub fn decide_again(agent: &Agent) {
    let settings = agent.settings();
    for link in agent.registry.snapshot() {
        if let Err(error) = setup::decide(agent, &link, &link.proof()) {
            let (local, peer) = link.names();
            tracing::warn!(link = link.id, %local, %peer, "no longer permitted: {error}");
            link.mute(error.to_close(), settings.config.links.silence);
        }
    }
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
    tracing::info!("stopped");
}

enum Event {
    Reload,
    Stop,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> Result<Self, Error> {
        let on = |kind| {
            signal(kind).map_err(|error| Error::Internal(format!("cannot handle signals: {error}")))
        };
        Ok(Self {
            hangup: on(SignalKind::hangup())?,
            interrupt: on(SignalKind::interrupt())?,
            terminate: on(SignalKind::terminate())?,
        })
    }

    /// The next signal that means to stop: a reload that comes while the agent drains is too late.
    async fn stop_again(&mut self) {
        while let Event::Reload = self.next(Lifetime::Signals).await {}
    }

    async fn next(&mut self, lifetime: Lifetime) -> Event {
        tokio::select! {
            _ = self.hangup.recv() => Event::Reload,
            _ = self.interrupt.recv() => Event::Stop,
            _ = self.terminate.recv() => Event::Stop,
            () = end_of_stdin(lifetime) => Event::Stop,
        }
    }
}

async fn end_of_stdin(lifetime: Lifetime) {
    use tokio::io::AsyncReadExt;
    if lifetime == Lifetime::Signals {
        std::future::pending::<()>().await;
    }
    let mut sink = [0; 64];
    while matches!(tokio::io::stdin().read(&mut sink).await, Ok(1..)) {}
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
