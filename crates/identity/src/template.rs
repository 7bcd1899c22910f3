//! The template wall: the only place where a certificate of ours takes its shape.
//!
//! What goes in: who, which host, which proven key, how long, which issuer. Everything else is fixed here, so that
//! nothing a requester sends can reach a certificate. Revocation lists take their shape here as well.

#[cfg(test)]
pub(crate) mod tests;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber,
};
use rustls_pki_types::CertificateDer;
use time::OffsetDateTime;
use x509_parser::certificate::X509Certificate;
use x509_parser::x509::AttributeTypeAndValue;

use crate::csr::ProvenKey;
use crate::error::Error;
use crate::host::Host;
use crate::id::{Role, SpiffeId, TrustDomain};
use crate::keys::hex;
use crate::signer::{Held, Signer};

/// How far `notBefore` lies before the time of issue: peers' clocks may lag behind ours by this much. step-ca takes 60 s
/// as well, Linkerd 20 s, SPIRE 10 s; hosts without a time daemon drift further than those two allow.
pub(crate) const BACKDATE: u64 = 60;

/// The organisation that stands in all of them.
const ORGANIZATION: &str = "Skans";

/// The time that a certificate is valid, in Unix seconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Validity {
    pub(crate) not_before: u64,
    pub(crate) not_after: u64,
}

/// A serial number: 16 bytes, 126 of its bits random. RFC 5280 4.1.2.2 wants at most 20 bytes and a positive number,
/// the CA/Browser Forum at least 64 random bits. Never derived from the key: a renewal must get another one.
pub(crate) struct Serial([u8; 16]);

impl Serial {
    pub(crate) fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Crypto {
            doing: "draw a serial number",
        })?;
        Ok(Self::of(bytes))
    }

    pub(crate) const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Sets the two highest bits to 01: positive, and always 16 bytes long.
    pub(crate) const fn of(mut bytes: [u8; 16]) -> Self {
        let [first, ..] = &mut bytes;
        *first = (*first & 0x3f) | 0x40;
        Self(bytes)
    }
}

/// Who signs: the key of a CA and its name.
pub(crate) type CaKey<K> = rcgen::Issuer<'static, Held<K>>;

/// A leaf: CA:FALSE, digitalSignature, one URI and one DNS name or IP address. Nodes, agents and the rest of Skans both
/// dial and are dialled; people only dial, so no certificate of theirs passes for a server's.
pub(crate) fn leaf<K: Signer>(
    id: &SpiffeId,
    host: Option<&Host>,
    key: &ProvenKey,
    validity: Validity,
    serial: &Serial,
    signer: &CaKey<K>,
) -> Result<CertificateDer<'static>, Error> {
    let mut params = base(validity, serial)?;
    // The same for all: whoever looks at the subject instead of the names must not find one there.
    params
        .distinguished_name
        .push(DnType::CommonName, "Skans workload");
    params.subject_alt_names = vec![uri(id)?];
    if let Some(host) = host {
        params.subject_alt_names.push(host_name(host)?);
    }
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    if !matches!(id.role(), Some(Role::User(_))) {
        params
            .extended_key_usages
            .push(ExtendedKeyUsagePurpose::ServerAuth);
    }
    let certificate = params.signed_by(key, signer).map_err(|_| SIGN)?;
    Ok(certificate.into())
}

/// An issuing certificate of a cluster: signs leaves only (path length 0).
pub(crate) fn issuing<K: Signer>(
    trust_domain: &TrustDomain,
    cluster: &str,
    key: &ProvenKey,
    validity: Validity,
    serial: &Serial,
    root: &CaKey<K>,
) -> Result<CertificateDer<'static>, Error> {
    let mut params = ca(
        trust_domain,
        "issuer",
        &key.spki_sha256(),
        0,
        validity,
        serial,
    )?;
    params
        .distinguished_name
        .push(DnType::OrganizationalUnitName, cluster);
    let certificate = params.signed_by(key, root).map_err(|_| SIGN)?;
    Ok(certificate.into())
}

/// The cluster that an issuing certificate made by [`issuing`] signs for. `None` for certificates of others.
pub(crate) fn issuer_cluster(certificate: &X509Certificate<'_>) -> Option<String> {
    let subject = certificate.subject();
    let one = |mut of: Box<dyn Iterator<Item = &AttributeTypeAndValue<'_>> + '_>| {
        let text = of.next()?.as_str().ok()?.to_owned();
        of.next().is_none().then_some(text)
    };
    let organization = one(Box::new(subject.iter_organization()))?;
    let name = one(Box::new(subject.iter_common_name()))?;
    if organization != ORGANIZATION || !name.starts_with("Skans issuer ") {
        return None;
    }
    one(Box::new(subject.iter_organizational_unit()))
}

/// A root: signs issuing certificates (path length 1).
pub(crate) fn root(
    trust_domain: &TrustDomain,
    key: &impl Signer,
    validity: Validity,
    serial: &Serial,
) -> Result<CertificateDer<'static>, Error> {
    let params = ca(
        trust_domain,
        "root",
        &key.spki_sha256(),
        1,
        validity,
        serial,
    )?;
    let certificate = params.self_signed(&Held(key)).map_err(|_| SIGN)?;
    Ok(certificate.into())
}

/// A revocation list (RFC 5280 5): no reasons, since they would tell strangers what happened; no distribution point,
/// since it covers all that its issuer signed. Each entry is a serial number and the Unix time of its revocation.
pub(crate) fn revocation_list<K: Signer>(
    number: u64,
    validity: Validity,
    revoked: impl Iterator<Item = (Vec<u8>, u64)>,
    signer: &CaKey<K>,
) -> Result<Vec<u8>, Error> {
    let entry = |(serial, at): (Vec<u8>, u64)| {
        Ok(RevokedCertParams {
            serial_number: SerialNumber::from_slice(&serial),
            revocation_time: date(at)?,
            reason_code: None,
            invalidity_date: None,
        })
    };
    let params = CertificateRevocationListParams {
        this_update: date(validity.not_before)?,
        next_update: date(validity.not_after)?,
        crl_number: SerialNumber::from_slice(&number.to_be_bytes()),
        issuing_distribution_point: None,
        revoked_certs: revoked.map(entry).collect::<Result<_, Error>>()?,
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(signer).map_err(|_| Error::Crypto {
        doing: "sign a revocation list",
    })?;
    Ok(list.der().to_vec())
}

const SIGN: Error = Error::Crypto {
    doing: "sign a certificate",
};

fn ca(
    trust_domain: &TrustDomain,
    kind: &str,
    spki: &[u8; 32],
    path_length: u8,
    validity: Validity,
    serial: &Serial,
) -> Result<CertificateParams, Error> {
    let mut params = base(validity, serial)?;
    let short = hex(spki.get(..8).unwrap_or_default());
    // Distinct for each key: path building looks issuers up by name.
    params
        .distinguished_name
        .push(DnType::CommonName, format!("Skans {kind} {short}"));
    // X509-SVID 3.2: a signing certificate should carry the ID of its trust domain.
    params.subject_alt_names = vec![uri(&SpiffeId::of_trust_domain(trust_domain))?];
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(path_length));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// What all have in common. rcgen's own defaults would be valid from 1975 to 4096, with a serial derived from the key.
fn base(validity: Validity, serial: &Serial) -> Result<CertificateParams, Error> {
    let mut params = CertificateParams::default();
    params.not_before = date(validity.not_before)?;
    params.not_after = date(validity.not_after)?;
    params.serial_number = Some(SerialNumber::from_slice(&serial.0));
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, ORGANIZATION);
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

fn date(seconds: u64) -> Result<OffsetDateTime, Error> {
    let wanted = "a date before the year 10000";
    let bad = || Error::Authority {
        found: format!("the time {seconds}"),
        wanted,
    };
    OffsetDateTime::from_unix_timestamp(i64::try_from(seconds).map_err(|_| bad())?)
        .map_err(|_| bad())
}

fn uri(id: &SpiffeId) -> Result<SanType, Error> {
    let bad = |_| Error::name("SPIFFE ID", id.as_str(), "ASCII");
    Ok(SanType::URI(id.as_str().try_into().map_err(bad)?))
}

fn host_name(host: &Host) -> Result<SanType, Error> {
    match host {
        Host::Ip(ip) => Ok(SanType::IpAddress(*ip)),
        Host::Dns(name) => Ok(SanType::DnsName(
            (&**name)
                .try_into()
                .map_err(|_| Error::name("host", name, "ASCII"))?,
        )),
    }
}
