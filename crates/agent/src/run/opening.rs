//! What an agent opens before it serves anybody: its listeners and sockets, all or none, those of the process before where it takes
//! that one's place.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_swap::ArcSwap;
use skans_handover::Use;
use skans_host::listen;
use skans_host::strangers::Pending;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Reload, held};
use crate::admin::{self, Shared, Socket};
use crate::agent::{Agent, MAX_SETUPS, MAX_UNKNOWN};
use crate::config::{Config, IdentitySource};
use crate::control::Control;
use crate::cookies::Cookies;
use crate::environment::{self, Layout};
use crate::events::Events;
use crate::foreign::Believed;
use crate::handover::{self, Inheritance, Openings};
use crate::identities::Identities;
use crate::lifecycle::{self, Lifecycle};
use crate::policies::Policies;
use crate::settings::Settings;
use crate::traces::Traces;
use crate::users::Users;
use crate::workers::Workers;
use crate::{
    Error, accepting, epmd, gateway, inbound, locals, native, random, services, standins, workload,
};

/// Everything that listens.
pub struct Doors {
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
pub fn open(
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
    let believed = Believed::default();
    if let Some(control) = &control
        && let Some(kept) = control.kept_foreign()?
        && let Err(error) = believed.take(&kept)
    {
        // The control plane says it again; until then nobody from elsewhere gets in.
        tracing::warn!("what was kept of other trust domains is not used: {error}");
    }
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
    let spools = control.as_ref().map(|control| control.state().events());
    let events = Arc::new(Events::open(&config.events, spools.as_deref())?);
    let traces = Traces::open(&config)?;
    let settings = Settings::new(config).map_err(|why| Error::config("configuration", why))?;
    let agent = Arc::new(Agent {
        settings: ArcSwap::from_pointee(settings),
        identities,
        control,
        policies: Arc::new(policies),
        judged: tokio::sync::watch::Sender::default(),
        believed,
        lifecycle: Lifecycle::default(),
        cookies,
        locals: Arc::default(),
        registry: Arc::default(),
        gossip: crate::gossip::Gossip::default(),
        standins: standins::StandIns::default(),
        doors,
        restraint: crate::restraint::Restraint::default(),
        outcomes: crate::outcomes::Outcomes::default(),
        ways: crate::gateway::Ways::default(),
        breakers: crate::breaker::Breakers::default(),
        targets: crate::breaker::Breakers::default(),
        events,
        traces,
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
    // Before anything is decided: links that are taken over are, at once, and those from other clusters would end for want of roots.
    crate::foreign::refresh(&agent)?;
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
    /// Lets everybody in.
    pub fn serve(self, agent: &Arc<Agent>, reload: Reload) {
        let pending = Pending::new(agent.settings().config.links.max_pending);
        // Neither a peer nor a node of this host gets a link before it is known what was revoked while this agent was away.
        let serving = Arc::clone(agent);
        if agent.settings().config.gateway.is_some() {
            let what = "the gateway port";
            let ways = accepting::accept(serving, self.links, pending, what, gateway::serve::serve);
            held(agent, once_ready(Arc::clone(agent), ways));
        } else {
            let what = "the link port";
            let links = accepting::accept(serving, self.links, pending, what, inbound::serve);
            held(agent, once_ready(Arc::clone(agent), links));
        }
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
