use proptest::prelude::*;

use super::*;

fn key() -> SealingKey {
    SealingKey::generate().unwrap()
}

#[test]
fn what_was_sealed_opens_again() {
    let key = key();
    for secret in [&b""[..], b"x", &[7; MAX_SECRET]] {
        let sealed = key.seal("issuer 1", secret).unwrap();
        assert_eq!(sealed.len(), secret.len() + OVERHEAD);
        assert_eq!(&**key.open("issuer 1", &sealed).unwrap(), secret);
        let again = SealingKey::new(Zeroizing::new(*key.as_bytes()));
        assert_eq!(&**again.open("issuer 1", &sealed).unwrap(), secret);
    }
    assert!(key.seal("issuer 1", &[0; MAX_SECRET + 1]).is_err());
}

#[test]
fn only_the_same_key_and_label_open_it() {
    let (one, two) = (key(), key());
    let sealed = one.seal("issuer 1", b"secret").unwrap();
    assert!(one.open("issuer 2", &sealed).is_err());
    assert!(one.open("", &sealed).is_err());
    assert!(two.open("issuer 1", &sealed).is_err());
    // Never the same twice, and never in clear.
    assert_ne!(one.seal("issuer 1", b"secret").unwrap(), sealed);
    assert!(!sealed.windows(6).any(|window| window == b"secret"));
}

#[test]
fn no_bent_bit_opens() {
    let key = key();
    let sealed = key.seal("issuer 1", b"secret").unwrap();
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut bent = sealed.clone();
            bent[at] ^= 1 << bit;
            assert!(
                key.open("issuer 1", &bent).is_err(),
                "bit {bit} of byte {at}"
            );
        }
    }
    for end in 0..sealed.len() {
        assert!(key.open("issuer 1", &sealed[..end]).is_err());
    }
}

#[test]
fn a_key_is_not_shown() {
    assert_eq!(format!("{:?}", key()), "SealingKey(not shown)");
}

proptest! {
    #[test]
    fn no_input_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
        prop_assert!(SealingKey::new(Zeroizing::new([1; 32])).open("", &bytes).is_err());
    }
}
