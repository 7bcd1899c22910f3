use std::collections::HashSet;

use proptest::prelude::*;
use rcgen::{BasicConstraints as Bc, ExtendedKeyUsagePurpose as Eku, KeyUsagePurpose as Ku};
use rcgen::{CustomExtension, KeyPair};
use rustls_pki_types::pem::PemObject as _;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::{BasicConstraints, GeneralName};
use x509_parser::prelude::FromDer as _;
use x509_parser::x509::X509Version;

use super::*;
use crate::csr;
use crate::signer::SoftwareKey;
use crate::testing::{NODE_A, authority, host};

const SERIAL: Serial = Serial::of([7; 16]);
const VALIDITY: Validity = Validity {
    not_before: 1_795_176_000,
    not_after: 1_795_179_600,
};

fn signer() -> CaKey<SoftwareKey> {
    let (certificate, key) = authority().issuing_parts().unwrap();
    CaKey::from_ca_cert_der(&certificate, Held(key)).unwrap()
}

fn id() -> SpiffeId {
    SpiffeId::parse(NODE_A).unwrap()
}

/// The part of a certificate that is signed. The signature itself is random, as ECDSA has it.
fn to_be_signed(der: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.tbs_certificate.as_ref().to_vec()
}

fn issue(request: &[u8], signer: &CaKey<SoftwareKey>) -> Vec<u8> {
    let key = csr::public_key(request).unwrap();
    to_be_signed(&leaf(&id(), Some(&host()), &key, VALIDITY, &SERIAL, signer).unwrap())
}

/// Everything that a request can ask for.
pub(crate) fn hostile() -> impl Strategy<Value = CertificateParams> {
    let name = prop_oneof![
        "spiffe://[a-z]{1,9}/[a-z]{1,9}".prop_map(|uri| SanType::URI(uri.try_into().unwrap())),
        "(\\*\\.)?[a-z]{1,9}\\.[a-z]{1,9}"
            .prop_map(|dns| SanType::DnsName(dns.try_into().unwrap())),
        "[a-z]{1,9}@[a-z]{1,9}".prop_map(|mail| SanType::Rfc822Name(mail.try_into().unwrap())),
        any::<[u8; 4]>().prop_map(|ip| SanType::IpAddress(ip.into())),
    ];
    let ca = prop_oneof![
        Just(IsCa::NoCa),
        Just(IsCa::ExplicitNoCa),
        Just(IsCa::Ca(Bc::Unconstrained)),
        any::<u8>().prop_map(|length| IsCa::Ca(Bc::Constrained(length % 128))),
    ];
    let usages = prop::sample::subsequence(
        vec![
            Ku::DigitalSignature,
            Ku::KeyCertSign,
            Ku::CrlSign,
            Ku::KeyEncipherment,
        ],
        0..=4,
    );
    let extended = prop::sample::subsequence(
        vec![
            Eku::Any,
            Eku::ClientAuth,
            Eku::ServerAuth,
            Eku::CodeSigning,
            Eku::OcspSigning,
        ],
        0..=5,
    );
    let extension = prop::option::of((any::<u16>(), any::<bool>()));
    (
        prop::collection::vec(name, 0..5),
        ca,
        usages,
        extended,
        extension,
        "[a-zA-Z0-9 =,/]{0,40}",
    )
        .prop_map(|(names, ca, usages, extended, extension, subject)| {
            let mut params = CertificateParams::default();
            params.subject_alt_names = names;
            params.is_ca = ca;
            params.key_usages = usages;
            params.extended_key_usages = extended;
            params.distinguished_name.push(DnType::CommonName, subject);
            if let Some((arc, critical)) = extension {
                let mut extension = CustomExtension::from_oid_content(
                    &[1, 3, 6, 1, 4, 1, u64::from(arc)],
                    vec![5, 0],
                );
                extension.set_criticality(critical);
                params.custom_extensions.push(extension);
            }
            params
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn what_a_request_asks_for_does_not_reach_the_certificate(params in hostile()) {
        let (signer, pair) = (signer(), KeyPair::generate().unwrap());
        let plain = CertificateParams::default().serialize_request(&pair).unwrap();
        let hostile = params.serialize_request(&pair).unwrap();
        prop_assert_ne!(plain.der(), hostile.der());
        prop_assert_eq!(issue(plain.der(), &signer), issue(hostile.der(), &signer));
    }

    #[test]
    fn inputs_are_all_that_shows(node in "[A-Za-z0-9_-]{1,30}", label in "[a-z]{1,20}", seconds in 0u64..86_400) {
        let signer = signer();
        let key = csr::public_key(CertificateParams::default().serialize_request(&KeyPair::generate().unwrap()).unwrap().der()).unwrap();
        let id = SpiffeId::parse(&format!("spiffe://lab.test/cluster/main/ns/n/sa/w/node/{node}")).unwrap();
        let host = Host::parse(&label).unwrap();
        let validity = Validity { not_after: VALIDITY.not_after + seconds, ..VALIDITY };
        let der = leaf(&id, Some(&host), &key, validity, &SERIAL, &signer).unwrap();
        let peer = crate::peer::PeerIdentity::from_der(&der).unwrap();
        prop_assert_eq!(peer.id, id);
        prop_assert_eq!(peer.host, Some(host));
        prop_assert_eq!((peer.not_before, peer.not_after), (validity.not_before, validity.not_after));
        prop_assert_eq!(peer.spki_sha256, key.spki_sha256());
    }
}

/// OID, critical or not, in the order of the certificate.
fn extensions(der: &CertificateDer<'_>) -> Vec<(String, bool)> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    let mut all: Vec<_> = certificate
        .extensions()
        .iter()
        .map(|e| (e.oid.to_id_string(), e.critical))
        .collect();
    all.sort();
    all
}

fn listed(all: [(&str, bool); 6]) -> Vec<(String, bool)> {
    let mut all: Vec<_> = all.map(|(oid, critical)| (oid.into(), critical)).into();
    all.sort();
    all
}

#[test]
fn a_leaf_has_exactly_these_extensions() {
    let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let der = leaf(&id(), Some(&host()), &key, VALIDITY, &SERIAL, &signer()).unwrap();
    let wanted = listed([
        ("2.5.29.14", false), // subject key identifier
        ("2.5.29.15", true),  // key usage
        ("2.5.29.17", false), // names
        ("2.5.29.19", true),  // basic constraints
        ("2.5.29.35", false), // authority key identifier
        ("2.5.29.37", false), // extended key usage
    ]);
    assert_eq!(extensions(&der), wanted);
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(certificate.version(), X509Version::V3);
    assert_eq!(
        certificate.basic_constraints().unwrap().unwrap().value,
        &BasicConstraints {
            ca: false,
            path_len_constraint: None
        }
    );
    let usage = certificate.key_usage().unwrap().unwrap().value;
    assert_eq!(usage.flags, 1, "digitalSignature alone");
    let extended = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(
        extended.client_auth && extended.server_auth && !extended.any && extended.other.is_empty()
    );
    assert!(
        !extended.code_signing
            && !extended.email_protection
            && !extended.ocsp_signing
            && !extended.time_stamping
    );
    let names = &certificate
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(
        names.as_slice(),
        &[GeneralName::URI(NODE_A), GeneralName::DNSName("host-a")]
    );
    assert_eq!(
        certificate.subject().to_string(),
        "O=Skans, CN=Skans workload"
    );
    assert_eq!(certificate.raw_serial().len(), 16);
}

#[test]
fn an_ip_host_becomes_an_ip_name() {
    let key = ProvenKey::of(&SoftwareKey::generate().unwrap());
    let ip = Host::parse("10.0.0.7").unwrap();
    let der = leaf(&id(), Some(&ip), &key, VALIDITY, &SERIAL, &signer()).unwrap();
    let (_, certificate) = X509Certificate::from_der(&der).unwrap();
    let names = &certificate
        .subject_alternative_name()
        .unwrap()
        .unwrap()
        .value
        .general_names;
    assert_eq!(
        names.as_slice(),
        &[
            GeneralName::URI(NODE_A),
            GeneralName::IPAddress(&[10, 0, 0, 7])
        ]
    );
}

#[test]
fn authorities_are_constrained() {
    let authority = authority();
    let text = authority.to_pem();
    for (pem_text, length) in [(&text.root_cert, 1), (&text.issuer_cert, 0)] {
        let der = CertificateDer::from_pem_slice(pem_text.as_bytes()).unwrap();
        let (_, certificate) = X509Certificate::from_der(&der).unwrap();
        let wanted = BasicConstraints {
            ca: true,
            path_len_constraint: Some(length),
        };
        assert_eq!(
            certificate.basic_constraints().unwrap().unwrap().value,
            &wanted
        );
        let usage = certificate.key_usage().unwrap().unwrap().value;
        assert!(usage.key_cert_sign() && usage.crl_sign() && !usage.digital_signature());
        let names = &certificate
            .subject_alternative_name()
            .unwrap()
            .unwrap()
            .value
            .general_names;
        assert_eq!(names.as_slice(), &[GeneralName::URI("spiffe://lab.test")]);
    }
}

#[test]
fn serials_are_random_positive_and_of_one_length() {
    let mut seen = HashSet::new();
    for _ in 0..100_000 {
        let Serial(bytes) = Serial::random().unwrap();
        assert_eq!(bytes[0] & 0xc0, 0x40);
        assert!(seen.insert(bytes), "a serial came twice");
    }
    assert_eq!(Serial::of([0xff; 16]).0[0], 0x7f);
    assert_eq!(Serial::of([0; 16]).0[0], 0x40);
}
