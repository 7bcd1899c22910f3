use proptest::prelude::*;
use rcgen::{CertificateParams, KeyPair, SigningKey};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject as _;

use super::*;

/// Made once with `openssl req -newkey rsa:1024 -nodes -keyout /dev/null -subj /CN=weak -outform DER`.
const RSA_1024: &str = "-----BEGIN CERTIFICATE REQUEST-----
MIIBTjCBuAIBADAPMQ0wCwYDVQQDDAR3ZWFrMIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQCyT90bI/K2fLwvFRm4/iJYEzet
GoIXJOv/8Yu3HXNHWODAlAegdLuVKiQPwhsiNdBGDNCQL1OhbvaG/0yCjipHAVbIDbmpAJOHqJIMK4LGR1CN/dDXsm/Sqw39BN49
+NsyP3XNQko3mQJXk5bOEWrXszGD81ARAYDpozTnAQX6AQIDAQABoAAwDQYJKoZIhvcNAQELBQADgYEAGQXQKo/6gau7v4UNh1IB
Xd+NxfvOcqRum1mRWft/ActY7t+mY/MGurFTdIQ9ODiWSSSN2j8RVNAcJXK9B8bjwbLdjjD2IkfLIZTUSrvNWDOVIl/ZpWx/tCMz
jjxwT6YdFJloGhaoIkgeA9KTrthIHMoryWhyBssJtq6U95ebI74=
-----END CERTIFICATE REQUEST-----";

fn request(key: &impl SigningKey) -> Vec<u8> {
    CertificateParams::default()
        .serialize_request(key)
        .unwrap()
        .der()
        .to_vec()
}

fn why(der: &[u8]) -> String {
    public_key(der).unwrap_err().to_string()
}

#[test]
fn possession_is_proved_and_the_key_returned() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
    ] {
        let pair = KeyPair::generate_for(algorithm).unwrap();
        let key = public_key(&request(&pair)).unwrap();
        assert_eq!(
            key.subject_public_key_info(),
            pair.subject_public_key_info()
        );
        assert_eq!(key.spki_sha256(), sha256(&pair.subject_public_key_info()));
    }
}

#[test]
fn other_kinds_of_key_are_refused() {
    let kind = |algorithm| why(&request(&KeyPair::generate_for(algorithm).unwrap()));
    assert!(kind(&rcgen::PKCS_ED25519).contains("Ed25519"));
    assert!(kind(&rcgen::PKCS_RSA_SHA256).contains("an RSA key"));
    assert!(kind(&rcgen::PKCS_ECDSA_P521_SHA512).contains("curve"));
    let weak = why(&CertificateSigningRequestDer::from_pem_slice(RSA_1024.as_bytes()).unwrap());
    assert!(weak.contains("RSA of 1024 bits"), "{weak}");
}

/// Claims one key, signs with another.
struct Impostor(KeyPair, KeyPair);

impl PublicKeyData for Impostor {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Impostor {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.1.sign(message)
    }
}

#[test]
fn somebody_elses_key_is_refused() {
    let pair = || KeyPair::generate().unwrap();
    let found = why(&request(&Impostor(pair(), pair())));
    assert!(found.contains("proof of possession"), "{found}");
}

#[test]
fn no_bent_request_is_taken() {
    let pair = KeyPair::generate().unwrap();
    let der = request(&pair);
    // What is signed. The frame around it is not, and its encoding is read leniently.
    let (_, parsed) = X509CertificationRequest::from_der(&der).unwrap();
    let info = parsed.certification_request_info.raw;
    let begin = der
        .windows(info.len())
        .position(|window| window == info)
        .unwrap();
    for at in begin..begin + info.len() {
        for bit in 0..8 {
            let mut bent = der.clone();
            bent[at] ^= 1 << bit;
            assert!(public_key(&bent).is_err(), "bit {bit} of byte {at}");
        }
    }
    let mut long = der.clone();
    long.push(0);
    assert!(why(&long).contains("after its end"));
    assert!(why(&vec![0x30; MAX_REQUEST + 1]).contains("bytes"));
    for end in 0..der.len() {
        assert!(public_key(&der[..end]).is_err());
    }
}

#[test]
fn one_key_has_one_encoding() {
    // The same request with a compressed point could not be signed by rcgen: bend it by hand, so that the refusal comes
    // before the signature is looked at.
    let pair = KeyPair::generate().unwrap();
    let mut der = request(&pair);
    let point = pair.der_bytes();
    let at = der
        .windows(point.len())
        .position(|window| window == point)
        .unwrap();
    der[at] = 2;
    assert!(why(&der).contains("compressed"));
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        let _ = public_key(&bytes);
    }
}
