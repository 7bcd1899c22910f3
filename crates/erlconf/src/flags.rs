//! Emulator flags and command lines: what `erl` is told by `vm.args`, its arguments and its environment, together.
//!
//! Three steps, as in `erts/etc/common/erlexec.c` and `init.erl`: a text falls into [`words`], the sources are
//! [`lined_up`](Sources::line_up) (this is where precedence comes from), and [`interpret`] tells emulator flags from
//! those of `init`. What a flag means is not known here.
//!
//! ```
//! use skans_erlconf::flags::{Notation, Sources, interpret, words};
//!
//! let vm_args = words("-name shop@10.0.0.1  # who we are\n+zdbbl 8192\n", Notation::ArgsFile)?;
//! let env = words("-proto_dist inet_tls", Notation::Environment)?;
//! let sources = Sources {
//!     command_line: vm_args.into_iter().map(|word| (word, "vm.args")).collect(),
//!     flags: env.into_iter().map(|word| (word, "ERL_FLAGS")).collect(),
//!     ..Sources::default()
//! };
//! let line = interpret(sources.line_up());
//! let carrier = line.flags("-proto_dist").next().unwrap();
//! assert_eq!(carrier.values[0].text, "inet_tls");
//! assert_eq!(carrier.name.origin, Some("ERL_FLAGS"));
//! assert_eq!(line.emulator("+zdbbl").next().unwrap().value(), Some("8192"));
//! # Ok::<(), skans_erlconf::Error>(())
//! ```

mod emulator;
#[cfg(test)]
mod tests;
mod words;

use std::iter::Peekable;

use crate::span::Span;

pub use emulator::{Emulator, known as known_emulator_flags};
pub use words::{Notation, Word, words};

/// One argument, and who said it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Argument<O> {
    /// Its text, without quotes.
    pub text: String,
    /// Where it stands in the text it came from.
    pub span: Span,
    /// Which text that was; none of what `erl` adds itself.
    pub origin: Option<O>,
}

impl<O> Argument<O> {
    fn separator() -> Self {
        Self {
            text: SEPARATOR.to_owned(),
            span: Span::default(),
            origin: None,
        }
    }

    /// Whether it is what `erl` puts between its sources. At the end of one, it is taken for the value of a flag that
    /// lacks one; nothing starts with such a value, so that here it is simply missing.
    pub(crate) fn is_separator(&self) -> bool {
        self.text == SEPARATOR
    }
}

const SEPARATOR: &str = "--";

/// Words and who said them, by the way in which they reach `erl`.
#[derive(Debug, Clone)]
pub struct Sources<O> {
    /// `ERL_AFLAGS`: before the command line.
    pub a_flags: Vec<(Word, O)>,
    /// The command line, where files named by `-args_file` have been put in place ([`expand`]).
    pub command_line: Vec<(Word, O)>,
    /// `ERL_FLAGS`: after the command line.
    pub flags: Vec<(Word, O)>,
    /// `ERL_ZFLAGS`: last.
    pub z_flags: Vec<(Word, O)>,
}

impl<O> Default for Sources<O> {
    fn default() -> Self {
        Self {
            a_flags: Vec::new(),
            command_line: Vec::new(),
            flags: Vec::new(),
            z_flags: Vec::new(),
        }
    }
}

impl<O> Sources<O> {
    /// All of them in the order in which `erl` reads them, `--` between them, and what stands behind `-extra` at the
    /// end. Who comes first is not who wins: some flags are taken from their first place, some from their last.
    #[must_use]
    pub fn line_up(self) -> Vec<Argument<O>> {
        let mut line = Vec::new();
        let mut extra = Vec::new();
        let sources = [
            // What stands in the environment is ended before `-extra` is looked for, a command line after.
            (self.a_flags, true),
            (self.command_line, false),
            (self.flags, true),
            (self.z_flags, true),
        ];
        for (source, ends) in sources {
            if source.is_empty() {
                continue;
            }
            let mut words = source
                .into_iter()
                .map(|(word, origin)| Argument {
                    text: word.text,
                    span: word.span,
                    origin: Some(origin),
                })
                .chain(ends.then(Argument::separator));
            for argument in words.by_ref() {
                if argument.text == "-extra" {
                    break;
                }
                line.push(argument);
            }
            extra.extend(words);
            if !ends {
                line.push(Argument::separator());
            }
        }
        if !extra.is_empty() {
            line.push(Argument {
                text: "-extra".to_owned(),
                span: Span::default(),
                origin: None,
            });
            line.extend(extra);
        }
        line
    }
}

/// The deepest chain of `-args_file` that is followed. Erlang has no bound, and a file that names itself never ends.
pub const MAX_ARGS_FILES: usize = 16;

/// Puts what stands in files named by `-args_file` into the place of the flag; `-extra` and what follows it in any of
/// them goes to the end. `read` gives the words of a file, or none if it is not at hand: then the flag stays.
pub fn expand<O: Clone>(
    words: Vec<(Word, O)>,
    read: &mut impl FnMut(&str) -> Option<Vec<(Word, O)>>,
) -> Vec<(Word, O)> {
    let mut expanded = Vec::with_capacity(words.len());
    let mut extra = Vec::new();
    expand_to(words, read, MAX_ARGS_FILES, &mut expanded, &mut extra);
    expanded.extend(extra);
    expanded
}

fn expand_to<O: Clone>(
    words: Vec<(Word, O)>,
    read: &mut impl FnMut(&str) -> Option<Vec<(Word, O)>>,
    depth: usize,
    expanded: &mut Vec<(Word, O)>,
    extra: &mut Vec<(Word, O)>,
) {
    let mut words = words.into_iter();
    while let Some(word) = words.next() {
        if word.0.text == "-extra" {
            if extra.is_empty() {
                extra.push(word);
            }
            extra.extend(words);
            return;
        }
        if word.0.text != "-args_file" || depth == 0 {
            expanded.push(word);
            continue;
        }
        let Some(name) = words.next() else {
            expanded.push(word);
            return;
        };
        let Some(mut inner) = read(&name.0.text) else {
            expanded.extend([word, name]);
            continue;
        };
        // What follows the file is no value of the last flag in it.
        let end = Word {
            text: SEPARATOR.to_owned(),
            span: name.0.span,
        };
        inner.push((end, name.1));
        expand_to(inner, read, depth - 1, expanded, extra);
    }
}

/// A flag of `init` with what follows it: `-name`, `-kernel`, `-s`, `-eval` and every other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag<O> {
    /// The flag, with its dash.
    pub name: Argument<O>,
    /// What follows it, up to the next word that begins with a dash.
    pub values: Vec<Argument<O>>,
}

impl<O> Flag<O> {
    /// The only value; none if there is none or more.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        match self.values.as_slice() {
            [value] => Some(&value.text),
            _ => None,
        }
    }
}

/// Why `erl` does not even start the emulator.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal<O> {
    /// `Missing argument(s) for '…'`: the flag takes a value and has none.
    MissingArgument(Argument<O>),
    /// `-start_epmd` with something else than `true` or `false`.
    NotBoolean(Argument<O>),
}

/// What `erl` makes of its arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandLine<O> {
    /// Flags of the emulator, in order.
    pub emulator: Vec<Emulator<O>>,
    /// Flags of `init`, in order.
    pub flags: Vec<Flag<O>>,
    /// Arguments that belong to no flag.
    pub plain: Vec<Argument<O>>,
    /// What stands behind `-extra`.
    pub extra: Vec<Argument<O>>,
    /// What `-env NAME VALUE` sets.
    pub environment: Vec<(Argument<O>, Argument<O>)>,
    /// All that is handed on to `init`, in order.
    pub rest: Vec<Argument<O>>,
    /// Why it does not start.
    pub refused: Option<Refusal<O>>,
}

impl<O> CommandLine<O> {
    /// The flags of this name, in order.
    pub fn flags<'s>(&'s self, name: &'s str) -> impl DoubleEndedIterator<Item = &'s Flag<O>> {
        self.flags.iter().filter(move |flag| flag.name.text == name)
    }

    /// The emulator flags of this name, in order. For most, the last one counts.
    pub fn emulator<'s>(
        &'s self,
        name: &'s str,
    ) -> impl DoubleEndedIterator<Item = &'s Emulator<O>> {
        self.emulator.iter().filter(move |flag| flag.name == name)
    }

    /// Whether the node is told a name, and so becomes part of a distributed system.
    #[must_use]
    pub fn is_distributed(&self) -> bool {
        self.flags("-name")
            .chain(self.flags("-sname"))
            .next()
            .is_some()
    }
}

/// Reads arguments that stand in line, as `erl` and then `init` do.
#[must_use]
pub fn interpret<O: Clone>(line: Vec<Argument<O>>) -> CommandLine<O> {
    let mut read = CommandLine {
        emulator: Vec::new(),
        flags: Vec::new(),
        plain: Vec::new(),
        extra: Vec::new(),
        environment: Vec::new(),
        rest: Vec::new(),
        refused: None,
    };
    split(line, &mut read);
    flags(&mut read);
    read
}

/// What `erlexec` does: emulator flags are taken out wherever they stand, the rest is handed on.
fn split<O: Clone>(line: Vec<Argument<O>>, read: &mut CommandLine<O>) {
    let mut line = line.into_iter().peekable();
    while let Some(argument) = line.next() {
        let own = |text: &str| Argument {
            text: text.to_owned(),
            span: argument.span,
            origin: argument.origin.clone(),
        };
        if argument.text.starts_with('+') {
            match emulator::read(argument, &mut line) {
                Ok(flag) => read.emulator.push(flag),
                Err(refusal) => {
                    read.refused.get_or_insert(refusal);
                }
            }
            continue;
        }
        match argument.text.as_str() {
            "-extra" => {
                read.rest.push(argument);
                read.rest.extend(line);
                return;
            }
            "-detached" | "-noinput" => {
                read.rest.extend([own("-noshell"), own("-noinput")]);
            }
            "-env" => match (value(&mut line), value(&mut line)) {
                (Some(name), Some(value)) => read.environment.push((name, value)),
                _ => {
                    read.refused
                        .get_or_insert(Refusal::MissingArgument(argument));
                }
            },
            "-epmd" => {
                if value(&mut line).is_none() {
                    read.refused
                        .get_or_insert(Refusal::MissingArgument(argument));
                }
            }
            "-keep_window"
            | "-emu_args"
            | "-emu_args_exit"
            | "-emu_name_exit"
            | "-emu_qouted_cmd_exit" => {}
            // Their value is taken whatever it looks like.
            "-name" | "-sname" | "-start_epmd" => {
                let Some(value) = value(&mut line) else {
                    read.refused
                        .get_or_insert(Refusal::MissingArgument(argument));
                    continue;
                };
                if argument.text == "-start_epmd"
                    && !matches!(value.text.as_str(), "true" | "false")
                {
                    read.refused
                        .get_or_insert(Refusal::NotBoolean(value.clone()));
                }
                read.rest.extend([argument, value]);
            }
            _ => read.rest.push(argument),
        }
    }
}

/// The next word of the same source.
fn value<O>(line: &mut Peekable<impl Iterator<Item = Argument<O>>>) -> Option<Argument<O>> {
    line.next_if(|next| !next.is_separator())
}

/// What `init` does: each word with a dash begins a flag, which takes the words up to the next one.
fn flags<O: Clone>(read: &mut CommandLine<O>) {
    let mut open: Option<Flag<O>> = None;
    let mut rest = read.rest.iter().cloned();
    for argument in rest.by_ref() {
        let is_flag = argument.text.starts_with('-');
        if is_flag {
            read.flags.extend(open.take());
        }
        match argument.text.as_str() {
            "-extra" => break,
            "--" => {}
            _ if is_flag => {
                open = Some(Flag {
                    name: argument,
                    values: Vec::new(),
                });
            }
            _ => match &mut open {
                Some(flag) => flag.values.push(argument),
                None => read.plain.push(argument),
            },
        }
    }
    read.flags.extend(open);
    read.extra = rest.collect();
}
