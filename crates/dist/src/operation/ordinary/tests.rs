//! That no shape looks for a word that is not known here, and that without such words there are no shapes.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::control::{Control, Op, Target};
use crate::operation::{Operation, Read, read};
use crate::stream::FrameKind;
use crate::term::{Atom, Pid, Reference, is_data};

/// What means nothing without a word.
const HARMLESS: &[&str] = &["", "$gen_call", "$gen_cast", "alias"];

/// The texts that stand in a source file, its comments left out.
fn texts(source: &str) -> Vec<&str> {
    let code = source.lines().map(|line| line.split("//").next().unwrap());
    code.flat_map(|line| line.split('"').skip(1).step_by(2))
        .collect()
}

#[test]
fn every_word_that_a_shape_may_be_found_by_is_known() {
    let sources = [
        include_str!("../shapes.rs"),
        include_str!("../apply.rs"),
        include_str!("../hands.rs"),
        include_str!("../methods.rs"),
        include_str!("../known.rs"),
        include_str!("../list.rs"),
        include_str!("../walk.rs"),
        include_str!("../scan.rs"),
    ];
    let texts: Vec<_> = sources.into_iter().flat_map(texts).collect();
    assert!(texts.len() > 100 && texts.contains(&"block_call"));
    for text in texts {
        // What is no word is said of errors.
        let known = WORDS.contains(&text) || HARMLESS.contains(&text) || text.contains(' ');
        assert!(known || text == "payload", "{text}");
    }
    assert!(WORDS.is_sorted(), "or no word is found");
}

/// The atoms of a header.
const ATOMS: &[&str] = &[
    "",
    "$gen_call",
    "$gen_cast",
    "alias",
    "a@here",
    "shop",
    "level",
    "call",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let atom = 0..u8::try_from(ATOMS.len()).unwrap();
    prop_oneof![
        4 => atom.clone().prop_map(|at| vec![82, at]),
        4 => (0..5_u8).prop_map(|arity| vec![104, arity]),
        1 => Just(vec![82, 200]),
        1 => Just(vec![97, 7]),
        1 => Just(vec![98, 0, 0, 1, 2]),
        1 => Just(vec![106]),
        1 => Just(vec![108, 0, 0, 0, 1]),
        1 => Just(vec![108, 0, 0, 0, 0]),
        1 => Just(vec![116, 0, 0, 0, 1]),
        1 => Just(vec![107, 0, 1, 7]),
        1 => Just(vec![107, 0, 0]),
        1 => Just([&[70][..], &[0xff; 8]].concat()),
        1 => Just(vec![110, 1, 0, 7]),
        1 => Just(vec![109, 0, 0, 0, 2, 1, 1]),
        2 => atom.clone().prop_map(|at| [&[88, 82, at][..], &[7; 12]].concat()),
        2 => (atom, 0..7_u8).prop_map(|(at, words)| {
            [&[90, 0, words, 82, at][..], &vec![7; 4 + 4 * usize::from(words)]].concat()
        }),
        1 => Just(vec![119, 1, b'a']),
        1 => Just(vec![113, 82, 5, 82, 6, 97, 1]),
    ]
}

/// Terms from such pieces: each gets what it announces.
fn term() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(piece(), 0..24).prop_map(|pieces| {
        let mut open = 1_usize;
        let mut out = Vec::new();
        for piece in pieces {
            if open == 0 {
                break;
            }
            open -= 1;
            open += match piece.first() {
                Some(104) => usize::from(piece[1]),
                Some(108) => usize::from(piece[4]) + 1,
                Some(116) => 2,
                _ => 0,
            };
            out.extend(piece);
        }
        out.extend(vec![106; open]);
        out
    })
}

fn a_pid() -> Pid<'static> {
    Pid {
        node: Atom::new("a@here"),
        id: 1,
        serial: 0,
        creation: 1,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn a_message_without_words_is_sent_and_no_more(
        payload in term(),
        to in 0..5_usize,
        with_call: bool,
    ) {
        let reference = Reference::new(Atom::new("a@here"), 1, &[1, 2, 3]).unwrap();
        let to = match to {
            0 => Target::Pid(a_pid()),
            1 => Target::Alias(reference),
            2 => Target::Name(Atom::new("rex")),
            3 => Target::Name(Atom::new("delegate_7")),
            _ => Target::Name(Atom::new("shop")),
        };
        let control = Control {
            op: Op::AltactSigSend,
            token: None,
            signal: Signal::Send { from: Some(a_pid()), to, priority: false },
        };
        let count = ATOMS.len() - usize::from(!with_call);
        let atoms: Vec<Arc<str>> = ATOMS.iter().take(count).map(|&atom| atom.into()).collect();
        let shown = Shown {
            control: &control,
            control_bytes: &[],
            control_atoms: 0,
            payload: &payload,
            whole: true,
            last: false,
            atoms: &atoms,
            new_atoms: 0,
            frame: FrameKind::Header,
            length: 100,
        };
        let data = is_data(&payload, u8::try_from(count).unwrap());
        prop_assert!(!with_call || !is_ordinary(&shown, None), "`call` is a word");
        if data && is_ordinary(&shown, None) {
            let Read::Whole(found) = read(&shown).unwrap() else {
                panic!("it is whole");
            };
            prop_assert!(matches!(found.operation, Operation::Send { .. }), "{found:?}");
            prop_assert!(found.also.is_none() && !found.carries_function && found.literal_atoms == 0);
        }
    }

    #[test]
    fn data_holds_no_function_and_no_literal_atom(payload in term(), less in 0..2_usize, more in 0..2_usize) {
        let mut bytes = payload;
        bytes.truncate(bytes.len() - less.min(bytes.len()));
        bytes.extend(vec![7; more]);
        let atoms: Vec<Arc<str>> = ATOMS.iter().map(|&atom| atom.into()).collect();
        if is_data(&bytes, 8) {
            let mut reader = crate::term::Reader::over(&bytes, &atoms);
            let mut open = 1_u64;
            while open > 0 {
                let token = match reader.token() {
                    // A float that is none is data as well: nobody looks at it.
                    Err(crate::Error::Invalid { what: "float", .. }) => return Ok(()),
                    token => token.unwrap(),
                };
                let is_fun = matches!(token, crate::term::Token::Fun { .. } | crate::term::Token::Export { .. });
                prop_assert!(!is_fun);
                open = open - 1 + token.children();
            }
            prop_assert!(reader.is_empty());
            prop_assert_eq!(reader.literal_atoms(), 0);
        }
    }
}
