//! Elixir configuration: any text is read, and everything in it has a place in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_erlconf::elixir;
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(file) = elixir::parse(text) else { return };
    for expr in file.all() {
        assert!(text.get(expr.span.start..expr.span.end).is_some());
        let _ = expr.from_environment();
    }
    for skipped in &file.skipped {
        assert!(text.get(skipped.span.start..skipped.span.end).is_some());
    }
    drop(file.settings());
});
