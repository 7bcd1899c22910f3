use proptest::prelude::*;

use super::*;

#[test]
fn halves() {
    let name: NodeName = "rabbit@host-1.example.com".parse().unwrap();
    assert_eq!(
        (name.alive(), name.host()),
        ("rabbit", "host-1.example.com")
    );
    assert_eq!(name.to_string(), "rabbit@host-1.example.com");
    assert_eq!(
        NodeName::from_parts("rabbit", "host-1.example.com").unwrap(),
        name
    );
}

#[test]
fn refusals_say_what_and_why() {
    let long = format!("{}@h", "a".repeat(254));
    for (text, rule) in [
        ("", "must not be empty"),
        ("host", "must have the form alive@host"),
        ("a@b@c", "must hold exactly one '@'"),
        ("@b", "the part before '@' must not be empty"),
        ("a@", "the part after '@' must not be empty"),
        (
            "a b@c",
            "must not hold control characters, white space or '/'",
        ),
        (
            "a\0@c",
            "must not hold control characters, white space or '/'",
        ),
        (
            "a@c/d",
            "must not hold control characters, white space or '/'",
        ),
        (
            "a\u{202e}@c",
            "must not hold control characters, white space or '/'",
        ),
        (&long, "must be at most 255 bytes long"),
    ] {
        match NodeName::from_bytes(text.as_bytes()) {
            Err(Error::NodeName { found, wanted }) => {
                assert_eq!(wanted, rule, "{text:?}");
                assert!(text.starts_with(&found));
            }
            other => panic!("{text:?}: {other:?}"),
        }
    }
    assert!(matches!(
        NodeName::from_bytes(b"a\xff@h"),
        Err(Error::NodeName {
            wanted: "must be UTF-8",
            ..
        })
    ));
    assert!(NodeName::from_bytes(format!("{}@h", "a".repeat(253)).as_bytes()).is_ok());
}

proptest! {
    #[test]
    fn whatever_is_accepted_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(name) = NodeName::from_bytes(&bytes) {
            prop_assert_eq!(name.as_str().as_bytes(), &bytes[..]);
            prop_assert_eq!(format!("{}@{}", name.alive(), name.host()), name.as_str());
        }
    }

    #[test]
    fn ordinary_names_are_accepted(alive in "[a-z0-9_-]{1,40}", host in "[a-z0-9.-]{1,100}") {
        let name = NodeName::from_parts(&alive, &host).unwrap();
        prop_assert_eq!((name.alive(), name.host()), (&alive[..], &host[..]));
    }
}
