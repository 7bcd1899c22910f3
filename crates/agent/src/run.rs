//! Starting an agent, keeping it running, reloading it, and stopping it.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
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
use crate::identities::Identities;
use crate::lifecycle::{self, Lifecycle};
use crate::policies::{self, Policies};
use crate::settings::Settings;
use crate::users::Users;
use crate::workers::Workers;
use crate::{Error, epmd, inbound, locals, native, random, revoking, setup, standins, workload};

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

/// Runs an agent until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting: which key or file, what was found, what was wanted.
pub async fn run(path: &Path, lifetime: Lifetime) -> Result<(), Error> {
    let config = config::load(path)?;
    logs::start(&config.log)?;
    raise_file_limit();
    let mut signals = Signals::new()?;
    let (agent, doors) = open(config)?;
    let reload = Reload {
        path: path.to_owned(),
        turn: Arc::default(),
    };
    doors.serve(&agent, reload.clone());
    tokio::spawn(lifecycle::keep(Arc::clone(&agent)));
    if let Some(control) = &agent.control {
        revoking::start(&agent, control);
        tokio::spawn(control::keep_watching(
            Arc::clone(&agent),
            Arc::clone(control),
        ));
    }
    tokio::spawn(follow_roots(Arc::clone(&agent)));
    tokio::spawn(native::keep(Arc::clone(&agent)));
    if let IdentitySource::WorkloadApi(source) = &agent.settings().config.identity {
        let socket = source.socket.clone();
        tokio::spawn(workload::source::follow(Arc::clone(&agent), socket));
    }
    tokio::spawn(crate::keeper::run(Arc::clone(&agent)));
    tokio::spawn(policies::keep(Arc::clone(&agent)));
    tokio::spawn(crate::enforce::follow(Arc::clone(&agent)));
    let events = Arc::clone(&agent.events);
    tokio::spawn(async move { events.keep_telling().await });
    let settings = agent.settings();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), links = %agent.link_address, epmd = agent.epmd_port, trust_domain = %settings.config.trust_domain, cluster = %settings.config.cluster, "agent ready");
    while let Event::Reload = signals.next(lifetime).await {
        // The old configuration stays if the new one cannot be used.
        if let Err(error) = reload.now(&agent) {
            tracing::error!("reload failed, the old configuration stays: {error}");
        }
    }
    stop(&agent, &mut signals).await;
    Ok(())
}

/// Everything that listens.
struct Doors {
    links: TcpListener,
    epmd: Vec<TcpListener>,
    health: TcpListener,
    socket: Socket,
    workload: Option<workload::serve::Socket>,
}

/// Opens everything, or nothing.
fn open(config: Config) -> Result<(Arc<Agent>, Doors), Error> {
    let users = Users::resolve(&config)?;
    skans_host::files::directory(&config.runtime_directory, 0o755)?;
    let socket = Socket::open(&config.socket())?;
    let workload = config
        .workload_api
        .as_ref()
        .map(|api| {
            let beside = config.runtime_directory.join("workload.sock");
            workload::serve::Socket::open(api.socket.as_ref().unwrap_or(&beside))
        })
        .transpose()?;
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
            Some(Arc::new(Control::open(&config, source, &identities)?))
        }
        _ => None,
    };
    let policies = match &control {
        Some(control) => control.policies(&identities)?,
        None => Policies::local(&config)?,
    };
    let bind = |address, purpose| {
        listen::bind(address).map_err(|source| Error::Bind {
            purpose,
            address,
            source,
        })
    };
    let links = bind(config.links.listen, "links (links.listen)")?;
    let health = bind(config.admin.listen, "health and metrics (admin.listen)")?;
    let (epmd_port, epmd, loopbacks) = open_epmd(&config)?;
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
        restraint: crate::restraint::Restraint::default(),
        outcomes: crate::outcomes::Outcomes::default(),
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
        },
    ))
}

impl Doors {
    fn serve(self, agent: &Arc<Agent>, reload: Reload) {
        let pending = Pending::new(agent.settings().config.links.max_pending);
        // Neither a peer nor a node of this host gets a link before it is known what was revoked while this agent was away.
        let links = inbound::accept(Arc::clone(agent), self.links, pending);
        tokio::spawn(once_ready(Arc::clone(agent), links));
        for listener in self.epmd {
            let nodes = epmd::accept(Arc::clone(agent), listener);
            tokio::spawn(once_ready(Arc::clone(agent), nodes));
        }
        if let Some(socket) = self.workload {
            tokio::spawn(workload::serve::serve(Arc::clone(agent), socket));
        }
        let shared = Shared {
            agent: Arc::clone(agent),
            reload,
        };
        tokio::spawn(admin::serve_public(self.health, shared.clone()));
        tokio::spawn(admin::serve_private(self.socket, shared));
    }
}

async fn once_ready(agent: Arc<Agent>, serve: impl Future<Output = ()>) {
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
fn open_epmd(config: &Config) -> Result<(u16, Vec<TcpListener>, Vec<std::net::IpAddr>), Error> {
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
    for ip in addresses {
        let address = std::net::SocketAddr::new(ip, port);
        match listen::bind(address) {
            Ok(listener) => {
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
        lifecycle::load(&settings.config, &agent.identities)?;
        agent.events.reopen(&settings.config.events)?;
        logs::switch(&settings.config.log.level)?;
        agent.settings.store(Arc::new(settings));
        agent.lifecycle.reloaded.notify_one();
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

/// Drains, then ends what is left.
async fn stop(agent: &Arc<Agent>, signals: &mut Signals) {
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
