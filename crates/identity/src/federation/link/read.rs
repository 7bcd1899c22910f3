//! Reading links: JSON in, checked links out. Every error says in which link and field it was found.

use serde::Deserialize;

use super::{
    Import, Item, Link, MAX_ATOM, MAX_ITEMS, MAX_LINKS, MAX_SCOPE, STALENESS, STALENESS_BOUNDS,
    Source, What, bad,
};
use crate::bundle::Bundle;
use crate::error::{Error, shown};
use crate::federation::endpoint::{self, Profile, Url};
use crate::federation::pattern::IdPattern;
use crate::head::Audience;
use crate::id::{self, MAX_PART, Role, SpiffeId, TrustDomain};
use crate::node_name::NodeName;

/// Longest text of all links together, in bytes. A policy set has 4 MiB for everything.
pub const MAX_TEXT: usize = 1024 * 1024;

/// Processes that are a node, or make one mesh of two: what goes through them goes past every other name.
const NEVER: [&str; 4] = ["global_group", "global_name_server", "net_kernel", "rex"];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireLink {
    name: String,
    trust_domain: String,
    cluster: String,
    not_after: u64,
    bundle: WireSource,
    #[serde(default)]
    gateways: Vec<String>,
    #[serde(default)]
    forwards: Vec<String>,
    #[serde(default)]
    labels: Vec<String>,
    #[serde(default)]
    exports: Vec<WireItem>,
    #[serde(default)]
    imports: Vec<WireItem>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireSource {
    url: String,
    profile: String,
    endpoint_id: Option<String>,
    roots: Option<String>,
    staleness: Option<u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct WireItem {
    alias: Option<String>,
    node: String,
    process: Option<String>,
    function: Option<String>,
}

pub(super) fn links(own: &Audience, text: &str) -> Result<Vec<Link>, Error> {
    let unread = |found: String, wanted| Error::Encoding {
        what: "cluster links",
        found,
        wanted,
    };
    if text.len() > MAX_TEXT {
        return Err(unread(format!("{} bytes", text.len()), "at most 1 MiB"));
    }
    let wire: Vec<WireLink> = serde_json::from_str(text).map_err(|error| {
        // serde's words quote what it found, and a name of a field may be anything.
        unread(
            shown(&error.to_string()),
            "a list of links as 0019 has them",
        )
    })?;
    if wire.len() > MAX_LINKS {
        return Err(unread(format!("{} links", wire.len()), "at most 64"));
    }
    wire.into_iter().map(|one| link(own, one)).collect()
}

fn link(own: &Audience, wire: WireLink) -> Result<Link, Error> {
    let name = wire.name.as_str();
    id::check_cluster(name).map_err(|error| bad(name, error.to_string(), "a name"))?;
    let at = |field: &'static str| move |error: Error| within(name, field, &error);
    let trust_domain = TrustDomain::parse(&wire.trust_domain).map_err(at("trustDomain"))?;
    if trust_domain == own.trust_domain {
        let found = format!("trustDomain {trust_domain}, our own");
        return Err(bad(
            name,
            found,
            "another: clusters under one root are one domain",
        ));
    }
    id::check_cluster(&wire.cluster).map_err(at("cluster"))?;
    let peer = Audience {
        trust_domain,
        cluster: wire.cluster,
    };
    let source = source(name, &peer.trust_domain, wire.bundle)?;
    for (field, found, most) in [
        ("gateways", wire.gateways.len(), MAX_SCOPE),
        ("forwards", wire.forwards.len(), MAX_SCOPE),
        ("labels", wire.labels.len(), MAX_SCOPE),
        ("exports", wire.exports.len(), MAX_ITEMS),
        ("imports", wire.imports.len(), MAX_ITEMS),
    ] {
        if found > most {
            let wanted = "at most 64 gateways, forwards and labels, 256 exports and imports";
            return Err(bad(name, format!("{field}: {found} of them"), wanted));
        }
    }
    let gateways = wire.gateways.iter().map(|text| gateway(&peer, text));
    let gateways = gateways.collect::<Result<Vec<_>, _>>();
    let forwards = wire
        .forwards
        .iter()
        .map(|text| IdPattern::parse(text, &peer.trust_domain, &peer.cluster));
    let forwards = forwards.collect::<Result<Vec<_>, _>>();
    let mut exports = Vec::with_capacity(wire.exports.len());
    for (place, wire) in wire.exports.iter().enumerate() {
        let item = item(name, &format!("exports[{place}]"), wire)?;
        if wire.alias.is_some() {
            let found = format!("exports[{place}]: an alias");
            return Err(bad(name, found, "none: who imports gives it"));
        }
        if exports.contains(&item) {
            return Err(bad(name, format!("exports[{place}] again"), "each once"));
        }
        exports.push(item);
    }
    let mut imports = Vec::with_capacity(wire.imports.len());
    for (place, wire) in wire.imports.iter().enumerate() {
        let field = format!("imports[{place}]");
        let item = item(name, &field, wire)?;
        let alias = wire.alias.as_deref().unwrap_or_default();
        let alias = NodeName::parse(alias).map_err(|error| within(name, &field, &error))?;
        let import = Import { alias, item };
        if imports.contains(&import) {
            return Err(bad(name, format!("{field} again"), "each once"));
        }
        imports.push(import);
    }
    Ok(Link {
        own: own.clone(),
        source,
        gateways: gateways.map_err(at("gateways"))?,
        forwards: forwards.map_err(at("forwards"))?,
        labels: labels(name, &wire.labels)?,
        exports,
        imports,
        not_after: wire.not_after,
        peer,
        name: name.into(),
    })
}

fn source(name: &str, trust_domain: &TrustDomain, wire: WireSource) -> Result<Source, Error> {
    let at = |field: &'static str| move |error: Error| within(name, field, &error);
    let url = Url::parse(&wire.url).map_err(at("bundle.url"))?;
    let profile = endpoint::profile(&wire.profile, wire.endpoint_id.as_deref())
        .map_err(at("bundle.profile"))?;
    let roots = wire
        .roots
        .map(|text| Bundle::from_pem(trust_domain.clone(), text.as_bytes()));
    let roots = roots.transpose().map_err(at("bundle.roots"))?;
    if let Profile::Spiffe(id) = &profile {
        if id.trust_domain() != trust_domain || id.path().is_empty() {
            let found = format!("bundle.endpointId {id}");
            let wanted = "an identity of the very domain whose bundle it serves";
            return Err(bad(name, found, wanted));
        }
        if roots.is_none() {
            let found = "https_spiffe without bundle.roots".into();
            let wanted = "their roots (PEM), to know the endpoint by at first";
            return Err(bad(name, found, wanted));
        }
    }
    let staleness = wire.staleness.unwrap_or(STALENESS);
    if !STALENESS_BOUNDS.contains(&staleness) {
        let found = format!("bundle.staleness {staleness}");
        return Err(bad(name, found, "900 to 604800 seconds"));
    }
    Ok(Source {
        url,
        profile,
        roots,
        staleness,
    })
}

fn gateway(peer: &Audience, text: &str) -> Result<SpiffeId, Error> {
    let id = SpiffeId::parse(text)?;
    if *id.trust_domain() != peer.trust_domain || !matches!(id.role(), Some(Role::Gateway(_))) {
        let wanted = "/skans/gateway/ID of the link's trust domain, in full";
        return Err(Error::name("gateway", text, wanted));
    }
    Ok(id)
}

fn labels(name: &str, wire: &[String]) -> Result<Vec<Box<str>>, Error> {
    let mut labels: Vec<Box<str>> = Vec::with_capacity(wire.len());
    for label in wire {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
        if label.is_empty() || label.len() > MAX_PART || !label.bytes().all(fine) {
            let found = format!("labels: {}", shown(label));
            return Err(bad(name, found, "1 to 63 of a-z, A-Z, 0-9, '_' and '-'"));
        }
        if labels.iter().any(|one| **one == **label) {
            return Err(bad(name, format!("labels: {label} again"), "each once"));
        }
        labels.push(label.as_str().into());
    }
    Ok(labels)
}

fn item(name: &str, field: &str, wire: &WireItem) -> Result<Item, Error> {
    let node = NodeName::parse(&wire.node).map_err(|error| within(name, field, &error))?;
    let refused = |text: &str, wanted| bad(name, format!("{field}: {}", shown(text)), wanted);
    let what = match (&wire.process, &wire.function) {
        (None, None) => What::Node,
        (Some(process), None) => {
            if NEVER.contains(&process.as_str()) {
                let wanted = "a process that is not the node itself, nor joins meshes";
                return Err(refused(process, wanted));
            }
            if !is_atom(process) {
                return Err(refused(process, "the name of one registered process"));
            }
            What::Process(process.as_str().into())
        }
        (None, Some(function)) => read_function(function)
            .ok_or_else(|| refused(function, "one function: module:function/arity"))?,
        (Some(_), Some(function)) => {
            return Err(refused(function, "a process or a function, not both"));
        }
    };
    Ok(Item { node, what })
}

/// `module:function/arity`.
fn read_function(text: &str) -> Option<What> {
    let (name, digits) = text.rsplit_once('/')?;
    let (module, function) = name.split_once(':')?;
    let arity = digits.parse::<u8>().ok()?;
    let whole = is_atom(module) && is_atom(function) && arity.to_string() == digits;
    whole.then(|| What::Function {
        module: module.into(),
        function: function.into(),
        arity,
    })
}

/// A plain name, as people give them. Never a wildcard: who exports what matches exports what is named so tomorrow.
fn is_atom(text: &str) -> bool {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'@' | b'.' | b'?' | b'!');
    (1..=MAX_ATOM).contains(&text.len()) && text.bytes().all(fine)
}

fn within(link: &str, field: &str, error: &Error) -> Error {
    bad(link, format!("{field}: {error}"), "what is said there")
}
