use proptest::prelude::*;

use super::*;

fn addresses(all: &[&str]) -> Vec<Address> {
    all.iter()
        .map(|text| Address::parse(text).unwrap())
        .collect()
}

fn token() -> JoinToken {
    JoinToken::draw(
        [7; 32],
        addresses(&["control.example:8443", "10.0.0.7:8443", "[2001:db8::1]:1"]),
    )
    .unwrap()
}

#[test]
fn a_token_survives_its_text() {
    let token = token();
    let text = token.to_text();
    assert!(text.starts_with("skans1.") && text.len() <= MAX_TOKEN);
    assert!(
        text.bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)),
        "fit for a shell"
    );
    for text in [text.to_string(), format!("  {}\n", *text)] {
        let again = JoinToken::parse(&text).unwrap();
        assert_eq!(again.root_spki_sha256(), token.root_spki_sha256());
        assert_eq!(again.id(), token.id());
        assert_eq!(again.secret(), token.secret());
        assert_eq!(again.addresses(), token.addresses());
        assert_eq!(*again.to_text(), *token.to_text());
    }
}

#[test]
fn the_bytes_are_those_of_the_record() {
    let token = JoinToken {
        spki_sha256: [1; 32],
        id: [2; 16],
        secret: Zeroizing::new([3; 32]),
        addresses: addresses(&["h:1"]),
    };
    let bytes = [&[1][..], &[1; 32], &[2; 16], &[3; 32], &[1, 3], b"h:1"].concat();
    assert_eq!(
        *token.to_text(),
        format!("skans1.{}", URL_SAFE_NO_PAD.encode(bytes))
    );
}

#[test]
fn no_two_are_alike() {
    let (one, two) = (token(), token());
    assert_ne!(one.id(), two.id());
    assert_ne!(one.secret(), two.secret());
    assert_ne!(secret_sha256(one.secret()), secret_sha256(two.secret()));
}

#[test]
fn the_secret_is_neither_shown_nor_told_by_errors() {
    let token = token();
    let shown = format!("{token:?} {token:#?}");
    assert!(shown.contains(&token.id()) && shown.contains("not shown"));
    assert!(
        !shown.contains(&hex(token.secret())) && !shown.contains(&format!("{:?}", token.secret()))
    );
    let text = token.to_text();
    for broken in [
        &text[1..],
        &text[..text.len() - 1],
        &format!("{}!", *text),
        &format!("{}A", *text),
    ] {
        let error = JoinToken::parse(broken).unwrap_err().to_string();
        assert!(!error.contains(&text[60..90]), "{error}");
    }
}

#[test]
fn what_is_not_a_token_is_refused() {
    let text = token().to_text();
    for end in 0..text.len() {
        assert!(JoinToken::parse(&text[..end]).is_err());
    }
    let why = |bytes: &[u8]| {
        let text = format!("skans1.{}", URL_SAFE_NO_PAD.encode(bytes));
        JoinToken::parse(&text).unwrap_err().to_string()
    };
    let head = [&[1][..], &[0; 80]].concat();
    let with = |rest: &[u8]| [&head, rest].concat();
    assert!(why(&[&[2][..], &[0; 80], b"\x01\x03h:1"].concat()).contains("version 2"));
    assert!(why(&with(&[0])).contains("0 addresses"));
    assert!(why(&with(&[9])).contains("9 addresses"));
    assert!(why(&with(b"\x01\x04h:1")).contains("all of it"));
    assert!(why(&with(b"\x01\x03h:1\0")).contains("after its end"));
    assert!(why(&with(b"\x01\x03h:0")).contains("port"));
    assert!(why(&with(b"\x01\x01\xff")).contains("not text"));
    assert!(
        JoinToken::parse(&format!("skans1.{}", "A".repeat(MAX_TOKEN)))
            .unwrap_err()
            .to_string()
            .contains("shorter")
    );
    assert!(JoinToken::parse("skans2.AAAA").is_err());
    assert!(JoinToken::draw([0; 32], vec![]).is_err());
    assert!(JoinToken::draw([0; 32], addresses(&["h:1"; 9])).is_err());
}

#[test]
fn addresses_have_one_spelling() {
    for text in [
        "h:1",
        "control.example:8443",
        "10.0.0.7:65535",
        "[::1]:8443",
    ] {
        assert_eq!(Address::parse(text).unwrap().to_string(), text);
    }
    for text in [
        "",
        "h",
        "h:",
        ":1",
        "h:0",
        "h:01",
        "h:65536",
        "h:+1",
        "::1:8443",
        "[h]:1",
        "[10.0.0.7]:1",
        "h o:1",
        "https://h:1",
    ] {
        assert!(Address::parse(text).is_err(), "{text}");
    }
    let label = "a".repeat(63);
    let long = format!("{label}.{label}.{label}.{}", "a".repeat(61));
    assert!(Host::parse(&long).is_ok() && Address::parse(&format!("{long}:8443")).is_err());
}

proptest! {
    #[test]
    fn no_text_panics(text in "(skans1\\.)?[A-Za-z0-9_-]{0,300}") {
        if let Ok(token) = JoinToken::parse(&text) {
            prop_assert_eq!(&**token.to_text(), text);
        }
    }

    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let text = format!("skans1.{}", URL_SAFE_NO_PAD.encode(&bytes));
        if let Ok(token) = JoinToken::parse(&text) {
            prop_assert_eq!(&**token.to_text(), text);
        }
    }
}
