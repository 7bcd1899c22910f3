//! `traces`: where links are told as traces, and how often long ones are.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use skans_host::duration::deserialize as duration;

/// Longest endpoint, in bytes. Ours: a host of 255 and a path that people still read.
const MAX_ENDPOINT: usize = 1024;
/// What stands behind the path of an endpoint (OTLP/HTTP, "HTTP request").
const SIGNAL: &str = "/v1/traces";

/// Where links are told as traces.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Traces {
    /// Who collects them. Nobody unless given: who talks to whom leaves the host by it. Envoy and Linkerd tell nobody either unless
    /// they are told whom; the OpenTelemetry SDKs send to port 4318 of their host, whoever listens there.
    pub otlp: Option<Otlp>,
    /// How often a link that goes on is told of, if anything was said over it. 5 min: a link may live for weeks, and what is told
    /// only at its end comes when nobody asks any more, or never; at 12 spans an hour, a thousand busy links are three a second.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
}

impl Default for Traces {
    fn default() -> Self {
        Self {
            otlp: None,
            interval: Duration::from_secs(300),
        }
    }
}

/// A collector that speaks OTLP over HTTP, in protobuf.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otlp {
    /// Its URL, to which `/v1/traces` is added: `https://`, or `http://` at an address of loopback.
    pub endpoint: String,
    /// The authorities that vouch for it, as PEM; those that this machine trusts unless given.
    pub roots: Option<PathBuf>,
}

/// How a collector is spoken to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scheme {
    /// As it is: it does not leave the host.
    Http,
    /// Over TLS 1.3.
    Https,
}

/// An endpoint, parsed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Collector {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// An address, or a name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// What is posted to.
    pub path: String,
}

impl Collector {
    /// Reads `https://collector.example:4318`.
    ///
    /// # Errors
    /// What was found, and what was wanted.
    pub fn parse(text: &str) -> Result<Self, String> {
        let shown: String = text.chars().take(MAX_ENDPOINT).collect();
        let wanted = |what: &str| format!("found {shown:?}, wanted {what}");
        if text.len() > MAX_ENDPOINT {
            return Err(wanted("at most 1024 bytes"));
        }
        // Spaces and line ends would go into the request as they are.
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wanted("a URL of printable ASCII without spaces"));
        }
        let (scheme, rest) = match text.split_once("://") {
            Some(("http", rest)) => (Scheme::Http, rest),
            Some(("https", rest)) => (Scheme::Https, rest),
            _ => {
                return Err(wanted(
                    "https://host:port, or http:// at an address of loopback",
                ));
            }
        };
        if rest.contains(['?', '#', '@', '\\']) {
            return Err(wanted("a URL without user, query and fragment"));
        }
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(bracketed) => {
                let six = bracketed.split_once(']');
                six.ok_or_else(|| wanted("brackets around an IPv6 address"))?
            }
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let ip = host.parse::<IpAddr>().ok();
        let is_six = matches!(ip, Some(IpAddr::V6(_)));
        if host.is_empty() || is_six != authority.starts_with('[') {
            return Err(wanted("a host, with brackets around an IPv6 address"));
        }
        let port = match (port, scheme) {
            ("", Scheme::Http) => Some(80),
            ("", Scheme::Https) => Some(443),
            (port, _) => port.strip_prefix(':').and_then(|port| port.parse().ok()),
        };
        let port = port.filter(|port| *port > 0);
        let port = port.ok_or_else(|| wanted("a port from 1 to 65535"))?;
        // No names: whoever answers for one says where it leads.
        let stays = ip.is_some_and(|ip| ip.to_canonical().is_loopback());
        if scheme == Scheme::Http && !stays {
            return Err(wanted(
                "https://, or http:// at an address of loopback such as http://127.0.0.1:4318: who talks to whom must not leave this host in the clear",
            ));
        }
        Ok(Self {
            scheme,
            host: host.to_owned(),
            port,
            path: format!("{}{SIGNAL}", path.trim_end_matches('/')),
        })
    }

    /// As it stands in requests and logs.
    #[must_use]
    pub fn authority(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') {
            format!("[{host}]:{port}")
        } else {
            format!("{host}:{port}")
        }
    }
}

impl Traces {
    /// What its types cannot refuse.
    pub(super) fn check(&self) -> Result<(), String> {
        let (least, most) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));
        if self.interval < least || self.interval > most {
            return Err(format!(
                "traces.interval: found {:?}, wanted {least:?} to {most:?}",
                self.interval
            ));
        }
        let Some(otlp) = &self.otlp else {
            return Ok(());
        };
        let collector = Collector::parse(&otlp.endpoint)
            .map_err(|why| format!("traces.otlp.endpoint: {why}"))?;
        match &otlp.roots {
            Some(roots) if !roots.is_absolute() => Err(format!(
                "traces.otlp.roots: found {roots:?}, wanted an absolute path"
            )),
            Some(_) if collector.scheme == Scheme::Http => Err(
                "traces.otlp.roots: found some beside http://, wanted none: nobody proves himself there"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
