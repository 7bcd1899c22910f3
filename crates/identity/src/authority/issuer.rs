//! The issuing half of an authority: one certificate of one cluster, and the key that signs leaves and revocation lists.

#[cfg(test)]
mod tests;

use core::time::Duration;

use rustls_pki_types::{CertificateDer, UnixTime};
use zeroize::Zeroizing;

use super::stored::{self, CaCertificate};
use super::{MAX_LEAF, begun, validity};
use crate::bundle::{Bundle, Bundles};
use crate::credential::Credential;
use crate::csr::ProvenKey;
use crate::error::{Error, shown};
use crate::host::Host;
use crate::id::{NodeId, Role, SpiffeId, TrustDomain};
use crate::keys::{hex, unhex};
use crate::signer::{Signer, SoftwareKey};
use crate::template::{self, CaKey, Serial, Validity};
use crate::trust::{SharedTrust, Trust};
use crate::verify::{Usage, Verifier};

/// Most entries of a revocation list. Ours: some 4 MiB, which others still fetch and read; more revocations than that at
/// one time are a reason to replace the issuer. Let's Encrypt shards its lists at a similar size.
pub const MAX_REVOKED: usize = 100_000;

/// An issuing certificate with its key. The key is never shown; one in memory is wiped when dropped.
pub struct Issuer<K = SoftwareKey> {
    trust_domain: TrustDomain,
    cluster: String,
    certificate: CertificateDer<'static>,
    validity: Validity,
    serial: String,
    signer: CaKey<K>,
}

/// An issuing certificate as text. The key text is wiped when dropped; there is no `Debug`.
pub struct IssuerPem {
    /// The issuing certificate.
    pub certificate: String,
    /// Its key, PKCS #8.
    pub key: Zeroizing<String>,
}

/// A leaf that was just signed, and what an inventory wants to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// The leaf and the issuing certificate, in the order of TLS.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's serial number in lower-case hex, as [`PeerIdentity::serial`](crate::peer::PeerIdentity::serial).
    pub serial: String,
    /// First second of its validity, Unix time.
    pub not_before: u64,
    /// Last second of its validity, Unix time.
    pub not_after: u64,
    /// SHA-256 of its whole `SubjectPublicKeyInfo`.
    pub spki_sha256: [u8; 32],
}

/// An entry of a revocation list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// The serial number in lower-case hex, at most 20 bytes of it.
    pub serial: String,
    /// When it was revoked, Unix time in seconds.
    pub at: u64,
}

impl<K: Signer> Issuer<K> {
    /// Puts an issuer together from its certificate, made by [`Root::sign_issuer`](super::Root::sign_issuer), and its
    /// key. Times are not looked at: an expired issuer loads, and refuses to sign. Whether anybody trusts it is another
    /// question, see [`Issuer::check_under`].
    ///
    /// # Errors
    /// [`Error::Authority`] if the certificate is not an issuing certificate of a cluster, or the key is not its key.
    pub fn load(certificate: CertificateDer<'static>, key: K) -> Result<Self, Error> {
        let read = CaCertificate::read("issuing certificate", &certificate)?;
        let cluster = read.cluster()?;
        read.check_key("issuing key", &key)?;
        let (trust_domain, validity, serial) =
            (read.trust_domain.clone(), read.validity, read.serial());
        let signer = stored::ca_key(&certificate, key)?;
        Ok(Self {
            trust_domain,
            cluster,
            certificate,
            validity,
            serial,
            signer,
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

    /// The issuing certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its own serial number in lower-case hex.
    #[must_use]
    pub fn serial(&self) -> &str {
        &self.serial
    }

    /// First second of its validity, Unix time.
    #[must_use]
    pub const fn not_before(&self) -> u64 {
        self.validity.not_before
    }

    /// Last second of its validity, Unix time. No leaf outlives it.
    #[must_use]
    pub const fn not_after(&self) -> u64 {
        self.validity.not_after
    }

    /// SHA-256 of its whole `SubjectPublicKeyInfo`: what it is denied by.
    #[must_use]
    pub fn spki_sha256(&self) -> [u8; 32] {
        self.key().spki_sha256()
    }

    /// The key that signs.
    #[must_use]
    pub fn key(&self) -> &K {
        &self.signer.key().0
    }

    /// Signs a leaf for a key whose possession was proved. Its life ends with the issuing certificate's at the latest.
    ///
    /// `id` is the ID of a node of this cluster, or of a part of Skans (`/skans/…`), in this trust domain. `host` becomes
    /// its one DNS name or IP address: a node needs one, since it is half of its name; a person has none; agents, gateways
    /// and control planes should have that of their machine, for people and tools that look at it.
    ///
    /// # Errors
    /// [`Error::Authority`] if `id` is another or `host` does not go with it, if `lifetime` is zero or longer than
    /// [`MAX_LEAF`], or if the issuing certificate is not valid now; [`Error::Crypto`] if signing fails.
    pub fn sign(
        &self,
        id: &SpiffeId,
        host: Option<&Host>,
        key: &ProvenKey,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Issued, Error> {
        self.check_subject(id, host)?;
        if lifetime > MAX_LEAF {
            return Err(Error::authority(
                format!("a life time of {} s", lifetime.as_secs()),
                "at most 24 h for a leaf",
            ));
        }
        begun(self.validity, now)?;
        let validity = validity(now, lifetime, self.validity.not_after)?;
        let serial = Serial::random()?;
        let leaf = template::leaf(id, host, key, validity, &serial, &self.signer)?;
        Ok(Issued {
            chain: vec![leaf, self.certificate.clone()],
            serial: hex(serial.as_bytes()),
            not_before: validity.not_before,
            not_after: validity.not_after,
            spki_sha256: key.spki_sha256(),
        })
    }

    /// Makes a fresh key and a leaf for it: for parts of the process that holds the issuer.
    ///
    /// # Errors
    /// As [`Issuer::sign`].
    pub fn issue(
        &self,
        id: &SpiffeId,
        host: Option<&Host>,
        lifetime: Duration,
        now: UnixTime,
    ) -> Result<Credential, Error> {
        let key = SoftwareKey::generate()?;
        let issued = self.sign(id, host, &ProvenKey::of(&key), lifetime, now)?;
        Credential::new(issued.chain, key.to_der(), now)
    }

    /// Signs a list of what it revoked, for those who do not follow the deny stream (RFC 5280 5, DER). `number` must be
    /// higher for every list of this issuer; `next_update` is when readers stop believing it.
    ///
    /// # Errors
    /// [`Error::Authority`] if there are more than [`MAX_REVOKED`] entries, a serial number is not hex of 1 to 20 bytes,
    /// or `next_update` is not after `this_update`; [`Error::Crypto`] if signing fails.
    pub fn revocation_list(
        &self,
        number: u64,
        this_update: UnixTime,
        next_update: UnixTime,
        revoked: &[Revoked],
    ) -> Result<Vec<u8>, Error> {
        if revoked.len() > MAX_REVOKED {
            return Err(Error::authority(
                format!("{} revoked serial numbers", revoked.len()),
                "at most 100000: replace the issuer instead",
            ));
        }
        if next_update <= this_update {
            return Err(Error::authority(
                "a revocation list that ends when it begins",
                "a next update after this update",
            ));
        }
        let entries = revoked
            .iter()
            .map(|entry| Ok((serial(&entry.serial)?, entry.at)))
            .collect::<Result<Vec<_>, Error>>()?;
        let validity = Validity {
            not_before: this_update.as_secs(),
            not_after: next_update.as_secs(),
        };
        template::revocation_list(number, validity, entries.into_iter(), &self.signer)
    }

    /// Checks that what it signs now is verified by `bundle`, by trying it: before it is activated, and after it came
    /// back from an offline root.
    ///
    /// # Errors
    /// [`Error::Authority`] if the bundle holds no root that vouches for it, or it is not valid now.
    pub fn check_under(&self, bundle: &Bundle, now: UnixTime) -> Result<(), Error> {
        let probe = SpiffeId::control(&self.trust_domain, "probe")?;
        let lifetime = Duration::from_secs(60);
        let key = SoftwareKey::generate()?;
        let issued = self.sign(&probe, None, &ProvenKey::of(&key), lifetime, now)?;
        let verifier = Verifier::new(SharedTrust::new(Trust {
            bundles: Bundles::from(bundle.clone()),
            ..Trust::default()
        }));
        let verdict = verifier.verify(&issued.chain, Usage::Server, now);
        verdict.map(|_| ()).map_err(|refusal| {
            Error::authority(
                format!("an issuing certificate whose leaves are refused: {refusal}"),
                "one signed by a root of the bundle",
            )
        })
    }

    fn check_subject(&self, id: &SpiffeId, host: Option<&Host>) -> Result<(), Error> {
        let bad = |wanted| Err(Error::authority(shown(id.as_str()), wanted));
        if *id.trust_domain() != self.trust_domain {
            return bad("an ID of this authority's trust domain");
        }
        match id.role() {
            Some(Role::Node { cluster, .. }) if cluster != self.cluster => {
                bad("an ID of this authority's cluster")
            }
            Some(Role::Node { .. }) if host.is_none() => {
                bad("a host for a node: it is half of its name")
            }
            Some(Role::Node { .. }) => NodeId::try_from(id.clone()).map(|_| ()),
            Some(Role::User(_)) if host.is_some() => bad("no host for a person"),
            Some(_) => Ok(()),
            None => bad("the ID of a node or of a part of Skans"),
        }
    }
}

impl Issuer {
    /// Reads what [`Issuer::to_pem`] wrote. Certificate and key may stand in one text, which is then given for both.
    ///
    /// # Errors
    /// As [`Issuer::load`], and if either is not PEM.
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, Error> {
        let certificate = stored::certificate("issuing certificate", certificate)?;
        Self::load(certificate, stored::key("issuing key", key)?)
    }

    /// The issuer as text, with its private key: for a file that nobody else can read.
    #[must_use]
    pub fn to_pem(&self) -> IssuerPem {
        IssuerPem {
            certificate: stored::to_pem("CERTIFICATE", &self.certificate),
            key: stored::key_to_pem(self.key()),
        }
    }
}

fn serial(text: &str) -> Result<Vec<u8>, Error> {
    unhex(text)
        .filter(|bytes| (1..=20).contains(&bytes.len()))
        .ok_or_else(|| {
            Error::authority(
                format!("a serial number {}", shown(text)),
                "1 to 20 bytes in lower-case hex",
            )
        })
}
