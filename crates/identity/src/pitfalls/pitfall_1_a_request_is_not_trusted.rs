//! What a certificate signing request asks for (names, CA:TRUE, usages, validity) must not reach the certificate.

use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, PublicKeyData as _};
use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::csr::{self, ProvenKey};
use crate::keys::unhex;
use crate::template::tests::hostile;
use crate::template::{self, CaKey, Serial, Validity};
use crate::testing::{HOUR, NOW, authority, host, node};

fn to_be_signed(der: &CertificateDer<'_>) -> Vec<u8> {
    let (_, certificate) = X509Certificate::from_der(der).unwrap();
    certificate.tbs_certificate.as_ref().to_vec()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_issued_equals_the_template_byte_by_byte(asked in hostile()) {
        let authority = authority();
        let pair = KeyPair::generate().unwrap();
        let request = asked.serialize_request(&pair).unwrap();
        // All of the way that a request takes.
        let key = csr::public_key(request.der()).unwrap();
        let issued = authority.issuer().sign(node("a").id(), Some(&host()), &key, HOUR, NOW).unwrap();
        // The same from attested ID, public key and time alone: nothing of the request but its key is at hand here.
        let (certificate, signing) = authority.issuing_parts().unwrap();
        let signer = CaKey::from_ca_cert_der(&certificate, crate::signer::Held(signing)).unwrap();
        let plain = CertificateParams::default().serialize_request(&pair).unwrap();
        let key = csr::public_key(plain.der()).unwrap();
        let serial: [u8; 16] = unhex(&issued.serial).unwrap().try_into().unwrap();
        let validity = Validity { not_before: NOW.as_secs() - 60, not_after: NOW.as_secs() + 3600 };
        let wanted = template::leaf(node("a").id(), Some(&host()), &key, validity, &Serial::of(serial), &signer).unwrap();
        prop_assert_eq!(to_be_signed(&issued.chain[0]), to_be_signed(&wanted));
    }
}

#[test]
fn what_is_issued_is_for_the_key_that_was_proved() {
    let authority = authority();
    let pair = KeyPair::generate().unwrap();
    let request = CertificateParams::default()
        .serialize_request(&pair)
        .unwrap();
    let key: ProvenKey = csr::public_key(request.der()).unwrap();
    let issued = authority
        .issuer()
        .sign(node("a").id(), Some(&host()), &key, HOUR, NOW)
        .unwrap();
    let (_, leaf) = X509Certificate::from_der(&issued.chain[0]).unwrap();
    assert_eq!(leaf.public_key().raw, pair.subject_public_key_info());
}
