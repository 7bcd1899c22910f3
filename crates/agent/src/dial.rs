//! Reaching the agent of a node: where it is, TCP, TLS, and who answered.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use skans_dist::NodeName;
use skans_identity::verify::Usage;
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use crate::Error;
use crate::agent::Agent;
use crate::buffered::Buffered;
use crate::identities::CallerIdentity;
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
}

/// Connects to the agent that serves `target`.
pub async fn connect(
    agent: &Arc<Agent>,
    settings: &Settings,
    caller: &CallerIdentity,
    target: &NodeName,
) -> Result<Dialled, Error> {
    let limit = settings.config.links.handshake_timeout;
    let place = settings
        .place(target)
        .ok_or_else(|| Error::Unresolved(target.to_string()))?;
    let (text, addresses) = match place {
        // Local to local goes the same way, so that the same rules hold.
        Place::Here => (
            agent.link_address.to_string(),
            vec![own_address(agent.link_address)],
        ),
        Place::There(text) => {
            let found =
                within(limit, "looking up the peer's agent", look_up(target, &text)).await?;
            (text, found)
        }
    };
    let socket = within(
        limit,
        "connecting to the peer's agent",
        reach(target, &text, &addresses, limit),
    )
    .await?;
    let address = socket
        .peer_addr()
        .map_err(|error| Error::Internal(error.to_string()))?;
    socket
        .set_nodelay(true)
        .map_err(|error| Error::Internal(format!("cannot set TCP_NODELAY: {error}")))?;
    let name = agent.identities.server_name(target, settings);
    let connector = TlsConnector::from(Arc::clone(&caller.client));
    let handshake = async {
        connector
            .connect(name, Buffered::new(socket))
            .await
            .map_err(|error| wire::lost(address, error))
    };
    let tls = within(limit, "TLS with the peer's agent", handshake).await?;
    let (_, state) = tls.get_ref();
    agent.saw(state);
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
    })
}

async fn look_up(target: &NodeName, text: &str) -> Result<Vec<SocketAddr>, Error> {
    let unreachable = |source| Error::Unreachable {
        node: target.to_string(),
        address: text.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host(text).await.map_err(unreachable)?;
    Ok(found.take(MAX_ADDRESSES).collect())
}

async fn reach(
    target: &NodeName,
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
