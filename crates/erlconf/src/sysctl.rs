//! `rabbitmq.conf` and other files of cuttlefish: `key.of.several.parts = value`, one to a line, after
//! `conf_parse.peg`. What a key means is not known here.
//!
//! ```
//! let text = "listeners.ssl.default = 5671 # TLS\nssl_options.verify = verify_peer\n";
//! let file = skans_erlconf::sysctl::parse(text)?;
//! assert_eq!(file.get(&["listeners", "ssl", "default"]).unwrap().value, "5671");
//! # Ok::<(), skans_erlconf::Error>(())
//! ```

#[cfg(test)]
mod tests;

use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::limits::{Budget, Limits};
use crate::span::Span;

/// One setting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The parts of the key, without backslashes.
    pub key: Vec<String>,
    /// Where the key stands.
    pub key_span: Span,
    /// The value, without single quotes.
    pub value: String,
    /// Where the value stands, with its quotes.
    pub value_span: Span,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct File {
    /// The settings, in order; of equal keys, cuttlefish takes the last.
    pub settings: Vec<Setting>,
    /// What is named by `include`: files and patterns.
    pub includes: Vec<(String, Span)>,
    /// Lines that cuttlefish does not read; it refuses the whole file because of the first.
    pub faults: Vec<Error>,
}

impl File {
    /// The setting of this key that counts.
    #[must_use]
    pub fn get(&self, key: &[&str]) -> Option<&Setting> {
        self.settings.iter().rev().find(|setting| {
            setting.key.len() == key.len()
                && setting
                    .key
                    .iter()
                    .zip(key)
                    .all(|(found, part)| found == part)
        })
    }
}

/// Reads a file.
///
/// # Errors
/// A text out of [`Limits::DEFAULT`]. Lines that cannot be read are in [`File::faults`].
pub fn parse(text: &str) -> Result<File> {
    let limits = Limits::DEFAULT;
    limits.check_size("size of text", text)?;
    let mut budget = Budget::new(limits);
    let mut cursor = Cursor::new(text);
    let mut file = File::default();
    while !cursor.is_end() {
        let line = cursor.at();
        if let Err(error) = read_line(&mut cursor, &mut file) {
            cursor.reset(line);
            cursor.eat_line();
            file.faults.push(error);
        }
        budget.count(cursor.since(line))?;
        cursor.eat("\n");
    }
    Ok(file)
}

fn read_line(cursor: &mut Cursor<'_>, file: &mut File) -> Result<()> {
    blank(cursor);
    if at_end_of_line(cursor) {
        cursor.eat_line();
        return Ok(());
    }
    let start = cursor.at();
    let mut key = vec![word(cursor)?];
    let after = cursor.at();
    if key == ["include"] && blank(cursor) && !cursor.starts_with("=") {
        let from = cursor.at();
        let name = cursor.eat_while(|c| {
            c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | '*' | '/' | '\\')
        });
        if name.is_empty() {
            return Err(Error::unexpected(
                &cursor.found(),
                "a file to include",
                cursor.here(),
            ));
        }
        file.includes.push((name.to_owned(), cursor.since(from)));
        return end_of_line(cursor);
    }
    cursor.reset(after);
    while cursor.eat(".") {
        key.push(word(cursor)?);
    }
    let key_span = cursor.since(start);
    blank(cursor);
    if !cursor.eat("=") {
        let found = cursor.found();
        return Err(Error::unexpected(&found, "= after the key", cursor.here()));
    }
    blank(cursor);
    let from = cursor.at();
    let quoted = cursor
        .rest()
        .strip_prefix('\'')
        .and_then(|rest| rest.find('\''));
    let (value, value_span) = if let Some(length) = quoted {
        cursor.skip(length + 2);
        let value = cursor.text_since(from).trim_matches('\'').to_owned();
        (value, cursor.since(from))
    } else {
        let rest = cursor.eat_while(|c| c != '\n' && c != '#');
        let value = rest.trim_end_matches([' ', '\t', '\r']);
        let span = Span::new(from, from + value.len());
        if value.is_empty() {
            let found = cursor.found();
            return Err(Error::unexpected(&found, "a value after =", cursor.here()));
        }
        (value.to_owned(), span)
    };
    end_of_line(cursor)?;
    file.settings.push(Setting {
        key,
        key_span,
        value,
        value_span,
    });
    Ok(())
}

fn word(cursor: &mut Cursor<'_>) -> Result<String> {
    let mut word = String::new();
    loop {
        if cursor.eat("\\.") {
            word.push('.');
            continue;
        }
        match cursor.peek() {
            Some(c) if c.is_ascii_alphanumeric() || c == '_' || c == '-' => {
                word.push(c);
                cursor.bump();
            }
            _ if word.is_empty() => {
                let found = cursor.found();
                return Err(Error::unexpected(
                    &found,
                    "a key of letters, digits, - and _",
                    cursor.here(),
                ));
            }
            _ => return Ok(word),
        }
    }
}

fn blank(cursor: &mut Cursor<'_>) -> bool {
    !cursor.eat_while(|c| c == ' ' || c == '\t').is_empty()
}

fn at_end_of_line(cursor: &Cursor<'_>) -> bool {
    cursor.is_end()
        || cursor.starts_with("\n")
        || cursor.starts_with("\r\n")
        || cursor.starts_with("#")
}

fn end_of_line(cursor: &mut Cursor<'_>) -> Result<()> {
    blank(cursor);
    if at_end_of_line(cursor) {
        cursor.eat_line();
        return Ok(());
    }
    let found = cursor.found();
    Err(Error::unexpected(
        &found,
        "the end of the line",
        cursor.here(),
    ))
}
