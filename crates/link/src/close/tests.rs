//! Codes are stable and distinct; hostile text is tamed.

use super::*;
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
