//! Asking a gateway for a way: an agent asks one of its own cluster, a gateway one of the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use rustls::{ClientConfig, CommonState};
use skans_identity::federation::link::Link;
use skans_identity::id::{Role, TrustDomain};
use skans_identity::tls::{self, GATEWAY_ALPN};
use skans_identity::verify::{Evidence, Usage, Verifier};
use skans_link::{Answer, Ask, End, MAX_WAY};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Error;
use crate::across::Foreign;
use crate::agent::Agent;
use crate::identities::{CallerIdentity, Identities};
use crate::proof;
use crate::settings::Settings;
use crate::setup::within;
use crate::{dial, wire};

/// Whom a gateway has to be.
pub enum Wanted<'a> {
    /// One of this cluster.
    Ours,
    /// One at the other end of this link.
    Theirs(&'a Link),
}

/// A way that is open: what is written to it comes to an agent of the other cluster.
#[derive(Debug)]
pub struct Way {
    /// The connection, without TLS from here on.
    pub socket: TcpStream,
    /// The gateway.
    pub address: SocketAddr,
    /// What the caller is called over there.
    pub alias: String,
}

/// Opens a way from a node of this host to one of another cluster, by the first gateway of ours that can.
///
/// # Errors
/// [`Error::NotPermitted`] if one on the way says no; [`Error::Unreachable`] or another that may go by if none has got through.
pub async fn from_here(
    agent: &Arc<Agent>,
    settings: &Settings,
    caller: &CallerIdentity,
    (local, session): (&str, [u8; 16]),
    target: &Foreign,
) -> Result<Way, Error> {
    let config = &settings.config;
    let ask = Ask {
        session,
        from: End {
            trust_domain: config.trust_domain.clone(),
            cluster: config.cluster.clone(),
            node: local.to_owned(),
        },
        to: End {
            trust_domain: target.trust_domain.as_str().to_owned(),
            cluster: target.cluster.clone(),
            node: target.name.to_string(),
        },
    };
    first(
        agent,
        &config.peers.gateways,
        &caller.client,
        &ask,
        &Wanted::Ours,
        config.links.handshake_timeout,
    )
    .await
}

/// Asks one gateway after the other, but for those whose circuit is open; last those that did not get through lately where others did.
/// One that answers is there, whatever is wrong behind it.
///
/// # Errors
/// As [`from_here`].
pub async fn first(
    agent: &Agent,
    addresses: &[String],
    client: &Arc<ClientConfig>,
    ask: &Ask,
    wanted: &Wanted<'_>,
    limit: Duration,
) -> Result<Way, Error> {
    let mut last = Error::Unresolved(ask.to.node.clone());
    let mut failed = Vec::new();
    for address in agent.ways.outliers.last(addresses, Instant::now()) {
        let mut trial = match agent.breakers.admit(address) {
            Ok(trial) => trial,
            Err(error) => {
                last = error;
                continue;
            }
        };
        let asked = Box::pin(one(agent, address, client, ask, wanted, limit)).await;
        trial.ended(asked.as_ref().err());
        match asked.and_then(|answered| way(address, ask, answered)) {
            Ok(way) => {
                agent.breakers.alive(address);
                agent
                    .ways
                    .outliers
                    .got_through(address, &failed, Instant::now());
                return Ok(way);
            }
            Err(error @ Error::NotPermitted { .. }) => return Err(error),
            Err(error) => {
                tracing::debug!(%address, to = %ask.to.node, reason = error.label(), "no way by this gateway: {error}");
                last = error;
                failed.push(address);
            }
        }
    }
    Err(last)
}

async fn one(
    agent: &Agent,
    address: &str,
    client: &Arc<ClientConfig>,
    ask: &Ask,
    wanted: &Wanted<'_>,
    limit: Duration,
) -> Result<(TcpStream, SocketAddr, Answer), Error> {
    let found = within(
        limit,
        "looking up a gateway",
        dial::look_up(&ask.to.node, address),
    )
    .await?;
    let reached = dial::reach_any(&ask.to.node, address, &found, limit);
    let socket = within(limit, "connecting to a gateway", reached).await?;
    let internal = |error: std::io::Error| Error::Internal(error.to_string());
    let at = socket.peer_addr().map_err(internal)?;
    socket.set_nodelay(true).map_err(internal)?;
    let domain = match wanted {
        Wanted::Ours => agent.identities.trust_domain(),
        Wanted::Theirs(link) => &link.peer.trust_domain,
    };
    let asked = ask_over(agent, socket, at, (client, domain), ask, wanted);
    let (socket, answer) = within(limit, "asking a gateway for a way", asked).await?;
    Ok((socket, at, answer))
}

/// What an answer means.
fn way(
    gateway: &str,
    ask: &Ask,
    (socket, address, answer): (TcpStream, SocketAddr, Answer),
) -> Result<Way, Error> {
    match answer {
        Answer::Open { alias } => Ok(Way {
            socket,
            address,
            alias,
        }),
        Answer::Refused(why) => Err(Error::NotPermitted {
            from: ask.from.node.clone(),
            to: ask.to.node.clone(),
            why: format!("gateway {gateway}: {}", why.escape_debug()),
        }),
        Answer::Unreachable(why) => Err(Error::Unreachable {
            node: ask.to.node.clone(),
            address: gateway.to_owned(),
            source: std::io::Error::other(why.escape_debug().to_string()),
        }),
    }
}

async fn ask_over(
    agent: &Agent,
    socket: TcpStream,
    at: SocketAddr,
    (client, domain): (&Arc<ClientConfig>, &TrustDomain),
    ask: &Ask,
    wanted: &Wanted<'_>,
) -> Result<(TcpStream, Answer), Error> {
    let connector = TlsConnector::from(tls::to_gateway(client));
    let lost = |error| wire::lost(at, error);
    // Not buffered: what follows the answer belongs to the link.
    let mut tls = connector
        .connect(Identities::gateway_name(domain)?, socket)
        .await
        .map_err(lost)?;
    let (_, state) = tls.get_ref();
    // On a way, not on a link.
    drop(agent.saw(state));
    let verifier = agent.identities.verifier();
    let evidence = proven(state, &verifier, Usage::Server, at)?;
    check(&agent.settings(), &evidence, wanted)?;
    tls.write_all(&ask.encode()).await.map_err(lost)?;
    tls.flush().await.map_err(lost)?;
    let answer = Answer::decode(&read(&mut tls).await.map_err(lost)?)?;
    Ok((tls.into_inner().0, answer))
}

/// Who is at the other end of a connection to or from a gateway.
///
/// # Errors
/// [`Error::Tls`].
pub fn proven(
    state: &CommonState,
    verifier: &Verifier,
    usage: Usage,
    address: SocketAddr,
) -> Result<Evidence, Error> {
    tls::established_for(state, GATEWAY_ALPN)
        .map_err(|refusal| proof::refused(address, &refusal))?;
    let chain = state.peer_certificates().unwrap_or_default();
    verifier
        .evidence(chain, usage, UnixTime::now())
        .map_err(|refusal| proof::refused(address, &refusal))
}

/// Whether whoever answers is the gateway that is wanted.
pub(super) fn check(
    settings: &Settings,
    evidence: &Evidence,
    wanted: &Wanted<'_>,
) -> Result<(), Error> {
    let id = &evidence.peer.id;
    match wanted {
        Wanted::Theirs(link) => link
            .is_gateway(evidence, UnixTime::now())
            .map_err(|refusal| Error::WrongName(refusal.to_string())),
        Wanted::Ours => {
            let config = &settings.config;
            // Clusters of ours may share a root: the issuer says which one it is of, where it can.
            let elsewhere = evidence.cluster.as_ref();
            let ours = id.trust_domain().as_str() == config.trust_domain
                && elsewhere.is_none_or(|cluster| *cluster == config.cluster);
            if ours && matches!(id.role(), Some(Role::Gateway(_))) {
                return Ok(());
            }
            Err(Error::WrongName(format!(
                "{id} answers as a gateway, wanted spiffe://{}/skans/gateway/... of cluster {}",
                config.trust_domain, config.cluster
            )))
        }
    }
}

/// The next message, without its length. Takes not a byte of what is behind it.
///
/// # Errors
/// What the connection says; one that is too long.
pub async fn read<R: AsyncRead + Unpin>(from: &mut R) -> std::io::Result<Vec<u8>> {
    let length = usize::from(from.read_u16().await?);
    if length > MAX_WAY {
        return Err(std::io::Error::new(
            std::io::ErrorKind::InvalidData,
            format!("found a message of {length} bytes, wanted {MAX_WAY} at most"),
        ));
    }
    let mut message = vec![0; length];
    from.read_exact(&mut message).await?;
    Ok(message)
}
