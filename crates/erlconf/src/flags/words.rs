//! A text of flags falls into words, as `build_args_from_string` of `erlexec.c` has it. No meaning.

use crate::cursor::Cursor;
use crate::error::Result;
use crate::limits::{Budget, Limits};
use crate::placeholder;
use crate::span::Span;

/// One word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// Its text, without quotes and backslashes.
    pub text: String,
    /// Where it stands, with its quotes.
    pub span: Span,
}

/// Which rules a text follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notation {
    /// A file for `-args_file`, `vm.args` among them: `#` begins a comment, **also within a word**, unless quoted.
    ArgsFile,
    /// The same before a release tool has filled it in: `${NAME}` and `<%= … %>` are kept as they stand.
    Template,
    /// `ERL_FLAGS` and its like: no comments.
    Environment,
}

/// The words of a text. Quotes of both kinds group, without escapes in them; outside of them a backslash takes away the
/// meaning of the next character; a quote that is never closed closes at the end.
///
/// # Errors
/// A text out of [`Limits::DEFAULT`]; nothing else is wrong to `erl` at this step.
///
/// ```
/// use skans_erlconf::flags::{Notation, words};
/// let found = words("-setcookie s3cret#1", Notation::ArgsFile)?;
/// assert_eq!(found[1].text, "s3cret"); // Erlang has read a comment.
/// # Ok::<(), skans_erlconf::Error>(())
/// ```
pub fn words(text: &str, notation: Notation) -> Result<Vec<Word>> {
    let limits = Limits::DEFAULT;
    limits.check_size("size of flags", text)?;
    let mut budget = Budget::new(limits);
    // To C, a text ends at its first NUL.
    let text = text.split('\0').next().unwrap_or_default();
    let mut cursor = Cursor::new(text);
    let mut found = Vec::new();
    loop {
        cursor.eat_while(is_white);
        if notation != Notation::Environment && cursor.starts_with("#") {
            cursor.eat_line();
            continue;
        }
        if cursor.is_end() {
            return Ok(found);
        }
        let word = word(&mut cursor, notation);
        budget.count(word.span)?;
        found.push(word);
    }
}

fn word(cursor: &mut Cursor<'_>, notation: Notation) -> Word {
    let start = cursor.at();
    let mut text = String::new();
    while let Some(next) = cursor.peek() {
        if notation == Notation::Template
            && let Some(length) = placeholder::length(cursor)
        {
            let from = cursor.at();
            cursor.skip(length);
            text.push_str(cursor.text_since(from));
            continue;
        }
        match next {
            c if is_white(c) => break,
            '#' if notation != Notation::Environment => break,
            quote @ ('"' | '\'') => {
                cursor.bump();
                text.push_str(cursor.eat_while(|c| c != quote));
                cursor.bump();
            }
            '\\' => {
                cursor.bump();
                text.extend(cursor.bump());
            }
            c => {
                text.push(c);
                cursor.bump();
            }
        }
    }
    Word {
        text,
        span: cursor.since(start),
    }
}

fn is_white(c: char) -> bool {
    matches!(c, '\n' | '\u{c}' | '\r' | '\t' | '\u{b}' | ' ')
}
