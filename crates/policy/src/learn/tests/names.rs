//! Names that are made, and names that somebody chose to break out with.

use proptest::prelude::*;

use super::super::shape::{Piece, shape};
use super::*;
use crate::learn::text as texts;

fn pattern(name: &str) -> Option<String> {
    let pieces = shape(name)?;
    let text = pieces.into_iter().map(|piece| match piece {
        Piece::Text(text) => text,
        Piece::Star => "*".to_owned(),
    });
    Some(text.collect())
}

#[test]
fn parts_that_are_made_are_seen() {
    for (name, wanted) in [
        ("worker_12", Some("worker_*")),
        ("worker12", Some("worker*")),
        ("session_5f3a9c0e11", Some("session_*")),
        ("queue_job_<0.123.0>_out", Some("queue_job_*_out")),
        ("link_to_app@10.0.0.7", Some("link_to_*")),
        ("token_aB3dEfGh9iJkLmNoPq", Some("token_*")),
        ("shop_stock", None),
        // Words, though of hexadecimal digits.
        ("deadbeef_cafe", None),
        // Nothing would be left that says something.
        ("w_12", None),
        ("12_worker", None),
        ("a1b2c3d4e5f6", None),
        // OTP's.
        ("logger_std_h_1234", None),
    ] {
        assert_eq!(pattern(name).as_deref(), wanted, "{name}");
    }
}

#[test]
fn several_of_one_shape_are_a_pattern_and_few_are_not() {
    let (a, b) = (node("a", "a"), node("b", "b"));
    for (count, wanted) in [(2, false), (3, true)] {
        let mut seen = link(&a, &b);
        for n in 0..count {
            seen.push(saw(&a, &b, Action::Send, process(&format!("worker_{n}"))));
        }
        let learned = learned(&seen, &options());
        let cedar = text(&learned, "learned.cedar");
        assert_eq!(cedar.contains("like \"worker_*\""), wanted, "{cedar}");
        let engine = engine(&learned);
        let next = saw(&a, &b, Action::Send, process("worker_99"));
        assert_eq!(passes(&engine, &next), wanted);
        assert!(!passes(
            &engine,
            &saw(&a, &b, Action::Send, process("rex2"))
        ));
        its_tests_pass(&learned);
    }
}

#[test]
fn days_are_those_of_the_calendar() {
    for (seconds, wanted) in [
        (0, "1970-01-01"),
        (951_782_399, "2000-02-28"),
        (951_782_400, "2000-02-29"),
        (951_868_800, "2000-03-01"),
        (1_735_689_599, "2024-12-31"),
        (1_800_000_000, "2027-01-15"),
        (4_107_542_400, "2100-03-01"),
    ] {
        assert_eq!(&texts::moment(seconds)[..10], wanted);
    }
}

/// What a peer would call its processes and functions to get out of where they stand.
fn hostile() -> impl Strategy<Value = String> {
    let parts = prop::sample::select(vec![
        "\n",
        "\r",
        "\u{2028}",
        "\u{85}",
        "*/",
        "//",
        "# ",
        "\"",
        "'",
        "\\",
        "`",
        "}",
        ");",
        "*",
        "permit(principal,action,resource);",
        "@id(\"x\")",
        "- role: member",
        "\u{0}",
        "\u{202e}",
        "Ω",
        "{{",
        "os:cmd/1",
        "a",
        "_",
        "\t",
        "expect: permit",
    ]);
    prop::collection::vec(parts, 1..8).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    /// The set permits the very name, nothing else with it, and is as readable as any.
    #[test]
    fn no_name_gets_out_of_where_it_stands(names in prop::collection::btree_set(hostile(), 1..4), count in 1u64..3) {
        let (a, b) = (node("a", "a"), node("b", "b"));
        let mut seen = link(&a, &b);
        for name in &names {
            for what in [process(name), function(name, "f", 1), function("m", name, 2)] {
                let action = if matches!(what, What::Process(_)) { Action::Send } else { Action::Call };
                seen.push(Seen { count, ..saw(&a, &b, action, what) });
            }
        }
        let mut told: Vec<Told> = seen.iter().cloned().map(Told::Seen).collect();
        for name in &names {
            told.push(Told::Strange { why: Why::Unknown, words: name.clone(), count: 1, first: 0, last: 0 });
        }
        let learned = learn(told, &options()).unwrap();
        for file in &learned.files {
            prop_assert!(file.text.bytes().all(|b| b == b'\n' || (b' '..=b'~').contains(&b)), "{}", file.name);
        }
        // As many policies as there are lines that say so, and no role but the one that is about names.
        let engine = engine(&learned);
        let mut source = Source::read(&learned.files).unwrap();
        prop_assert!(source.roles.iter().all(|bound| bound.role == "named-client"));
        source.roles.clear();
        prop_assert_eq!(Engine::compile(&source).unwrap().policies(), learned.permits);
        for seen in &seen {
            prop_assert_eq!(passes(&engine, seen), count > 1 || matches!(seen.count, 2));
        }
        prop_assert!(!passes(&engine, &saw(&a, &b, Action::Call, function("os", "cmd", 1))));
        prop_assert!(!passes(&engine, &saw(&b, &a, Action::Send, process("a"))));
        its_tests_pass(&learned);
    }
}
