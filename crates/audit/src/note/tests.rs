//! Notes: the example of Go's documentation, Go's notes, and what is none.

use proptest::prelude::*;

use super::*;
use crate::testing::{bytes, vectors};

// The example of https://pkg.go.dev/golang.org/x/mod/sumdb/note.
const SKEY: &str = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
const VKEY: &str = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
const TEXT: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
const NOTE: &str = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n\
    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n";

fn key() -> VerifyingKey {
    VerifyingKey::parse(VKEY).unwrap()
}

#[test]
fn the_example_of_go_is_made_and_verified() {
    let secret = SigningKey::parse_skey(SKEY).unwrap();
    assert_eq!(secret.vkey(), VKEY);
    assert_eq!(*secret.to_skey(), SKEY);
    assert_eq!(sign(TEXT, &[&secret]).unwrap(), NOTE);
    let note = Note::parse(NOTE.as_bytes()).unwrap();
    assert_eq!(note.text(), TEXT);
    let key = key();
    let verified = note.verify(&[&key]).unwrap();
    assert_eq!(
        verified,
        [Verified {
            key: &key,
            time: None
        }]
    );
    assert_eq!(note.encode(), NOTE);
    assert_eq!(
        format!("{secret:?}"),
        "SigningKey(\"PeterNeumann\")",
        "no secret is shown"
    );
}

#[test]
fn go_signs_the_same() {
    let notes = vectors().notes;
    assert_eq!(notes.len(), 4);
    for one in notes {
        let seed = bytes(&one.seed).try_into().unwrap();
        let secret = SigningKey::from_seed(&one.name, &seed).unwrap();
        assert_eq!(secret.vkey(), one.vkey);
        assert_eq!(*secret.to_skey(), one.skey);
        assert_eq!(*secret.to_seed(), seed);
        assert_eq!(sign(&one.text, &[&secret]).unwrap(), one.note);
    }
}

#[test]
fn every_changed_byte_is_found() {
    let key = key();
    for at in 0..NOTE.len() {
        for bit in 0..8 {
            let mut bytes = NOTE.as_bytes().to_vec();
            bytes[at] ^= 1 << bit;
            let verified = Note::parse(&bytes).and_then(|note| note.verify(&[&key]).map(|_| ()));
            assert!(verified.is_err(), "byte {at}, bit {bit}");
        }
        let cut =
            Note::parse(&NOTE.as_bytes()[..at]).and_then(|note| note.verify(&[&key]).map(|_| ()));
        assert!(cut.is_err(), "cut at {at}");
    }
}

#[test]
fn those_who_are_not_asked_say_nothing() {
    let other = SigningKey::generate("other").unwrap();
    let mut note = Note::parse(NOTE.as_bytes()).unwrap();
    note.add(other.sign("something else\n")).unwrap();
    let (key, unknown) = (key(), SigningKey::generate("third").unwrap());
    let note = Note::parse(note.encode().as_bytes()).unwrap();
    assert_eq!(
        note.verify(&[unknown.verifying_key(), &key]).unwrap().len(),
        1
    );
    // Who is asked and signed another text spoils it, as the specification wants.
    let asked = note.verify(&[&key, other.verifying_key()]);
    assert!(matches!(asked, Err(Error::Forged { key, .. }) if key == "other"));
    let nobody = note.verify(&[unknown.verifying_key()]);
    assert!(matches!(nobody, Err(Error::Unsigned { .. })));
    assert!(note.verify(&[]).is_err());
    // The same name with another key is somebody else.
    let namesake = SigningKey::generate("PeterNeumann").unwrap();
    assert!(matches!(
        note.verify(&[namesake.verifying_key()]),
        Err(Error::Unsigned { .. })
    ));
}

#[test]
fn of_two_signatures_of_a_key_the_first_counts() {
    let secret = SigningKey::parse_skey(SKEY).unwrap();
    let (good, bad) = (secret.sign(TEXT).line(), secret.sign("other\n").line());
    let note = |lines: &str| Note::parse(format!("{TEXT}\n{lines}").as_bytes()).unwrap();
    assert!(note(&format!("{good}{bad}")).verify(&[&key()]).is_ok());
    assert!(note(&format!("{bad}{good}")).verify(&[&key()]).is_err());
    let mut added = note(&bad);
    added.add(secret.sign(TEXT)).unwrap();
    assert_eq!(added.encode(), NOTE);
}

#[test]
fn what_is_no_note_is_refused() {
    let line = NOTE.lines().last().unwrap();
    let wrong = [
        String::new(),
        "\n".into(),
        "\n\n".into(),
        format!("{line}\n"),
        format!("text\n{line}\n"),
        format!("text\n\n{line}"),
        format!("text\n\n{line}\n\n"),
        format!("text\n\n{line}\r\n"),
        format!("te\txt\n\n{line}\n"),
        format!("text\n\n-{line}\n"),
        format!("text\n\n{line} x\n"),
        "text\n\n\u{2014} name AAAA\n".into(),
        "text\n\n\u{2014} name AAAAAA==\n".into(),
        "text\n\n\u{2014} name AAAAAA9=\n".into(),
        "text\n\n\u{2014} na+me AAAAAAA=\n".into(),
        "text\n\n\u{2014} na\u{2003}me AAAAAAA=\n".into(),
        "text\n\n\u{2014}  AAAAAAA=\n".into(),
    ];
    for note in wrong {
        assert!(Note::parse(note.as_bytes()).is_err(), "{note:?}");
    }
    assert!(Note::parse(b"te\xFFxt\n\n").is_err());
    let note = format!("first\n\nsecond\n\n{line}\n");
    assert_eq!(
        Note::parse(note.as_bytes()).unwrap().text(),
        "first\n\nsecond\n"
    );
    assert!(Note::unsigned("no end").is_err());
    assert!(Note::unsigned("").is_err());
}

#[test]
fn notes_have_bounds() {
    let line = NOTE.lines().last().unwrap();
    let note = |count| format!("text\n\n{}", format!("{line}\n").repeat(count));
    assert!(Note::parse(note(MAX_SIGNATURES).as_bytes()).is_ok());
    assert!(Note::parse(note(MAX_SIGNATURES + 1).as_bytes()).is_err());
    let text = "x".repeat(MAX_NOTE);
    assert!(Note::parse(format!("{text}\n\n{line}\n").as_bytes()).is_err());
    assert!(Note::unsigned(&format!("{text}\n")).is_err());
    let name = "n".repeat(513);
    assert!(SigningKey::generate(&name).is_err());
    assert!(SigningKey::generate(&name[..512]).is_ok());
}

#[test]
fn keys_that_are_none_are_refused() {
    let wrong = [
        "",
        "PeterNeumann",
        "PeterNeumann+c74f20a3",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumenn+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWAA==",
        "PeterNeumann+c74f20a3+",
    ];
    for text in wrong {
        assert!(VerifyingKey::parse(text).is_err(), "{text}");
        let error = SigningKey::parse_skey(&format!("PRIVATE+KEY+{text}")).unwrap_err();
        assert!(!error.to_string().contains("ARpc"), "no secret is shown");
    }
    assert!(SigningKey::parse_skey(VKEY).is_err());
    for name in ["", "a b", "a+b", "a\nb", "a\u{a0}b"] {
        assert!(SigningKey::generate(name).is_err(), "{name:?}");
    }
}

proptest! {
    #[test]
    fn keys_come_back(name in "[a-z./0-9]{1,40}", seed in any::<[u8; 32]>()) {
        let secret = SigningKey::from_seed(&name, &seed).unwrap();
        let key = VerifyingKey::parse(&secret.vkey()).unwrap();
        prop_assert_eq!(&key, secret.verifying_key());
        let again = SigningKey::parse_skey(&secret.to_skey()).unwrap();
        prop_assert_eq!(again.vkey(), secret.vkey());
    }

    #[test]
    fn no_input_is_a_panic_and_what_is_read_is_written_so(text in "[a\n—\u{2014} +=A]{0,60}") {
        if let Ok(note) = Note::parse(text.as_bytes()) {
            prop_assert_eq!(note.encode(), text);
        }
    }
}
