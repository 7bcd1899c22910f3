//! Round trips, cut and hostile greetings, versions.

use super::*;
use proptest::prelude::*;

fn body(frame: &[u8]) -> &[u8] {
    &frame[4..]
}

prop_compose! {
    fn hellos()(
        version_min: u8, version_max: u8, session: [u8; 16], offset: u64, tick_seconds: u16,
        clique in proptest::option::of(any::<[u8; 32]>()),
        from in "[a-z]{0,20}@[a-z.]{1,60}", to in "[a-zåäö]{0,20}@[a-z.]{1,60}",
        takeover: u32, resume: bool, service in "[a-z-]{0,20}",
    ) -> Hello {
        // Version 1 knows none of these, version 2 the first, version 3 two.
        let takeover = if version_max >= VERSION_TAKEOVER { takeover } else { 0 };
        let resume = resume && version_max >= VERSION_RESUME;
        let service = if version_max >= VERSION_SERVICE { service } else { String::new() };
        Hello { version_min, version_max, session, offset, tick_seconds, clique, from, to, takeover, resume, service }
    }
}

proptest! {
    #[test]
    fn a_hello_survives_the_wire(hello in hellos(), later in proptest::collection::vec(any::<u8>(), 0..40)) {
        let mut frame = hello.encode();
        prop_assert_eq!(&Hello::decode(body(&frame)).unwrap(), &hello);
        frame.extend_from_slice(&later);
        prop_assert_eq!(Hello::decode(body(&frame)).unwrap(), hello);
    }

    #[test]
    fn a_cut_hello_is_an_error(hello in hellos(), cut in 0usize..1000) {
        let frame = hello.encode();
        let whole = body(&frame);
        // One byte less is a hello of version 3, two one of version 2, six one of version 1.
        let known = match hello.version_max {
            VERSION_SERVICE.. => 0,
            VERSION_RESUME => 1,
            VERSION_TAKEOVER => 2,
            _ => 6,
        };
        let whole = &whole[..whole.len() - known];
        prop_assert!(Hello::decode(&whole[..cut % whole.len()]).is_err());
    }

    #[test]
    fn a_welcome_survives_the_wire(
        version: u8, session: [u8; 16], offset: u64, tick_seconds: u16,
        clique in proptest::option::of(any::<[u8; 32]>()),
    ) {
        let welcome = Welcome { version, session, offset, tick_seconds, clique };
        prop_assert_eq!(Welcome::decode(body(&welcome.encode())).unwrap(), welcome);
    }

    #[test]
    fn garbage_does_not_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let _ = Hello::decode(&bytes);
        let _ = Welcome::decode(&bytes);
    }
}

#[test]
fn versions_meet_at_the_highest_common_one() {
    assert_eq!(negotiate(1, 1), Ok(1));
    assert_eq!(negotiate(1, 2), Ok(2));
    assert_eq!(negotiate(0, 9), Ok(4));
    assert!(negotiate(5, 9).is_err());
    assert!(negotiate(0, 0).is_err());
    assert!(negotiate(3, 1).is_err(), "an inverted range is nonsense");
}

/// What older releases send, byte for byte: less at its end.
#[test]
fn hellos_of_older_versions_are_understood_and_ours_is_by_them() {
    let ours = Hello {
        version_min: 1,
        version_max: VERSION_MAX,
        session: [7; 16],
        offset: 0,
        tick_seconds: 60,
        clique: None,
        from: "a@x".into(),
        to: "b@y".into(),
        takeover: 0,
        resume: false,
        service: String::new(),
    };
    let frame = ours.encode();
    for (version_max, missing) in [(1, 6), (2, 2), (3, 1)] {
        let mut old = body(&frame)[..body(&frame).len() - missing].to_vec();
        old[5] = version_max;
        let theirs = Hello {
            version_max,
            ..ours.clone()
        };
        assert_eq!(Hello::decode(&old).unwrap(), theirs);
        // They read the same fields and ignore the rest.
        assert_eq!(&body(&frame)[..5], &old[..5]);
        assert_eq!(&body(&frame)[6..old.len()], &old[6..]);
    }
}

#[test]
fn another_protocol_is_named_by_its_magic() {
    let error = Hello::decode(b"GET / HTTP/1.1").unwrap_err();
    assert_eq!(error, Error::BadMagic { found: *b"GET " });
}
