use proptest::prelude::*;

use super::*;

fn name(text: &str) -> NodeName {
    text.parse().unwrap()
}

#[test]
fn vectors() {
    let hello = SendName {
        flags: Flags(0xD_07DF_7FBD),
        creation: 0x6543_2101,
        name: "a@h".into(),
    };
    let bytes = b"N\x00\x00\x00\x0d\x07\xdf\x7f\xbd\x65\x43\x21\x01\x00\x03a@h";
    assert_eq!(hello.encode(), bytes);
    assert_eq!(SendName::decode(bytes).unwrap(), hello);
    assert_eq!(hello.node().unwrap(), Some(name("a@h")));

    let challenge = Challenge {
        flags: Flags(1),
        challenge: 2,
        creation: 3,
        name: name("b@h"),
    };
    let bytes = b"N\0\0\0\0\0\0\0\x01\0\0\0\x02\0\0\0\x03\0\x03b@h";
    assert_eq!(challenge.encode(), bytes);
    assert_eq!(Challenge::decode(bytes).unwrap(), challenge);

    let named = Status::Named {
        name: name("x@h"),
        creation: 7,
    };
    assert_eq!(named.encode(), b"snamed:\0\x03x@h\0\0\0\x07");
    assert_eq!(
        ChallengeAck { digest: [9; 16] }.encode(),
        [&b"a"[..], &[9; 16]].concat()
    );
    assert_eq!(
        Complement::decode(b"c\0\0\0\x0d\0\0\0\x07").unwrap(),
        Complement {
            flags_high: 13,
            creation: 7
        }
    );
}

/// `erlang:md5("cookie" ++ "12345")`, and the largest challenge: decimal, not signed.
#[test]
fn digests() {
    assert_eq!(
        hex(&digest(b"cookie", 12345)),
        "5563360ee47f359fc1cb107e01052d08"
    );
    assert_eq!(
        hex(&digest(b"cookie", u32::MAX)),
        "de56ff9d11b071905bce597a85d67f4f"
    );
    let right = digest(b"cookie", 1);
    assert!(digest_matches(b"cookie", 1, &right));
    assert!(!digest_matches(b"cookie", 2, &right));
    assert!(!digest_matches(b"Cookie", 1, &right));
    for bit in 0..128 {
        let mut wrong = right;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert!(!digest_matches(b"cookie", 1, &wrong));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn the_old_hello_is_refused_by_name() {
    assert_eq!(
        SendName::decode(b"n\0\x05\0\0\0\0a@h"),
        Err(Error::OldHandshake)
    );
    assert_eq!(
        Challenge::decode(b"n\0\x05\0\0\0\0\0\0\0\0a@h"),
        Err(Error::OldHandshake)
    );
}

#[test]
fn name_me_carries_a_host() {
    let mut hello = SendName {
        flags: Flags::NAME_ME,
        creation: 0,
        name: "host".into(),
    };
    assert_eq!(SendName::decode(&hello.encode()).unwrap(), hello);
    assert_eq!(hello.node(), Ok(None));
    hello.name = "a@host".into();
    assert!(matches!(
        SendName::decode(&hello.encode()),
        Err(Error::NodeName { .. })
    ));
    hello = SendName {
        flags: Flags::EMPTY,
        creation: 0,
        name: "host".into(),
    };
    assert!(matches!(
        SendName::decode(&hello.encode()),
        Err(Error::NodeName { .. })
    ));
}

#[test]
fn bounds() {
    assert_eq!(split_u16(b""), Ok(None));
    assert_eq!(split_u16(b"\0"), Ok(None));
    assert_eq!(split_u16(b"\0\x03so"), Ok(None));
    assert_eq!(split_u16(b"\0\x03sokmore"), Ok(Some((&b"sok"[..], 5))));
    assert!(matches!(split_u16(b"\0\0"), Err(Error::Invalid { .. })));
    assert!(matches!(
        split_u16(b"\x04\x01"),
        Err(Error::TooLarge {
            found: 1025,
            limit: 1024,
            ..
        })
    ));
    assert!(matches!(
        Status::decode(&[b's'; 2000]),
        Err(Error::TooLarge { .. })
    ));
    assert!(matches!(
        Status::decode(b"sokay"),
        Err(Error::Invalid { .. })
    ));
    assert!(matches!(
        Status::decode(b"ok"),
        Err(Error::Unexpected { found: b'o', .. })
    ));
    assert!(matches!(
        ChallengeAck::decode(b"a123"),
        Err(Error::Truncated { missing: 13, .. })
    ));
}

fn any_name() -> impl Strategy<Value = NodeName> {
    "[a-z0-9_å-]{1,30}@[a-z0-9.-]{1,80}".prop_map(|text| text.parse().unwrap())
}

fn any_status() -> impl Strategy<Value = Status> {
    prop_oneof![
        Just(Status::Ok),
        Just(Status::OkSimultaneous),
        Just(Status::Nok),
        Just(Status::NotAllowed),
        Just(Status::Alive),
        Just(Status::True),
        Just(Status::False),
        (any_name(), any::<u32>()).prop_map(|(name, creation)| Status::Named { name, creation }),
    ]
}

proptest! {
    #[test]
    fn statuses_survive(status in any_status()) {
        prop_assert_eq!(Status::decode(&status.encode()), Ok(status));
    }

    #[test]
    fn names_survive_and_trailing_bytes_are_ignored(
        name in any_name(), flags: u64, creation: u32, challenge: u32, digest: [u8; 16], tail in proptest::collection::vec(any::<u8>(), 0..20),
    ) {
        let flags = Flags(flags).without(Flags::NAME_ME);
        let tailed = |mut bytes: Vec<u8>| { bytes.extend_from_slice(&tail); bytes };
        let hello = SendName { flags, creation, name: name.to_string() };
        prop_assert_eq!(SendName::decode(&tailed(hello.encode())), Ok(hello));
        let message = Challenge { flags, challenge, creation, name };
        prop_assert_eq!(Challenge::decode(&tailed(message.encode())), Ok(message));
        let reply = ChallengeReply { challenge, digest };
        prop_assert_eq!(ChallengeReply::decode(&tailed(reply.encode())), Ok(reply));
        let ack = ChallengeAck { digest };
        prop_assert_eq!(ChallengeAck::decode(&tailed(ack.encode())), Ok(ack));
    }

    #[test]
    fn anything_is_survived(
        bytes in proptest::collection::vec(any::<u8>(), 0..1100),
        first in prop::sample::select(&b"Nnsrac"[..]),
    ) {
        let mut tagged = bytes.clone();
        tagged.insert(0, first);
        for body in [&bytes, &tagged] {
            // What decodes, encodes to what decodes to the same.
            if let Ok(message) = SendName::decode(body) { prop_assert_eq!(SendName::decode(&message.encode()), Ok(message)); }
            if let Ok(message) = Status::decode(body) { prop_assert_eq!(Status::decode(&message.encode()), Ok(message)); }
            if let Ok(message) = Challenge::decode(body) { prop_assert_eq!(Challenge::decode(&message.encode()), Ok(message)); }
            if let Ok(message) = Complement::decode(body) { prop_assert_eq!(Complement::decode(&message.encode()), Ok(message)); }
            if let Ok(message) = ChallengeReply::decode(body) { prop_assert_eq!(ChallengeReply::decode(&message.encode()), Ok(message)); }
            if let Ok(message) = ChallengeAck::decode(body) { prop_assert_eq!(ChallengeAck::decode(&message.encode()), Ok(message)); }
            if let Ok(Some((body, used))) = split_u16(body) { prop_assert_eq!(body.len() + 2, used); }
        }
    }
}
