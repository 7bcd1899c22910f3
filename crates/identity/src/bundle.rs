//! Trust bundles: the roots of one trust domain, and the map from domains to bundles. Bundles are never pooled.

pub mod document;
#[cfg(test)]
mod tests;

use std::collections::HashMap;

use rustls_pki_types::pem::{self, PemObject as _};
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use x509_parser::extensions::GeneralName;

use crate::error::{Error, shown};
use crate::id::TrustDomain;
use crate::keys::sha256;
use crate::leaf;

/// Largest bundle text in bytes. Ours: [`MAX_ROOTS`] RSA-4096 roots need about 128 KiB.
pub const MAX_BUNDLE: usize = 256 * 1024;
/// Most roots in one bundle. Ours: a large SPIRE deployment holds 8 servers with up to 3 roots each.
pub const MAX_ROOTS: usize = 64;
/// Most trust domains.
pub const MAX_TRUST_DOMAINS: usize = 1024;

/// The roots of one trust domain. Only CA certificates get in; which of them are within their validity is decided
/// anew at each use, since a path builder takes an expired root as gladly as a fresh one.
#[derive(Debug, Clone)]
pub struct Bundle {
    trust_domain: TrustDomain,
    roots: Vec<Root>,
}

#[derive(Debug, Clone)]
struct Root {
    anchor: TrustAnchor<'static>,
    der: CertificateDer<'static>,
    not_before: u64,
    not_after: u64,
    spki_sha256: [u8; 32],
}

impl Bundle {
    /// Reads a bundle from PEM: one or more CERTIFICATE blocks. Text between the blocks is ignored, other blocks are not
    /// allowed.
    ///
    /// # Errors
    /// [`Error::Bundle`] if the text is larger than [`MAX_BUNDLE`], holds no certificate or more than [`MAX_ROOTS`], or
    /// holds anything that is not a CA certificate, or is that of another trust domain by its SPIFFE ID. One bad entry refuses the whole: half a bundle is somebody's mistake.
    pub fn from_pem(trust_domain: TrustDomain, text: &[u8]) -> Result<Self, Error> {
        if text.len() > MAX_BUNDLE {
            return Err(Error::Bundle {
                found: format!("{} bytes", text.len()),
                wanted: "at most 256 KiB",
            });
        }
        let mut roots = Vec::new();
        for item in <(pem::SectionKind, Vec<u8>)>::pem_slice_iter(text) {
            let place = roots.len() + 1;
            match item {
                Ok((pem::SectionKind::Certificate, der)) if place <= MAX_ROOTS => {
                    roots.push(CertificateDer::from(der))
                }
                Ok((pem::SectionKind::Certificate, _)) => {
                    return Err(Error::Bundle {
                        found: format!("{place} certificates or more"),
                        wanted: "at most 64 roots",
                    });
                }
                Ok((kind, _)) => {
                    return Err(Error::Bundle {
                        found: format!("entry {place} is {kind:?}"),
                        wanted: "only CERTIFICATE blocks",
                    });
                }
                Err(_) => {
                    return Err(Error::Bundle {
                        found: format!("entry {place} is not PEM"),
                        wanted: "only CERTIFICATE blocks",
                    });
                }
            }
        }
        Self::new(trust_domain, &roots)
    }

    /// Makes a bundle of certificates.
    ///
    /// # Errors
    /// As [`Bundle::from_pem`].
    pub fn new(
        trust_domain: TrustDomain,
        certificates: &[CertificateDer<'_>],
    ) -> Result<Self, Error> {
        if certificates.is_empty() || certificates.len() > MAX_ROOTS {
            return Err(Error::Bundle {
                found: format!("{} certificates", certificates.len()),
                wanted: "1 to 64 roots",
            });
        }
        let roots = certificates
            .iter()
            .enumerate()
            .map(|(at, der)| Root::new(&trust_domain, at + 1, der))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            trust_domain,
            roots,
        })
    }

    /// Whose roots these are.
    #[must_use]
    pub const fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// How many roots it holds, valid now or not.
    #[must_use]
    pub fn len(&self) -> usize {
        self.roots.len()
    }

    /// Whether it holds no root: never.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.roots.is_empty()
    }

    /// The last second at which any of its roots is valid, Unix time.
    #[must_use]
    pub fn not_after(&self) -> u64 {
        self.roots
            .iter()
            .map(|root| root.not_after)
            .max()
            .unwrap_or(0)
    }

    /// The bundle as PEM, for files and for other clusters.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.roots
            .iter()
            .map(|root| crate::authority::to_pem("CERTIFICATE", &root.der))
            .collect()
    }

    /// The roots, valid now or not.
    pub fn roots(&self) -> impl ExactSizeIterator<Item = &CertificateDer<'static>> {
        self.roots.iter().map(|root| &root.der)
    }

    /// The SHA-256 of the `SubjectPublicKeyInfo` of each root, valid now or not.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &[u8; 32]> {
        self.roots.iter().map(|root| &root.spki_sha256)
    }

    /// Whether it holds a root with this SHA-256 of its `SubjectPublicKeyInfo` that is valid at this time.
    #[must_use]
    pub fn holds_at(&self, spki_sha256: &[u8; 32], now: UnixTime) -> bool {
        let now = now.as_secs();
        self.roots.iter().any(|root| {
            root.spki_sha256 == *spki_sha256 && (root.not_before..=root.not_after).contains(&now)
        })
    }

    /// The roots that are valid at this time.
    pub(crate) fn anchors_at(&self, now: UnixTime) -> Vec<TrustAnchor<'static>> {
        let now = now.as_secs();
        let valid = self
            .roots
            .iter()
            .filter(|root| (root.not_before..=root.not_after).contains(&now));
        valid.map(|root| root.anchor.clone()).collect()
    }
}

impl Root {
    fn new(
        trust_domain: &TrustDomain,
        place: usize,
        der: &CertificateDer<'_>,
    ) -> Result<Self, Error> {
        let bad = |found: &str| Error::Bundle {
            found: format!("certificate {place}: {found}"),
            wanted: "only CA certificates (CA:TRUE, keyCertSign) of this trust domain",
        };
        let certificate = leaf::parse(der).map_err(|refusal| bad(&refusal.to_string()))?;
        if !certificate.is_ca() {
            return Err(bad("not a CA certificate"));
        }
        let usage = certificate
            .key_usage()
            .map_err(|_| bad("unreadable key usage"))?;
        if usage.is_some_and(|usage| !usage.value.key_cert_sign()) {
            return Err(bad("a CA certificate without key usage keyCertSign"));
        }
        let names = certificate
            .subject_alternative_name()
            .map_err(|_| bad("unreadable or repeated names"))?;
        let names = names.iter().flat_map(|names| &names.value.general_names);
        for name in names {
            // X509-SVID 3.2: a root need not say whose it is. Where it does, it must be ours: somebody mixed bundles up.
            let GeneralName::URI(uri) = name else {
                continue;
            };
            let of = uri.strip_prefix("spiffe://").map(|id| id.split('/').next());
            if of.is_some_and(|of| of != Some(trust_domain.as_str())) {
                return Err(bad(&format!("a root of {}", shown(uri))));
            }
        }
        let der = der.clone().into_owned();
        let anchor = webpki::anchor_from_trusted_cert(&der)
            .map_err(|error| bad(&error.to_string()))?
            .to_owned();
        let validity = certificate.validity();
        Ok(Self {
            anchor,
            not_before: leaf::seconds(validity.not_before),
            not_after: leaf::seconds(validity.not_after),
            spki_sha256: sha256(certificate.public_key().raw),
            der,
        })
    }
}

/// One bundle for each trust domain. A certificate is only ever judged by the bundle of the domain that it claims.
#[derive(Debug, Clone, Default)]
pub struct Bundles(HashMap<TrustDomain, Bundle>);

impl Bundles {
    /// Puts a bundle in, in the place of an older one of the same trust domain.
    ///
    /// # Errors
    /// [`Error::Bundle`] beyond [`MAX_TRUST_DOMAINS`].
    pub fn insert(&mut self, bundle: Bundle) -> Result<(), Error> {
        if self.0.len() >= MAX_TRUST_DOMAINS && !self.0.contains_key(bundle.trust_domain()) {
            return Err(Error::Bundle {
                found: format!("{} trust domains", self.0.len() + 1),
                wanted: "at most 1024",
            });
        }
        self.0.insert(bundle.trust_domain().clone(), bundle);
        Ok(())
    }

    /// Puts these in the place of all but the one of `own`.
    ///
    /// # Errors
    /// As [`Bundles::insert`]; then nothing changes.
    pub fn replace_others(
        &mut self,
        own: &TrustDomain,
        others: impl IntoIterator<Item = Bundle>,
    ) -> Result<(), Error> {
        let mut next = Self::default();
        for bundle in others {
            if bundle.trust_domain() != own {
                next.insert(bundle)?;
            }
        }
        if let Some(bundle) = self.0.remove(own) {
            next.insert(bundle)?;
        }
        *self = next;
        Ok(())
    }

    /// The bundle of this trust domain, and of no other.
    #[must_use]
    pub fn get(&self, trust_domain: &TrustDomain) -> Option<&Bundle> {
        self.0.get(trust_domain)
    }

    /// All bundles, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Bundle> {
        self.0.values()
    }
}

impl From<Bundle> for Bundles {
    fn from(bundle: Bundle) -> Self {
        Self(HashMap::from([(bundle.trust_domain().clone(), bundle)]))
    }
}
