//! Being a gateway: whoever asks proves itself, is told whether there is a way, and then has its bytes carried until the way is not
//! permitted any more.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::UnixTime;
use skans_host::strangers::Waiting;
use skans_identity::sni::GATEWAY;
use skans_identity::tls;
use skans_identity::verify::{Evidence, Usage};
use skans_link::{Answer, Ask};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::reach::{self, Wanted, Way};
use super::{Next, decide, pump};
use crate::agent::Agent;
use crate::events::hex;
use crate::settings::Settings;
use crate::setup::within;
use crate::traces::{self, Asked};
use crate::{Error, dial, enforce, wire};

/// Serves one connection to the gateway's port.
pub async fn serve(agent: Arc<Agent>, socket: TcpStream, address: SocketAddr, waiting: Waiting) {
    let settings = agent.settings();
    let limit = settings.config.links.handshake_timeout;
    let began = traces::now();
    let asked = within(
        limit,
        "being asked for a way",
        hear(&agent, socket, address),
    );
    let asked = tokio::select! {
        asked = asked => asked,
        () = waiting.evicted.cancelled() => return,
        () = agent.stopping.cancelled() => return,
    };
    let (mut tls, evidence, ask) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            agent.ways.asked.count(error.label());
            if let Some(left_out) = agent.restraint.admit(error.label(), Instant::now()) {
                let left_out = (left_out > 0).then_some(left_out);
                tracing::warn!(%address, reason = error.label(), blame = ?error.blame(), left_out, "not heard by the gateway: {error}");
            }
            return;
        }
    };
    drop(waiting);
    let traced = Asked {
        ask: &ask,
        by: evidence.peer.id.to_string(),
        began,
    };
    let opened = async {
        let counted = agent.ways.enter()?;
        let way = Box::pin(open(&agent, &settings, &evidence, &ask)).await?;
        Ok::<_, Error>((way, counted))
    };
    let opened = opened.await;
    let session = hex(&ask.session);
    let (from, to, by) = (&ask.from, &ask.to, &evidence.peer.id);
    let answer = match &opened {
        Ok((way, _)) => Answer::Open {
            alias: way.alias.clone(),
        },
        Err(error) => {
            agent.ways.asked.count(error.label());
            let version = enforce::version(&agent.policies);
            agent.traces.no_way(&traced, version, error);
            tracing::warn!(%session, from = %from.node, from_domain = %from.trust_domain, to = %to.node, to_domain = %to.trust_domain, %by, %address, reason = error.label(), "no way: {error}");
            match error {
                // Who asked reads it: what it says is about them.
                Error::NotPermitted { why, .. } => Answer::Refused(why.clone()),
                other => Answer::Unreachable(other.to_string()),
            }
        }
    };
    let told = async {
        tls.write_all(&answer.encode()).await?;
        tls.flush().await
    };
    let told = tokio::time::timeout(limit, told).await;
    let (Ok((way, _counted)), Ok(Ok(()))) = (opened, told) else {
        let _ = tokio::time::timeout(limit, tls.shutdown()).await;
        return;
    };
    tracing::info!(%session, from = %from.node, from_domain = %from.trust_domain, to = %to.node, to_domain = %to.trust_domain, %by, %address, next = %way.address, "way open");
    agent.ways.asked.count("ok");
    let told = agent
        .traces
        .open_way(&traced, enforce::version(&agent.policies));
    let Ok(told) = told.inspect_err(|error| tracing::error!(%session, "way not carried: {error}"))
    else {
        return;
    };
    let (mut near, mut far) = (tls.into_inner().0, way.socket);
    let counted = [&told.carried.bytes, &agent.ways.bytes];
    let (reason, ended) = tokio::select! {
        carried = pump::run(&mut near, &mut far, counted) => match carried {
            Ok(()) => ("done", "both have hung up".to_owned()),
            Err(error) => ("link_lost", error.to_string()),
        },
        why = no_longer(&agent, &evidence, &ask) => {
            tracing::warn!(%session, from = %from.node, to = %to.node, %by, "way closed: {why}");
            ("not_permitted", why)
        }
        () = agent.stopping.cancelled() => ("draining", "the gateway is being stopped".to_owned()),
    };
    let failed = matches!(reason, "link_lost" | "not_permitted");
    told.end(enforce::version(&agent.policies), reason, failed);
    tracing::info!(%session, from = %from.node, to = %to.node, "way ended: {ended}");
}

/// TLS, who it is, and what it asks.
async fn hear(
    agent: &Arc<Agent>,
    socket: TcpStream,
    address: SocketAddr,
) -> Result<(TlsStream<TcpStream>, Evidence, Ask), Error> {
    socket
        .set_nodelay(true)
        .map_err(|error| Error::Internal(format!("cannot set TCP_NODELAY: {error}")))?;
    let lost = |error| wire::lost(address, error);
    let acceptor = TlsAcceptor::from(tls::of_gateway(agent.identities.acceptor().config()));
    // Not buffered: what follows belongs to the link.
    let mut tls = acceptor.accept(socket).await.map_err(lost)?;
    let (_, state) = tls.get_ref();
    let seen = agent.saw(state);
    let verifier = agent.identities.verifier();
    let evidence = reach::proven(state, &verifier, Usage::Client, address)?;
    let ask = Ask::decode(&reach::read(&mut tls).await.map_err(lost)?)?;
    // The session of the link that the way is for, which its agent knows.
    seen.on(ask.session, &evidence.peer, address);
    Ok((tls, evidence, ask))
}

/// Decides, and reaches the next on the way.
async fn open(
    agent: &Arc<Agent>,
    settings: &Settings,
    evidence: &Evidence,
    ask: &Ask,
) -> Result<Way, Error> {
    let limit = settings.config.links.handshake_timeout;
    let refused = |why: String| Error::NotPermitted {
        from: ask.from.node.clone(),
        to: ask.to.node.clone(),
        why,
    };
    agent.may_open()?;
    let now = UnixTime::now();
    let links = Arc::clone(&agent.policies.current().links);
    match decide(settings, &links, evidence, ask, now).map_err(refused)? {
        Next::Gateway { link } => {
            let routes = settings.config.gateway.as_ref().map(|own| &own.routes);
            let addresses = routes.and_then(|routes| routes.get(&link));
            let addresses = addresses.ok_or_else(|| {
                Error::Unresolved(format!("{} (gateway.routes.{link})", ask.to.node))
            })?;
            let link = links.iter().find(|one| *one.name == *link);
            let link = link.ok_or_else(|| Error::Internal("a link without a name".to_owned()))?;
            let own = agent.identities.held(GATEWAY)?;
            reach::first(
                agent,
                addresses,
                &own.client,
                ask,
                &Wanted::Theirs(link),
                limit,
            )
            .await
        }
        Next::Agent { address, alias } => {
            let mut trial = agent.breakers.admit(&address)?;
            let reached = async {
                let found = dial::look_up(&ask.to.node, &address).await?;
                dial::reach_any(&ask.to.node, &address, &found, limit).await
            };
            let reached = within(limit, "connecting to the agent of a node", reached).await;
            trial.ended(reached.as_ref().err());
            let socket = reached?;
            let internal = |error: std::io::Error| Error::Internal(error.to_string());
            socket.set_nodelay(true).map_err(internal)?;
            Ok(Way {
                address: socket.peer_addr().map_err(internal)?,
                socket,
                alias,
            })
        }
    }
}

/// Waits until a way that is open would not be opened any more, and says why.
async fn no_longer(agent: &Arc<Agent>, evidence: &Evidence, ask: &Ask) -> String {
    let mut changes = agent.judged.subscribe();
    loop {
        let settings = agent.settings();
        let links = Arc::clone(&agent.policies.current().links);
        let now = UnixTime::now();
        // Nothing outlives the certificate that it was opened with; the link inside finds another way.
        if let Err(refusal) = agent.identities.verifier().recheck(evidence, now) {
            return refusal.to_string();
        }
        if let Err(why) = decide(&settings, &links, evidence, ask, now) {
            return why;
        }
        let ends = evidence.not_after.min(evidence.peer.not_after);
        let left = Duration::from_secs(ends.saturating_sub(now.as_secs()) + 1);
        tokio::select! {
            _ = changes.changed() => {}
            () = tokio::time::sleep(left) => {}
        }
    }
}
