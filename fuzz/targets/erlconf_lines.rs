//! Flags, shell, `rabbitmq.conf` and HOCON: any text is read or refused, and everything has a place in the text.
#![no_main]

use libfuzzer_sys::fuzz_target;
use skans_erlconf::flags::{Notation, Sources, interpret, words};
use skans_erlconf::{LineIndex, Span, hocon, shell, sysctl};
use skans_fuzz as _;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let lines = LineIndex::new(text);
    let placed = |span: Span| {
        assert!(text.get(span.start..span.end).is_some());
        let place = lines.position(text, span.start);
        assert!(place.line <= lines.count());
    };
    for notation in [Notation::ArgsFile, Notation::Template, Notation::Environment] {
        let Ok(words) = words(text, notation) else { continue };
        words.iter().for_each(|word| placed(word.span));
        let sources = Sources {
            command_line: words.into_iter().map(|word| (word, ())).collect(),
            ..Sources::default()
        };
        drop(interpret(sources.line_up()));
    }
    if let Ok(script) = shell::parse(text) {
        for command in &script.commands {
            placed(command.span);
            command.words.iter().for_each(|word| placed(word.span));
            command.documents.iter().copied().for_each(placed);
        }
        for assignment in script.assignments() {
            placed(assignment.value.span);
            let _ = assignment.value.fallback();
        }
    }
    if let Ok(file) = sysctl::parse(text) {
        for setting in &file.settings {
            placed(setting.key_span);
            placed(setting.value_span);
        }
    }
    if let Ok(file) = hocon::parse(text) {
        placed(file.span);
    }
});
