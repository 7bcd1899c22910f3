use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;

fn pattern(text: &str) -> NamePattern {
    NamePattern::parse(text).unwrap()
}

fn is_cli(name: &str) -> bool {
    NamePattern::cli_defaults().iter().any(|p| p.matches(name))
}

#[test]
fn stars_and_question_marks() {
    for (glob, name, fits) in [
        ("a", "a", true),
        ("a", "ab", false),
        ("ab", "a", false),
        ("a*", "a", true),
        ("a*", "abc", true),
        ("a*c", "abbc", true),
        ("a*c", "abcb", false),
        ("a?c", "abc", true),
        ("a?c", "ac", false),
        ("a*b*c", "axbxbxc", true),
        ("a*b*c", "axcxb", false),
        ("a**", "a", true),
        ("a*?", "a", false),
        ("A*", "a", false),
    ] {
        assert_eq!(pattern(glob).matches(name), fits, "{glob} on {name}");
    }
}

#[test]
fn names_of_stock_tools_fit() {
    for name in [
        "rabbitmqcli-15856-rabbit",
        "epmd-starter-88123",
        "rem-4f1a-shop",
        "rpc-90af-shop",
        "remsh4f1a-shop",
        "c17",
        "c0",
        "c65535",
        "3W5E11264SFSG",
        "KHFZ7P3QPP0A",
    ] {
        assert!(is_cli(name), "{name}");
    }
}

#[test]
fn names_of_real_nodes_do_not_fit() {
    for name in [
        "rabbit",
        "rabbit-4803-32",
        "cli",
        "a",
        "c",
        "c017",
        "c65536",
        "c17a",
        "cache1",
        "rem",
        "rpc",
        "remote",
        "RABBIT",
        "3w5e11264sfsg",
        "3W5E11264SFSG0",
        "0W5E11264SFSG",
        "",
        "xrem-a",
        "remsh",
    ] {
        assert!(!is_cli(name), "{name}");
    }
}

#[test]
fn a_pattern_for_everything_is_refused() {
    for text in ["*", "?*", "*-shop", "", "a@b", "a.b", "a/b", "a\nb", "[a]"] {
        assert!(NamePattern::parse(text).is_err(), "{text:?}");
    }
    assert!(NamePattern::parse(&"a".repeat(MAX_PATTERN)).is_ok());
    assert!(NamePattern::parse(&"a".repeat(MAX_PATTERN + 1)).is_err());
}

#[test]
fn many_stars_do_not_blow_up() {
    let glob = pattern(&format!("a{}b", "*a".repeat(60)));
    let name = "a".repeat(255);
    let begin = Instant::now();
    for _ in 0..100 {
        assert!(!glob.matches(&name));
    }
    // A matcher that tries all splits would need longer than the age of the universe.
    assert!(begin.elapsed() < Duration::from_secs(5));
}

/// The obvious definition, exponential in the number of stars.
fn by_definition(glob: &[u8], name: &[u8]) -> bool {
    match (glob.split_first(), name.split_first()) {
        (None, _) => name.is_empty(),
        (Some((b'*', rest)), _) => (0..=name.len()).any(|at| by_definition(rest, &name[at..])),
        (Some((p, rest)), Some((c, tail))) => (*p == b'?' || p == c) && by_definition(rest, tail),
        (Some(_), None) => false,
    }
}

proptest! {
    #[test]
    fn matching_is_what_the_definition_says(glob in "[ab][ab*?]{0,8}", name in "[ab]{0,10}") {
        prop_assert_eq!(pattern(&glob).matches(&name), by_definition(glob.as_bytes(), name.as_bytes()));
    }
}
