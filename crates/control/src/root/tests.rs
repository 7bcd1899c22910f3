//! Roots in directories.

use std::os::unix::fs::MetadataExt as _;

use super::*;

const DAY: Duration = Duration::from_secs(86_400);

#[test]
fn a_root_is_made_once_and_signs() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("root");
    let made = init(&at, "prod.example", DAY).unwrap();
    for path in [&made.key, &made.certificate] {
        assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
    assert!(init(&at, "prod.example", DAY).is_err());
    let (key, request) = csr::fresh().unwrap();
    let signed = sign(&at, &crate::pem::request(&request), "main", DAY).unwrap();
    let certificate = CertificateDer::from_pem_slice(signed.as_bytes()).unwrap();
    let issuer = skans_identity::authority::Issuer::load(certificate, key).unwrap();
    assert_eq!(issuer.cluster(), "main");
    assert_eq!(
        read_certificate(&made.certificate).unwrap(),
        *load(&at).unwrap().certificate()
    );
}

#[test]
fn what_is_no_request_is_not_signed() {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().join("root");
    init(&at, "prod.example", DAY).unwrap();
    for bad in [
        "",
        "x",
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
    ] {
        assert!(sign(&at, bad, "main", DAY).is_err());
    }
    assert!(init(&dir.path().join("other"), "Not A Domain", DAY).is_err());
}
