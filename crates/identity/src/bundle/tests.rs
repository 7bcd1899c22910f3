use super::*;
use crate::forge::{Forge, KeyUsagePurpose, Spec};
use crate::testing::{NOW, at, authority, credential, lab};

fn why(text: &[u8]) -> String {
    Bundle::from_pem(lab(), text).unwrap_err().to_string()
}

#[test]
fn roots_come_back_from_text() {
    let (one, two) = (authority(), authority());
    let text = one.bundle().unwrap().to_pem() + "# a comment\n" + &two.bundle().unwrap().to_pem();
    let bundle = Bundle::from_pem(lab(), text.as_bytes()).unwrap();
    assert_eq!(bundle.len(), 2);
    assert_eq!(bundle.anchors_at(NOW).len(), 2);
    assert_eq!(bundle.not_after(), NOW.as_secs() + 730 * 24 * 3600);
}

#[test]
fn one_bad_entry_refuses_the_whole() {
    let authority = authority();
    let good = authority.bundle().unwrap().to_pem();
    let leaf = credential(&authority, "a").chain_pem();
    let found = why((good.clone() + &leaf).as_bytes());
    assert!(
        found.contains("certificate 2") && found.contains("not a CA"),
        "{found}"
    );
    let key = authority.to_pem().issuer_key;
    assert!(why((good.clone() + &key).as_bytes()).contains("entry 2"));
    let cut = good.len() - 30;
    assert!(why(good.get(..cut).unwrap().as_bytes()).contains("entry 1"));
    let garbage = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(why((good + garbage).as_bytes()).contains("certificate 2"));
}

#[test]
fn a_ca_that_may_not_sign_is_no_root() {
    let mut spec = Spec::good("spiffe://lab.test", "host-a", NOW);
    spec.ca = true;
    let root = Forge::new(&lab(), NOW).unwrap();
    let found = root
        .intermediate(&spec)
        .unwrap()
        .bundle()
        .unwrap_err()
        .to_string();
    assert!(found.contains("without key usage keyCertSign"), "{found}");
    spec.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    assert!(root.intermediate(&spec).unwrap().bundle().is_ok());
}

#[test]
fn size_and_count_are_bounded() {
    assert!(why(b"").contains("0 certificates"));
    assert!(why(b"nothing to see").contains("0 certificates"));
    let good = authority().bundle().unwrap().to_pem();
    assert!(Bundle::from_pem(lab(), good.repeat(MAX_ROOTS).as_bytes()).is_ok());
    assert!(why(good.repeat(MAX_ROOTS + 1).as_bytes()).contains("65 certificates"));
    assert!(why(&vec![b'#'; MAX_BUNDLE + 1]).contains("bytes"));
}

#[test]
fn roots_count_only_while_they_are_valid() {
    let forge = Forge::with_validity(&lab(), 1000, 2000).unwrap();
    let bundle = forge.bundle().unwrap();
    for (seconds, valid) in [(999, 0), (1000, 1), (2000, 1), (2001, 0)] {
        assert_eq!(bundle.anchors_at(at(seconds)).len(), valid, "{seconds}");
    }
}

#[test]
fn a_bundle_serves_its_own_domain_alone() {
    let mut bundles = Bundles::from(authority().bundle().unwrap());
    assert!(bundles.get(&lab()).is_some());
    assert!(bundles.get(&"other.test".parse().unwrap()).is_none());
    bundles.insert(authority().bundle().unwrap()).unwrap();
    assert_eq!(bundles.iter().count(), 1);
}

#[test]
fn trust_domains_are_bounded() {
    // A root that does not say whose it is.
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = rcgen::KeyPair::generate().unwrap();
    let root = CertificateDer::from(params.self_signed(&key).unwrap());
    let mut bundles = Bundles::default();
    for n in 0..=MAX_TRUST_DOMAINS {
        let domain = format!("d{n}").parse().unwrap();
        let bundle = Bundle::new(domain, std::slice::from_ref(&root)).unwrap();
        assert_eq!(bundles.insert(bundle).is_ok(), n < MAX_TRUST_DOMAINS);
    }
}
