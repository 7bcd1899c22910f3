//! Ways to nodes of other clusters (docs/decisions/0020): from an agent to a gateway of its cluster, from there to one of the other
//! cluster, from there to the agent of the node that is called. Each hop but the last is asked for over TLS; then the bytes of the link
//! follow as they are, inside of which the two agents prove each other. A gateway reads none of them, and can say nothing in them.
//!
//! What a gateway lets through is said here, asking one in `reach`, being asked in `serve`, carrying bytes in `pump`.

mod outliers;
mod pump;
pub mod reach;
pub mod serve;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use rustls::pki_types::UnixTime;
use skans_dist::NodeName;
use skans_identity::federation::link::Links;
use skans_identity::id::Role;
use skans_identity::verify::Evidence;
use skans_link::{Ask, End};

use crate::Error;
use crate::across;
use crate::lifecycle::Tally;
use crate::settings::{Place, Settings};

/// Ways through this gateway, for metrics.
#[derive(Debug, Default)]
pub struct Ways {
    /// Those that are open.
    pub open: AtomicU64,
    /// What became of those that were asked for.
    pub asked: Tally,
    /// Gateways that did not get through where others did.
    pub outliers: outliers::Outliers,
    /// Bytes carried, from who asked to where the way leads, and back.
    pub bytes: [AtomicU64; 2],
}

/// A way that is open, until it is dropped.
pub struct Counted<'a>(&'a Ways);

/// Ways that are open at once, at most. Ours: each takes two of the 262,144 sockets that a gateway asks the system for.
const MAX_WAYS: u64 = 65_536;

impl Ways {
    /// One more is to be opened.
    ///
    /// # Errors
    /// [`Error::TooMany`].
    pub fn enter(&self) -> Result<Counted<'_>, Error> {
        let counted = Counted(self);
        if self.open.fetch_add(1, Relaxed) >= MAX_WAYS {
            return Err(Error::TooMany {
                what: "links through this gateway".to_owned(),
                limit: usize::try_from(MAX_WAYS).unwrap_or(usize::MAX),
            });
        }
        Ok(counted)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Where a way leads on to from a gateway.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Next {
    /// A gateway at the other end of this link.
    Gateway {
        /// What the link is called here.
        link: String,
    },
    /// The agent of a node of this cluster.
    Agent {
        /// Where it is, `host:port`.
        address: String,
        /// What the caller is called here.
        alias: String,
    },
}

/// Decides where a way leads to that somebody asks for: from a node of this cluster to what a link imports, or from a gateway of a
/// linked cluster to what that link exports. Who calls from over there is proven to the agent, not here: it says who it wants to be,
/// and gets no further than to a node that its cluster may reach.
///
/// # Errors
/// What was found, and what would be let through.
pub fn decide(
    settings: &Settings,
    links: &Links,
    asker: &Evidence,
    ask: &Ask,
    now: UnixTime,
) -> Result<Next, String> {
    let config = &settings.config;
    let is_ours =
        |end: &End| end.trust_domain == config.trust_domain && end.cluster == config.cluster;
    let id = &asker.peer.id;
    let node = |end: &End| -> Result<NodeName, String> {
        let parsed = end.node.parse();
        parsed.map_err(|error: skans_dist::Error| error.to_string())
    };
    let (from, to) = (node(&ask.from)?, node(&ask.to)?);
    let identity_name = |name| across::identity_name(name).map_err(|error| error.to_string());
    let link = |end: &End| {
        let domain = skans_identity::id::TrustDomain::parse(&end.trust_domain);
        let link = domain
            .ok()
            .and_then(|domain| links.with(&domain, &end.cluster, now));
        link.ok_or_else(|| {
            format!(
                "no link with spiffe://{}/cluster/{} is in force",
                end.trust_domain, end.cluster
            )
        })
    };
    match id.role() {
        Some(Role::Node { cluster, .. })
            if id.trust_domain().as_str() == config.trust_domain && cluster == config.cluster =>
        {
            if !is_ours(&ask.from) {
                return Err(format!("{id} asks in the name of another cluster"));
            }
            asker
                .peer
                .may_carry(from.alive(), from.host(), &settings.cli_patterns)
                .map_err(|refusal| refusal.to_string())?;
            let link = link(&ask.to)?;
            if !link.imports_of(&identity_name(&to)?) {
                return Err(format!("{to} is nothing that link {} imports", link.name));
            }
            Ok(Next::Gateway {
                link: link.name.to_string(),
            })
        }
        Some(Role::Gateway(_)) => {
            let link = link(&ask.from)?;
            link.is_gateway(asker, now)
                .map_err(|refusal| refusal.to_string())?;
            if !is_ours(&ask.to) {
                return Err(format!(
                    "{id} asks for a node of spiffe://{}/cluster/{}: nothing leads on from here",
                    ask.to.trust_domain, ask.to.cluster
                ));
            }
            if !link.exports_of(&identity_name(&to)?) {
                return Err(format!("{to} is nothing that link {} exports", link.name));
            }
            let Some(Place::There(address)) = settings.place(&to) else {
                return Err(format!(
                    "{to} is exported, and neither peers.static nor peers.dns says where its agent is"
                ));
            };
            let alias = across::known_as(link, &from, &to).map_err(|error| error.to_string())?;
            Ok(Next::Agent { address, alias })
        }
        _ => Err(format!(
            "{id} is neither a node of this cluster nor a gateway of a linked one"
        )),
    }
}
