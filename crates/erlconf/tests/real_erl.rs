//! Against a real `erl`: terms mean here what they mean there, what it refuses is refused, and flags reach the emulator
//! and `init` as `erlexec` hands them on.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot go on has failed"
)]

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use skans_erlconf::flags::{self, Notation, Sources, words};
use skans_erlconf::term::{self, Term, consult};

/// `erl` without what the environment of the test says to it. Output that ends is all that is waited for.
fn erl(arguments: &[&OsStr], environment: &[(&str, &str)]) -> String {
    let output = Command::new("erl")
        .args(arguments)
        .env_remove("ERL_FLAGS")
        .env_remove("ERL_AFLAGS")
        .env_remove("ERL_ZFLAGS")
        .env_remove("ERL_LIBS")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .unwrap_or_else(|error| {
            panic!("cannot start `erl`: {error}. These tests need Erlang/OTP in PATH (Debian: erlang-base)")
        });
    // `~w` writes Latin-1.
    output.stdout.into_iter().map(char::from).collect()
}

/// What `file:consult/1` makes of each file of a directory, `0` to `count - 1`: one line each.
fn consulted(directory: &Path, count: usize) -> Vec<String> {
    let program = format!(
        "[case file:consult(filename:join({:?}, integer_to_list(N))) of
            {{ok, Terms}} -> io:format(\"~w.~n\", [Terms]);
            {{error, _}} -> io:format(\"refused~n\")
          end || N <- lists:seq(0, {count} - 1)], halt().",
        directory.to_str().expect("temporary directories are UTF-8"),
    );
    let said = erl(&["-noinput", "-eval", &program].map(OsStr::new), &[]);
    let lines: Vec<_> = said.lines().map(str::to_owned).collect();
    assert_eq!(lines.len(), count, "erl stopped early:\n{said}");
    lines
}

fn compare(texts: &[String]) -> (usize, usize) {
    let directory = tempfile::tempdir().unwrap();
    for (number, text) in texts.iter().enumerate() {
        fs::write(directory.path().join(number.to_string()), text).unwrap();
    }
    let (mut read, mut refused) = (0, 0);
    for (text, line) in texts.iter().zip(consulted(directory.path(), texts.len())) {
        match (consult(text), line.as_str()) {
            (Err(_), "refused") => refused += 1,
            (Ok(document), "refused") => {
                panic!("erl refuses {text:?}, read as {:?}", document.terms)
            }
            (Err(error), _) => panic!(
                "erl reads {text:?} as {line}, here: {}",
                error.in_text(text)
            ),
            (Ok(document), _) => {
                let there = consult(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
                let list = there.terms.into_iter().next().unwrap();
                let here = Term {
                    kind: term::Kind::List(document.terms, None),
                    span: list.span,
                };
                assert_eq!(here, list, "{text:?}");
                read += 1;
            }
        }
    }
    (read, refused)
}

fn samples<T: std::fmt::Debug>(count: usize, strategy: &impl Strategy<Value = T>) -> Vec<T> {
    let mut runner = TestRunner::deterministic();
    (0..count)
        .map(|_| strategy.new_tree(&mut runner).unwrap().current())
        .collect()
}

/// Words and signs of the language, in no order that would make sense: half of what comes out is refused.
fn soup() -> impl Strategy<Value = String> {
    let word = prop_oneof![
        6 => prop::sample::select(vec![
            "a", "'b c'", "1", "-1", "+2", "16#fF", "1_0", "1.5", "2.0e-3", "$a", "$\\n", "\"x\\x41\"", "\"\"", "[]", "{}",
            "#{}", "<<>>", "<<1,2>>", "<<\"a\">>", "<<3:5>>", "<<1:16/little>>", "<<\"é\"/utf8>>", "fun a:b/1", "true",
            "maybe", "éa", "(a)", "- 3", "-(4)", "-$a", "é", "<<-1>>", "<<1.5/float>>", "<<\"ab\":16/little>>",
            "<<(<<7>>)/binary>>", "#{a => b}", "[a|b]", "[a|[b]]",
        ]).prop_map(str::to_owned),
        6 => prop::sample::select(vec!["{", "}", "[", "]", ",", ",", "|", "(", ")", "#{", "=>", "<<", ">>"]).prop_map(str::to_owned),
        1 => prop::sample::select(vec![
            "if", "X", "_", "fun", "1 + 2", "::", "/", ":", "?a", "#r{}", ":=", "\"", "'", "\\", "1.", "%c", ".", "..", "$",
            "a:b", "f()", "--1", "<<a>>", "<<1/binary>>", "<<1:a>>", "37#1", "16#", "1.e3", "99999999999999999999999999999999999999999",
            "<<1/float:8>>", "<<1/utf8-unit:8>>", "<<1:4/unit:4>>", "<<1.0>>", "a'b'", "1a", "\"\\xzz\"", "\"\\x{110000}\"",
            "\"\\x{ffff}\"", "end",
        ]).prop_map(str::to_owned),
    ];
    (
        prop::collection::vec((word, prop::sample::select(vec!["", " ", "\n"])), 1..8),
        prop::sample::select(vec![".", ".", ".\n", "", " .a.", ". % end"]),
    )
        .prop_map(|(words, end)| {
            let text: String = words
                .into_iter()
                .flat_map(|(word, gap)| [word, gap.to_owned()])
                .collect();
            text + end
        })
}

/// Something that is read, more often than not.
fn sensible() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "'b c'",
        "'\\x{e9}'",
        "\"x\" \"y\"",
        "\"€\"",
        "-1",
        "1_000",
        "36#zz",
        "1.0e10",
        "$\\s",
        "$ ",
        "fun a:'B'/2",
        "<<\"é\"/utf8, 1:7>>",
        "<<\"é\">>",
        "<<1:3, 2:5/little>>",
        "<<300:12/little-signed>>",
        "<<1.5:32/float-little>>",
        "<<\"aé€\"/utf16>>",
        "<<$a/utf32-little>>",
        "<<<<1:3>>/bits, 1:5>>",
        "<<(<<1,2,3,4>>):2/binary-unit:16>>",
        "-170141183460469231731687303715884105729",
        "\"\\^a\\e\\101\"",
        "<<\"ab\"/little>>",
        "<<1/native>>",
        "<<\"\">>",
    ])
    .prop_map(str::to_owned);
    leaf.prop_recursive(5, 40, 5, |inner| {
        let list = |open: &'static str, close: &'static str| {
            move |parts: Vec<String>| format!("{open}{}{close}", parts.join(", "))
        };
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(list("{", "}")),
            prop::collection::vec(inner.clone(), 0..5).prop_map(list("[", "]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("[{a}|{b}]")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("#{{{a} => {b}, k => {a}}}")),
            inner.prop_map(|a| format!("({a})")),
        ]
    })
    .prop_map(|term| format!("{term}.\n"))
}

#[test]
fn terms_mean_here_what_they_mean_to_erl() {
    let (read, refused) = compare(&samples(1500, &sensible()));
    assert!(
        read > 1400 && refused == 0,
        "{read} read, {refused} refused"
    );
}

#[test]
fn what_erl_refuses_is_refused() {
    let (read, refused) = compare(&samples(4000, &soup()));
    assert!(
        read > 150 && refused > 1000,
        "{read} read, {refused} refused"
    );
}

#[test]
fn what_erl_prints_is_read() {
    // Terms of all kinds by a generator of its own, printed in the three ways that end up in files.
    let program = r#"
        rand:seed(exsss, 7),
        Leaf = fun() -> case rand:uniform(9) of
            1 -> list_to_atom([rand:uniform(255) || _ <- lists:seq(1, rand:uniform(6))]);
            2 -> rand:uniform(1 bsl 70) - (1 bsl 69);
            3 -> (rand:uniform() - 0.5) * math:pow(10, rand:uniform(60) - 30);
            4 -> [31 + rand:uniform(100) || _ <- lists:seq(1, rand:uniform(9))];
            5 -> [256 + rand:uniform(50000) || _ <- lists:seq(1, rand:uniform(3))];
            6 -> rand:bytes(rand:uniform(9));
            7 -> <<(rand:uniform(8)):(rand:uniform(13))>>;
            8 -> fun lists:map/2;
            9 -> list_to_binary([31 + rand:uniform(90) || _ <- lists:seq(1, rand:uniform(9))])
        end end,
        Any = fun Any(0) -> Leaf(); Any(D) -> case rand:uniform(5) of
            1 -> Leaf();
            2 -> [Any(D - 1) || _ <- lists:seq(1, rand:uniform(4))];
            3 -> list_to_tuple([Any(D - 1) || _ <- lists:seq(1, rand:uniform(4))]);
            4 -> #{Any(D - 1) => Any(D - 1), x => Any(D - 1)};
            5 -> [Any(D - 1) | Leaf()]
        end end,
        Print = fun(Format, Term) -> base64:encode(unicode:characters_to_binary(io_lib:format(Format, [Term]))) end,
        [begin T = Any(4), io:format("~s ~s ~s~n", [Print("~w.", T), Print("~p.", T), Print("~tp.", T)]) end
            || _ <- lists:seq(1, 500)],
        halt()."#;
    let said = erl(&["-noinput", "-eval", program].map(OsStr::new), &[]);
    let mut count = 0;
    for line in said.lines() {
        let forms: Vec<_> = line
            .split(' ')
            .map(|form| {
                let text = String::from_utf8(base64(form)).unwrap();
                let mut terms = consult(&text)
                    .unwrap_or_else(|error| panic!("{text}: {}", error.in_text(&text)))
                    .terms;
                assert_eq!(terms.len(), 1);
                terms.remove(0)
            })
            .collect();
        assert_eq!(forms[0], forms[1]);
        assert_eq!(forms[0], forms[2]);
        count += 1;
    }
    assert_eq!(count, 500);
}

/// Decodes what Erlang's `base64` wrote; a dependency for this alone would be one too many.
fn base64(text: &str) -> Vec<u8> {
    const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut held) = (0_u32, 0);
    for byte in text.bytes().filter(|byte| *byte != b'=') {
        let value = ALPHABET.iter().position(|known| *known == byte).unwrap();
        bits = bits << 6 | u32::try_from(value).unwrap();
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from(bits >> held & 0xff).unwrap());
        }
    }
    bytes
}

/// What `erl` hands to the emulator, one argument a line, by its own `-emu_args_exit`.
fn handed_on(
    arguments: &[String],
    environment: &[(&str, &str)],
) -> Option<(Vec<String>, Vec<String>)> {
    let mut all: Vec<&OsStr> = vec![OsStr::new("-emu_args_exit")];
    all.extend(arguments.iter().map(OsStr::new));
    let said = erl(&all, environment);
    // `--`, where Erlang lives, `--`, home, `--`, the rest.
    let lines: Vec<_> = said.split('\n').map(str::to_owned).collect();
    let first = lines.iter().position(|line| line == "-root")? - 1;
    let second = first + 1 + lines[first + 1..].iter().position(|line| line == "--")?;
    let third = second + 1 + lines[second + 1..].iter().position(|line| line == "--")?;
    let rest = lines[third + 1..lines.len() - 1].to_vec();
    Some((lines[..first].to_vec(), rest))
}

/// The same by this crate.
fn handed_on_here(file: &str, environment: &[(&str, &str)]) -> Option<(Vec<String>, Vec<String>)> {
    let of = |text: &str, notation| {
        words(text, notation)
            .unwrap()
            .into_iter()
            .map(|word| (word, ()))
            .collect::<Vec<_>>()
    };
    let variable = |name: &str| {
        let found = environment.iter().find(|(known, _)| *known == name);
        of(found.map_or("", |(_, text)| text), Notation::Environment)
    };
    let line = of("-args_file vm.args", Notation::Environment);
    let sources = Sources {
        a_flags: variable("ERL_AFLAGS"),
        command_line: flags::expand(line, &mut |_| Some(of(file, Notation::ArgsFile))),
        flags: variable("ERL_FLAGS"),
        z_flags: variable("ERL_ZFLAGS"),
    };
    let read = flags::interpret(sources.line_up());
    if read.refused.is_some() {
        return None;
    }
    let emulator = read
        .emulator
        .iter()
        .flat_map(|flag| {
            let own = format!("-{}", flag.word.text.strip_prefix('+').unwrap());
            [Some(own), flag.next.as_ref().map(|next| next.text.clone())]
        })
        .flatten()
        .collect();
    let rest = read
        .rest
        .into_iter()
        .map(|argument| argument.text)
        .collect();
    Some((emulator, rest))
}

#[test]
fn flags_are_handed_on_as_erlexec_does() {
    let word = prop::sample::select(vec![
        "-name",
        "-a",
        "-kernel",
        "x",
        "y",
        "\"a b\"",
        "'c d'",
        "e\\ f",
        "+S",
        "2:2",
        "+A64",
        "+zdbbl",
        "8192",
        "+B",
        "i",
        "+c",
        "true",
        "+MEacul",
        "de",
        "+hms",
        "+Muacnl",
        "-env",
        "-detached",
        "-noinput",
        "-start_epmd",
        "false",
        "-extra",
        "--",
        "g#h",
        "#",
        "\"#i\"",
        "\n",
        "+sbwt",
        "none",
        "+K",
        "+P",
        "5",
        "+W",
        "w",
        "+Ww",
        "+IOt",
        "+SDcpu",
        "+hmqd",
        "-heart",
        "-s",
        "j",
        "-eval",
        "\"k().\"",
        "l\"m\"n",
        "\"",
        "\\",
    ]);
    let line = prop::collection::vec(word, 0..9).prop_map(|words| words.join(" "));
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vm.args");
    let (mut started, mut refused) = (0, 0);
    for (file, environment) in samples(150, &(line.clone(), prop::collection::vec(line, 3))) {
        fs::write(&path, &file).unwrap();
        let environment = [
            ("ERL_AFLAGS", environment[0].as_str()),
            ("ERL_FLAGS", environment[1].as_str()),
            ("ERL_ZFLAGS", environment[2].as_str()),
        ]
        .map(|(name, text)| (name, if text.contains('\n') { "" } else { text }));
        let arguments = ["-args_file".to_owned(), path.to_str().unwrap().to_owned()];
        let there = handed_on(&arguments, &environment);
        let here = handed_on_here(&file, &environment);
        match (there, here) {
            (None, None) => refused += 1,
            (Some((emulator, rest)), Some((own, own_rest))) => {
                // A file and a line end with a separator each; how many there are means nothing.
                // Lines, since that is what `erl` prints them as, whatever stands in a word.
                let squeeze = |list: Vec<String>| {
                    let list: Vec<_> = list.join("\n").split('\n').map(str::to_owned).collect();
                    list.into_iter()
                        .filter(|word| word != "--")
                        .collect::<Vec<_>>()
                };
                assert_eq!(squeeze(emulator), squeeze(own), "{file:?} {environment:?}");
                assert_eq!(squeeze(rest), squeeze(own_rest), "{file:?} {environment:?}");
                started += 1;
            }
            // At the end of a source `erl` takes its own separator for a value; nothing starts with it.
            (Some((emulator, rest)), None) => {
                let odd = emulator.contains(&"--".to_owned())
                    || ["-name", "-start_epmd"].iter().any(|flag| {
                        rest.windows(2)
                            .any(|pair| pair[0] == *flag && pair[1] == "--")
                    })
                    || file.contains("-env")
                    || environment.iter().any(|(_, text)| text.contains("-env"));
                assert!(
                    odd,
                    "{file:?} {environment:?}: started with {emulator:?} {rest:?}"
                );
                refused += 1;
            }
            // A variable that is named `--`: found by this test, of no use to anybody.
            (None, Some(_)) if file.contains("-env --") => refused += 1,
            (None, Some(own)) => panic!("{file:?} {environment:?}: refused, here {own:?}"),
        }
    }
    assert!(
        started > 40 && refused > 20,
        "{started} started, {refused} refused"
    );
}
