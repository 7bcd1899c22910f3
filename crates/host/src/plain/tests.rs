//! Nothing that anybody can call himself looks like something else.

use proptest::prelude::*;

use super::*;

#[test]
fn what_people_write_is_shown_as_it_is() {
    assert_eq!(show("rabbit_mgmt:list/2"), "rabbit_mgmt:list/2");
    assert_eq!(
        show("a\nb\u{1b}[31m\u{202e}\\"),
        "a\\u{a}b\\u{1b}[31m\\u{202e}\\\\"
    );
    let long = show(&"x".repeat(10_000));
    assert_eq!(long.len(), MAX_SHOWN);
    assert!(long.ends_with("xx\\+"));
    assert_eq!(read(&long), None);
    for none in [
        "\\",
        "\\x",
        "\\u{110000}",
        "\\u{41}",
        "\\u{}",
        "\u{e9}",
        "\\u{+a}",
    ] {
        assert_eq!(read(none), None, "{none}");
    }
}

proptest! {
    #[test]
    fn any_text_is_shown_in_plain_letters_and_read_back(text in any::<String>()) {
        let shown = show(&text);
        prop_assert!(shown.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        prop_assert!(shown.len() <= MAX_SHOWN);
        if !shown.ends_with(CUT) || shown.ends_with("\\\\+") {
            prop_assert_eq!(read(&shown), Some(text));
        }
    }

    #[test]
    fn whatever_is_read_was_shown(text in "[ -~]{0,40}") {
        if let Some(read) = read(&text) {
            prop_assert_eq!(show(&read), text);
        }
    }
}
