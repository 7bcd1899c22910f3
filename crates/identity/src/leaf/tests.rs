use proptest::prelude::*;

use super::*;
use crate::forge::{Forge, Spec};
use crate::testing::{NODE_A, NOW, authority, credential, lab};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = PeerIdentity::from_der(&bytes.into());
    }

    #[test]
    fn no_bent_certificate_panics(at in 0usize..500, with in any::<u8>(), cut in 0usize..600) {
        thread_local! {
            static LEAF: Vec<u8> = credential(&authority(), "a").chain()[0].to_vec();
        }
        let mut bent = LEAF.with(Clone::clone);
        if let Some(byte) = bent.get_mut(at) {
            *byte = with;
        }
        bent.truncate(cut.max(100));
        let _ = PeerIdentity::from_der(&bent.into());
    }
}

#[test]
fn ip_names_have_four_or_sixteen_bytes() {
    assert_eq!(ip_host(&[127, 0, 0, 1]).unwrap().to_string(), "127.0.0.1");
    assert_eq!(ip_host(&[0; 16]).unwrap().to_string(), "::");
    for size in [0, 3, 5, 8, 15, 17, 32] {
        assert!(ip_host(&vec![1; size]).is_err(), "{size}");
    }
}

#[test]
fn an_address_as_a_dns_name_is_refused() {
    assert!(dns_host("10.0.0.1").is_err());
    assert!(dns_host("host-a").is_ok());
    assert!(dns_host("").is_err());
}

fn bend(der: &[u8], from: &[u8], to: &[u8]) -> Refusal {
    let mut bent = der.to_vec();
    let at = der
        .windows(from.len())
        .position(|window| window == from)
        .unwrap();
    bent[at..at + to.len()].copy_from_slice(to);
    PeerIdentity::from_der(&bent.into()).unwrap_err()
}

#[test]
fn a_ca_is_no_leaf_even_before_its_path_is_checked() {
    let mut spec = Spec::good(NODE_A, "host-a", NOW);
    spec.ca = true;
    let forged = Forge::new(&lab(), NOW).unwrap().leaf(&spec).unwrap();
    assert_eq!(
        PeerIdentity::from_der(&forged.chain[0])
            .unwrap_err()
            .label(),
        "ca_leaf"
    );
}

#[test]
fn what_is_not_x509_version_3_is_refused() {
    let leaf = credential(&authority(), "a").chain()[0].clone();
    let (v3, v2) = ([0xa0, 3, 2, 1, 2], [0xa0, 3, 2, 1, 1]);
    assert_eq!(bend(&leaf, &v3, &v2), Refusal::Encoding("not version 3"));
}

#[test]
fn names_that_are_no_text_are_refused() {
    let leaf = credential(&authority(), "a").chain()[0].clone();
    let found = bend(&leaf, b"host-a", &[0xff]);
    assert_eq!(found, Refusal::Encoding("a name that is not of its kind"));
    let found = bend(&leaf, b"spiffe", &[0xff]);
    assert_eq!(found, Refusal::Encoding("a name that is not of its kind"));
}
