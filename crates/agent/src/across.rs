//! Links to nodes of other clusters: who is called what on which side, and whether a link of ours lets it be (docs/decisions/0020).
//! How they are reached is in `gateway`, by which roots they are judged in `foreign`.

use rustls::pki_types::UnixTime;
use skans_dist::NodeName;
use skans_dist::rename::{Names, Renamer};
use skans_identity::federation::link::{Link, Links};
use skans_identity::id::{Role, TrustDomain};
use skans_identity::peer::PeerIdentity;

use crate::Error;
use crate::registry::Direction;
use crate::settings::Settings;

#[cfg(test)]
mod tests;

/// What both nodes of a link are called over there. The side that dials has it, and changes the names on the way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Across {
    /// The node of this host.
    pub own: NodeName,
    /// The node that is called, as it calls itself.
    pub there: NodeName,
}

impl Across {
    /// What changes the names: in what the node of this host sends, and in what comes back.
    ///
    /// # Errors
    /// [`Error::WrongName`] if two nodes would have one name over there.
    pub fn renamers(
        &self,
        local: &NodeName,
        peer: &NodeName,
        max_frame: u32,
    ) -> Result<(Renamer, Renamer), Error> {
        let pairs = [
            (local.clone(), self.own.clone()),
            (peer.clone(), self.there.clone()),
        ];
        let names = Names::new(&pairs).map_err(|error| {
            Error::WrongName(format!("{local} and {peer} across clusters: {error}"))
        })?;
        let back = names.inverse();
        Ok((
            Renamer::new(names, max_frame),
            Renamer::new(back, max_frame),
        ))
    }
}

/// A node of another cluster.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Foreign {
    /// What the link to its cluster is called.
    pub link: String,
    /// Its trust domain.
    pub trust_domain: TrustDomain,
    /// Its cluster.
    pub cluster: String,
    /// What it calls itself.
    pub name: NodeName,
}

/// Which node of another cluster goes by a name here, if any does.
#[must_use]
pub fn behind(links: &Links, alias: &NodeName) -> Option<Foreign> {
    let alias = skans_identity::node_name::NodeName::parse(alias.as_str()).ok()?;
    let (link, node) = links.behind(&alias, UnixTime::now())?;
    Some(Foreign {
        link: link.name.to_string(),
        trust_domain: link.peer.trust_domain.clone(),
        cluster: link.peer.cluster.clone(),
        name: node.to_string().parse().ok()?,
    })
}

/// Whether an identity is of this cluster.
#[must_use]
pub fn is_ours(settings: &Settings, identity: &PeerIdentity) -> bool {
    let config = &settings.config;
    let own = identity.id.trust_domain().as_str() == config.trust_domain;
    own && matches!(identity.id.role(), Some(Role::Node { cluster, .. }) if cluster == config.cluster)
}

/// Whether a node of another cluster may be at the other end of a link of `local`, under this name: by the links of ours that are in
/// force. What may pass then is for policies to say.
///
/// # Errors
/// [`Error::WrongName`]: what was found, and what a link would have to say.
pub fn check(
    settings: &Settings,
    links: &Links,
    direction: Direction,
    identity: &PeerIdentity,
    (local, name): (&NodeName, &NodeName),
) -> Result<(), Error> {
    let now = UnixTime::now();
    let id = &identity.id;
    let wrong = |wanted: String| Error::WrongName(format!("{id} claims {name}, wanted {wanted}"));
    let Some(Role::Node { cluster, .. }) = id.role() else {
        return Err(wrong("the identity of a node".to_owned()));
    };
    let config = &settings.config;
    if id.trust_domain().as_str() == config.trust_domain {
        // One root, several clusters: what they may do to each other no link says.
        return Err(wrong(format!(
            "spiffe://{}/cluster/{}/...",
            config.trust_domain, config.cluster
        )));
    }
    let Some(link) = links.with(id.trust_domain(), cluster, now) else {
        return Err(wrong(
            "one of our cluster, or of one that a link in force is with".to_owned(),
        ));
    };
    let own = identity
        .node_name()
        .ok_or_else(|| wrong("a certificate with a host in it".to_owned()))?;
    let known = match direction {
        Direction::Inbound => {
            link.may_call(id, now)
                .map_err(|refusal| Error::WrongName(refusal.to_string()))?;
            link.known_as(&own, &identity_name(local)?)
                .map_err(|error| Error::WrongName(error.to_string()))?
                .to_string()
        }
        // Whoever dials knows which of the names it took.
        Direction::Outbound => match behind(links, name) {
            Some(foreign) if foreign.name.as_str() == own.to_string() => name.to_string(),
            Some(foreign) => foreign.name.to_string(),
            None => return Err(wrong(format!("an alias that link {} imports", link.name))),
        },
    };
    if known != name.as_str() {
        return Err(wrong(format!("{known} by link {}", link.name)));
    }
    // Nodes know each other by names alone: nobody from elsewhere gets one that leads to a node of this cluster.
    if settings.place(name).is_some() {
        return Err(wrong(format!(
            "a name that is no node's of this cluster: link {} has to be called otherwise, or import it under another",
            link.name
        )));
    }
    Ok(())
}

/// What a node of another cluster is called at a node of ours.
///
/// # Errors
/// [`Error::WrongName`] if it cannot be called anything.
pub fn known_as(link: &Link, node: &NodeName, known_to: &NodeName) -> Result<String, Error> {
    let known = link.known_as(&identity_name(node)?, &identity_name(known_to)?);
    known
        .map(|name| name.to_string())
        .map_err(|error| Error::WrongName(error.to_string()))
}

/// The same name, as certificates and links have it.
pub fn identity_name(name: &NodeName) -> Result<skans_identity::node_name::NodeName, Error> {
    skans_identity::node_name::NodeName::parse(name.as_str())
        .map_err(|error| Error::WrongName(error.to_string()))
}
