//! The authority as text and back: PEM, and the checks that what is read belongs together. Where it is kept is not here.

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use webpki::aws_lc_rs::ECDSA_P256_SHA256;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use zeroize::Zeroizing;

use super::{Authority, signer};
use crate::error::Error;
use crate::id::{NodeId, SpiffeId, TrustDomain};
use crate::keys::OwnKey;
use crate::leaf;
use crate::template::Validity;

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
        let root_der = certificate("root certificate", &parts.root_cert)?;
        let issuer_der = certificate("issuing certificate", &parts.issuer_cert)?;
        let root = ca("root certificate", &root_der)?;
        let issuer = ca("issuing certificate", &issuer_der)?;
        let trust_domain = ca_trust_domain("root certificate", &root)?;
        let below = ca_trust_domain("issuing certificate", &issuer)?;
        if below != trust_domain {
            let found = format!("root of {trust_domain}, issuing certificate of {below}");
            return Err(Error::authority(found, "both of one trust domain"));
        }
        signed_by(&issuer, &root)?;
        let cluster = cluster(&issuer)?;
        NodeId::cli(&trust_domain, &cluster, "x", "x")?;
        let root_key = parts.root_key.as_ref();
        let root_key = root_key
            .map(|text| key("root key", text, &root))
            .transpose()?;
        let issuer_key = key("issuing key", &parts.issuer_key, &issuer)?;
        Ok(Self {
            trust_domain,
            cluster,
            root_signer: root_key.map(|key| signer(&root_der, key)).transpose()?,
            root_not_after: leaf::seconds(root.validity().not_after),
            issuer_signer: signer(&issuer_der, issuer_key)?,
            issuer_validity: Validity {
                not_before: leaf::seconds(issuer.validity().not_before),
                not_after: leaf::seconds(issuer.validity().not_after),
            },
            root: root_der.clone(),
            issuer: issuer_der.clone(),
        })
    }

    /// The authority as text, with its private keys: for a file that nobody else can read.
    #[must_use]
    pub fn to_pem(&self) -> AuthorityPem {
        AuthorityPem {
            root_cert: to_pem("CERTIFICATE", &self.root),
            root_key: self
                .root_signer
                .as_ref()
                .map(|signer| key_to_pem(signer.key())),
            issuer_cert: to_pem("CERTIFICATE", &self.issuer),
            issuer_key: key_to_pem(self.issuer_signer.key()),
        }
    }
}

fn certificate(what: &'static str, text: &str) -> Result<CertificateDer<'static>, Error> {
    CertificateDer::from_pem_slice(text.as_bytes())
        .map_err(|_| Error::authority(format!("{what}: not PEM"), "one CERTIFICATE block"))
}

const OURS: &str = "a CA certificate made by this authority";

fn ca<'a>(what: &'static str, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let certificate =
        leaf::parse(der).map_err(|refusal| Error::authority(format!("{what}: {refusal}"), OURS))?;
    if !certificate.is_ca() {
        return Err(Error::authority(
            format!("{what}: not a CA certificate"),
            OURS,
        ));
    }
    Ok(certificate)
}

fn ca_trust_domain(
    what: &'static str,
    certificate: &X509Certificate<'_>,
) -> Result<TrustDomain, Error> {
    let names = certificate.subject_alternative_name().ok().flatten();
    let id = match names
        .as_ref()
        .map(|names| names.value.general_names.as_slice())
    {
        Some([GeneralName::URI(uri)]) => SpiffeId::parse(uri).ok(),
        _ => None,
    };
    match id {
        Some(id) if id.path().is_empty() => Ok(id.trust_domain().clone()),
        _ => Err(Error::authority(
            format!("{what}: without the ID of a trust domain"),
            OURS,
        )),
    }
}

fn cluster(issuer: &X509Certificate<'_>) -> Result<String, Error> {
    let unit = issuer.subject().iter_organizational_unit().next();
    let name = unit.and_then(|unit| unit.as_str().ok()).map(Into::into);
    name.ok_or_else(|| Error::authority("issuing certificate: without the name of a cluster", OURS))
}

/// Path building cannot be used here: it wants a leaf. Our own CAs sign with P-256 alone.
fn signed_by(issuer: &X509Certificate<'_>, root: &X509Certificate<'_>) -> Result<(), Error> {
    let point = &root.public_key().subject_public_key.data;
    let signed = ECDSA_P256_SHA256.verify_signature(
        point,
        issuer.tbs_certificate.as_ref(),
        &issuer.signature_value.data,
    );
    signed.map_err(|_| {
        Error::authority(
            "issuing certificate that another key signed",
            "one signed by the root",
        )
    })
}

fn key(what: &'static str, text: &str, certificate: &X509Certificate<'_>) -> Result<OwnKey, Error> {
    let wanted = "one PRIVATE KEY block (PKCS #8) with an ECDSA P-256 key";
    let der = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
        .map_err(|_| Error::authority(format!("{what}: not PEM"), wanted))?;
    let der = Zeroizing::new(der);
    let key = OwnKey::from_pkcs8(der.secret_pkcs8_der())
        .ok_or_else(|| Error::authority(format!("{what}: not such a key"), wanted))?;
    if key.spki_sha256() != crate::keys::sha256(certificate.public_key().raw) {
        return Err(Error::authority(
            format!("{what}: of another certificate"),
            "the key of its certificate",
        ));
    }
    Ok(key)
}

/// Into one string of the right size: no other copy of a key is left behind, and none of its bits steers a branch.
pub(crate) fn to_pem(tag: &str, der: &[u8]) -> String {
    // It fails for lengths near usize::MAX alone.
    pem_rfc7468::encode_string(tag, pem_rfc7468::LineEnding::LF, der).unwrap_or_default()
}

fn key_to_pem(key: &OwnKey) -> Zeroizing<String> {
    Zeroizing::new(to_pem("PRIVATE KEY", key.pkcs8()))
}
