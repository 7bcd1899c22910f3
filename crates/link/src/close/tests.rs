//! Codes are stable and distinct; hostile text is tamed.

use super::*;
use proptest::prelude::*;
use std::collections::HashSet;

#[test]
fn codes_and_labels_are_distinct_and_survive_the_wire() {
    let codes: HashSet<_> = Reason::ALL.iter().map(|r| r.code()).collect();
    let labels: HashSet<_> = Reason::ALL.iter().map(|r| r.label()).collect();
    assert_eq!(codes.len(), Reason::ALL.len());
    assert_eq!(labels.len(), Reason::ALL.len());
    for &reason in Reason::ALL {
        let close = Close::new(reason, "b may not carry a");
        assert_eq!(Close::decode(&close.encode()[4..]).unwrap(), close);
    }
    assert_eq!(Reason::from_code(999), Reason::Other(999));
}

#[test]
fn escapes_in_a_peers_text_never_reach_a_terminal() {
    let frame = Close::new(Reason::Internal, "\x1b[2Jgone\n").encode();
    let close = Close::decode(&frame[4..]).unwrap();
    assert_eq!(close.text, "\u{fffd}[2Jgone\u{fffd}");
}

#[test]
fn a_long_text_is_cut_at_a_character() {
    let close = Close::new(Reason::Internal, "å".repeat(600));
    let decoded = Close::decode(&close.encode()[4..]).unwrap();
    assert_eq!(decoded.text, "å".repeat(256));
}

#[test]
fn no_order_of_reading_and_nothing_invisible_is_taken_from_a_peer() {
    for bad in [
        "\u{202e}", "\u{200f}", "\u{2028}", "\u{feff}", "\u{5d0}", "\u{9b}",
    ] {
        let close = Close::new(Reason::Internal, format!("a{bad}b"));
        let decoded = Close::decode(&close.encode()[4..]).unwrap();
        assert_eq!(decoded.text, "a\u{fffd}b", "{bad:?}");
    }
}

proptest! {
    /// Newlines, colours, directions of reading, ten kilobytes: none of it reaches a log.
    #[test]
    fn no_text_of_a_peer_forges_a_log(
        text in prop_oneof![
            any::<String>(),
            "(\n|\u{1b}\\[[0-9;]*m|\u{202e}|\u{200f}|\u{2029}|\"|\\\\){0,200}",
            "x{10000}",
        ],
        bytes in prop::collection::vec(any::<u8>(), 0..2000),
    ) {
        let code = Reason::Internal.code().to_be_bytes();
        for text in [text.as_bytes(), &bytes] {
            let decoded = Close::decode(&[&code[..], text].concat()).unwrap();
            prop_assert!(decoded.text.chars().count() <= MAX_TEXT);
            for c in decoded.text.chars() {
                let bidi = matches!(c, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
                let line = matches!(c, '\u{2028}' | '\u{2029}');
                prop_assert!(!c.is_control() && !bidi && !line, "{c:?}");
            }
        }
    }
}
