//! Any other TCP service rides along: one connection of a client to a service is one link, with the certificate of a node of
//! each host, found, proven, decided, watched, resumed and re-authenticated as links between nodes are. What differs is here: how
//! a client of this host gets in (`door`), how a service of this host is reached (`offer`), and what is counted (`tally`).
//! The bytes are moved in `relay`.

mod door;
mod doors;
mod offer;
mod tally;
pub mod view;

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use skans_link::Hello;
use tokio::net::{TcpStream, UnixStream};

use crate::Error;
use crate::agent::Agent;
use crate::enforce;
use crate::events::{Denial, FAILED, Subject};
use crate::registry::{Direction, Link};
use crate::told::parties;

pub use doors::{Doors, Prepared};
pub use offer::reach;
pub use tally::{Tally, UNKNOWN};

/// The service that a HELLO asks for; `None` for the node itself.
///
/// # Errors
/// [`Error::WrongName`] for what no service can be called: it goes no further, into no log and no policy.
pub fn asked(hello: &Hello) -> Result<Option<&str>, Error> {
    match hello.service.as_str() {
        "" => Ok(None),
        name if skans_policy::name::is_label(name) => Ok(Some(name)),
        _ => Err(Error::WrongName(
            "asked for a service by a name that none can have, wanted 1 to 63 of a-z 0-9 - with a letter first"
                .to_owned(),
        )),
    }
}

/// How long a process of a release that does not hand over doors may take to let go of them, once it has handed over everything else.
const LETS_GO: Duration = Duration::from_secs(30);

/// Opens the doors of the configuration that were not handed over, as soon as nobody else has them: those of a process that knows no
/// [`FORMAT_SERVICES`](skans_handover::FORMAT_SERVICES), those beyond what goes over, and new ones.
pub async fn open_late(agent: Arc<Agent>) {
    let since = Instant::now();
    loop {
        let settings = agent.settings();
        match agent.doors.prepare(&settings.config, &agent.users) {
            Ok(prepared) => return agent.doors.install(&agent, prepared),
            Err(error) if since.elapsed() >= LETS_GO => {
                return tracing::error!("services are not used until a reload: {error}");
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// Whether the configuration still has what a link is for.
///
/// # Errors
/// [`Error::UnknownService`].
pub fn check(agent: &Agent, link: &Link) -> Result<(), Error> {
    let Some(service) = &link.service else {
        return Ok(());
    };
    let (node, known) = match link.direction {
        Direction::Inbound => {
            let settings = agent.settings();
            (&link.local, settings.offer(&link.local, service).is_some())
        }
        Direction::Outbound => {
            let leads = agent.doors.leads(&link.local, &link.peer, service);
            (&link.peer, leads)
        }
    };
    if known {
        return Ok(());
    }
    Err(Error::UnknownService {
        node: node.to_string(),
        service: service.to_string(),
    })
}

/// Tells that a connection came to nothing that was permitted, once with a count for each reason. What is not permitted is told by who
/// decides that.
pub fn told(agent: &Agent, link: &Link, error: &Error) {
    let (
        Some(service),
        Error::ServiceDown { .. } | Error::UnknownService { .. } | Error::TooMany { .. },
    ) = (&link.service, error)
    else {
        return;
    };
    let (own, other) = parties(link);
    agent.events.share(&own, &other).denied(&Denial {
        direction: link.direction,
        action: FAILED,
        reason: error.label(),
        dry_run: false,
        resource: Subject::Service(service),
        carries_function: false,
        via_pid: false,
        version: enforce::version(&agent.policies),
        session: link.correlation(),
    });
}

/// A Unix socket as what links are made of. Both are stream sockets: the kernel reads, writes and shuts them down by the same calls,
/// and nothing else is asked of one here.
///
/// # Errors
/// The system's, in handing it over.
fn as_stream(socket: UnixStream) -> std::io::Result<TcpStream> {
    let socket = OwnedFd::from(socket.into_std()?);
    TcpStream::from_std(std::net::TcpStream::from(socket))
}
