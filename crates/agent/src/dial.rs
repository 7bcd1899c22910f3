//! Reaching the agent of a node: where it is, TCP, TLS, and who answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use skans_dist::NodeName;
use skans_identity::verify::Usage;
use skans_link::SessionId;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::Error;
use crate::across::{self, Across, Foreign};
use crate::agent::Agent;
use crate::buffered::Buffered;
use crate::control::Sighting;
use crate::gateway::reach;
use crate::identities::{CallerIdentity, Identities};
use crate::proof::{self, Proof};
use crate::settings::{Place, Settings};
use crate::setup::within;
use crate::wire;

/// How many addresses of one name are tried. A headless service lists every pod; a node name means
/// one of them, so more than a few is a mistake in DNS.
const MAX_ADDRESSES: usize = 8;

/// A TLS connection to an agent that has proven an identity.
pub struct Dialled {
    /// The connection.
    pub tls: TlsStream<Buffered>,
    /// Who answered, and where. Verified, but not yet compared with the name that was dialled.
    pub proof: Proof,
    /// What both nodes are called over there, if that is another cluster.
    pub across: Option<Across>,
    /// To be reported, with the session once the other agent has welcomed it: then it knows of it.
    pub seen: Sighting,
}

/// Connects to the agent that serves `target`, in the name of `local`, for this session.
pub async fn connect(
    agent: &Arc<Agent>,
    settings: &Settings,
    caller: &CallerIdentity,
    (local, target): (&NodeName, &NodeName),
    session: SessionId,
) -> Result<Dialled, Error> {
    agent.shows(&session, &caller.evidence);
    let limit = settings.config.links.handshake_timeout;
    let Some(place) = settings.place(target) else {
        let foreign = across::behind(&agent.policies.current().links, target);
        let foreign = foreign.ok_or_else(|| Error::Unresolved(target.to_string()))?;
        let local = (local, session);
        return Box::pin(connect_across(agent, settings, caller, local, foreign)).await;
    };
    let (text, addresses) = match place {
        // Local to local goes the same way, so that the same rules hold.
        Place::Here => (
            agent.link_address.to_string(),
            vec![own_address(agent.link_address)],
        ),
        Place::There(text) => {
            let found = within(
                limit,
                "looking up the peer's agent",
                look_up(target.as_str(), &text),
            )
            .await?;
            (text, found)
        }
    };
    let socket = within(
        limit,
        "connecting to the peer's agent",
        reach_any(target.as_str(), &text, &addresses, limit),
    )
    .await?;
    let address = socket
        .peer_addr()
        .map_err(|error| Error::Internal(error.to_string()))?;
    socket
        .set_nodelay(true)
        .map_err(|error| Error::Internal(format!("cannot set TCP_NODELAY: {error}")))?;
    let name = agent.identities.server_name(target, settings);
    prove(agent, caller, socket, address, name, limit).await
}

/// The same for a node of another cluster, through the gateways of both.
async fn connect_across(
    agent: &Arc<Agent>,
    settings: &Settings,
    caller: &CallerIdentity,
    (local, session): (&NodeName, SessionId),
    target: Foreign,
) -> Result<Dialled, Error> {
    let limit = settings.config.links.handshake_timeout;
    let from = (local.as_str(), session);
    let way = reach::from_here(agent, settings, caller, from, &target).await?;
    let name = Identities::server_name_there(&target.trust_domain, &target.name)?;
    let dialled = prove(agent, caller, way.socket, way.address, name, limit).await?;
    let own = way.alias.parse();
    Ok(Dialled {
        across: Some(Across {
            own: own.map_err(|error: skans_dist::Error| Error::WrongName(error.to_string()))?,
            there: target.name,
        }),
        ..dialled
    })
}

/// TLS with the agent at the other end, and who that is.
async fn prove(
    agent: &Arc<Agent>,
    caller: &CallerIdentity,
    socket: TcpStream,
    address: SocketAddr,
    name: ServerName<'static>,
    limit: Duration,
) -> Result<Dialled, Error> {
    let connector = TlsConnector::from(Arc::clone(&caller.client));
    let handshake = async {
        connector
            .connect(name, Buffered::new(socket))
            .await
            .map_err(|error| wire::lost(address, error))
    };
    let tls = within(limit, "TLS with the peer's agent", handshake).await?;
    let (_, state) = tls.get_ref();
    let seen = agent.saw(state);
    let verifier = agent.identities.verifier();
    let proof = Proof {
        peer: proof::evidence(state, &verifier, Usage::Server, address)?,
        own: Arc::clone(&caller.evidence),
        address,
        tls: wire::facts(state),
    };
    Ok(Dialled {
        tls: TlsStream::Client(tls),
        proof,
        across: None,
        seen,
    })
}

/// The addresses of `host:port`, where the agent of a node is.
pub async fn look_up(target: &str, text: &str) -> Result<Vec<SocketAddr>, Error> {
    let unreachable = |source| Error::Unreachable {
        node: target.to_string(),
        address: text.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host(text).await.map_err(unreachable)?;
    Ok(found.take(MAX_ADDRESSES).collect())
}

/// Connects to the first of these addresses that answers.
pub async fn reach_any(
    target: &str,
    text: &str,
    addresses: &[SocketAddr],
    limit: Duration,
) -> Result<TcpStream, Error> {
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    // The time is shared, so that one address that swallows everything does not hide the others.
    let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
    for address in addresses {
        match tokio::time::timeout(share, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => last = error,
            Err(_) => last = std::io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Error::Unreachable {
        node: target.to_string(),
        address: text.to_owned(),
        source: last,
    })
}

/// The address at which this agent reaches its own link port.
fn own_address(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        ip if !ip.is_unspecified() => ip,
        std::net::IpAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
        std::net::IpAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
    };
    SocketAddr::new(ip, listen.port())
}
