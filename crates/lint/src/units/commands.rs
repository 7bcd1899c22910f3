//! What a command line says to `erl`: of `erl` itself, and of what starts it. No meaning of flags.

use skans_erlconf::flags::{Notation, Word, words};
use skans_erlconf::shell;

use crate::source::{Place, SourceId, Sources};

/// The words for `erl` of a command of a script, and the program.
pub(in crate::units) fn of_shell(command: &shell::Command) -> Option<(&str, Vec<Word>)> {
    let program = command.program()?;
    let name = base(&program.text)?;
    let after = command
        .words
        .iter()
        .skip_while(|word| word.span != program.span)
        .skip(1)
        .map(|word| Word {
            text: word.text.clone(),
            span: word.span,
        });
    Some((name, translate(name, after)))
}

/// The words for `erl` of a list of arguments, if its first one is a program that leads there.
pub(in crate::units) fn of_list(list: &[Word]) -> Option<Vec<Word>> {
    let (program, rest) = list.split_first()?;
    let name = base(&program.text)?;
    Some(translate(name, rest.iter().cloned()))
}

fn base(program: &str) -> Option<&'static str> {
    let name = program.rsplit('/').next()?;
    ["erl", "elixir", "iex", "mix", "werl", "start_erl"]
        .into_iter()
        .find(|known| *known == name)
}

/// Elixir's own options in the form of `erl`.
fn translate(program: &str, arguments: impl Iterator<Item = Word>) -> Vec<Word> {
    if matches!(program, "erl" | "werl" | "start_erl") {
        return arguments.collect();
    }
    let mut translated = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(word) = arguments.next() {
        let same = |text: &str| Word {
            text: text.to_owned(),
            span: word.span,
        };
        let flag = match word.text.as_str() {
            "--name" => "-name",
            "--sname" => "-sname",
            "--cookie" => "-setcookie",
            "--hidden" => {
                translated.push(same("-hidden"));
                continue;
            }
            "--erl" => {
                let Some(value) = arguments.next() else {
                    continue;
                };
                // Their place is that of the whole value: it was quoted once already.
                let inner = words(&value.text, Notation::Environment).unwrap_or_default();
                translated.extend(inner.into_iter().map(|inner| Word {
                    text: inner.text,
                    span: value.span,
                }));
                continue;
            }
            _ => continue,
        };
        translated.push(same(flag));
        translated.extend(arguments.next());
    }
    translated
}

/// The words of a value that stands in a text, each with its place; an expansion of the shell is one word.
pub(in crate::units) fn of_value(
    sources: &mut Sources,
    name: String,
    value: &str,
    place: Place,
    pieces: Vec<(usize, usize)>,
) -> Vec<(Word, SourceId)> {
    let source = sources.embed(name, value.to_owned(), place, pieces);
    words(value, Notation::Environment)
        .unwrap_or_default()
        .into_iter()
        .map(|word| (word, source))
        .collect()
}
