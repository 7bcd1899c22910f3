//! What is told of a link besides its streams, and how it is read again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use skans_dist::NodeName;
use skans_handover as told;
use skans_identity::host::Host;
use skans_identity::id::SpiffeId;
use skans_identity::peer::PeerIdentity;
use skans_identity::verify::Evidence;

use super::failed;
use crate::Error;
use crate::proof::{Proof, TlsFacts};
use crate::registry::{Direction, Link, NewLink, Registered, Registry};

/// The only version of TLS that either side offers.
const TLS: &str = "TLSv1.3";

/// Tells it.
pub fn tell(link: &Link) -> told::Link {
    let proof = link.proof();
    let adrift = match link.adrift_since.load(Relaxed) {
        0 => 0,
        since => crate::keeper::now().as_secs().saturating_sub(since),
    };
    let traffic = &link.traffic;
    told::Link {
        id: link.id,
        since: link.since,
        local: link.local.to_string(),
        peer: link.peer.to_string(),
        given: link.given_name().map(ToString::to_string),
        outbound: link.direction == Direction::Outbound,
        visible: link.visible.load(Relaxed),
        peer_creation: link.peer_creation.load(Relaxed),
        flags: link.flags.load(Relaxed),
        takeovers: link.takeovers.load(Relaxed),
        resumed: link.resumed.load(Relaxed),
        tick_seconds: link.tick_seconds.load(Relaxed),
        adrift_ms: adrift * 1000,
        proof: told::Proof {
            peer: evidence(&proof.peer),
            own: evidence(&proof.own),
            address: proof.address,
            suite: proof.tls.suite.clone(),
            group: proof.tls.group.clone(),
        },
        traffic: told::Traffic {
            sent_bytes: traffic.sent.bytes.load(Relaxed),
            sent_ticks: traffic.sent.ticks.load(Relaxed),
            received_bytes: traffic.received.bytes.load(Relaxed),
            received_ticks: traffic.received.ticks.load(Relaxed),
        },
    }
}

fn evidence(evidence: &Evidence) -> told::Evidence {
    let peer = &evidence.peer;
    told::Evidence {
        id: peer.id.to_string(),
        host: peer.host.as_ref().map(ToString::to_string),
        not_before: peer.not_before,
        not_after: peer.not_after,
        serial: peer.serial.clone(),
        issuer: peer.issuer.clone(),
        key: peer.spki_sha256,
        signers: evidence.signers.clone(),
        cluster: evidence.cluster.clone(),
        ends: evidence.not_after,
    }
}

/// Puts it among the links, where whatever happens finds it.
///
/// # Errors
/// [`Error::Internal`] for names that are none, or a number that is there already.
pub fn register(registry: &Arc<Registry>, told: &told::Link) -> Result<Registered, Error> {
    let link = registry.register_again(
        (told.id, told.since),
        NewLink {
            local: name(&told.local)?,
            peer: name(&told.peer)?,
            direction: if told.outbound {
                Direction::Outbound
            } else {
                Direction::Inbound
            },
            across: None,
            service: None,
            proof: proof(&told.proof)?,
        },
    )?;
    if let Some(given) = &told.given {
        link.give(&name(given)?);
    }
    link.visible.store(told.visible, Relaxed);
    link.peer_creation.store(told.peer_creation, Relaxed);
    link.flags.store(told.flags, Relaxed);
    link.takeovers.store(told.takeovers, Relaxed);
    link.resumed.store(told.resumed, Relaxed);
    link.tick_seconds.store(told.tick_seconds, Relaxed);
    if told.adrift_ms > 0 {
        let since = crate::keeper::now().saturating_sub(Duration::from_millis(told.adrift_ms));
        link.adrift_since.store(since.as_secs(), Relaxed);
    }
    let traffic = &link.traffic;
    traffic.sent.bytes.store(told.traffic.sent_bytes, Relaxed);
    traffic.sent.ticks.store(told.traffic.sent_ticks, Relaxed);
    traffic
        .received
        .bytes
        .store(told.traffic.received_bytes, Relaxed);
    traffic
        .received
        .ticks
        .store(told.traffic.received_ticks, Relaxed);
    Ok(link)
}

/// A node name.
///
/// # Errors
/// [`Error::Internal`].
pub fn name(text: &str) -> Result<NodeName, Error> {
    text.parse()
        .map_err(|error: skans_dist::Error| failed(&error.to_string()))
}

fn proof(told: &told::Proof) -> Result<Proof, Error> {
    let address: SocketAddr = told.address;
    Ok(Proof {
        peer: read(&told.peer)?,
        own: Arc::new(read(&told.own)?),
        address,
        tls: TlsFacts {
            version: TLS,
            suite: told.suite.clone(),
            group: told.group.clone(),
        },
    })
}

fn read(told: &told::Evidence) -> Result<Evidence, Error> {
    let wrong = |error: skans_identity::Error| failed(&error.to_string());
    let host = told.host.as_deref().map(Host::parse).transpose();
    Ok(Evidence {
        peer: PeerIdentity {
            id: SpiffeId::parse(&told.id).map_err(wrong)?,
            host: host.map_err(wrong)?,
            not_before: told.not_before,
            not_after: told.not_after,
            serial: told.serial.clone(),
            issuer: told.issuer.clone(),
            spki_sha256: told.key,
        },
        signers: told.signers.clone(),
        cluster: told.cluster.clone(),
        not_after: told.ends,
    })
}

#[cfg(test)]
mod tests;
