//! The host part of a node name, as it stands in a certificate: one DNS name or one IP address. Nothing is resolved.

#[cfg(test)]
mod tests;

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;
use std::sync::Arc;

use crate::error::Error;

/// A host: what stands after `@` in a node name. Compared byte by byte, case included: to Erlang `n@Host` and `n@host`
/// are two nodes. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Host {
    /// A DNS name, long or short.
    Dns(Arc<str>),
    /// An IP literal in its canonical spelling (RFC 5952 for IPv6).
    Ip(IpAddr),
}

impl Host {
    /// Reads a host name or an IP literal.
    ///
    /// Labels may hold `_`: no host should be called so, but containers are.
    ///
    /// # Errors
    /// [`Error::Name`] if it is neither: 1 to 253 bytes, labels of 1 to 63 of `a-z A-Z 0-9 - _` that neither start nor
    /// end with `-` (RFC 1123 2.1); an IP literal must be spelled canonically, and a name must not look like one.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |wanted| Err(Error::name("host", text, wanted));
        if text.len() > 253 {
            return bad("at most 253 bytes");
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            if ip.to_string() != text {
                return bad("an IP address in its canonical spelling");
            }
            return Ok(Self::Ip(ip));
        }
        for label in text.split('.') {
            if label.is_empty() || label.len() > 63 {
                return bad("a DNS name or IP address; labels of 1 to 63 bytes");
            }
            if !label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
            {
                return bad("a DNS name (a-z, A-Z, 0-9, '-', '_') or an IP address");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return bad("labels that neither start nor end with '-'");
            }
        }
        // 10.0.0 or 1.2.3.256: some resolvers read these as addresses.
        if text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
        {
            return bad("a name whose last label is not a number");
        }
        Ok(Self::Dns(text.into()))
    }
}

impl FromStr for Host {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Dns(name) => f.write_str(name),
            Self::Ip(ip) => ip.fmt(f),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
