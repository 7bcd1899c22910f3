use proptest::prelude::*;

use super::parse;

#[test]
fn settings_comments_and_includes_are_read() {
    let text = "# comment\n\nlisteners.tcp = none\r\n  a.b\\.c = x y  # why\nq = 'a # b' # c\ninclude conf.d/*.conf\n";
    let file = parse(text).unwrap();
    assert!(file.faults.is_empty(), "{:?}", file.faults);
    let all: Vec<_> = file
        .settings
        .iter()
        .map(|setting| (setting.key.join("/"), setting.value.as_str()))
        .collect();
    assert_eq!(
        all,
        [
            ("listeners/tcp".to_owned(), "none"),
            ("a/b.c".to_owned(), "x y"),
            ("q".to_owned(), "a # b")
        ]
    );
    assert_eq!(file.settings[1].value_span.text(text), "x y");
    assert_eq!(file.includes[0].0, "conf.d/*.conf");
}

#[test]
fn a_hash_ends_a_value_that_is_not_quoted() {
    assert_eq!(
        parse("default_pass = s3cret#1").unwrap().settings[0].value,
        "s3cret"
    );
}

#[test]
fn the_last_of_equal_keys_counts() {
    let file = parse("a = 1\na = 2").unwrap();
    assert_eq!(file.get(&["a"]).unwrap().value, "2");
    assert!(file.get(&["a", "b"]).is_none());
}

#[test]
fn lines_that_are_no_settings_are_faults() {
    let text = "a = 1\nb\nc = \n= d\ne: f\n'g' = h\ni = 'j' k\nl = 2";
    let file = parse(text).unwrap();
    assert_eq!((file.settings.len(), file.faults.len()), (2, 6));
    assert_eq!(
        file.faults[0].in_text(text),
        "line 2, column 2: found '\\n', wanted = after the key"
    );
}

proptest! {
    #[test]
    fn any_text_is_read(text in "[a-z=.#' \n\\\\é]{0,60}") {
        let file = parse(&text).unwrap();
        for setting in &file.settings {
            prop_assert!(setting.value_span.end <= text.len());
        }
    }
}
