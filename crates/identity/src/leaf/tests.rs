use proptest::prelude::*;

use super::*;
use crate::testing::{authority, credential};

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
