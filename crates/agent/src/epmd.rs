//! The epmd of this host's nodes: who is registered, and which stand-in port leads where.
//!
//! It speaks epmd's own protocol, so that what asks epmd directly (RabbitMQ, `erl_call`) finds what
//! it expects. Beyond it, PORT_PLEASE2 takes whole names, and ALIVE2 carries what the shim knows
//! (`docs/decisions/0003-shim-protocol.md`). It hands out stand-in ports only, never a node's own.

use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Duration;

use skans_dist::NodeName;
use skans_dist::epmd::{
    Alive2Response, NODE_NORMAL, NamesResponse, PROTOCOL_TCP, PortResponse, Registration, Request,
    VERSION,
};
use skans_dist::handshake::MAX_MESSAGE;
use skans_handover::{Message, NodeParts};
use skans_host::backoff::Backoff;
use skans_host::strangers::{Pending, Waiting};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::agent::Agent;
use crate::brake::{Collector, Piece};
use crate::locals::{self, Local};
use crate::names::MAX_TABLE;
use crate::{Error, loopback};

/// Questions at once. Each takes a millisecond; beyond the bound the oldest goes, so that a process
/// that connects and says nothing keeps no node from its answer.
const MAX_QUESTIONS: usize = 1024;
/// Registered nodes at once.
pub const MAX_NODES: usize = 512;
/// How long a question and its answer may take. The shim sends it in one piece.
const REQUEST_TIME: Duration = Duration::from_secs(5);
/// How long a registration waits for the former holder of its name to be gone: a node that restarts
/// at once is faster than the kernel is with the old one's sockets.
const TAKEOVER_TIME: Duration = Duration::from_secs(2);
/// Behind the answer to a node that can: it is to tell its names. One that cannot would take it for the end.
const WANT_NAMES: &[u8] = b"SK1\x01";
/// Between two tables of a node, so that one that sends them all the time does not keep a core busy.
const NAMES_PAUSE: Duration = Duration::from_millis(100);

/// Serves one loopback address until the agent drains.
pub async fn accept(agent: Arc<Agent>, listener: TcpListener) {
    let questions = Pending::new(MAX_QUESTIONS);
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = agent.stopping.cancelled() => return,
        };
        let (socket, theirs) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                backoff.wait("epmd", &error).await;
                continue;
            }
        };
        backoff.reset();
        let waiting = questions.enter(theirs.ip());
        let agent = Arc::clone(&agent);
        tokio::spawn(async move {
            let under_way = agent.set_ups.token();
            if let Err(error) = serve(&agent, socket, theirs, waiting, under_way).await {
                tracing::debug!("epmd: {error}");
            }
        });
    }
}

async fn serve(
    agent: &Arc<Agent>,
    mut socket: TcpStream,
    theirs: SocketAddr,
    waiting: Waiting,
    under_way: TaskTrackerToken,
) -> Result<(), Error> {
    let question = tokio::time::timeout(REQUEST_TIME, answer(agent, &mut socket, theirs));
    let registration = tokio::select! {
        biased;
        // The shim asks again.
        () = agent.brake.pulled() => return Ok(()),
        asked = question => asked.map_err(|_| Error::TimedOut("an epmd request"))??,
        () = waiting.evicted.cancelled() => return Err(Error::TooMany {
            what: "epmd requests".to_owned(),
            limit: MAX_QUESTIONS,
        }),
    };
    drop(waiting);
    let Some(asked) = registration else {
        return Ok(());
    };
    let Some(made) = agent
        .brake
        .hold(admit(agent, &mut socket, theirs, asked))
        .await
    else {
        return Ok(());
    };
    let (registered, local, tells_names) = made?;
    drop(under_way);
    let held = Held {
        registered,
        local,
        tells_names,
        socket,
        partial: Vec::new(),
    };
    hold(agent, held).await;
    Ok(())
}

/// Reads a request and answers it, but for a registration, which is handed back.
async fn answer(
    agent: &Arc<Agent>,
    socket: &mut TcpStream,
    theirs: SocketAddr,
) -> Result<Option<Registration>, Error> {
    let failed = |error: std::io::Error| Error::LocalHandshake(format!("epmd request: {error}"));
    let ours = socket.local_addr().map_err(failed)?;
    let answer = match read(socket).await? {
        Request::Alive2(asked) => return Ok(Some(asked)),
        Request::PortPlease2 { name } => look_up(agent, &name, theirs, ours).encode(),
        Request::Names => names(agent).encode(),
        // Whoever could end the agent or unregister a node by a word could take its name.
        Request::Kill => refused("KILL", b"NO"),
        Request::Stop { .. } => refused("STOP", b"NOEXIST"),
        Request::Dump => refused("DUMP", b""),
    };
    socket.write_all(&answer).await.map_err(failed)?;
    socket.shutdown().await.map_err(failed)?;
    Ok(None)
}

fn refused(what: &str, answer: &[u8]) -> Vec<u8> {
    tracing::warn!(request = what, "epmd: refused");
    answer.to_vec()
}

async fn read(socket: &mut TcpStream) -> Result<Request, Error> {
    let failed = |error: std::io::Error| Error::LocalHandshake(format!("epmd request: {error}"));
    let length = usize::from(socket.read_u16().await.map_err(failed)?);
    if length == 0 || length > MAX_MESSAGE {
        return Err(Error::LocalHandshake(format!(
            "found an epmd request of {length} bytes, wanted 1 to {MAX_MESSAGE}"
        )));
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.map_err(failed)?;
    Request::decode(&body).map_err(|error| Error::LocalHandshake(error.to_string()))
}

/// Registers a node, and tells it so.
async fn admit(
    agent: &Arc<Agent>,
    socket: &mut TcpStream,
    theirs: SocketAddr,
    asked: Registration,
) -> Result<(locals::Registration, Local, bool), Error> {
    let failed = |error: std::io::Error| Error::LocalHandshake(format!("registration: {error}"));
    let ours = socket.local_addr().map_err(failed)?;
    let (registered, local) = match register(agent, &asked, theirs, ours).await {
        Ok(done) => done,
        Err(why) => {
            tracing::warn!(name = %asked.name, "registration refused: {why}");
            let no = Alive2Response::Wide {
                result: 1,
                creation: 0,
            };
            socket.write_all(&no.encode()).await.map_err(failed)?;
            return Err(Error::LocalStranger(why));
        }
    };
    tracing::info!(node = %local.name, address = %local.address, creation = local.creation, "node registered");
    let yes = Alive2Response::Wide {
        result: 0,
        creation: local.creation,
    };
    let mut answer = yes.encode();
    let tells_names = Extra::decode(&asked.extra).tells_names;
    if tells_names {
        answer.extend(WANT_NAMES);
    }
    socket.write_all(&answer).await.map_err(failed)?;
    Ok((registered, local, tells_names))
}

/// A node that is registered, for as long as its socket stays open.
pub struct Held {
    /// Its place among the others.
    pub registered: locals::Registration,
    /// The node.
    pub local: Local,
    /// Whether it tells its names.
    pub tells_names: bool,
    /// Its end is the end of the registration.
    pub socket: TcpStream,
    /// What has come of the next table of names.
    pub partial: Vec<u8>,
}

/// Keeps a node registered until it hangs up, or until another process does.
pub async fn hold(agent: &Arc<Agent>, mut held: Held) {
    loop {
        tokio::select! {
            biased;
            () = agent.brake.pulled() => {
                if let Some(collector) = agent.brake.collector() {
                    hand_in(&collector, &held);
                }
                if agent.brake.settled().await {
                    return;
                }
            }
            end = listen(&mut held) => {
                if let Err(why) = end {
                    tracing::warn!(node = %held.local.name, "registration ended: {why}");
                }
                break;
            }
            () = agent.stopping.cancelled() => break,
        }
    }
    drop(held.registered);
    tracing::info!(node = %held.local.name, "node gone");
}

fn hand_in(collector: &Collector, held: &Held) {
    let local = &held.local;
    let node = skans_handover::Node {
        name: local.name.to_string(),
        address: local.address,
        creation: local.creation,
        tick_seconds: local.tick_seconds,
        uid: local.uid,
        cli: local.cli,
        tells_names: held.tells_names,
    };
    let parts = NodeParts {
        names: local.names.table(),
        partial: held.partial.clone(),
    };
    match held.socket.as_fd().try_clone_to_owned() {
        Ok(socket) => {
            let piece = Piece {
                message: Message::Node(node, parts),
                sockets: vec![socket],
            };
            // Nobody collects any more: all goes on.
            let _ = collector.send(piece);
        }
        Err(error) => tracing::warn!(node = %local.name, "not handed over: {error}"),
    }
}

/// Takes the names that a node tells, until it hangs up. One that cannot tell any says nothing more on this socket. Nothing is
/// lost if this is dropped and called again.
async fn listen(held: &mut Held) -> Result<(), String> {
    if !held.tells_names {
        let _ = held.socket.read(&mut [0]).await;
        return Ok(());
    }
    loop {
        let mut wanted = 4;
        if let Some((length, table)) = held.partial.split_first_chunk() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
            if length > MAX_TABLE {
                return Err(format!(
                    "found a table of names of {length} bytes, wanted {MAX_TABLE} at most"
                ));
            }
            if let Some(table) = table.get(..length) {
                let (node, names) = (&held.local.name, &held.local.names);
                names
                    .replace(table)
                    .map_err(|why| format!("the table of names: {why}"))?;
                tracing::debug!(%node, names = names.count(), "names told");
                held.partial.drain(..4 + length);
                // The shim looks once a second; who is faster is none.
                tokio::time::sleep(NAMES_PAUSE).await;
                continue;
            }
            wanted += length;
        }
        held.partial.reserve(wanted - held.partial.len());
        let rest = (wanted - held.partial.len()) as u64;
        match (&mut held.socket)
            .take(rest)
            .read_buf(&mut held.partial)
            .await
        {
            Ok(1..) => {}
            Ok(0) | Err(_) => return Ok(()),
        }
    }
}

async fn register(
    agent: &Arc<Agent>,
    asked: &Registration,
    theirs: SocketAddr,
    ours: SocketAddr,
) -> Result<(locals::Registration, Local), String> {
    let (name, cli) = agent.may_register(&asked.name).ok_or_else(|| {
        format!(
            "{:?} is neither under nodes nor fits a pattern of short-lived names",
            asked.name
        )
    })?;
    let uid = loopback::owner(theirs, ours);
    agent.users.check(name.alive(), uid)?;
    let uid = uid.unwrap_or_default();
    let address = locals::loopback_listener(asked.port, uid)?;
    let extra = Extra::decode(&asked.extra);
    let creation = if extra.creation > 3 {
        extra.creation
    } else {
        agent.creation()
    };
    let local = Local {
        names: agent.locals.names(name.alive(), creation),
        name,
        address,
        creation,
        tick_seconds: extra.tick_seconds,
        uid,
        cli,
    };
    let deadline = tokio::time::Instant::now() + TAKEOVER_TIME;
    loop {
        match agent.locals.register(local.clone(), MAX_NODES) {
            Ok(registered) => return Ok((registered, local)),
            Err(why) if tokio::time::Instant::now() >= deadline => return Err(why),
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

/// What the shim tells beyond epmd's protocol.
#[derive(Debug, Default, Eq, PartialEq)]
struct Extra {
    creation: u32,
    tick_seconds: u16,
    /// It can tell which of its processes bear a name.
    tells_names: bool,
}

impl Extra {
    /// `"SK1" creation:32 ticktime:16 family:8 abilities:8`, without the last byte in a former release; anything else
    /// says nothing.
    fn decode(bytes: &[u8]) -> Self {
        let Some((creation, rest)) = bytes
            .strip_prefix(b"SK1")
            .and_then(<[u8]>::split_first_chunk)
        else {
            return Self::default();
        };
        Self {
            creation: u32::from_be_bytes(*creation),
            tick_seconds: rest
                .first_chunk()
                .map_or(0, |tick| u16::from_be_bytes(*tick)),
            tells_names: rest.get(3).is_some_and(|can| can & 1 != 0),
        }
    }
}

/// The stand-in port for a node: by its whole name, or a node of this host by the part before `@`.
///
/// Anybody may ask for one that is open. One more is opened for the users of this host's nodes and
/// tools only: there is a bound on them, and strangers could use it up with names that they make up.
fn look_up(agent: &Arc<Agent>, asked: &str, theirs: SocketAddr, ours: SocketAddr) -> PortResponse {
    let Some(target) = target(agent, asked) else {
        return PortResponse::NOT_FOUND;
    };
    let port = match agent.standins.open_port(&target) {
        Some(port) => Ok(port),
        None if agent.users.is_known(loopback::owner(theirs, ours)) => {
            agent.standins.port(agent, &target)
        }
        None => Err(Error::LocalStranger(format!(
            "a process of a user who runs no node asks for {target}"
        ))),
    };
    match port {
        Ok(port) => PortResponse::Found(Registration {
            port,
            node_type: NODE_NORMAL,
            protocol: PROTOCOL_TCP,
            highest: VERSION,
            lowest: VERSION - 1,
            name: target.alive().to_owned(),
            extra: Vec::new(),
        }),
        Err(error) => {
            tracing::warn!(%target, "{error}");
            PortResponse::NOT_FOUND
        }
    }
}

fn target(agent: &Arc<Agent>, asked: &str) -> Option<NodeName> {
    if !asked.contains('@') {
        return Some(agent.locals.by_alive(asked)?.name);
    }
    let name: NodeName = asked.parse().ok()?;
    let Some(place) = agent.settings().place(&name) else {
        let links = &agent.policies.current().links;
        return crate::across::behind(links, &name).map(|_| name);
    };
    match place {
        // Unknown names of this host are refused at once, not after a connection.
        crate::settings::Place::Here => Some(agent.locals.by_name(&name)?.name),
        crate::settings::Place::There(_) => Some(name),
    }
}

/// The nodes of this host that may be reached. Short-lived ones are nobody's business.
fn names(agent: &Arc<Agent>) -> NamesResponse {
    let nodes = agent
        .locals
        .all()
        .into_iter()
        .filter(|local| !local.cli)
        .filter_map(|local| {
            Some((
                local.name.alive().to_owned(),
                agent.standins.port(agent, &local.name).ok()?,
            ))
        })
        .collect();
    NamesResponse {
        epmd_port: agent.epmd_port.into(),
        nodes,
    }
}

#[cfg(test)]
mod tests;
