//! What both ends of a set-up share: flags, names and permission.

use std::time::Duration;

use aws_lc_rs::digest;
use rustls::pki_types::UnixTime;
use skans_dist::NodeName;
use skans_dist::flags::Flags;
use skans_identity::federation::link::Links;
use skans_identity::id::{CLI, Role};
use skans_identity::peer::PeerIdentity;

use crate::Error;
use crate::across;
use crate::agent::Agent;
use crate::enforce;
use crate::keeper;
use crate::proof::{self, Proof};
use crate::registry::Link;
use crate::services;
use crate::settings::Settings;

/// Stands before the `@` while the called node has not given the caller its name yet.
pub const UNNAMED: &str = "?";

/// Runs a step with a bound on its time.
pub async fn within<T>(
    limit: Duration,
    what: &'static str,
    step: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    tokio::time::timeout(limit, step)
        .await
        .unwrap_or(Err(Error::TimedOut(what)))
}

/// The flags that go on: those that this agent understands, without `PUBLISHED` on a hidden link.
/// Each node uses what both say, so both N messages go through here.
#[must_use]
pub fn flags(claimed: Flags, visible: bool) -> Flags {
    let known = claimed.known();
    if visible {
        known
    } else {
        known.without(Flags::PUBLISHED)
    }
}

/// What a node is told of its peer's flags, beside [`flags`]: `SPAWN` is taken away where the policy forbids the node to ask
/// for it. Each agent does so for its own node alone, so that the other direction stays as it is. Receivers do not look:
/// the operations are refused as well.
#[must_use]
pub fn told(flags: Flags, may_spawn: bool) -> Flags {
    if may_spawn {
        flags
    } else {
        flags.without(Flags::SPAWN)
    }
}

/// The digest under which a link is visible from this side; `None` hides it: by the names ([`Settings::clique`]), or since the
/// policy forbids one of the two nodes to publish itself. What forbids it goes into the digest, so that agents whose sets
/// hide other nodes hide each other's, and cliques stay closed (docs/decisions/0006).
pub fn clique(
    agent: &Agent,
    settings: &Settings,
    (from, to): (&NodeName, &NodeName),
    proof: &Proof,
) -> Option<[u8; 32]> {
    // Nothing of another cluster is published here, nor anything of ours there.
    if !across::is_ours(settings, proof.identity()) {
        return None;
    }
    let names = settings.clique(from, to)?;
    let in_force = agent.policies.current();
    let rules = in_force.engine.unpublished(keeper::now().as_secs());
    let Some(rules) = rules else {
        return Some(names);
    };
    let publishes = [&*proof.own, &proof.peer]
        .into_iter()
        .all(|end| enforce::publishes(&in_force, &end.peer));
    publishes.then(|| with_rules(&names, rules))
}

fn with_rules(names: &[u8; 32], rules: &str) -> [u8; 32] {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"skans-clique-policy-v1\n");
    context.update(names);
    context.update(rules.as_bytes());
    let mut out = [0; 32];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The name of a node whose name is still to be given: `?@host`.
pub fn unnamed(host: &str) -> Result<NodeName, Error> {
    NodeName::from_parts(UNNAMED, host).map_err(|error| Error::WrongName(error.to_string()))
}

/// A name that a node has: [`UNNAMED`] is none.
pub fn named(name: NodeName) -> Result<NodeName, Error> {
    if name.alive() == UNNAMED {
        return Err(Error::WrongName(format!(
            "found {name}, wanted a name: {UNNAMED:?} stands for nodes that have none yet"
        )));
    }
    Ok(name)
}

/// Whether a connection may carry a link: by the trust, the deny set, the settings and the policy as they are now. To be asked once it stands in the registry: a change that finds no link there decides
/// none, so what comes before is found here, and what comes after finds the link.
pub fn decide(agent: &Agent, link: &Link, proof: &Proof) -> Result<(), Error> {
    let verifier = agent.identities.verifier();
    for evidence in [&proof.peer, &*proof.own] {
        verifier
            .recheck(evidence, UnixTime::now())
            .map_err(|refusal| proof::refused(proof.address, &refusal))?;
    }
    let links = &agent.policies.current().links;
    check_names(&agent.settings(), links, link, proof)?;
    enforce::connect(agent, link, proof)?;
    // Last: who may not use a service does not learn whether there is one.
    services::check(agent, link)
}

fn check_names(
    settings: &Settings,
    links: &Links,
    link: &Link,
    proof: &Proof,
) -> Result<(), Error> {
    let identity = proof.identity();
    let (local, peer) = link.names();
    if across::is_ours(settings, identity) {
        check_identity(settings, identity, peer)?;
    } else {
        across::check(settings, links, link.direction, identity, (local, peer))?;
    }
    check_pair(settings, local, peer)
}

/// Whether a peer's certificate lets it be called by this name, in this cluster.
pub fn check_identity(
    settings: &Settings,
    identity: &PeerIdentity,
    name: &NodeName,
) -> Result<(), Error> {
    let config = &settings.config;
    let id = &identity.id;
    let Some(Role::Node { cluster, node, .. }) = id.role() else {
        return Err(Error::WrongName(format!(
            "{id} is not the identity of a node, and claims {name}"
        )));
    };
    if id.trust_domain().as_str() != config.trust_domain || cluster != config.cluster {
        return Err(Error::WrongName(format!(
            "{id} is of another trust domain or cluster, wanted spiffe://{}/cluster/{}/...",
            config.trust_domain, config.cluster
        )));
    }
    if name.alive() == UNNAMED {
        let own = identity.host.as_ref().map(ToString::to_string);
        return if node == CLI && own.as_deref() == Some(name.host()) {
            Ok(())
        } else {
            Err(Error::WrongName(format!(
                "{id} may not be given a name at {}",
                name.host()
            )))
        };
    }
    identity
        .may_carry(name.alive(), name.host(), &settings.cli_patterns)
        .map_err(|refusal| Error::WrongName(refusal.to_string()))
}

/// Whether a peer of this cluster's trust domain claims the name of somebody else. Who is of another cluster under the same root does not: it has
/// come to the wrong place.
#[must_use]
pub fn spoofs(settings: &Settings, identity: &PeerIdentity, name: &NodeName) -> bool {
    let id = &identity.id;
    let elsewhere =
        matches!(id.role(), Some(Role::Node { .. })) && !across::is_ours(settings, identity);
    id.trust_domain().as_str() == settings.config.trust_domain
        && !elsewhere
        && check_identity(settings, identity, name).is_err()
}

/// Whether a pair may connect, by the names alone.
pub fn check_pair(settings: &Settings, from: &NodeName, to: &NodeName) -> Result<(), Error> {
    match settings.refusal(from, to) {
        None => Ok(()),
        Some(why) => Err(Error::NotPermitted {
            from: from.to_string(),
            to: to.to_string(),
            why,
        }),
    }
}

#[cfg(test)]
mod tests;
