//! Reading one leaf certificate: its names, its constraints, its key. Whether anybody vouches for it is not asked here.

#[cfg(test)]
mod tests;

use core::net::IpAddr;

use rustls_pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer as _;

use crate::error::{Error, shown};
use crate::host::Host;
use crate::id::SpiffeId;
use crate::keys::{KeyKind, hex, sha256};
use crate::peer::PeerIdentity;
use crate::refusal::Refusal;

/// Largest certificate in bytes. Ours: a leaf with a 2048-byte ID and an RSA-4096 signature stays below 4 KiB.
pub(crate) const MAX_CERTIFICATE: usize = 16 * 1024;

/// Reads a certificate whole: nothing may follow it.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Refusal> {
    if der.len() > MAX_CERTIFICATE {
        return Err(Refusal::TooLarge {
            found: der.len(),
            limit: MAX_CERTIFICATE,
        });
    }
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) => Err(Refusal::Encoding("bytes follow it")),
        Err(_) => Err(Refusal::Encoding("malformed")),
    }
}

/// Seconds since the epoch; what lies before it is 0.
pub(crate) fn seconds(time: x509_parser::time::ASN1Time) -> u64 {
    u64::try_from(time.timestamp()).unwrap_or(0)
}

/// Reads who a leaf says it is. See [`PeerIdentity::from_der`].
pub(crate) fn identity(certificate: &X509Certificate<'_>) -> Result<PeerIdentity, Refusal> {
    let (mut uris, mut hosts) = (Vec::new(), Vec::new());
    let names = certificate
        .subject_alternative_name()
        .map_err(|_| Refusal::Encoding("unreadable or repeated names"))?;
    for name in names
        .iter()
        .flat_map(|extension| &extension.value.general_names)
    {
        match name {
            GeneralName::URI(uri) => uris.push(*uri),
            GeneralName::DNSName(dns) => hosts.push(dns_host(dns)),
            GeneralName::IPAddress(bytes) => hosts.push(ip_host(bytes)),
            GeneralName::Invalid(..) => {
                return Err(Refusal::Encoding("a name that is not of its kind"));
            }
            // Other kinds carry nothing that is used here, and X509-SVID 2 allows them.
            _ => {}
        }
    }
    let [uri] = uris.as_slice() else {
        return Err(Refusal::UriNames { found: uris.len() });
    };
    let id = SpiffeId::parse(uri).map_err(Refusal::SpiffeId)?;
    if id.path().is_empty() {
        return Err(Refusal::SpiffeId(Error::name(
            "SPIFFE ID",
            uri,
            "an ID with a path: a workload, not a trust domain",
        )));
    }
    if hosts.len() > 1 {
        return Err(Refusal::HostNames { found: hosts.len() });
    }
    let host = hosts.pop().transpose().map_err(Refusal::HostName)?;
    let issuer = shown(&certificate.issuer().to_string());
    Ok(PeerIdentity {
        id,
        host,
        not_before: seconds(certificate.validity().not_before),
        not_after: seconds(certificate.validity().not_after),
        serial: hex(certificate.raw_serial()),
        issuer,
        spki_sha256: sha256(certificate.public_key().raw),
    })
}

/// What a leaf must and must not be (X509-SVID 4 and 5.2), whoever signed it.
pub(crate) fn check_constraints(
    certificate: &X509Certificate<'_>,
    id: &SpiffeId,
) -> Result<(), Refusal> {
    if certificate.version() != x509_parser::x509::X509Version::V3 {
        return Err(Refusal::Encoding("not version 3"));
    }
    let basic = certificate
        .basic_constraints()
        .map_err(|_| Refusal::Encoding("unreadable or repeated constraints"))?;
    if basic.is_some_and(|extension| extension.value.ca) {
        return Err(Refusal::CaLeaf { id: id.clone() });
    }
    let usage = certificate
        .key_usage()
        .map_err(|_| Refusal::Encoding("unreadable or repeated key usage"))?;
    let found = match usage.map(|extension| extension.value) {
        None => Some("has no key usage"),
        Some(usage) if usage.key_cert_sign() => Some("has key usage keyCertSign"),
        Some(usage) if usage.crl_sign() => Some("has key usage cRLSign"),
        Some(usage) if !usage.digital_signature() => Some("lacks key usage digitalSignature"),
        Some(_) => None,
    };
    if let Some(found) = found {
        return Err(Refusal::KeyUsage {
            id: id.clone(),
            found,
        });
    }
    KeyKind::of(certificate.public_key())
        .map(|_| ())
        .map_err(|found| Refusal::WeakKey { found })
}

fn dns_host(name: &str) -> Result<Host, Error> {
    match Host::parse(name)? {
        dns @ Host::Dns(_) => Ok(dns),
        Host::Ip(_) => Err(Error::name(
            "host",
            name,
            "an IP address as an IP name, not as a DNS name",
        )),
    }
}

fn ip_host(bytes: &[u8]) -> Result<Host, Error> {
    let ip = match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).map(IpAddr::from),
        _ => <[u8; 16]>::try_from(bytes).map(IpAddr::from),
    };
    ip.map(Host::Ip)
        .map_err(|_| Error::name("host", &hex(bytes), "an IP address of 4 or 16 bytes"))
}
