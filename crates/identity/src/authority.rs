//! A certificate authority that lives inside the process: a root, one issuing certificate, and leaves.
//!
//! What does not live here: where its keys are stored, when things are renewed, and who may ask for what. The shape of
//! every certificate is fixed by the template wall.

mod stored;
#[cfg(test)]
mod tests;

use core::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};

pub use stored::AuthorityPem;
pub(crate) use stored::to_pem;

use crate::bundle::Bundle;
use crate::credential::Credential;
use crate::csr::ProvenKey;
use crate::error::{Error, shown};
use crate::host::Host;
use crate::id::{NodeId, Role, SpiffeId, TrustDomain};
use crate::keys::OwnKey;
use crate::template::{self, BACKDATE, Serial, Signer, Validity};

/// The longest life of a leaf that is signed here. A stolen key without revocation is good for this long; SPIRE and
/// csi-driver-spiffe give 1 h, Istio and Linkerd 24 h, cert-manager 90 days.
pub const MAX_LEAF: Duration = Duration::from_secs(24 * 3600);

/// How long the CA certificates live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetimes {
    /// The root. Default 2 years: it is changed by hand, with the bundles of everybody who trusts it. step-ca and Istio
    /// take 10 years, SPIRE a day (and rotates it itself).
    pub root: Duration,
    /// The issuing certificate. Default 7 days, renewed from half its life on: it signs unattended, so its key is
    /// worth little for long. SPIRE takes a day, Linkerd what its user supplies.
    pub issuer: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        const DAY: u64 = 24 * 3600;
        Self {
            root: Duration::from_secs(730 * DAY),
            issuer: Duration::from_secs(7 * DAY),
        }
    }
}

/// A root and one issuing certificate of one cluster. Private keys are never shown and are wiped when dropped.
pub struct Authority {
    trust_domain: TrustDomain,
    cluster: String,
    root: CertificateDer<'static>,
    root_signer: Option<Signer>,
    issuer: CertificateDer<'static>,
    issuer_signer: Signer,
    issuer_validity: Validity,
    root_not_after: u64,
}

impl Authority {
    /// Makes a new authority for a cluster.
    ///
    /// # Errors
    /// [`Error::Name`] if `cluster` is not 1 to 63 bytes of a path segment, [`Error::Authority`] if a life time is zero
    /// or ends after the year 9999, [`Error::Crypto`] if no key can be made.
    pub fn generate(
        trust_domain: &TrustDomain,
        cluster: &str,
        now: UnixTime,
        lifetimes: Lifetimes,
    ) -> Result<Self, Error> {
        // The ID of any node of the cluster is checked the same way.
        NodeId::cli(trust_domain, cluster, "x", "x")?;
        let root_key = OwnKey::generate()?;
        let root_validity = validity(now, lifetimes.root, u64::MAX)?;
        let root = template::root(trust_domain, &root_key, root_validity, &Serial::random()?)?;
        let root_signer = signer(&root, root_key)?;
        let issued = new_issuer(
            trust_domain,
            cluster,
            &root_signer,
            validity(now, lifetimes.issuer, root_validity.not_after)?,
        )?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            cluster: cluster.into(),
            root,
            root_signer: Some(root_signer),
            issuer: issued.0,
            issuer_signer: issued.1,
            issuer_validity: issued.2,
            root_not_after: root_validity.not_after,
        })
    }

    /// The trust domain that it signs for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The cluster that it signs for.
    #[must_use]
    pub fn cluster(&self) -> &str {
        &self.cluster
    }

    /// Last second of the issuing certificate, Unix time. No leaf outlives it.
    #[must_use]
    pub const fn issuer_not_after(&self) -> u64 {
        self.issuer_validity.not_after
    }

    /// Whether half the life of the issuing certificate is over, so that it should be renewed.
    #[must_use]
    pub const fn issuer_due(&self, now: UnixTime) -> bool {
        let Validity {
            not_before,
            not_after,
        } = self.issuer_validity;
        now.as_secs() >= not_before.midpoint(not_after)
    }

    /// Replaces the issuing certificate by a new one with a new key. Leaves signed by the old one stay valid: they carry
    /// it in their chain.
    ///
    /// # Errors
    /// [`Error::Authority`] if the root's key is not here or the root is not valid now, [`Error::Crypto`] if no key can
    /// be made. The old issuing certificate then stays.
    pub fn renew_issuer(&mut self, now: UnixTime, lifetime: Duration) -> Result<(), Error> {
        let Some(root) = &self.root_signer else {
            return Err(Error::authority(
                "no root key (the root is offline)",
                "the root key, to sign an issuing certificate",
            ));
        };
        let issued = new_issuer(
            &self.trust_domain,
            &self.cluster,
            root,
            validity(now, lifetime, self.root_not_after)?,
        )?;
        (self.issuer, self.issuer_signer, self.issuer_validity) = issued;
        Ok(())
    }

    /// Signs a leaf for a key whose possession was proved. Its life ends with the issuing certificate's at the latest.
    ///
    /// `id` is the ID of a node of this cluster, or of a part of Skans (`/skans/…`), in this trust domain.
    ///
    /// # Errors
    /// [`Error::Authority`] if `id` is another, if `lifetime` is zero or longer than [`MAX_LEAF`], or if the issuing
    /// certificate is not valid now; [`Error::Crypto`] if signing fails.
    pub fn sign(
        &self,
        id: &SpiffeId,
        host: &Host,
        key: &ProvenKey,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        self.check_subject(id)?;
        if lifetime > MAX_LEAF {
            return Err(Error::authority(
                format!("a life time of {} s", lifetime.as_secs()),
                "at most 24 h for a leaf",
            ));
        }
        let Validity {
            not_before,
            not_after,
        } = self.issuer_validity;
        if now.as_secs() < not_before {
            return Err(Error::authority(
                format!(
                    "issuing certificate valid from {not_before}, now {}",
                    now.as_secs()
                ),
                "a clock that is right",
            ));
        }
        let validity = validity(now, lifetime, not_after)?;
        let leaf = template::leaf(
            id,
            host,
            key,
            validity,
            &Serial::random()?,
            &self.issuer_signer,
        )?;
        Ok(vec![leaf, self.issuer.clone()])
    }

    /// Makes a fresh key and a leaf for it. See [`Authority::sign`].
    ///
    /// # Errors
    /// As [`Authority::sign`].
    pub fn issue(
        &self,
        id: &SpiffeId,
        host: &Host,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Credential, Error> {
        let key = OwnKey::generate()?;
        let chain = self.sign(id, host, &ProvenKey::own(&key), lifetime, now)?;
        Credential::new(chain, key.to_der(), now)
    }

    /// The bundle by which others verify what is signed here: the root.
    ///
    /// # Errors
    /// None in practice: the root was made or read here. [`Error::Bundle`] otherwise.
    pub fn bundle(&self) -> Result<Bundle, Error> {
        Bundle::new(self.trust_domain.clone(), std::slice::from_ref(&self.root))
    }

    /// What a thief would take.
    #[cfg(any(test, feature = "forge"))]
    pub(crate) fn issuing_parts(&self) -> Result<(CertificateDer<'static>, OwnKey), Error> {
        let key = OwnKey::from_pkcs8(self.issuer_signer.key().pkcs8()).ok_or(Error::Crypto {
            doing: "copy the issuing key",
        })?;
        Ok((self.issuer.clone(), key))
    }

    fn check_subject(&self, id: &SpiffeId) -> Result<(), Error> {
        let bad = |wanted| Err(Error::authority(shown(id.as_str()), wanted));
        if *id.trust_domain() != self.trust_domain {
            return bad("an ID of this authority's trust domain");
        }
        match id.role() {
            Some(Role::Node { cluster, .. }) if cluster != self.cluster => {
                bad("an ID of this authority's cluster")
            }
            Some(Role::Node { .. }) => NodeId::try_from(id.clone()).map(|_| ()),
            Some(_) => Ok(()),
            None => bad("the ID of a node or of a part of Skans"),
        }
    }
}

fn new_issuer(
    trust_domain: &TrustDomain,
    cluster: &str,
    root: &Signer,
    validity: Validity,
) -> Result<(CertificateDer<'static>, Signer, Validity), Error> {
    let key = OwnKey::generate()?;
    let certificate = template::issuing(
        trust_domain,
        cluster,
        &ProvenKey::own(&key),
        validity,
        &Serial::random()?,
        root,
    )?;
    let signer = signer(&certificate, key)?;
    Ok((certificate, signer, validity))
}

fn signer(certificate: &CertificateDer<'_>, key: OwnKey) -> Result<Signer, Error> {
    Signer::from_ca_cert_der(certificate, key).map_err(|_| {
        Error::authority(
            "a CA certificate that cannot be read",
            "one made by this authority",
        )
    })
}

/// From a little before now to the end of the life time, or of the issuer's if that comes first.
fn validity(now: UnixTime, lifetime: Duration, issuer_not_after: u64) -> Result<Validity, Error> {
    let now = now.as_secs();
    if lifetime.as_secs() == 0 {
        return Err(Error::authority("a life time of 0 s", "at least 1 s"));
    }
    if now >= issuer_not_after {
        return Err(Error::authority(
            format!("issuer expired at {issuer_not_after}, now {now}"),
            "an issuer that is valid now",
        ));
    }
    let not_after = now.saturating_add(lifetime.as_secs()).min(issuer_not_after);
    Ok(Validity {
        not_before: now.saturating_sub(BACKDATE),
        not_after,
    })
}
