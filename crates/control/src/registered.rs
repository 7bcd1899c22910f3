//! Which names a registration lets its caller carry. Pure: a registration and a wish in, a decision out.

#[cfg(test)]
mod tests;

use skans_identity::id::CLI;
use skans_identity::node_name::NodeName;
use skans_identity::pattern::glob_fits;
use skans_store::registrations::Registration;

/// Before a pattern that says who may be a gateway. No node name has a slash in it.
pub(crate) const GATEWAYS: &str = "gateway/";

/// As what something wants to be known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// A node, or the short-lived nodes of a host.
    Node,
    /// A gateway of the cluster.
    Gateway,
}

/// What an agent asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish<'a> {
    pub(crate) what: Asked,
    /// `alive@host`, or `cli@host`; `id@host` of a gateway.
    pub(crate) name: &'a NodeName,
    pub(crate) namespace: &'a str,
    pub(crate) workload: &'a str,
    /// The host that the agent enrolled for.
    pub(crate) agent_host: &'a str,
}

/// Why a registration does not cover a wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    Disabled,
    Name,
    Cli,
    Namespace,
    Workload,
}

impl Gap {
    /// A stable word, for programs.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::Name => "name",
            Self::Cli => "cli",
            Self::Namespace => "namespace",
            Self::Workload => "workload",
        }
    }
}

/// Whether the registration covers the wish.
///
/// A wildcard in the host part stands for the agent's own host, and for no other: an agent that was broken into must not
/// be able to speak for the hosts of its neighbours, however the pattern was written.
pub(crate) fn covers(registration: &Registration, wish: &Wish<'_>) -> Result<(), Gap> {
    if registration.disabled {
        return Err(Gap::Disabled);
    }
    if registration.namespace != wish.namespace {
        return Err(Gap::Namespace);
    }
    if registration.workload != wish.workload {
        return Err(Gap::Workload);
    }
    let host = wish.name.host().to_string();
    let cli = wish.what == Asked::Node && wish.name.alive() == CLI;
    if cli && !registration.cli {
        return Err(Gap::Cli);
    }
    let fits = |pattern: &String| {
        // Whatever a pattern says of nodes, it makes nobody a gateway; and the other way round.
        let (what, pattern) = match pattern.strip_prefix(GATEWAYS) {
            Some(rest) => (Asked::Gateway, rest),
            None => (Asked::Node, pattern.as_str()),
        };
        let Some((alive, at)) = pattern.split_once('@').filter(|_| what == wish.what) else {
            return false;
        };
        (cli || glob_fits(alive, wish.name.alive()))
            && glob_fits(at, &host)
            && (is_literal(at) || host == wish.agent_host)
    };
    if registration.patterns.iter().any(fits) {
        Ok(())
    } else {
        Err(Gap::Name)
    }
}

/// Checks a pattern as a person wrote it: `alive@host`, each half with `*` and `?`, behind [`GATEWAYS`] if it is about gateways.
///
/// # Errors
/// What was found, and what was wanted.
pub(crate) fn check_pattern(text: &str) -> Result<(), String> {
    let wanted = || {
        format!(
            "found {text:?}, wanted alive@host, such as rabbit@host-a or web@*.web.prod.svc.cluster.local; or {GATEWAYS}id@host"
        )
    };
    let name = text.strip_prefix(GATEWAYS).unwrap_or(text);
    let (alive, host) = name.split_once('@').ok_or_else(wanted)?;
    let name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'*' | b'?');
    let place = |b: u8| name(b) || matches!(b, b'.' | b':');
    let fits = !alive.is_empty()
        && !host.is_empty()
        && text.len() <= 511
        && alive.bytes().all(name)
        && host.bytes().all(place);
    if fits { Ok(()) } else { Err(wanted()) }
}

fn is_literal(pattern: &str) -> bool {
    !pattern.contains(['*', '?'])
}
