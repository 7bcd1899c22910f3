use webpki::aws_lc_rs::ECDSA_P256_SHA256;

use super::*;

#[test]
fn a_key_survives_its_own_text() {
    let key = SoftwareKey::generate().unwrap();
    let again = SoftwareKey::from_pkcs8(key.pkcs8()).unwrap();
    assert_eq!(again.spki_sha256(), key.spki_sha256());
    assert!(SoftwareKey::from_pkcs8(&[1, 2, 3]).is_err());
}

#[test]
fn what_it_signs_is_verified_by_its_public_key() {
    let key: Arc<dyn Signer> = Arc::new(SoftwareKey::generate().unwrap());
    let signature = key.sign(b"a message").unwrap();
    let fits =
        |message: &[u8]| ECDSA_P256_SHA256.verify_signature(key.public_key(), message, &signature);
    assert!(fits(b"a message").is_ok());
    assert!(fits(b"another").is_err());
}

#[test]
fn a_key_is_not_shown() {
    let key = SoftwareKey::generate().unwrap();
    assert_eq!(format!("{key:?}"), "SoftwareKey(not shown)");
}
