//! What is compared: the ways for two nodes of one machine to reach each other, and how each is
//! set up, in words. Started in `pair`.

use std::path::PathBuf;

use crate::certificates;
use crate::tunnels::{Kind, Tunnel};

/// A way for two nodes to reach each other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Opponent {
    /// OTP as it comes.
    Tcp,
    /// OTP's TLS distribution with its default buffers: what people run.
    Tls,
    /// The same with larger buffers: what is to be beaten.
    TunedTls,
    /// Two agents.
    Skans,
    /// Two agents of another release, if there is one to compare with.
    Earlier,
    /// Two agents that are made to judge nothing, if there is such a binary: what judging costs.
    Unjudged,
    /// Two clusters: an agent and a gateway on each side.
    Gateways,
    /// Plain distribution through a pair of these.
    Stunnel,
    /// The same.
    Haproxy,
    /// Two relays with TLS in between that take no trouble: Skans must never be slower.
    TlsRelays,
    /// Two relays without TLS and parsing: what two hops cost at least.
    Relays,
}

/// Larger buffers for `inet_tls`.
pub const BUFFERS: &str = "[{buffer,65536}]";

impl Opponent {
    /// All of them, in the order of the tables.
    const ALL: [Self; 11] = [
        Self::Tcp,
        Self::Tls,
        Self::TunedTls,
        Self::Skans,
        Self::Earlier,
        Self::Unjudged,
        Self::Gateways,
        Self::Stunnel,
        Self::Haproxy,
        Self::TlsRelays,
        Self::Relays,
    ];

    /// What stands above its column.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Tcp => "plain TCP",
            Self::Tls => "inet_tls default",
            Self::TunedTls => "inet_tls tuned",
            Self::Skans => "Skans",
            Self::Earlier => "Skans, earlier",
            Self::Unjudged => "Skans, judging nothing",
            Self::Gateways => "Skans, two clusters",
            Self::Stunnel => "stunnel",
            Self::Haproxy => "haproxy",
            Self::TlsRelays => "TLS relays",
            Self::Relays => "plain relays",
        }
    }

    /// Whether many connections at once are measured of it too: not of those that are far behind with one.
    pub const fn is_wide(self) -> bool {
        !matches!(self, Self::Tls | Self::TlsRelays)
    }

    /// The tunnel that it consists of.
    pub const fn tunnel(self) -> Option<Kind> {
        match self {
            Self::Stunnel => Some(Kind::Stunnel),
            Self::Haproxy => Some(Kind::Haproxy),
            _ => None,
        }
    }

    /// How it is set up, for people who want to do the same.
    pub fn configuration(self) -> String {
        let tls = certificates::options("DIR", "a").replace('\n', " ");
        match self {
            Self::Tcp => "`erl` with `-kernel inet_dist_use_interface {127,0,0,1}`, all else by default".to_owned(),
            Self::Tls => format!("as plain TCP, with `-proto_dist inet_tls -ssl_dist_optfile FILE`, FILE: `{}`", tls.trim()),
            Self::TunedTls => format!("as inet_tls default, with `-kernel inet_dist_listen_options {BUFFERS} inet_dist_connect_options {BUFFERS}`"),
            Self::Skans => "two `skans agent` processes, an embedded authority, all else by default; nodes with the environment that the agent writes".to_owned(),
            Self::Earlier => "the same with the other release's binary".to_owned(),
            Self::Unjudged => "the same, built with `bench/unjudged.patch`: what is read goes on as it is. No release can do that".to_owned(),
            Self::Gateways => "two clusters of two trust domains, each with a `skans agent` and a `skans gateway`; nodes exported as a whole, names changed on the way".to_owned(),
            Self::Stunnel => format!("plain TCP through two `stunnel` processes, {}", Kind::Stunnel.configuration()),
            Self::Haproxy => format!("plain TCP through two `haproxy` processes, {}", Kind::Haproxy.configuration()),
            Self::TlsRelays => "plain TCP through two `skans-bench-relay` processes: one thread each, 128 KiB buffers; mutual TLS 1.3 between them with the agents' settings, nothing read or parsed".to_owned(),
            Self::Relays => "the same without TLS".to_owned(),
        }
    }
}

/// What is needed to start any opponent.
#[derive(Debug)]
pub struct Stage {
    /// Everything is written under here.
    pub directory: PathBuf,
    /// The compiled load driver.
    pub load: PathBuf,
    /// The `skans` binary.
    pub skans: PathBuf,
    /// The `skans` binary of another release.
    pub earlier: Option<PathBuf>,
    /// The `skans` binary that judges nothing.
    pub unjudged: Option<PathBuf>,
    /// The relay's binary.
    pub relay: PathBuf,
    /// The tunnels that this machine has.
    pub tunnels: Vec<Tunnel>,
    /// Only these, if not empty.
    pub chosen: Vec<Opponent>,
}

impl Stage {
    /// Those that are compared, in the order of the tables.
    pub fn opponents(&self) -> Vec<Opponent> {
        let there = |opponent: &Opponent| match opponent {
            Opponent::Earlier => self.earlier.is_some(),
            Opponent::Unjudged => self.unjudged.is_some(),
            other => other
                .tunnel()
                .is_none_or(|kind| self.tunnel(kind).is_some()),
        };
        let chosen = |opponent: &Opponent| self.chosen.is_empty() || self.chosen.contains(opponent);
        let all = Opponent::ALL.into_iter();
        all.filter(there).filter(chosen).collect()
    }

    /// The program of this kind, if it was found.
    pub fn tunnel(&self, kind: Kind) -> Option<&Tunnel> {
        self.tunnels.iter().find(|tunnel| tunnel.kind == kind)
    }

    /// The kinds of tunnel that this machine has not.
    pub fn missing(&self) -> Vec<Kind> {
        let all = Kind::ALL.into_iter();
        all.filter(|kind| self.tunnel(*kind).is_none()).collect()
    }
}

/// An opponent by its title.
pub fn by_title(text: &str) -> Result<Opponent, String> {
    let titles = Opponent::ALL.map(Opponent::title).join(", ");
    Opponent::ALL
        .into_iter()
        .find(|opponent| opponent.title() == text)
        .ok_or_else(|| format!("wanted one of {titles}"))
}
