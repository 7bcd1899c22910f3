//! Erlang terms: what is read knows its place, and is read again as the same from what is printed of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_erlconf::term::{self, Options};
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = term::decode(data) else { return };
    let placeholders = Options {
        placeholders: true,
        ..Options::default()
    };
    drop(term::consult_with(&text, placeholders));
    match term::consult(&text) {
        Err(error) => assert!(!error.in_text(&text).is_empty()),
        Ok(document) => {
            for found in &document.terms {
                assert_eq!(term::parse(found.span.text(&text)).as_ref(), Ok(found));
                let printed = found.to_string();
                assert_eq!(term::parse(&printed).as_ref(), Ok(found), "{printed}");
            }
        }
    }
});
