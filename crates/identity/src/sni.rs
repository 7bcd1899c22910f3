//! Server names on the wire: a hash stands for the node that is dialled, and picks its credential.
//!
//! The server name goes over the wire in clear. A node name there would tell a listener who talks to whom, and break
//! the promise that nothing of the cluster leaves a host in clear. The hash is not a secret: who guesses a name can
//! confirm the guess. It hides names from those who do not know them yet.

#[cfg(test)]
mod tests;

use core::fmt;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{DnsName, ServerName};

use crate::credential::Credential;
use crate::error::Error;
use crate::id::TrustDomain;
use crate::keys::{hex, sha256};
use crate::tls::{ALPN, GATEWAY_ALPN};

/// In the place of a node name: any gateway of the trust domain. No node is called so: it has no `@`.
pub const GATEWAY: &str = "gateway";

/// The name under which a node is dialled: hex of the first 16 bytes of
/// `SHA-256("skans-sni-v1" 0 trust-domain 0 node-name)`, then `.skans`.
///
/// # Errors
/// None in practice: 32 hex digits and `.skans` are a DNS name. [`Error::Name`] otherwise.
pub fn server_name_for(
    trust_domain: &TrustDomain,
    node_name: &str,
) -> Result<ServerName<'static>, Error> {
    let hash = sha256(format!("skans-sni-v1\0{trust_domain}\0{node_name}").as_bytes());
    let name = format!("{}.skans", hex(hash.get(..16).unwrap_or_default()));
    let bad = |_| Error::name("server name", &name, "a DNS name");
    Ok(ServerName::DnsName(
        DnsName::try_from(name.clone()).map_err(bad)?,
    ))
}

/// The credentials of the local nodes, by the name under which each is dialled. An unknown name, or a client that does
/// not speak our protocol, gets no certificate at all, only an alert. Cloning shares the set.
#[derive(Clone, Default)]
pub struct Credentials(Arc<ArcSwap<HashMap<String, Arc<CertifiedKey>>>>);

impl Credentials {
    /// Serves `credential` to whoever dials `node_name`; takes the place of an older one. Handshakes that run keep what
    /// they began with.
    ///
    /// # Errors
    /// As [`server_name_for`].
    pub fn insert(
        &self,
        trust_domain: &TrustDomain,
        node_name: &str,
        credential: &Credential,
    ) -> Result<(), Error> {
        let name = server_name_for(trust_domain, node_name)?
            .to_str()
            .into_owned();
        self.0.rcu(|old| {
            let mut new = HashMap::clone(old);
            new.insert(name.clone(), credential.certified_key());
            new
        });
        Ok(())
    }

    /// Serves it no longer.
    ///
    /// # Errors
    /// As [`server_name_for`].
    pub fn remove(&self, trust_domain: &TrustDomain, node_name: &str) -> Result<(), Error> {
        let name = server_name_for(trust_domain, node_name)?
            .to_str()
            .into_owned();
        self.0.rcu(|old| {
            let mut new = HashMap::clone(old);
            new.remove(&name);
            new
        });
        Ok(())
    }

    /// Serves these and no others, in one step: no handshake sees some of the old and some of the new.
    ///
    /// # Errors
    /// As [`server_name_for`]; then nothing changes.
    pub fn replace<'a>(
        &self,
        trust_domain: &TrustDomain,
        all: impl IntoIterator<Item = (&'a str, &'a Credential)>,
    ) -> Result<(), Error> {
        let named = all.into_iter().map(|(node_name, credential)| {
            let name = server_name_for(trust_domain, node_name)?;
            Ok((name.to_str().into_owned(), credential.certified_key()))
        });
        self.0.store(Arc::new(named.collect::<Result<_, Error>>()?));
        Ok(())
    }

    /// How many names are served.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.load().len()
    }

    /// Whether none is served.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ResolvesServerCert for Credentials {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let speaks = hello.alpn().is_some_and(|mut protocols| {
            protocols.any(|protocol| protocol == ALPN || protocol == GATEWAY_ALPN)
        });
        if !speaks {
            return None;
        }
        self.0.load().get(hello.server_name()?).cloned()
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("names", &self.len())
            .finish()
    }
}
