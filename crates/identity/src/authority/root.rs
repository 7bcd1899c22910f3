//! The root: the key that everything in a trust domain hangs on. It signs issuing certificates, and may be kept offline
//! between two of them.

use core::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use super::stored::{self, CaCertificate};
use super::{begun, validity};
use crate::csr::ProvenKey;
use crate::error::Error;
use crate::id::{self, TrustDomain};
use crate::signer::{Signer, SoftwareKey};
use crate::template::{self, CaKey, Serial, Validity};

/// A root with its key. The key is never shown; one in memory is wiped when dropped.
pub struct Root<K = SoftwareKey> {
    trust_domain: TrustDomain,
    certificate: CertificateDer<'static>,
    validity: Validity,
    signer: CaKey<K>,
}

/// A root as text. The key text is wiped when dropped; there is no `Debug`.
pub struct RootPem {
    /// The root certificate.
    pub certificate: String,
    /// Its key, PKCS #8.
    pub key: Zeroizing<String>,
}

impl<K: Signer> Root<K> {
    /// Makes a root for a trust domain from a key, which signs its own certificate.
    ///
    /// # Errors
    /// [`Error::Authority`] if the life time is zero or ends after the year 9999, [`Error::Crypto`] if the key will not
    /// sign.
    pub fn new(
        trust_domain: &TrustDomain,
        key: K,
        now: UnixTime,
        lifetime: Duration,
    ) -> Result<Self, Error> {
        let validity = validity(now, lifetime, u64::MAX)?;
        let certificate = template::root(trust_domain, &key, validity, &Serial::random()?)?;
        Self::load(certificate, key)
    }

    /// Puts a root together again from its certificate and its key. Times are not looked at: an expired root loads, and
    /// refuses to sign.
    ///
    /// # Errors
    /// [`Error::Authority`] if the certificate is not a CA certificate made by [`Root::new`], or the key is not its key.
    pub fn load(certificate: CertificateDer<'static>, key: K) -> Result<Self, Error> {
        let read = CaCertificate::read("root certificate", &certificate)?;
        let (trust_domain, validity) = (read.trust_domain.clone(), read.validity);
        read.check_self_signed()?;
        read.check_key("root key", &key)?;
        let signer = stored::ca_key(&certificate, key)?;
        Ok(Self {
            trust_domain,
            certificate,
            validity,
            signer,
        })
    }

    /// The trust domain whose root it is.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The root certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// First second of its validity, Unix time.
    #[must_use]
    pub const fn not_before(&self) -> u64 {
        self.validity.not_before
    }

    /// Last second of its validity, Unix time.
    #[must_use]
    pub const fn not_after(&self) -> u64 {
        self.validity.not_after
    }

    /// SHA-256 of its whole `SubjectPublicKeyInfo`: what join tokens carry.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.key().spki_sha256()
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.signer.key().0
    }

    /// Signs an issuing certificate of a cluster. Its life ends with the root's at the latest. The key may be one at hand
    /// ([`ProvenKey::of`]) or one elsewhere, by its request ([`csr::public_key`](crate::csr::public_key)): so a root can
    /// stay offline while the issuing key never leaves its control plane.
    ///
    /// # Errors
    /// [`Error::Name`] if `cluster` is not 1 to 63 bytes of a path segment, [`Error::Authority`] if `lifetime` is zero or
    /// the root is not valid now, [`Error::Crypto`] if the root's key will not sign.
    pub fn sign_issuer(
        &self,
        cluster: &str,
        key: &ProvenKey,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<CertificateDer<'static>, Error> {
        id::check_cluster(cluster)?;
        begun(self.validity, now)?;
        template::issuing(
            &self.trust_domain,
            cluster,
            key,
            validity(now, lifetime, self.validity.not_after)?,
            &Serial::random()?,
            &self.signer,
        )
    }
}

impl Root {
    /// Reads what [`Root::to_pem`] wrote. Certificate and key may stand in one text, which is then given for both.
    ///
    /// # Errors
    /// As [`Root::load`], and if either is not PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let certificate = stored::certificate("root certificate", certificate)?;
        Self::load(certificate, stored::key("root key", key)?)
    }

    /// The root as text, with its private key: for a file that nobody else can read.
    #[must_use]
    pub fn to_pem(&self) -> RootPem {
        RootPem {
            certificate: stored::to_pem("CERTIFICATE", &self.certificate),
            key: stored::key_to_pem(self.key()),
        }
    }
}
