//! Authorities as text and back: PEM, and the checks that what is read belongs together. Where it is kept is not here.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::{Authority, Issuer, Root};
use crate::error::Error;
use crate::id::{self, SpiffeId, TrustDomain};
use crate::keys::{hex, sha256};
use crate::leaf;
use crate::signer::{Held, Signer, SoftwareKey};
use crate::template::{self, CaKey, Validity};

/// An authority as text, for its caller to keep. Key texts are wiped when dropped; there is no `Debug`.
///
/// A certificate and its key may stand in one text, which is then given for both: so a file that is replaced whole never
/// holds one without the other.
pub struct AuthorityPem {
    /// The root certificate.
    pub root_cert: String,
    /// The root's key, PKCS #8. Without it (an offline root) everything works but [`Authority::renew_issuer`].
    pub root_key: Option<Zeroizing<String>>,
    /// The issuing certificate.
    pub issuer_cert: String,
    /// The issuing key, PKCS #8.
    pub issuer_key: Zeroizing<String>,
}

impl Authority {
    /// Reads what [`Authority::to_pem`] wrote. Times are not looked at: an expired authority loads, and refuses to sign.
    ///
    /// # Errors
    /// [`Error::Authority`] if a part cannot be read, a key does not fit its certificate, or the two certificates are
    /// not a root and an issuing certificate of the same trust domain, the latter signed by the former.
    pub fn from_pem(parts: &AuthorityPem) -> Result<Self, Error> {
        let root = certificate("root certificate", &parts.root_cert)?;
        let issuer = certificate("issuing certificate", &parts.issuer_cert)?;
        let above = CaCertificate::read("root certificate", &root)?;
        let below = CaCertificate::read("issuing certificate", &issuer)?;
        if below.trust_domain != above.trust_domain {
            let found = format!(
                "root of {}, issuing certificate of {}",
                above.trust_domain, below.trust_domain
            );
            return Err(Error::authority(found, "both of one trust domain"));
        }
        below.check_signed_by(&above)?;
        let load = |text| Root::load(root.clone(), key("root key", text)?);
        let root_key = parts.root_key.as_ref();
        let online = root_key.map(|text| load(text)).transpose()?;
        let issuer_key = key("issuing key", &parts.issuer_key)?;
        Ok(Self {
            root: online,
            root_certificate: root.clone(),
            issuer: Issuer::load(issuer.clone(), issuer_key)?,
        })
    }

    /// The authority as text, with its private keys: for a file that nobody else can read.
    #[must_use]
    pub fn to_pem(&self) -> AuthorityPem {
        let issuer = self.issuer.to_pem();
        AuthorityPem {
            root_cert: to_pem("CERTIFICATE", &self.root_certificate),
            root_key: self.root.as_ref().map(|root| key_to_pem(root.key())),
            issuer_cert: issuer.certificate,
            issuer_key: issuer.key,
        }
    }
}

const OURS: &str = "a CA certificate made by this authority";

/// A CA certificate of our own making, read.
pub(super) struct CaCertificate<'a> {
    what: &'static str,
    certificate: X509Certificate<'a>,
    pub(super) trust_domain: TrustDomain,
    pub(super) validity: Validity,
}

impl<'a> CaCertificate<'a> {
    pub(super) fn read(what: &'static str, der: &'a CertificateDer<'_>) -> Result<Self, Error> {
        let bad = |found: &str| Error::authority(format!("{what}: {found}"), OURS);
        let certificate = leaf::parse(der).map_err(|refusal| bad(&refusal.to_string()))?;
        if !certificate.is_ca() {
            return Err(bad("not a CA certificate"));
        }
        let names = certificate.subject_alternative_name().ok().flatten();
        let names = names.as_ref().map(|names| &*names.value.general_names);
        let id = match names {
            Some([GeneralName::URI(uri)]) => SpiffeId::parse(uri).ok(),
            _ => None,
        };
        let Some(id) = id.filter(|id| id.path().is_empty()) else {
            return Err(bad("without the ID of a trust domain"));
        };
        let validity = Validity {
            not_before: leaf::seconds(certificate.validity().not_before),
            not_after: leaf::seconds(certificate.validity().not_after),
        };
        Ok(Self {
            what,
            trust_domain: id.trust_domain().clone(),
            validity,
            certificate,
        })
    }

    /// The cluster of an issuing certificate.
    pub(super) fn cluster(&self) -> Result<String, Error> {
        let name = template::issuer_cluster(&self.certificate).ok_or_else(|| {
            Error::authority(
                format!("{}: without the name of a cluster", self.what),
                OURS,
            )
        })?;
        id::check_cluster(&name)?;
        Ok(name)
    }

    pub(super) fn serial(&self) -> String {
        hex(self.certificate.raw_serial())
    }

    pub(super) fn check_key(&self, what: &str, key: &impl Signer) -> Result<(), Error> {
        if key.spki_sha256() == sha256(self.certificate.public_key().raw) {
            return Ok(());
        }
        let found = format!("{what}: of another certificate");
        Err(Error::authority(found, "the key of its certificate"))
    }

    pub(super) fn check_self_signed(&self) -> Result<(), Error> {
        self.signed_by(&self.certificate).map_err(|()| {
            let found = format!("{} that another key signed", self.what);
            Error::authority(found, "one that signed itself")
        })
    }

    fn check_signed_by(&self, root: &Self) -> Result<(), Error> {
        self.signed_by(&root.certificate).map_err(|()| {
            let found = format!("{} that another key signed", self.what);
            Error::authority(found, "one signed by the root")
        })
    }

    /// Path building cannot be used here: it wants a leaf. Our own CAs sign with P-256 alone.
    fn signed_by(&self, above: &X509Certificate<'_>) -> Result<(), ()> {
        let point = &above.public_key().subject_public_key.data;
        let signed = ECDSA_P256_SHA256.verify_signature(
            point,
            self.certificate.tbs_certificate.as_ref(),
            &self.certificate.signature_value.data,
        );
        signed.map_err(|_| ())
    }
}

pub(super) fn ca_key<K: Signer>(
    certificate: &CertificateDer<'_>,
    key: K,
) -> Result<CaKey<K>, Error> {
    CaKey::from_ca_cert_der(certificate, Held(key))
        .map_err(|_| Error::authority("a CA certificate that cannot be read", OURS))
}

pub(super) fn certificate(
    what: &'static str,
    text: &str,
) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|_| Error::authority(format!("{what}: not PEM"), "one CERTIFICATE block"))
}

pub(super) fn key(what: &'static str, text: &str) -> Result<SoftwareKey, Error> {
    let wanted = "one PRIVATE KEY block (PKCS #8) with an ECDSA P-256 key";
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| Error::authority(format!("{what}: not PEM"), wanted))?;
    let der = Zeroizing::new(der);
    SoftwareKey::from_pkcs8(der.secret_pkcs8_der())
        .map_err(|_| Error::authority(format!("{what}: not such a key"), wanted))
}

/// Into one string of the right size: no other copy of a key is left behind, and none of its bits steers a branch.
pub(crate) fn to_pem(tag: &str, der: &[u8]) -> String {
    // It fails for lengths near usize::MAX alone.
    pem_rfc7468::encode_string(tag, pem_rfc7468::LineEnding::LF, der).unwrap_or_default()
}

pub(super) fn key_to_pem(key: &SoftwareKey) -> Zeroizing<String> {
    Zeroizing::new(to_pem("PRIVATE KEY", key.pkcs8()))
}
