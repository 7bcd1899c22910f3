//! The old process: makes everything stand still, tells all of it, and is over once the new one has it. Until then it can go on
//! at any moment.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use skans_dist::NodeName;
use skans_handover::{
    Counts, Done, Doors, FORMAT_SERVICES, MAX_FDS, Message, Refused, StandIn, Use, agree,
};
use skans_host::backoff::Backoff;
use tokio::net::UnixStream;
use tokio::sync::mpsc::UnboundedReceiver;

use super::channel::Channel;
use super::{Openings, PATIENCE, STILL, again, failed};
use crate::Error;
use crate::admin::Socket;
use crate::agent::Agent;
use crate::brake::Piece;
use crate::setup::within;

/// How long set-ups and registrations that are under way may take to come to an end once nothing new may begin.
const UNDER_WAY: Duration = Duration::from_millis(500);

/// How often it is looked for links and nodes that have ended meanwhile.
const LOOK: Duration = Duration::from_millis(20);

/// Serves whoever wants to take this agent's place, one at a time, until one has.
pub async fn serve(agent: Arc<Agent>, socket: Socket, openings: Openings) {
    let mut backoff = Backoff::default();
    loop {
        let accepted = tokio::select! {
            accepted = socket.listener.accept() => accepted,
            () = agent.stopping.cancelled() => break,
        };
        match accepted {
            Ok((stream, _)) => {
                backoff.reset();
                if give(&agent, stream, &openings).await {
                    return;
                }
            }
            Err(error) => backoff.wait("the handover socket", &error).await,
        }
    }
    // Gone already is as good.
    let _ = std::fs::remove_file(&socket.path);
}

/// Whether another process has it all now.
async fn give(agent: &Arc<Agent>, stream: UnixStream, openings: &Openings) -> bool {
    let mut channel = match Channel::of(stream) {
        Ok(channel) => channel,
        Err(error) => {
            agent.handovers.refused.fetch_add(1, Relaxed);
            tracing::warn!(reason = error.label(), "{error}");
            return false;
        }
    };
    let error = match offer(agent, &mut channel, openings).await {
        Ok(changes) => match hand_over(agent, &mut channel, changes).await {
            Ok(()) => return true,
            Err(error) => {
                agent.handovers.failed.fetch_add(1, Relaxed);
                error
            }
        },
        Err(error) => {
            agent.handovers.refused.fetch_add(1, Relaxed);
            error
        }
    };
    tracing::warn!(
        reason = error.label(),
        "another process did not take over, this one goes on: {error}"
    );
    let why = error.to_string();
    let refused = Message::Refused(Refused { why });
    let told = channel.send(&refused, &[]);
    let _ = tokio::time::timeout(Duration::from_secs(1), told).await;
    false
}

/// Everything before anything stands still: the two agree on a format, and the new process starts as far as it can without
/// links. Gives how often what is kept on disk had changed before it was read.
async fn offer(agent: &Agent, channel: &mut Channel, openings: &Openings) -> Result<u64, Error> {
    let ask = match within(
        PATIENCE,
        "the first word of another process",
        channel.receive(),
    )
    .await?
    {
        (Message::Ask(ask), _) => ask,
        (other, _) => return Err(unexpected(&other)),
    };
    let format = agree(&ask)?;
    if agent.draining.is_cancelled() {
        return Err(failed("this agent is being stopped"));
    }
    tracing::info!(
        release = ask.release,
        format,
        "another process wants to take over"
    );
    let mut doors = Vec::new();
    let mut sockets = Vec::new();
    for (door, socket) in &openings.0 {
        doors.push(door.clone());
        sockets.push(again(socket)?);
    }
    let changes = kept(agent);
    if let Some(control) = &agent.control {
        let (directory, lock) = control.state().share()?;
        doors.push(skans_handover::Door {
            what: Use::State,
            configured: directory.display().to_string(),
        });
        sockets.push(OwnedFd::from(lock));
    }
    if format >= FORMAT_SERVICES {
        // What there is no place for the other process opens as soon as this one is gone.
        for (door, socket) in agent.doors.share(MAX_FDS.saturating_sub(sockets.len()))? {
            doors.push(door);
            sockets.push(socket);
        }
    }
    let release = env!("CARGO_PKG_VERSION").to_owned();
    let doors = Message::Doors(Doors {
        format,
        release,
        doors,
    });
    within(
        PATIENCE,
        "telling what is open",
        channel.send(&doors, &sockets),
    )
    .await?;
    match within(PATIENCE, "the start of another process", channel.receive()).await? {
        (Message::Ready, _) => Ok(changes),
        (Message::Refused(refused), _) => Err(Error::NotHandedOver(refused.why)),
        (other, _) => Err(unexpected(&other)),
    }
}

/// How often what is kept on disk has changed.
fn kept(agent: &Agent) -> u64 {
    agent
        .control
        .as_ref()
        .map_or(0, |control| control.state().changes())
}

/// Everything stands still, and goes over; or it goes on here.
async fn hand_over(agent: &Arc<Agent>, channel: &mut Channel, changes: u64) -> Result<(), Error> {
    let since = Instant::now();
    let pieces = agent.brake.pull();
    agent.set_ups.close();
    let gone = within(STILL, "handing over", async {
        if kept(agent) != changes {
            return Err(failed(
                "what is kept on disk has changed meanwhile: try again",
            ));
        }
        tell(agent, channel, pieces).await
    });
    let (nodes, links) = match gone.await {
        Ok(counts) => counts,
        Err(error) => {
            agent.set_ups.reopen();
            agent.brake.release();
            return Err(error);
        }
    };
    // From here on it is the new one's, whatever becomes of it: never two.
    agent.brake.finish();
    let still = since.elapsed();
    tracing::info!(nodes, links, ?still, "handed over to another process");
    if let Some(pid) = channel.peer() {
        crate::notify::replaced_by(pid);
    }
    let go = within(PATIENCE, "the last word", channel.send(&Message::Go, &[]));
    if let Err(error) = go.await {
        tracing::error!("the process that has taken over is gone already: {error}");
    }
    Ok(())
}

/// Tells it all, up to the answer of the new process that it has it. How many nodes and links there were.
async fn tell(
    agent: &Arc<Agent>,
    channel: &mut Channel,
    mut pieces: UnboundedReceiver<Piece>,
) -> Result<(usize, usize), Error> {
    let under_way = tokio::time::timeout(UNDER_WAY, agent.set_ups.wait());
    under_way
        .await
        .map_err(|_| Error::TimedOut("the end of set-ups that are under way"))?;
    let (mut nodes, mut links) = (expected_nodes(agent), expected_links(agent));
    let (mut told_nodes, mut told_links) = (0, 0);
    while !nodes.is_empty() || !links.is_empty() {
        let piece = tokio::select! {
            biased;
            Some(piece) = pieces.recv() => piece,
            () = tokio::time::sleep(LOOK) => {
                nodes.retain(|_, node| agent.locals.by_name(node).is_some());
                links.retain(|id| stands(agent, *id));
                continue;
            }
        };
        match &piece.message {
            Message::Node(node, _) => {
                nodes.remove(&node.name);
                told_nodes += 1;
            }
            Message::Link(link, _) => {
                links.remove(&link.id);
                told_links += 1;
            }
            _ => {}
        }
        channel.send(&piece.message, &piece.sockets).await?;
    }
    let stand_ins = agent.standins.freeze()?;
    let tables = agent.enforcement.freeze();
    let counts = agent.handovers.before.load(Relaxed);
    let done = Done {
        nodes: told_nodes,
        stand_ins: stand_ins.len(),
        tables: tables.len(),
        links: told_links,
        settled: agent
            .control
            .as_ref()
            .is_none_or(|control| control.is_ready()),
        counts: Counts {
            handovers: counts,
            links: agent.registry.newest(),
            creations: agent.creations.load(Relaxed),
        },
    };
    for (target, port, sockets) in stand_ins {
        let target = target.to_string();
        let stand_in = Message::StandIn(StandIn { target, port });
        channel.send(&stand_in, &sockets).await?;
    }
    for (table, parts) in tables {
        channel.send(&Message::Table(table, parts), &[]).await?;
    }
    channel.send(&Message::Done(done), &[]).await?;
    match channel.receive().await? {
        (Message::Taken, _) => Ok((told_nodes, told_links)),
        (Message::Refused(refused), _) => Err(Error::NotHandedOver(refused.why)),
        (other, _) => Err(unexpected(&other)),
    }
}

fn expected_nodes(agent: &Agent) -> BTreeMap<String, NodeName> {
    let nodes = agent.locals.all().into_iter();
    nodes
        .map(|local| (local.name.to_string(), local.name))
        .collect()
}

/// Has all links between nodes that can be resumed give up their connections. Those to services, and those whose names are changed
/// here, end with this process.
fn expected_links(agent: &Agent) -> BTreeSet<u64> {
    let mut links = BTreeSet::new();
    for link in agent.registry.snapshot() {
        if let Some(live) = link.live().filter(|live| live.outlives)
            && link.still_holds().is_ok()
            && link.service.is_none()
            && link.across.is_none()
        {
            live.give_up();
            links.insert(link.id);
        }
    }
    links
}

fn stands(agent: &Agent, id: u64) -> bool {
    let link = agent.registry.by_id(id);
    link.is_some_and(|link| {
        link.still_holds().is_ok() && link.live().is_some_and(|live| !live.is_over())
    })
}

fn unexpected(message: &Message) -> Error {
    failed(&format!("found {:?} out of turn", message.kind()))
}
