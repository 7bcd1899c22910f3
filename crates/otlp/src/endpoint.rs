//! Where telemetry goes: what may be written, and what it means.

use std::net::IpAddr;
use std::path::PathBuf;

use serde::Deserialize;

/// Longest endpoint, in bytes. Ours: a host of 255 and a path that people still read.
const MAX_ENDPOINT: usize = 1024;

/// A collector that speaks OTLP over HTTP, in protobuf.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Otlp {
    /// Its URL, to which the path of a [`Signal`] is added: `https://`, or `http://` at an address of loopback.
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

/// What is sent, and with it what stands behind the path of an endpoint (OTLP/HTTP, "HTTP request").
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signal {
    /// Spans.
    Traces,
    /// Log records.
    Logs,
}

impl Signal {
    const fn path(self) -> &'static str {
        match self {
            Self::Traces => "/v1/traces",
            Self::Logs => "/v1/logs",
        }
    }
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
    pub fn parse(text: &str, signal: Signal) -> Result<Self, String> {
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
            path: format!("{}{}", path.trim_end_matches('/'), signal.path()),
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

impl Otlp {
    /// What its types cannot refuse.
    ///
    /// # Errors
    /// The field, what was found in it, and what was wanted.
    pub fn check(&self, signal: Signal) -> Result<(), String> {
        let collector =
            Collector::parse(&self.endpoint, signal).map_err(|why| format!("endpoint: {why}"))?;
        match &self.roots {
            Some(roots) if !roots.is_absolute() => {
                Err(format!("roots: found {roots:?}, wanted an absolute path"))
            }
            Some(_) if collector.scheme == Scheme::Http => Err(
                "roots: found some beside http://, wanted none: nobody proves himself there"
                    .to_owned(),
            ),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
