//! Where a foreign trust domain publishes its bundle, how whoever answers there proves itself, and which addresses are
//! never asked, whatever a name leads to.

#[cfg(test)]
mod tests;

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::error::{Error, shown};
use crate::host::Host;
use crate::id::SpiffeId;

/// Longest URL in bytes. Ours: a host has 253, a path of ours 21.
pub const MAX_URL: usize = 1024;

/// How whoever answers at the URL proves itself (Federation 5.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Profile {
    /// `https_web`: by a certificate for the host of the URL, of a public authority.
    Web,
    /// `https_spiffe`: by this identity, of the very domain whose bundle it serves.
    Spiffe(SpiffeId),
}

/// The URL of a bundle endpoint: `https://HOST[:PORT]/PATH` and nothing else. What resolvers, HTTP libraries and people
/// read differently is not a URL here: no user, no query, no fragment, no escapes, no `.` or `..` in the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Url {
    host: Host,
    port: u16,
    path: Box<str>,
}

impl Url {
    /// Reads a URL.
    ///
    /// # Errors
    /// [`Error::Name`] with the rule that it breaks. An address that [`may_be_asked`] refuses is no host.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |wanted| Error::name("bundle endpoint", text, wanted);
        if text.len() > MAX_URL {
            return Err(bad("at most 1024 bytes"));
        }
        let rest = text
            .strip_prefix("https://")
            .ok_or_else(|| bad("a URL that starts with https://"))?;
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => v6.split_once(']').ok_or_else(|| bad("[ADDRESS]:PORT"))?,
            None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
        };
        let bracketed = authority.starts_with('[');
        let host = Host::parse(host)?;
        if bracketed != matches!(host, Host::Ip(IpAddr::V6(_))) {
            return Err(bad(
                "brackets around an IPv6 address, and around nothing else",
            ));
        }
        match &host {
            Host::Ip(ip) if !may_be_asked(*ip) => {
                return Err(bad(
                    "an address of another host that is not a metadata service",
                ));
            }
            Host::Dns(name) if name.bytes().any(|b| b.is_ascii_uppercase()) => {
                return Err(bad("a host in lower case"));
            }
            Host::Dns(name) if is_local(name) => return Err(bad("the name of another host")),
            Host::Dns(_) | Host::Ip(_) => {}
        }
        let port = match port.strip_prefix(':') {
            None if port.is_empty() => 443,
            Some(digits) => match digits.parse::<u16>() {
                Ok(port) if port != 0 && port.to_string() == digits => port,
                _ => return Err(bad("a port from 1 to 65535")),
            },
            None => return Err(bad("a host, and perhaps a port")),
        };
        let plain = |segment: &str| {
            let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b'~');
            !matches!(segment, "" | "." | "..") && segment.bytes().all(fine)
        };
        let mut segments = path.split('/').skip(1);
        if !path.starts_with('/') || !(path == "/" || segments.all(plain)) {
            return Err(bad("a path of a-z, A-Z, 0-9, '.', '-', '_', '~' and '/'"));
        }
        Ok(Self {
            host,
            port,
            path: path.into(),
        })
    }

    /// The host to ask, and in [`Profile::Web`] the one that the certificate must name.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Host and port as a request names them (RFC 9110 7.2).
    #[must_use]
    pub fn authority(&self) -> String {
        let host = match &self.host {
            Host::Ip(IpAddr::V6(ip)) => format!("[{ip}]"),
            host => host.to_string(),
        };
        match self.port {
            443 => host,
            port => format!("{host}:{port}"),
        }
    }

    /// The path, from its `/` on.
    #[must_use]
    pub const fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "https://{}{}", self.authority(), self.path)
    }
}

/// Whether a bundle may be fetched from this address. **Ask it of every address that a name leads to, and connect to that
/// very address**: a name that leads elsewhere the second time is the usual way around such a list.
///
/// Refused is what no bundle endpoint has and what answers to whoever reaches it: the host itself, its links (where
/// 169.254.169.254 and its like tell a machine's credentials), metadata services elsewhere, groups, what is reserved.
/// Private networks are not: clusters live there.
#[must_use]
pub fn may_be_asked(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => v4_may(ip),
        IpAddr::V6(ip) => match inner(ip) {
            Some(v4) => v4_may(v4),
            None => v6_may(ip),
        },
    }
}

fn v4_may(ip: Ipv4Addr) -> bool {
    let [a, ..] = ip.octets();
    // Alibaba's metadata service, within the space of carriers; Oracle's is 192.0.0.192 and Azure's wire server this one.
    const METADATA: [Ipv4Addr; 3] = [
        Ipv4Addr::new(100, 100, 100, 200),
        Ipv4Addr::new(192, 0, 0, 192),
        Ipv4Addr::new(168, 63, 129, 16),
    ];
    // 0/8 is this network, from 224 on there are groups, what is reserved, and everybody.
    !(a == 0 || a >= 224 || ip.is_loopback() || ip.is_link_local() || METADATA.contains(&ip))
}

fn v6_may(ip: Ipv6Addr) -> bool {
    // Amazon's metadata service.
    const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
    let [first, ..] = ip.segments();
    let site_local = first & 0xffc0 == 0xfec0;
    !(ip.is_unspecified()
        || ip.is_loopback()
        || ip.is_multicast()
        || ip.is_unicast_link_local()
        || site_local
        || ip == METADATA)
}

/// The IPv4 address that one of IPv6 stands for: mapped, compatible, translated (RFC 6052), 6to4 (RFC 3056).
fn inner(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let last = |[a, b]: [u16; 2]| {
        let ([a, b], [c, d]) = (a.to_be_bytes(), b.to_be_bytes());
        Ipv4Addr::new(a, b, c, d)
    };
    match ip.segments() {
        [0, 0, 0, 0, 0, 0xffff, a, b] | [0x64, 0xff9b, 0, 0, 0, 0, a, b] => Some(last([a, b])),
        // ::1 and :: are addresses of their own.
        [0, 0, 0, 0, 0, 0, a, b] if a != 0 => Some(last([a, b])),
        [0x2002, a, b, ..] => Some(last([a, b])),
        _ => None,
    }
}

/// Names that lead to the host itself or to its metadata service wherever they are asked (RFC 6761 6.3 for the first).
fn is_local(name: &str) -> bool {
    let last = name.rsplit('.').next();
    last == Some("localhost") || name == "metadata.google.internal" || name == "metadata"
}

/// Reads the profile of an endpoint.
///
/// # Errors
/// [`Error::Encoding`] if it is none, or its identity is given where none belongs or missing.
pub(super) fn profile(word: &str, id: Option<&str>) -> Result<Profile, Error> {
    let bad = |found: String, wanted| Error::Encoding {
        what: "bundle endpoint",
        found,
        wanted,
    };
    match (word, id) {
        ("https_web", None) => Ok(Profile::Web),
        ("https_web", Some(id)) => Err(bad(
            format!("https_web with endpointId {}", shown(id)),
            "https_spiffe with it, or https_web without",
        )),
        ("https_spiffe", Some(id)) => Ok(Profile::Spiffe(SpiffeId::parse(id)?)),
        ("https_spiffe", None) => Err(bad(
            "https_spiffe without endpointId".into(),
            "the SPIFFE ID of whoever answers there",
        )),
        (other, _) => Err(bad(
            format!("profile {}", shown(other)),
            "https_spiffe or https_web",
        )),
    }
}
