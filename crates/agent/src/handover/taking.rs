//! The new process: asks for what another has, and serves it from the moment on at which the other has let go.

use std::fs::File;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use skans_dist::{Flags, NodeName};
use skans_handover::{
    Ask, Counts, Door, FORMAT_MAX, FORMAT_MIN, LinkParts, Message, Node, NodeParts, Refused, Use,
};
use skans_link::Session;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::Handle;

use super::channel::Channel;
use super::{PATIENCE, STILL, failed, link};
use crate::agent::Agent;
use crate::config::Config;
use crate::enforce::Flows;
use crate::epmd::{self, Held};
use crate::locals::Local;
use crate::pulse::Patience;
use crate::registry::Registered;
use crate::relay::{Course, State};
use crate::setup::within;
use crate::told::Told;
use crate::{Error, outbound};

/// Nodes, links and the rest that are taken, at most: far above what one host has, so that what is no such message does not fill
/// the memory.
const MOST: usize = 1 << 20;

/// What another process has offered. Nothing stands still yet.
#[derive(Debug)]
pub struct Inheritance {
    channel: Channel,
    doors: Vec<(Door, OwnedFd)>,
}

impl Inheritance {
    /// Asks the agent with this configuration's runtime directory.
    ///
    /// # Errors
    /// [`Error::File`] if there is none; [`Error::NotHandedOver`] with its reason.
    pub async fn ask(config: &Config) -> Result<Self, Error> {
        let mut channel = Channel::connect(&super::socket(&config.runtime_directory)).await?;
        let ask = Message::Ask(Ask {
            min: FORMAT_MIN,
            max: FORMAT_MAX,
            release: env!("CARGO_PKG_VERSION").to_owned(),
        });
        channel.send(&ask, &[]).await?;
        let answer = within(PATIENCE, "an answer of the agent", channel.receive());
        let (doors, sockets) = match answer.await? {
            (Message::Doors(doors), sockets) => (doors, sockets),
            (other, _) => return Err(unexpected(other)),
        };
        tracing::info!(
            release = doors.release,
            format = doors.format,
            "taking over"
        );
        Ok(Self {
            channel,
            doors: doors.doors.into_iter().zip(sockets).collect(),
        })
    }

    fn take(&mut self, what: Use, configured: &str) -> Option<OwnedFd> {
        let fits = |(door, _): &(Door, OwnedFd)| door.what == what && door.configured == configured;
        let place = self.doors.iter().position(fits)?;
        Some(self.doors.swap_remove(place).1)
    }

    /// A listener that was configured like this, or is at this address; `None` if there was none.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is no listener.
    pub fn listener(
        &mut self,
        what: Use,
        configured: SocketAddr,
    ) -> Result<Option<TcpListener>, Error> {
        let text = configured.to_string();
        let fits = |(door, socket): &(Door, OwnedFd)| {
            door.what == what && (door.configured == text || address(socket) == Some(configured))
        };
        let Some(place) = self.doors.iter().position(fits) else {
            return Ok(None);
        };
        listener(self.doors.swap_remove(place).1).map(Some)
    }

    /// The same of a Unix socket.
    ///
    /// # Errors
    /// [`Error::Internal`] if it is no listener.
    pub fn unix(&mut self, what: Use, path: &Path) -> Result<Option<UnixListener>, Error> {
        let found = self.take(what, &path.display().to_string());
        let open = |socket| {
            let socket = StdUnixListener::from(socket);
            socket.set_nonblocking(true)?;
            UnixListener::from_std(socket)
        };
        found
            .map(open)
            .transpose()
            .map_err(|error: std::io::Error| failed(&error.to_string()))
    }

    /// The lock of a state directory.
    pub fn lock(&mut self, directory: &Path) -> Option<File> {
        let lock = self.take(Use::State, &directory.display().to_string());
        lock.map(File::from)
    }

    /// Tells the other process that this one cannot start.
    pub async fn decline(mut self, error: &Error) {
        let why = format!("the new process does not start: {error}");
        let _ = self
            .channel
            .send(&Message::Refused(Refused { why }), &[])
            .await;
    }

    /// Takes everything. It is this process's alone when this returns, and is to be served at once.
    ///
    /// # Errors
    /// Nothing was taken: the other process goes on.
    pub async fn receive(mut self, agent: &Arc<Agent>) -> Result<Taken, Error> {
        self.channel.send(&Message::Ready, &[]).await?;
        let taken = within(STILL, "taking over", self.all(agent)).await;
        let taken = match taken {
            Ok(taken) => taken,
            Err(error) => {
                self.decline(&error).await;
                return Err(error);
            }
        };
        self.channel.send(&Message::Taken, &[]).await?;
        // Nobody serves anything until it says so: it may have had enough of waiting.
        match within(
            PATIENCE,
            "the last word of the old process",
            self.channel.receive(),
        )
        .await?
        {
            (Message::Go, _) => {
                let handovers = &agent.handovers;
                handovers.before.store(taken.counts.handovers + 1, Relaxed);
                handovers
                    .since
                    .store(crate::keeper::now().as_secs(), Relaxed);
                Ok(taken)
            }
            (other, _) => Err(unexpected(other)),
        }
    }

    async fn all(&mut self, agent: &Arc<Agent>) -> Result<Taken, Error> {
        let mut told = Pieces::default();
        let done = loop {
            let (message, sockets) = self.channel.receive().await?;
            if told.count() >= MOST {
                return Err(failed("found no end of it"));
            }
            match message {
                Message::Node(node, parts) => told.nodes.push((node, parts, one(sockets)?)),
                Message::StandIn(stand_in) => {
                    let target = link::name(&stand_in.target)?;
                    let listeners = sockets.into_iter().map(listener);
                    let listeners = listeners.collect::<Result<_, _>>()?;
                    told.stand_ins.push((target, stand_in.port, listeners));
                }
                Message::Table(table, parts) => told.tables.push((table, parts)),
                Message::Link(link, parts) => told.links.push((*link, parts, one(sockets)?)),
                Message::Done(done) => break done,
                other => return Err(unexpected(other)),
            }
        };
        let found = (
            told.nodes.len(),
            told.stand_ins.len(),
            told.tables.len(),
            told.links.len(),
        );
        let wanted = (done.nodes, done.stand_ins, done.tables, done.links);
        if found != wanted {
            return Err(failed(&format!(
                "found {found:?} pieces, wanted {wanted:?}"
            )));
        }
        told.build(agent, done.counts, done.settled)
    }
}

/// What came, as it came.
#[derive(Default)]
struct Pieces {
    nodes: Vec<(Node, NodeParts, OwnedFd)>,
    stand_ins: Vec<(NodeName, u16, Vec<TcpListener>)>,
    tables: Vec<(skans_handover::Table, skans_handover::TableParts)>,
    links: Vec<(skans_handover::Link, LinkParts, OwnedFd)>,
}

impl Pieces {
    const fn count(&self) -> usize {
        self.nodes.len() + self.stand_ins.len() + self.tables.len() + self.links.len()
    }

    /// Everything that can fail; nothing is served yet.
    fn build(self, agent: &Arc<Agent>, counts: Counts, settled: bool) -> Result<Taken, Error> {
        let settings = agent.settings();
        agent.registry.count_from(counts.links);
        agent.creations.store(counts.creations, Relaxed);
        let mut nodes = Vec::new();
        for (node, parts, socket) in self.nodes {
            nodes.extend(register(agent, &node, parts, socket)?);
        }
        // Held until the links hold them.
        let mut handles = Vec::new();
        for (table, parts) in self.tables {
            let most = settings.config.limits.new_atoms;
            handles.extend(agent.enforcement.thaw(table, &parts, most)?);
        }
        let mut links = Vec::new();
        for (told, parts, socket) in self.links {
            let link = link::register(&agent.registry, &told)?;
            let (local, peer) = link.names();
            if agent.may_register(local.alive()).is_none() {
                tracing::warn!(link = link.id, %local, %peer, "not taken over: {local} is no node of this host any more");
                continue;
            }
            let patience = Patience::of(&link, &settings.config.links);
            let flows = Flows::of(agent, link.link(), Flags(told.flags))?;
            let (state, session) = State::thaw(parts, flows, &patience)?;
            let node = StdStream::from(socket);
            node.set_nonblocking(true)
                .map_err(|error| failed(&error.to_string()))?;
            let runtime = agent.workers.next()?.clone();
            links.push(TakenLink {
                link,
                node,
                state,
                session,
                patience,
                runtime,
            });
        }
        Ok(Taken {
            nodes,
            stand_ins: self.stand_ins,
            links,
            counts,
            settled,
        })
    }
}

/// Registers a node that is registered with the other process; `None` if it is none of this host's any more.
fn register(
    agent: &Arc<Agent>,
    node: &Node,
    parts: NodeParts,
    socket: OwnedFd,
) -> Result<Option<Held>, Error> {
    let name = link::name(&node.name)?;
    match agent.may_register(name.alive()) {
        Some((known, cli)) if known == name && cli == node.cli => {}
        _ => {
            tracing::warn!(node = %name, "not taken over: it is no node of this host any more");
            return Ok(None);
        }
    }
    let names = agent.locals.names(name.alive(), node.creation);
    if !parts.names.is_empty() {
        names
            .replace(&parts.names)
            .map_err(|why| failed(&format!("the names of {name}: {why}")))?;
    }
    let local = Local {
        name,
        address: node.address,
        creation: node.creation,
        tick_seconds: node.tick_seconds,
        uid: node.uid,
        cli: node.cli,
        names,
    };
    let registered = agent.locals.register(local.clone(), epmd::MAX_NODES);
    Ok(Some(Held {
        registered: registered.map_err(|why| failed(&why))?,
        local,
        tells_names: node.tells_names,
        socket: stream(socket)?,
        partial: parts.partial,
    }))
}

/// A link, and all that it goes on with.
struct TakenLink {
    link: Registered,
    node: StdStream,
    state: State,
    session: Session,
    patience: Patience,
    /// The thread that is to move its bytes.
    runtime: Handle,
}

/// All that was another process's.
pub struct Taken {
    nodes: Vec<Held>,
    stand_ins: Vec<(NodeName, u16, Vec<TcpListener>)>,
    links: Vec<TakenLink>,
    counts: Counts,
    settled: bool,
}

impl Taken {
    /// Goes on with all of it. To be called before anything is accepted: a peer that asks for its link finds it.
    pub fn serve(self, agent: &Arc<Agent>) {
        tracing::info!(
            nodes = self.nodes.len(),
            links = self.links.len(),
            "taken over"
        );
        if self.settled
            && let Some(control) = &agent.control
        {
            // The other one knew, and all that it knew is on the disk.
            control.set_ready();
        }
        for held in self.nodes {
            let agent = Arc::clone(agent);
            tokio::spawn(async move { epmd::hold(&agent, held).await });
        }
        for (target, port, listeners) in self.stand_ins {
            agent.standins.thaw(agent, target, port, listeners);
        }
        // All of them first: one that is not there yet does not exist for a peer that asks for it.
        let mut live = Vec::new();
        if let Some(control) = &agent.control {
            // What the other process did otherwise is not known.
            control.own_links.begin(Instant::now());
        }
        for taken in self.links {
            agent.shows(&taken.session.id(), &taken.link.proof().own);
            let TakenLink {
                link,
                node,
                state,
                session,
                patience,
                runtime,
            } = taken;
            link.start(session, !patience.resume.is_zero(), runtime.clone());
            link.up.store(true, Relaxed);
            live.push((link, node, state, patience, runtime));
        }
        for (link, node, state, patience, runtime) in live {
            let serving = Arc::clone(agent);
            let going = async move {
                let node = match TcpStream::from_std(node) {
                    Ok(node) => node,
                    Err(error) => {
                        tracing::error!(link = link.id, "cannot go on with a link: {error}");
                        return;
                    }
                };
                let told = Told::before(&serving, &link);
                let course = Course::thawed(node, state);
                outbound::go_on(serving, link, course, patience, told).await;
            };
            agent.tasks.spawn_on(going, &runtime);
        }
        // By the configuration and the trust of now.
        crate::run::decide_again(agent);
    }
}

/// Where a listener is.
fn address(socket: &OwnedFd) -> Option<SocketAddr> {
    let twin = StdListener::from(socket.try_clone().ok()?);
    twin.local_addr().ok()
}

fn listener(socket: OwnedFd) -> Result<TcpListener, Error> {
    let socket = StdListener::from(socket);
    let open = socket
        .set_nonblocking(true)
        .and_then(|()| TcpListener::from_std(socket));
    open.map_err(|error| failed(&error.to_string()))
}

fn stream(socket: OwnedFd) -> Result<TcpStream, Error> {
    let socket = StdStream::from(socket);
    let open = socket
        .set_nonblocking(true)
        .and_then(|()| TcpStream::from_std(socket));
    open.map_err(|error| failed(&error.to_string()))
}

fn one(sockets: Vec<OwnedFd>) -> Result<OwnedFd, Error> {
    let mut sockets = sockets.into_iter();
    sockets.next().ok_or_else(|| failed("found no socket"))
}

fn unexpected(message: Message) -> Error {
    match message {
        Message::Refused(refused) => Error::NotHandedOver(refused.why),
        other => failed(&format!("found {:?} out of turn", other.kind())),
    }
}
