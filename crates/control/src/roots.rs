//! Root certificates as others bring them: what is looked at before one is trusted.

use rustls::pki_types::CertificateDer;
use skans_identity::bundle::Bundle;
use skans_identity::id::TrustDomain;
use x509_parser::prelude::FromDer as _;

use crate::caller::sha256;
use crate::error::Error;

/// What is known of a root.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts {
    pub(crate) spki: [u8; 32],
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// Looks at a root of this trust domain.
///
/// # Errors
/// [`Error::Identity`] if it is no CA certificate.
pub(crate) fn check(
    trust_domain: &TrustDomain,
    der: &CertificateDer<'_>,
) -> Result<(Bundle, Facts), Error> {
    let bundle = Bundle::new(trust_domain.clone(), std::slice::from_ref(der))?;
    Ok((bundle, facts(der)?))
}

/// Reads the key and the times of a certificate.
///
/// # Errors
/// [`Error::Invalid`] if it is none.
pub(crate) fn facts(der: &[u8]) -> Result<Facts, Error> {
    let (_, read) = x509_parser::certificate::X509Certificate::from_der(der)
        .map_err(|_| Error::Invalid("certificate: it cannot be read".to_owned()))?;
    let seconds = |time: x509_parser::time::ASN1Time| u64::try_from(time.timestamp()).unwrap_or(0);
    Ok(Facts {
        spki: sha256(read.public_key().raw),
        not_before: seconds(read.validity().not_before),
        not_after: seconds(read.validity().not_after),
    })
}
