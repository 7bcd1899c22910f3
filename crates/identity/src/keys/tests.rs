use rcgen::PublicKeyData as _;

use super::*;
use x509_parser::prelude::FromDer as _;

fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let size = u16::try_from(content.len()).unwrap().to_be_bytes();
    [&[tag, 0x82], &size[..], content].concat()
}

/// An RSA key whose modulus starts with these bytes and is this long; the number itself does not matter here.
fn rsa(first: u8, bytes: usize) -> Result<KeyKind, String> {
    let mut modulus = vec![0; bytes];
    modulus[0] = first;
    if first >= 0x80 {
        modulus.insert(0, 0);
    }
    let key = tlv(0x30, &[tlv(2, &modulus), vec![2, 3, 1, 0, 1]].concat());
    let algorithm = [
        0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 13, 1, 1, 1, 5, 0,
    ];
    let bits = tlv(3, &[vec![0], key].concat());
    let der = tlv(0x30, &[algorithm.to_vec(), bits].concat());
    KeyKind::of(&SubjectPublicKeyInfo::from_der(&der).unwrap().1)
}

#[test]
fn rsa_is_bounded_on_both_sides() {
    assert_eq!(rsa(0x80, 256), Ok(KeyKind::Rsa));
    assert_eq!(rsa(0x7f, 256), Err("RSA of 2047 bits".into()));
    assert_eq!(rsa(0x80, 128), Err("RSA of 1024 bits".into()));
    assert_eq!(rsa(0xff, 512), Ok(KeyKind::Rsa));
    assert_eq!(rsa(0x01, 513), Err("RSA of 4097 bits".into()));
    assert_eq!(rsa(0x80, 2048), Err("RSA of 16384 bits".into()));
}

#[test]
fn other_kinds_are_told_apart() {
    let of = |algorithm| {
        let pair = rcgen::KeyPair::generate_for(algorithm).unwrap();
        let der = pair.subject_public_key_info();
        KeyKind::of(&SubjectPublicKeyInfo::from_der(&der).unwrap().1)
    };
    assert_eq!(of(&rcgen::PKCS_ECDSA_P256_SHA256), Ok(KeyKind::P256));
    assert_eq!(of(&rcgen::PKCS_ECDSA_P384_SHA384), Ok(KeyKind::P384));
    assert_eq!(of(&rcgen::PKCS_ED25519), Ok(KeyKind::Ed25519));
    assert_eq!(of(&rcgen::PKCS_RSA_SHA256), Ok(KeyKind::Rsa));
    assert!(
        of(&rcgen::PKCS_ECDSA_P521_SHA512)
            .unwrap_err()
            .contains("curve")
    );
}

#[test]
fn bits_are_counted_without_leading_zeros() {
    for (number, count) in [
        (&[][..], 0),
        (&[0], 0),
        (&[1], 1),
        (&[0, 0x80], 8),
        (&[1, 0], 9),
    ] {
        assert_eq!(bits(number), count);
    }
}

#[test]
fn hex_and_hash_are_the_standard_ones() {
    // FIPS 180-4, the empty message.
    assert_eq!(
        hex(&sha256(b"")),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
}
