//! A peer asks for a service of this host: whether it is offered, and the connection to it.

use std::io;
use std::time::Duration;

use tokio::net::{TcpStream, UnixStream};

use super::as_stream;
use crate::Error;
use crate::agent::Agent;
use crate::config::Endpoint;
use crate::registry::{Direction, Registered};
use crate::settings::Offered;

/// Connects to the service that a link was registered for, and permitted to use.
///
/// # Errors
/// [`Error::UnknownService`], [`Error::TooMany`], [`Error::ServiceDown`].
pub async fn reach(agent: &Agent, link: &Registered, service: &str) -> Result<TcpStream, Error> {
    let settings = agent.settings();
    let offer = settings
        .offer(&link.local, service)
        .ok_or_else(|| Error::UnknownService {
            node: link.local.to_string(),
            service: service.to_owned(),
        })?;
    // It is registered itself, and so are those that come at the same time: rather none of two than one too many.
    let present = agent.registry.count(|other| {
        other.direction == Direction::Inbound
            && other.local == link.local
            && other.service.as_deref() == Some(service)
    });
    if present > offer.max_connections {
        return Err(Error::TooMany {
            what: format!("connections to {service}"),
            limit: offer.max_connections,
        });
    }
    let limit = settings.config.links.handshake_timeout;
    let down = |source| Error::ServiceDown {
        service: service.to_owned(),
        target: offer.target.to_string(),
        source,
    };
    // One that hangs is not waited for by everybody.
    let mut trial = agent
        .targets
        .admit(&offer.target.to_string())
        .map_err(|open| down(io::Error::other(open.to_string())))?;
    let reached = connect(agent, offer, limit).await.map_err(down);
    trial.ended(reached.as_ref().err());
    reached
}

async fn connect(agent: &Agent, offer: &Offered, limit: Duration) -> io::Result<TcpStream> {
    let reached = async {
        match &offer.target {
            Endpoint::Tcp(address) => {
                // Messages would pass there that nobody has judged.
                if agent.locals.all().iter().any(|local| {
                    local.address.port() == address.port()
                        && local.address.ip().to_canonical() == address.ip().to_canonical()
                }) {
                    return Err(io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        "a node of this host listens there for its peers, and no service",
                    ));
                }
                let socket = TcpStream::connect(address).await?;
                socket.set_nodelay(true)?;
                Ok(socket)
            }
            Endpoint::Unix(path) => as_stream(UnixStream::connect(path).await?),
        }
    };
    tokio::time::timeout(limit, reached)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
