//! Patterns over SPIFFE IDs of one foreign cluster: whose connections a gateway may forward.

#[cfg(test)]
mod tests;

use core::fmt;

use crate::error::Error;
use crate::id::{SpiffeId, TrustDomain};

/// What stands for any one segment.
const ANY: &str = "*";

/// A pattern over the IDs of one trust domain. Written form: an ID in which a whole path segment may be `*`, which stands
/// for exactly one segment, whatever it is. The trust domain and the first segment are spelled out.
#[derive(Clone, PartialEq, Eq)]
pub struct IdPattern {
    text: Box<str>,
    trust_domain: TrustDomain,
}

impl IdPattern {
    /// Reads a pattern over the IDs of this trust domain and cluster.
    ///
    /// # Errors
    /// [`Error::Name`] if it is no such ID, of another trust domain or cluster, without a path, begins with `*`, or is one of
    /// `/skans/`: what carries no node is not forwarded.
    pub fn parse(text: &str, trust_domain: &TrustDomain, cluster: &str) -> Result<Self, Error> {
        let bad = |wanted| Error::name("SPIFFE ID pattern", text, wanted);
        // `*` is no character of an ID: put one in its place, and the strict reader says the rest.
        let id = SpiffeId::parse(&filled(text))?;
        if id.trust_domain() != trust_domain {
            return Err(bad("the trust domain of the link, in full"));
        }
        let mut segments = text.splitn(4, '/').nth(3).unwrap_or_default().split('/');
        match segments.next() {
            None | Some("") => return Err(bad("an ID with a path")),
            Some(ANY) => return Err(bad("a first path segment that is spelled out")),
            Some("skans") => return Err(bad("no ID of a control plane, agent, gateway or person")),
            Some("cluster") if segments.next() != Some(cluster) => {
                return Err(bad("the cluster of the link, in full"));
            }
            Some(_) => {}
        }
        Ok(Self {
            text: text.into(),
            trust_domain: trust_domain.clone(),
        })
    }

    /// Whether the whole of an ID fits.
    #[must_use]
    pub fn matches(&self, id: &SpiffeId) -> bool {
        let (mut wanted, mut found) = (self.text.split('/'), id.as_str().split('/'));
        *id.trust_domain() == self.trust_domain
            && loop {
                match (wanted.next(), found.next()) {
                    (None, None) => break true,
                    (Some(wanted), Some(found)) if wanted == ANY || wanted == found => {}
                    _ => break false,
                }
            }
    }

    /// As it was written.
    #[must_use]
    pub const fn as_str(&self) -> &str {
        &self.text
    }
}

/// The pattern with each `*` that is a whole segment of the path made a letter.
fn filled(text: &str) -> String {
    let segments = text.split('/').enumerate();
    let segments = segments.map(|(at, one)| if at > 2 && one == ANY { "x" } else { one });
    segments.collect::<Vec<_>>().join("/")
}

impl fmt::Display for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for IdPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
