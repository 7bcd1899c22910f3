//! The name of a node as a certificate spells it: the part before `@` and the host.

#[cfg(test)]
mod tests;

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use crate::error::Error;
use crate::host::Host;
use crate::id;

/// `alive@host`. Of the short-lived nodes of a host it is `cli@host`, since that is all that their certificate says.
/// Compared byte by byte. Cloning is cheap.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct NodeName {
    alive: Arc<str>,
    host: Host,
}

impl NodeName {
    /// Puts a name together.
    ///
    /// # Errors
    /// [`Error::Name`] if `alive` is not 1 to 200 of `a-z A-Z 0-9 _ -`.
    pub fn new(alive: &str, host: Host) -> Result<Self, Error> {
        id::check_alive(alive)?;
        Ok(Self {
            alive: alive.into(),
            host,
        })
    }

    /// Reads `alive@host`.
    ///
    /// # Errors
    /// [`Error::Name`] if either half breaks its rule, see [`NodeName::new`] and [`Host::parse`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let Some((alive, host)) = text.split_once('@') else {
            return Err(Error::name("node name", text, "alive@host"));
        };
        Self::new(alive, Host::parse(host)?)
    }

    /// The part before `@`.
    #[must_use]
    pub fn alive(&self) -> &str {
        &self.alive
    }

    /// The part after `@`.
    #[must_use]
    pub const fn host(&self) -> &Host {
        &self.host
    }
}

impl FromStr for NodeName {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.alive, self.host)
    }
}

impl fmt::Debug for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
