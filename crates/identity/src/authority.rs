//! Certificate authorities: a root that may stay offline, issuing certificates of clusters, and both in one object.
//!
//! What does not live here: where keys are stored, when things are renewed, and who may ask for what. The shape of
//! every certificate is fixed by the template wall.

mod issuer;
mod root;
mod stored;
#[cfg(test)]
mod tests;

use core::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};

pub use issuer::{Issued, Issuer, IssuerPem, MAX_REVOKED, Revoked};
pub use root::{Root, RootPem};
pub use stored::AuthorityPem;
pub(crate) use stored::to_pem;

use crate::bundle::Bundle;
use crate::credential::Credential;
use crate::csr::ProvenKey;
use crate::error::Error;
use crate::host::Host;
use crate::id::{SpiffeId, TrustDomain};
use crate::signer::SoftwareKey;
use crate::template::{BACKDATE, Validity};

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

/// A root and one issuing certificate of one cluster in the memory of one process: what an agent embeds, and tests use.
/// A control plane holds [`Issuer`]s, and a [`Root`] only while it needs one.
pub struct Authority {
    root_certificate: CertificateDer<'static>,
    /// Not here if the root is offline.
    root: Option<Root>,
    issuer: Issuer,
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
        let root = Root::new(trust_domain, SoftwareKey::generate()?, now, lifetimes.root)?;
        let issuer = new_issuer(&root, cluster, now, lifetimes.issuer)?;
        Ok(Self {
            root_certificate: root.certificate().clone(),
            root: Some(root),
            issuer,
        })
    }

    /// The trust domain that it signs for.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        self.issuer.trust_domain()
    }

    /// The cluster that it signs for.
    #[must_use]
    pub fn cluster(&self) -> &str {
        self.issuer.cluster()
    }

    /// Last second of the issuing certificate, Unix time. No leaf outlives it.
    #[must_use]
    pub const fn issuer_not_after(&self) -> u64 {
        self.issuer.not_after()
    }

    /// Whether half the life of the issuing certificate is over, so that it should be renewed.
    #[must_use]
    pub const fn issuer_due(&self, now: UnixTime) -> bool {
        now.as_secs() >= self.issuer.not_before().midpoint(self.issuer.not_after())
    }

    /// Replaces the issuing certificate by a new one with a new key. Leaves signed by the old one stay valid: they carry
    /// it in their chain.
    ///
    /// # Errors
    /// [`Error::Authority`] if the root's key is not here or the root is not valid now, [`Error::Crypto`] if no key can
    /// be made. The old issuing certificate then stays.
    pub fn renew_issuer(&mut self, now: UnixTime, lifetime: Duration) -> Result<(), Error> {
        let Some(root) = &self.root else {
            return Err(Error::authority(
                "no root key (the root is offline)",
                "the root key, to sign an issuing certificate",
            ));
        };
        self.issuer = new_issuer(root, self.issuer.cluster(), now, lifetime)?;
        Ok(())
    }

    /// Signs a leaf for a key whose possession was proved. See [`Issuer::sign`].
    ///
    /// # Errors
    /// As [`Issuer::sign`].
    pub fn sign(
        &self,
        id: &SpiffeId,
        host: &Host,
        key: &ProvenKey,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        let issued = self.issuer.sign(id, Some(host), key, lifetime, now)?;
        Ok(issued.chain)
    }

    /// Makes a fresh key and a leaf for it. See [`Issuer::sign`].
    ///
    /// # Errors
    /// As [`Issuer::sign`].
    pub fn issue(
        &self,
        id: &SpiffeId,
        host: &Host,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Credential, Error> {
        self.issuer.issue(id, Some(host), lifetime, now)
    }

    /// The bundle by which others verify what is signed here: the root.
    ///
    /// # Errors
    /// None in practice: the root was made or read here. [`Error::Bundle`] otherwise.
    pub fn bundle(&self) -> Result<Bundle, Error> {
        let root = core::slice::from_ref(&self.root_certificate);
        Bundle::new(self.trust_domain().clone(), root)
    }

    /// The half that signs issuers; `None` if the root is offline.
    #[must_use]
    pub const fn root(&self) -> Option<&Root> {
        self.root.as_ref()
    }

    /// The half that signs leaves.
    #[must_use]
    pub const fn issuer(&self) -> &Issuer {
        &self.issuer
    }

    /// What a thief would take.
    #[cfg(any(test, feature = "forge"))]
    pub(crate) fn issuing_parts(&self) -> Result<(CertificateDer<'static>, SoftwareKey), Error> {
        let key = SoftwareKey::from_pkcs8(self.issuer.key().pkcs8())?;
        Ok((self.issuer.certificate().clone(), key))
    }
}

fn new_issuer(
    root: &Root,
    cluster: &str,
    now: UnixTime,
    lifetime: Duration,
) -> Result<Issuer, Error> {
    let key = SoftwareKey::generate()?;
    let certificate = root.sign_issuer(cluster, &ProvenKey::of(&key), lifetime, now)?;
    Issuer::load(certificate, key)
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

/// Refuses to sign before an issuer's own time: whoever gets the certificate could not verify it.
fn begun(issuer: Validity, now: UnixTime) -> Result<(), Error> {
    let (from, now) = (issuer.not_before, now.as_secs());
    if now < from {
        return Err(Error::authority(
            format!("issuing certificate valid from {from}, now {now}"),
            "a clock that is right",
        ));
    }
    Ok(())
}
