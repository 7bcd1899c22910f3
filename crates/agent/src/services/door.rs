//! A client of this host goes through a door: from its first byte to the service of another host.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use skans_link::{Frame, Hello, Session, VERSION_MAX, VERSION_SERVICE};
use tokio::net::TcpStream;

use super::doors::Door;
use crate::agent::Agent;
use crate::registry::{Direction, Link, NewLink, Registered};
use crate::settings::Settings;
use crate::setup::{self, within};
use crate::traces::{self, Step};
use crate::wire::LinkStream;
use crate::{Error, dial, outbound, random};

/// Serves one connection.
pub async fn serve(agent: Arc<Agent>, client: TcpStream, user: Option<u32>, door: Arc<Door>) {
    // Counted from here to its end.
    let Ok(place) = Arc::clone(&door.places).try_acquire_owned() else {
        let error = Error::TooMany {
            what: format!("connections to {} of {}", door.service, door.from),
            limit: door.limit,
        };
        return refuse(&agent, &client, &door, &error);
    };
    let _under_way = agent.set_ups.token();
    let settings = agent.settings();
    let limit = settings.config.links.setup_timeout;
    let mut link = None;
    let set_up = set_up(&agent, &settings, user, &door, &mut link);
    let made = tokio::select! {
        biased;
        () = agent.brake.pulled() => Err(outbound::replaced()),
        made = within(limit, "the set-up of a connection to a service", set_up) => made,
    };
    match made {
        Ok((registered, stream)) => {
            agent
                .registry
                .services
                .set_up(Direction::Outbound, &door.service, "ok");
            tracing::info!(link = registered.id, service = %door.service, local = %door.node, peer = %door.from, identity = %registered.proof().identity().id, address = %registered.proof().address, user, "service connected, outbound");
            outbound::carry(&agent, client, stream, registered, place);
        }
        Err(error) => {
            refuse(&agent, &client, &door, &error);
            drop(client);
            if let Some(mut stream) = link {
                stream.close(&error.to_close()).await;
            }
        }
    }
}

/// Nobody learns why by the connection itself: it is reset, as by a host where nobody listens.
fn refuse(agent: &Agent, client: &TcpStream, door: &Door, error: &Error) {
    let _ = rustix::net::sockopt::set_socket_linger(client, Some(Duration::ZERO));
    let services = &agent.registry.services;
    services.set_up(Direction::Outbound, &door.service, error.label());
    // A client that tries again and again does not fill the log.
    if let Some(left_out) = agent.restraint.admit(error.label(), Instant::now()) {
        let left_out = (left_out > 0).then_some(left_out);
        tracing::warn!(service = %door.service, local = %door.node, peer = %door.from, reason = error.label(), blame = ?error.blame(), retry = error.may_retry(), left_out, "service not connected, outbound: {error}");
    }
}

/// Everything up to the moment at which the service has taken the connection. On an error, `link` holds the connection to the
/// other agent if there is one, for the last word.
async fn set_up(
    agent: &Arc<Agent>,
    settings: &Settings,
    user: Option<u32>,
    door: &Door,
    link: &mut Option<LinkStream>,
) -> Result<(Registered, LinkStream), Error> {
    check_user(door, user)?;
    setup::check_pair(settings, &door.node, &door.from)?;
    agent.may_open()?;
    let began = traces::now();
    let credential = agent.identities.for_caller(&door.node, settings)?;
    let mut trial = outbound::admit(agent, settings, &door.from)?;
    let session = random()?;
    let names = (&door.node, &door.from);
    let stream = dial::connect(agent, settings, &credential, names, session).await;
    if let Some(trial) = &mut trial {
        // A service that takes its time says nothing of the agent before it.
        trial.ended(stream.as_ref().err());
    }
    let stream = stream?;
    let (address, dialled) = (stream.proof.address, traces::now());
    let registered = agent.registry.register(
        NewLink {
            local: door.node.clone(),
            peer: door.from.clone(),
            direction: Direction::Outbound,
            proof: stream.proof,
            across: None,
            service: Some(Arc::clone(&door.service)),
        },
        door.limit,
    );
    let mut wire = LinkStream::new(
        stream.tls,
        Session::initiator(session).for_service(),
        address,
    );
    // From here on the other agent gets to know why an attempt ends.
    let result = async {
        let registered = registered?;
        registered.begin(session);
        registered.steps.pass_at(Step::Began, began);
        registered.steps.pass_at(Step::Dialled, dialled);
        // Registered first: a change from here on finds this link and decides it again.
        setup::decide(agent, &registered, &registered.proof())?;
        registered.steps.pass(Step::Decided);
        let made = greet(&mut wire, session, &registered, &door.service);
        tokio::select! {
            made = made => {
                made?;
                stream.seen.on(session, registered.proof().identity(), address);
            }
            close = registered.ended() => return Err(Error::Ended(close)),
        }
        registered.still_holds()?;
        registered.up.store(true, Relaxed);
        Ok(registered)
    }
    .await;
    match result {
        Ok(registered) => Ok((registered, wire)),
        Err(error) => {
            *link = Some(wire);
            Err(error)
        }
    }
}

/// Only whom the configuration names. Root may always: it could take the place of the agent.
fn check_user(door: &Door, user: Option<u32>) -> Result<(), Error> {
    match user {
        Some(user) if user == 0 || door.users.contains(&user) => Ok(()),
        Some(user) => Err(Error::LocalStranger(format!(
            "a process of user {user} at {}, wanted user {:?} (services.uses[].users)",
            door.listen, door.users
        ))),
        None => Err(Error::LocalStranger(format!(
            "a process at {} that was gone before it could be identified",
            door.listen
        ))),
    }
}

/// What is said first.
fn greeting(session: [u8; 16], link: &Link, service: &str) -> Hello {
    Hello {
        // An agent that does not know services would take it for a node's.
        version_min: VERSION_SERVICE,
        version_max: VERSION_MAX,
        session,
        offset: 0,
        tick_seconds: 0,
        clique: None,
        from: link.local.to_string(),
        to: link.peer.to_string(),
        takeover: 0,
        resume: false,
        service: service.to_owned(),
    }
}

async fn greet(
    wire: &mut LinkStream,
    session: [u8; 16],
    link: &Registered,
    service: &str,
) -> Result<(), Error> {
    let hello = greeting(session, link, service);
    wire.send(&hello.encode()).await?;
    match wire.recv().await? {
        Frame::Welcome(_) => {
            wire.session.start_streaming();
            Ok(())
        }
        other => Err(Error::Internal(format!(
            "unexpected {:?} frame",
            other.kind()
        ))),
    }
}

#[cfg(test)]
mod tests;
