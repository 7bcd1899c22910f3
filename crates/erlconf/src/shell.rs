//! Shell text, as far as configuration needs it: which variables are set to what, and which commands are run with
//! which words. Nothing is expanded or run; conditions and loops are walked through as if all of it happened.
//!
//! EEx (`<%= … %>`) is kept as part of the word it stands in, so that `env.sh.eex` is read, too.
//!
//! ```
//! use skans_erlconf::shell;
//!
//! let text = r#"
//! export RELEASE_DISTRIBUTION=name
//! RELEASE_COOKIE="${COOKIE:-monster}"
//! exec erl -sname shop  # by hand
//! "#;
//! let script = shell::parse(text)?;
//! let cookie = script.assignment("RELEASE_COOKIE").unwrap();
//! assert_eq!(cookie.value.text, "${COOKIE:-monster}");
//! assert_eq!(cookie.value.fallback(), Some("monster"));
//! assert_eq!(script.commands[2].words[1].text, "erl");
//! # Ok::<(), skans_erlconf::Error>(())
//! ```

mod reader;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::limits::Limits;
use crate::span::Span;

/// A word, without its quotes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Word {
    /// Its text; what the shell would expand stands in it as it was written.
    pub text: String,
    /// Whether the shell would expand something in it: a variable, a command, an EEx tag.
    pub expands: bool,
    /// Whether something is expanded in it outside of double quotes, so that the result may fall into several words.
    pub splits: bool,
    /// Where it stands, with its quotes.
    pub span: Span,
}

impl Word {
    /// The variable, if the word is nothing but one: `$NAME`, `${NAME}`, `${NAME:-…}`.
    #[must_use]
    pub fn variable(&self) -> Option<&str> {
        let name = self.text.strip_prefix('$')?;
        let (name, inner) = match name.strip_prefix('{') {
            Some(inner) => {
                let inner = inner.strip_suffix('}')?;
                (inner.split(|c: char| !is_name(c)).next()?, inner)
            }
            None => (name, name),
        };
        let rest = inner.get(name.len()..)?;
        let right = !name.is_empty() && name.chars().all(is_name) && !inner.contains('}');
        let form = rest.is_empty() || rest.starts_with([':', '-', '=', '?', '+', '%', '#', '/']);
        (right && form).then_some(name)
    }

    /// What is taken if the variable is not set: `b` of `${A:-b}`, `${A-b}`, `${A:=b}` and `${A=b}`.
    #[must_use]
    pub fn fallback(&self) -> Option<&str> {
        let name = self.variable()?;
        let rest = self.text.strip_prefix("${")?.strip_suffix('}')?;
        let rest = rest.get(name.len()..)?;
        [":-", ":=", "-", "="]
            .into_iter()
            .find_map(|form| rest.strip_prefix(form))
    }
}

fn is_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// `NAME=value`, alone, before a command, or behind `export` and its like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The variable.
    pub name: String,
    /// Where its name stands.
    pub name_span: Span,
    /// The value.
    pub value: Word,
    /// Whether it is handed on to what is run.
    pub exported: bool,
    /// Whether it stands within an `if`, a loop or a function, so that it may not happen.
    pub conditional: bool,
}

/// A simple command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Command {
    /// What is assigned before or by it.
    pub assignments: Vec<Assignment>,
    /// Its words, the first of which is run; `export` and its like are among them.
    pub words: Vec<Word>,
    /// Where input and output go: the operator and the word behind it.
    pub redirections: Vec<(String, Word)>,
    /// What stands in here-documents.
    pub documents: Vec<Span>,
    /// Where it stands.
    pub span: Span,
    /// What joins it to the command before: `|`, `&&`, `||`, `;`, or nothing at a new line.
    pub joined: &'static str,
    /// Whether it stands within an `if`, a loop or a function.
    pub conditional: bool,
}

/// What a text holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// The commands, in order, also those in `$(…)`.
    pub commands: Vec<Command>,
    /// The comments, with their `#`.
    pub comments: Vec<Span>,
}

impl Script {
    /// All assignments, in order.
    pub fn assignments(&self) -> impl DoubleEndedIterator<Item = &Assignment> {
        self.commands
            .iter()
            .flat_map(|command| &command.assignments)
    }

    /// The last assignment to this variable.
    #[must_use]
    pub fn assignment(&self, name: &str) -> Option<&Assignment> {
        self.assignments().rev().find(|found| found.name == name)
    }

    /// The commands that run this program, whatever its directory; `exec`, `sudo`, `env` and the like are looked
    /// through.
    pub fn runs<'s>(&'s self, program: &'s str) -> impl Iterator<Item = &'s Command> {
        self.commands.iter().filter(move |command| {
            command
                .program()
                .is_some_and(|word| word.text.rsplit('/').next() == Some(program))
        })
    }
}

impl Command {
    /// The program that is run, behind `exec`, `sudo`, `nohup`, `env`, `time` and `command`.
    #[must_use]
    pub fn program(&self) -> Option<&Word> {
        self.words.iter().find(|word| {
            !matches!(
                word.text.as_str(),
                "exec" | "sudo" | "nohup" | "env" | "time" | "command"
            )
        })
    }
}

/// Reads a text.
///
/// # Errors
/// A text out of [`Limits::DEFAULT`]. What a shell would refuse is read as far as it goes.
pub fn parse(text: &str) -> Result<Script> {
    reader::script(text, Limits::DEFAULT)
}
