//! Where a role holds: a trust domain, a cluster in it, a namespace in that. Who holds it is not said here.

use std::fmt;
use std::str::FromStr;

use skans_identity::id::{NodeId, TrustDomain};

use crate::error::Error;

/// A trust domain, a cluster, or a namespace, written `prod.example`, `prod.example/main`, `prod.example/main/default`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    trust_domain: TrustDomain,
    cluster: Option<String>,
    namespace: Option<String>,
}

impl Scope {
    /// All of a trust domain.
    #[must_use]
    pub const fn trust_domain(trust_domain: TrustDomain) -> Self {
        Self {
            trust_domain,
            cluster: None,
            namespace: None,
        }
    }

    /// A cluster in this trust domain.
    ///
    /// # Errors
    /// [`Error::Identity`] if it cannot be the name of one.
    pub fn cluster(&self, cluster: &str) -> Result<Self, Error> {
        NodeId::cli(&self.trust_domain, cluster, "x", "x")?;
        Ok(Self {
            trust_domain: self.trust_domain.clone(),
            cluster: Some(cluster.to_owned()),
            namespace: None,
        })
    }

    /// A namespace in this cluster.
    ///
    /// # Errors
    /// [`Error::Identity`] if it cannot be the name of one, [`Error::Invalid`] if this is no cluster.
    pub fn namespace(&self, namespace: &str) -> Result<Self, Error> {
        let Some(cluster) = &self.cluster else {
            return Err(Error::Invalid(format!(
                "scope: found {self}, wanted a cluster"
            )));
        };
        NodeId::cli(&self.trust_domain, cluster, namespace, "x")?;
        Ok(Self {
            namespace: Some(namespace.to_owned()),
            ..self.clone()
        })
    }

    /// What this lies in; `None` for a trust domain.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        self.cluster.as_ref()?;
        Some(Self {
            trust_domain: self.trust_domain.clone(),
            cluster: self
                .namespace
                .is_some()
                .then(|| self.cluster.clone())
                .flatten(),
            namespace: None,
        })
    }

    /// Whether `other` is this or lies in it.
    #[must_use]
    pub fn holds(&self, other: &Self) -> bool {
        let fits = |own: &Option<String>, theirs: &Option<String>| own.is_none() || own == theirs;
        self.trust_domain == other.trust_domain
            && fits(&self.cluster, &other.cluster)
            && fits(&self.namespace, &other.namespace)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.trust_domain)?;
        for part in [&self.cluster, &self.namespace].into_iter().flatten() {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

impl FromStr for Scope {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut parts = text.split('/');
        let domain = TrustDomain::parse(parts.next().unwrap_or_default())?;
        let mut scope = Self::trust_domain(domain);
        if let Some(cluster) = parts.next() {
            scope = scope.cluster(cluster)?;
        }
        if let Some(namespace) = parts.next() {
            scope = scope.namespace(namespace)?;
        }
        if parts.next().is_some() {
            return Err(Error::Invalid(
                "scope: found more than three parts, wanted TRUST-DOMAIN[/CLUSTER[/NAMESPACE]]"
                    .to_owned(),
            ));
        }
        Ok(scope)
    }
}
