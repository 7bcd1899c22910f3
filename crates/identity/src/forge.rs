//! Hostile certificates, for tests of this crate and of those above it. Never compiled into what ships.
//!
//! What lives here signs anything, and connects to anybody. It stands outside the template wall on purpose: tests need
//! what the wall would never make.

mod peers;

use core::time::Duration;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CustomExtension, DistinguishedName, DnType, IsCa, SanType,
    SerialNumber,
};
pub use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose, PublicKeyData};
use rustls::sign::CertifiedKey;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use time::OffsetDateTime;

use crate::authority::{Authority, to_pem};
use crate::bundle::Bundle;
use crate::error::Error;
use crate::id::TrustDomain;
use crate::signer::{Held, SoftwareKey};
use crate::template::CaKey;

pub use peers::{Speech, client_config, server_config};

const BROKEN: Error = Error::Crypto { doing: "forge" };

/// A certificate to be forged. Every field may hold anything.
#[derive(Debug, Clone)]
pub struct Spec {
    /// URI names.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// IP addresses.
    pub ips: Vec<IpAddr>,
    /// The common name of the subject.
    pub common_name: String,
    /// First second of validity, Unix time.
    pub not_before: u64,
    /// Last second of validity, Unix time.
    pub not_after: u64,
    /// Whether it is a CA certificate.
    pub ca: bool,
    /// Key usages.
    pub key_usages: Vec<KeyUsagePurpose>,
    /// Extended key usages.
    pub extended_key_usages: Vec<ExtendedKeyUsagePurpose>,
    /// Whether to add a critical extension that nobody knows.
    pub unknown_critical: bool,
}

impl Spec {
    /// What the template wall would make of a node: change a field to make it hostile.
    #[must_use]
    pub fn good(id: &str, host: &str, now: UnixTime) -> Self {
        let ip = host.parse().ok();
        Self {
            uris: vec![id.into()],
            dns: if ip.is_none() {
                vec![host.into()]
            } else {
                vec![]
            },
            ips: ip.into_iter().collect(),
            common_name: "Skans workload".into(),
            not_before: now.as_secs().saturating_sub(60),
            not_after: now.as_secs() + 3600,
            ca: false,
            key_usages: vec![KeyUsagePurpose::DigitalSignature],
            extended_key_usages: vec![
                ExtendedKeyUsagePurpose::ClientAuth,
                ExtendedKeyUsagePurpose::ServerAuth,
            ],
            unknown_critical: false,
        }
    }

    fn params(&self) -> Result<CertificateParams, Error> {
        let mut params = CertificateParams::default();
        let date = |seconds| {
            let seconds = i64::try_from(seconds).map_err(|_| BROKEN)?;
            OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| BROKEN)
        };
        params.not_before = date(self.not_before)?;
        params.not_after = date(self.not_after)?;
        let mut serial = [0; 16];
        aws_lc_rs::rand::fill(&mut serial).map_err(|_| BROKEN)?;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.distinguished_name = DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::CommonName, self.common_name.as_str());
        for uri in &self.uris {
            let name = uri.as_str().try_into().map_err(|_| BROKEN)?;
            params.subject_alt_names.push(SanType::URI(name));
        }
        for dns in &self.dns {
            let name = dns.as_str().try_into().map_err(|_| BROKEN)?;
            params.subject_alt_names.push(SanType::DnsName(name));
        }
        for ip in &self.ips {
            params.subject_alt_names.push(SanType::IpAddress(*ip));
        }
        params.is_ca = if self.ca {
            IsCa::Ca(BasicConstraints::Unconstrained)
        } else {
            IsCa::ExplicitNoCa
        };
        params.key_usages.clone_from(&self.key_usages);
        params
            .extended_key_usages
            .clone_from(&self.extended_key_usages);
        if self.unknown_critical {
            let mut extension =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 1], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        Ok(params)
    }
}

/// A CA that signs anything.
pub struct Forge {
    trust_domain: TrustDomain,
    certificate: CertificateDer<'static>,
    /// What a peer needs besides the leaf, up to the root, which is left out.
    above: Vec<CertificateDer<'static>>,
    signer: CaKey<SoftwareKey>,
}

impl Forge {
    /// A new root of its own, valid for a day, for this trust domain.
    ///
    /// # Errors
    /// If cryptography fails.
    pub fn new(trust_domain: &TrustDomain, now: UnixTime) -> Result<Self, Error> {
        let (from, to) = (now.as_secs() - 60, now.as_secs() + 24 * 3600);
        Self::with_validity(trust_domain, from, to)
    }

    /// A new root of its own that is valid between these two, in Unix seconds.
    ///
    /// # Errors
    /// If cryptography fails.
    pub fn with_validity(trust_domain: &TrustDomain, from: u64, to: u64) -> Result<Self, Error> {
        let mut spec = Spec::good(
            "",
            "",
            UnixTime::since_unix_epoch(Duration::from_secs(from)),
        );
        spec.uris = vec![format!("spiffe://{trust_domain}")];
        spec.dns.clear();
        spec.common_name = format!("Forged root of {trust_domain}");
        (spec.not_before, spec.not_after) = (from, to);
        spec.ca = true;
        spec.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        spec.extended_key_usages.clear();
        let key = SoftwareKey::generate()?;
        let certificate = spec
            .params()?
            .self_signed(&Held(&key))
            .map_err(|_| BROKEN)?;
        let certificate = CertificateDer::from(certificate);
        let signer = CaKey::from_ca_cert_der(&certificate, Held(key)).map_err(|_| BROKEN)?;
        Ok(Self {
            trust_domain: trust_domain.clone(),
            certificate,
            above: vec![],
            signer,
        })
    }

    /// Signs with the issuing key of a real authority, as somebody would who stole it.
    ///
    /// # Errors
    /// If the authority's own key cannot be read.
    pub fn stolen(authority: &Authority) -> Result<Self, Error> {
        let (certificate, key) = authority.issuing_parts()?;
        let signer = CaKey::from_ca_cert_der(&certificate, Held(key)).map_err(|_| BROKEN)?;
        let above = vec![certificate.clone()];
        Ok(Self {
            trust_domain: authority.trust_domain().clone(),
            certificate,
            above,
            signer,
        })
    }

    /// Signs with a key and chain that were never meant to sign: a node's own, for one.
    ///
    /// # Errors
    /// If the chain is empty or the key is not an ECDSA P-256 key.
    pub fn with_key(
        trust_domain: TrustDomain,
        chain: &[CertificateDer<'static>],
        key: &PrivateKeyDer<'_>,
    ) -> Result<Self, Error> {
        let certificate = chain.first().ok_or(BROKEN)?.clone();
        let key = SoftwareKey::from_pkcs8(key.secret_der()).map_err(|_| BROKEN)?;
        let signer = CaKey::from_ca_cert_der(&certificate, Held(key)).map_err(|_| BROKEN)?;
        Ok(Self {
            trust_domain,
            certificate,
            above: chain.to_vec(),
            signer,
        })
    }

    /// A CA below this one, made as `spec` says.
    ///
    /// # Errors
    /// If `spec` cannot be encoded.
    pub fn intermediate(&self, spec: &Spec) -> Result<Self, Error> {
        let key = SoftwareKey::generate()?;
        let signed = spec
            .params()?
            .signed_by(&Held(&key), &self.signer)
            .map_err(|_| BROKEN)?;
        let certificate = CertificateDer::from(signed);
        let signer = CaKey::from_ca_cert_der(&certificate, Held(key)).map_err(|_| BROKEN)?;
        let mut above = vec![certificate.clone()];
        above.extend(self.above.iter().cloned());
        Ok(Self {
            trust_domain: self.trust_domain.clone(),
            certificate,
            above,
            signer,
        })
    }

    /// The CA certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// A bundle that holds this CA.
    ///
    /// # Errors
    /// If the CA is not fit for a bundle.
    pub fn bundle(&self) -> Result<Bundle, Error> {
        Bundle::new(
            self.trust_domain.clone(),
            core::slice::from_ref(&self.certificate),
        )
    }

    /// A certificate for a key of any kind.
    ///
    /// # Errors
    /// If `spec` cannot be encoded.
    pub fn certificate_for(
        &self,
        spec: &Spec,
        key: &impl PublicKeyData,
    ) -> Result<CertificateDer<'static>, Error> {
        let signed = spec.params()?.signed_by(key, &self.signer);
        Ok(signed.map_err(|_| BROKEN)?.into())
    }

    /// A certificate with a fresh key.
    ///
    /// # Errors
    /// If `spec` cannot be encoded.
    pub fn leaf(&self, spec: &Spec) -> Result<Forged, Error> {
        let key = SoftwareKey::generate()?;
        let mut chain = vec![self.certificate_for(spec, &Held(&key))?];
        chain.extend(self.above.iter().cloned());
        Ok(Forged {
            chain,
            key: key.to_der(),
        })
    }
}

/// A forged chain and its key. Unlike a `Credential`, nothing about it was checked.
pub struct Forged {
    /// The certificates, leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// The private key of the leaf.
    pub key: PrivateKeyDer<'static>,
}

impl Forged {
    /// The chain as PEM.
    #[must_use]
    pub fn chain_pem(&self) -> String {
        self.chain
            .iter()
            .map(|der| to_pem("CERTIFICATE", der))
            .collect()
    }

    /// The key as PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        to_pem("PRIVATE KEY", self.key.secret_der())
    }

    fn certified(&self) -> Result<Arc<CertifiedKey>, Error> {
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&self.key);
        Ok(Arc::new(CertifiedKey::new(
            self.chain.clone(),
            key.map_err(|_| BROKEN)?,
        )))
    }
}
