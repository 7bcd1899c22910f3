use proptest::prelude::*;

use super::{
    Argument, CommandLine, Notation, Refusal, Sources, expand, interpret, known_emulator_flags,
    words,
};

fn texts(text: &str, notation: Notation) -> Vec<String> {
    words(text, notation)
        .unwrap()
        .into_iter()
        .map(|word| word.text)
        .collect()
}

fn line(text: &str) -> CommandLine<()> {
    let sources = Sources {
        command_line: words(text, Notation::Environment)
            .unwrap()
            .into_iter()
            .map(|word| (word, ()))
            .collect(),
        ..Sources::default()
    };
    interpret(sources.line_up())
}

#[test]
fn a_hash_ends_a_word_of_a_file_and_not_of_the_environment() {
    let text = "-setcookie abc#def # more\n-name \"a#b\"";
    assert_eq!(
        texts(text, Notation::ArgsFile),
        ["-setcookie", "abc", "-name", "a#b"]
    );
    assert_eq!(texts("a#b # c", Notation::Environment), ["a#b", "#", "c"]);
}

#[test]
fn quotes_group_and_backslashes_take_meaning_away() {
    assert_eq!(
        texts(r#"a"b c"'d "e' f\ g \"h "" 'x\y' i"j"#, Notation::ArgsFile),
        [r#"ab cd "e"#, "f g", "\"h", "", r"x\y", "ij"]
    );
    assert_eq!(texts("a\0b", Notation::ArgsFile), ["a"]);
}

#[test]
fn templates_are_kept_whole() {
    let text = "-name ${NAME:-a b}@<%= @host %> -x \"<%= y %>\"";
    assert_eq!(
        texts(text, Notation::Template),
        ["-name", "${NAME:-a b}@<%= @host %>", "-x", "<%= y %>"]
    );
}

#[test]
fn emulator_flags_are_taken_out_wherever_they_stand() {
    let read = line("-a 1 +S 2:2 2 +A64 -b +zdbbl 8192 +B +c true +MEacul de plain");
    let emulator: Vec<_> = read
        .emulator
        .iter()
        .map(|flag| (flag.name.as_str(), flag.value()))
        .collect();
    assert_eq!(
        emulator,
        [
            ("+S", Some("2:2")),
            ("+A", Some("64")),
            ("+zdbbl", Some("8192")),
            ("+B", None),
            ("+c", Some("true")),
            ("+MEacul", Some("de"))
        ]
    );
    // What stood on both sides of a flag of the emulator belongs together.
    let a: Vec<_> = read
        .flags("-a")
        .next()
        .unwrap()
        .values
        .iter()
        .map(|value| value.text.as_str())
        .collect();
    assert_eq!(a, ["1", "2"]);
    assert_eq!(read.flags("-b").next().unwrap().value(), Some("plain"));
}

#[test]
fn a_flag_without_its_value_refuses_the_start() {
    for text in ["+zdbbl", "+S", "-name", "-sname", "-env A", "+MEacul"] {
        assert!(
            matches!(line(text).refused, Some(Refusal::MissingArgument(_))),
            "{text}"
        );
    }
    assert!(matches!(
        line("-start_epmd no").refused,
        Some(Refusal::NotBoolean(_))
    ));
    // `-name` takes what follows, whatever it is.
    assert_eq!(line("-name -x").refused, None);
}

#[test]
fn unknown_emulator_flags_are_told() {
    assert!(known_emulator_flags("+MBsbct") && known_emulator_flags("+SDcpu"));
    for name in ["+ssl_dist_optfile", "+MEAacul", "+Zx", "+proto_dist"] {
        assert!(!known_emulator_flags(name), "{name}");
        assert_eq!(line(name).emulator[0].name, name);
    }
    // A letter behind a known flag is no value of it.
    assert_eq!(line("+Sx").emulator[0].name, "+Sx");
}

#[test]
fn sources_line_up_and_extras_go_last() {
    let of = |text: &str, origin| {
        words(text, Notation::Environment)
            .unwrap()
            .into_iter()
            .map(|word| (word, origin))
            .collect::<Vec<_>>()
    };
    let sources = Sources {
        a_flags: of("-a x", "A"),
        command_line: of("b -extra c -d", "line"),
        flags: of("-e", "F"),
        z_flags: of("f", "Z"),
    };
    let read = interpret(sources.line_up());
    let names: Vec<_> = read
        .flags
        .iter()
        .map(|flag| flag.name.text.as_str())
        .collect();
    assert_eq!(names, ["-a", "-e"]);
    // `--` keeps the sources apart: `b` is no value of `-a`, `f` none of `-e`.
    let texts =
        |of: &[Argument<&'static str>]| of.iter().map(|a| a.text.clone()).collect::<Vec<_>>();
    assert_eq!(texts(&read.plain), ["b", "f"]);
    assert_eq!(texts(&read.extra), ["c", "-d"]);
}

#[test]
fn files_that_name_themselves_end() {
    let start = words("-a -args_file x -b", Notation::ArgsFile).unwrap();
    let start = start.into_iter().map(|word| (word, 0)).collect();
    let mut reads = 0;
    let expanded = expand(start, &mut |name| {
        reads += 1;
        assert_eq!(name, "x");
        let inner = words("-c -args_file x", Notation::ArgsFile).ok()?;
        Some(inner.into_iter().map(|word| (word, reads)).collect())
    });
    assert_eq!(reads, super::MAX_ARGS_FILES);
    assert_eq!(expanded.last().unwrap().0.text, "-b");
}

proptest! {
    #[test]
    fn words_are_where_they_say(text in "\\PC{0,60}") {
        for notation in [Notation::ArgsFile, Notation::Template, Notation::Environment] {
            let mut end = 0;
            for word in words(&text, notation).unwrap() {
                prop_assert!(word.span.start >= end && word.span.end > word.span.start);
                end = word.span.end;
            }
        }
    }

    #[test]
    fn any_line_is_read(text in "[+a-zA-Z0-9 \"'\\\\#:-]{0,60}") {
        line(&text);
    }
}
