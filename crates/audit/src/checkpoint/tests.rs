//! Checkpoints: Go's, and what is none.

use proptest::prelude::*;

use super::*;
use crate::testing::{at, bytes, hash, vectors};

fn key(name: &str) -> SigningKey {
    SigningKey::from_seed(name, &[7; 32]).unwrap()
}

#[test]
fn go_signs_the_same_and_its_notes_open() {
    let vectors = vectors();
    for one in &vectors.notes {
        let seed = bytes(&one.seed).try_into().unwrap();
        let key = SigningKey::from_seed(&one.name, &seed).unwrap();
        let opened = Checkpoint::open(one.note.as_bytes(), key.verifying_key()).unwrap();
        let root = hash(&vectors.roots[at(opened.size)].root);
        assert_eq!(opened, Checkpoint::new(one.name.clone(), opened.size, root));
        assert_eq!(opened.sign(&key).unwrap(), one.note);
    }
}

#[test]
fn a_log_signs_for_itself_alone() {
    let checkpoint = Checkpoint::new("log.example/1", 3, [1; 32]);
    assert!(checkpoint.sign(&key("log.example/2")).is_err());
    let note = note::sign(&checkpoint.encode_text(), &[&key("log.example/2")]).unwrap();
    let opened = Checkpoint::open(note.as_bytes(), key("log.example/2").verifying_key());
    assert!(opened.is_err());
}

#[test]
fn what_is_no_checkpoint_is_refused() {
    let root = to_base64(&[1; 32]);
    let wrong = [
        String::new(),
        "\n".into(),
        format!("o\n1\n{root}"),
        format!("\n1\n{root}\n"),
        format!("o o\n1\n{root}\n"),
        format!("o\n01\n{root}\n"),
        format!("o\n+1\n{root}\n"),
        format!("o\n-1\n{root}\n"),
        format!("o\n\n{root}\n"),
        format!("o\n0\n{root}\n"),
        format!("o\n9223372036854775808\n{root}\n"),
        format!("o\n99999999999999999999\n{root}\n"),
        format!("o\n1\n{}\n", to_base64(&[1; 31])),
        format!("o\n1\n{}\n", to_base64(&[1; 33])),
        format!("o\n1\n{}\n", root.trim_end_matches('=')),
        format!("o\n1\n{root}\n\n"),
        format!("o\n1\n{root}\nx\n\ny\n"),
        format!("o\n1\n{root}\n{}\n", "x".repeat(MAX_TEXT)),
        "o\n1\n".into(),
    ];
    for text in wrong {
        assert!(Checkpoint::parse_text(&text).is_err(), "{text:?}");
    }
    assert!(Checkpoint::parse_text(&format!("o\n9223372036854775807\n{root}\nx\n")).is_ok());
    let hidden = Checkpoint::new("o\n5\nx", 1, [1; 32]);
    assert!(
        hidden.sign(&key("o")).is_err(),
        "no origin of several lines"
    );
}

proptest! {
    #[test]
    fn one_checkpoint_has_one_text(origin in "[a-z./]{1,20}", size in 1u64..1 << 63, root in any::<[u8; 32]>(), extensions in prop::collection::vec("[a-z ]{1,9}", 0..3)) {
        let checkpoint = Checkpoint { origin, size, root, extensions };
        prop_assert_eq!(Checkpoint::parse_text(&checkpoint.encode_text()), Ok(checkpoint));
    }

    #[test]
    fn what_is_read_is_written_so(text in "[a-z]{0,3}\n[0-9]{0,3}\n[A-Za-z0-9+/]{42}[A-P]=\n[a\n]{0,3}") {
        if let Ok(checkpoint) = Checkpoint::parse_text(&text) {
            prop_assert_eq!(checkpoint.encode_text(), text);
        }
    }
}
