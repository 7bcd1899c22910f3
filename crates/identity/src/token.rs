//! Join tokens: one string with which a stranger finds the control plane, knows it for ours, and is known by it.
//!
//! The format is recorded in `docs/decisions/0011-first-trust-and-the-api.md`. What a token entitles to, how long it is
//! good and that it is used once is not said here.

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::error::Error;
use crate::host::Host;
use crate::keys::{hex, sha256};
use crate::wire::Reader;

/// Most addresses in a token. Ours: one name in front of three replicas, and each of them; more belong behind a name.
pub const MAX_ADDRESSES: usize = 8;
/// Longest address in bytes: its length is one byte.
pub const MAX_ADDRESS: usize = 255;
/// Longest token in bytes, as text.
pub const MAX_TOKEN: usize = PREFIX.len() + (MAX_BYTES * 4).div_ceil(3);

const PREFIX: &str = "skans1.";
const MAX_BYTES: usize = 1 + 32 + 16 + 32 + 1 + MAX_ADDRESSES * (1 + MAX_ADDRESS);
const VERSION: u8 = 1;
const WHAT: &str = "join token";

/// Where a control plane listens: `host:port`, an IPv6 address in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    host: Host,
    port: u16,
}

impl Address {
    /// Puts an address together.
    ///
    /// # Errors
    /// [`Error::Name`] if the port is 0 or the whole is longer than [`MAX_ADDRESS`].
    pub fn new(host: Host, port: u16) -> Result<Self, Error> {
        let address = Self { host, port };
        let text = address.to_string();
        if port == 0 || text.len() > MAX_ADDRESS {
            return Err(Error::name(
                "address",
                &text,
                "a port from 1, at most 255 bytes in all",
            ));
        }
        Ok(address)
    }

    /// Reads `host:port` in the spelling that its `Display` has.
    ///
    /// # Errors
    /// [`Error::Name`] if it is not that.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let wanted = "host:port, or [IPv6 address]:port";
        let bad = || Error::name("address", text, wanted);
        let (host, port) = text.rsplit_once(':').ok_or_else(bad)?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        let address = Self::new(
            Host::parse(inner.unwrap_or(host))?,
            port.parse().map_err(|_| bad())?,
        )?;
        if address.to_string() == text {
            Ok(address)
        } else {
            Err(bad())
        }
    }

    /// The host.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }

    /// The port, never 0.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(core::net::IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            host => write!(f, "{host}:{}", self.port),
        }
    }
}

/// A join token. Its secret is wiped when dropped and never shown; whoever has the text has the secret.
pub struct JoinToken {
    spki_sha256: [u8; 32],
    id: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
    addresses: Vec<Address>,
}

impl JoinToken {
    /// Draws a new token for a trust domain whose root has this key.
    ///
    /// # Errors
    /// [`Error::Encoding`] unless there are 1 to [`MAX_ADDRESSES`] addresses, [`Error::Crypto`] if there is no randomness.
    pub fn draw(root_spki_sha256: [u8; 32], addresses: Vec<Address>) -> Result<Self, Error> {
        if !(1..=MAX_ADDRESSES).contains(&addresses.len()) {
            return Err(Error::Encoding {
                what: WHAT,
                found: format!("{} addresses", addresses.len()),
                wanted: "1 to 8",
            });
        }
        let failed = |_| Error::Crypto {
            doing: "draw a join token",
        };
        let (mut id, mut secret) = ([0; 16], Zeroizing::new([0; 32]));
        aws_lc_rs::rand::fill(&mut id).map_err(failed)?;
        aws_lc_rs::rand::fill(&mut *secret).map_err(failed)?;
        Ok(Self {
            spki_sha256: root_spki_sha256,
            id,
            secret,
            addresses,
        })
    }

    /// Reads a token. White space around it is not part of it, since it is pasted and kept in files.
    ///
    /// # Errors
    /// [`Error::Encoding`] or [`Error::Name`], which never hold any of the text but an address.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let bad = |found: String, wanted| Error::Encoding {
            what: WHAT,
            found,
            wanted,
        };
        let text = text.trim_ascii();
        if text.len() > MAX_TOKEN {
            return Err(bad(format!("{} bytes", text.len()), "a shorter one"));
        }
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(bad(
                "another beginning".into(),
                "one that begins with skans1.",
            ));
        };
        // Room for all of it at once: a vector that grew would leave a copy of the secret behind.
        let mut bytes = Zeroizing::new(Vec::with_capacity(encoded.len()));
        URL_SAFE_NO_PAD
            .decode_vec(encoded, &mut bytes)
            .map_err(|_| bad("not base64url".into(), "base64url without padding"))?;
        let mut reader = Reader::new(WHAT, &bytes);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(reader.bad(format!("version {version}"), "version 1"));
        }
        let spki_sha256 = reader.array()?;
        let id = reader.array()?;
        let mut secret = Zeroizing::new([0; 32]);
        secret.copy_from_slice(reader.take(32)?);
        let count = usize::from(reader.u8()?);
        if !(1..=MAX_ADDRESSES).contains(&count) {
            return Err(reader.bad(format!("{count} addresses"), "1 to 8"));
        }
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let length = usize::from(reader.u8()?);
            let text = core::str::from_utf8(reader.take(length)?);
            let text = text.map_err(|_| reader.bad("an address that is not text", "host:port"))?;
            addresses.push(Address::parse(text)?);
        }
        reader.end()?;
        Ok(Self {
            spki_sha256,
            id,
            secret,
            addresses,
        })
    }

    /// The token as one string, wiped when dropped.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut bytes = Zeroizing::new(Vec::with_capacity(MAX_BYTES));
        bytes.push(VERSION);
        bytes.extend_from_slice(&self.spki_sha256);
        bytes.extend_from_slice(&self.id);
        bytes.extend_from_slice(&*self.secret);
        bytes.push(u8::try_from(self.addresses.len()).unwrap_or(0));
        for address in &self.addresses {
            let text = address.to_string();
            bytes.push(u8::try_from(text.len()).unwrap_or(0));
            bytes.extend_from_slice(text.as_bytes());
        }
        let mut text = Zeroizing::new(String::with_capacity(MAX_TOKEN));
        text.push_str(PREFIX);
        URL_SAFE_NO_PAD.encode_string(&*bytes, &mut text);
        text
    }

    /// SHA-256 of the `SubjectPublicKeyInfo` of the root that the control plane's chain must end in.
    #[must_use]
    pub const fn root_spki_sha256(&self) -> &[u8; 32] {
        &self.spki_sha256
    }

    /// What the token is called, in lower-case hex: this may be shown and logged.
    #[must_use]
    pub fn id(&self) -> String {
        hex(&self.id)
    }

    /// What proves that one has the token: for the control plane's eyes only.
    #[must_use]
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }

    /// Where the control plane listens, in the order in which to try.
    #[must_use]
    pub fn addresses(&self) -> &[Address] {
        &self.addresses
    }
}

/// What a store keeps of a secret. It has 256 random bits, so a slow hash would add nothing; and who compares hashes
/// tells nothing about the secret by the time that takes.
#[must_use]
pub fn secret_sha256(secret: &[u8]) -> [u8; 32] {
    sha256(secret)
}

impl FromStr for JoinToken {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id())
            .field("addresses", &self.addresses)
            .field("secret", &"(not shown)")
            .finish_non_exhaustive()
    }
}
