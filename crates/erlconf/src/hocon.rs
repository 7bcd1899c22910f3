//! HOCON, as far as `emqx.conf` and its like go: objects, dotted keys, arrays, strings, comments. Substitutions
//! (`${name}`) and includes are kept as they stand, nothing is resolved; values that follow each other are one text.
//!
//! ```
//! let text = "node { name = \"emqx@10.0.0.1\", cookie = secret }\nnode.cookie = other";
//! let file = skans_erlconf::hocon::parse(text)?;
//! assert_eq!(file.get(&["node", "cookie"]).unwrap().text(), Some("other"));
//! # Ok::<(), skans_erlconf::Error>(())
//! ```

#[cfg(test)]
mod tests;

use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::limits::{Budget, Limits};
use crate::span::Span;

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Value {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Fields, in order.
    Object(Vec<Field>),
    /// Elements, in order.
    Array(Vec<Value>),
    /// Anything else: strings, numbers, `true`, `null`, without quotes; substitutions as they were written.
    Text(String),
}

/// One field of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// The parts of the key.
    pub key: Vec<String>,
    /// Where the key stands.
    pub key_span: Span,
    /// The value.
    pub value: Value,
}

impl Value {
    /// The text of a scalar.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The last value of a key, through nested objects and dotted keys alike.
    #[must_use]
    pub fn get(&self, key: &[&str]) -> Option<&Self> {
        if key.is_empty() {
            return Some(self);
        }
        let Kind::Object(fields) = &self.kind else {
            return None;
        };
        fields.iter().rev().find_map(|field| {
            let rest = key.get(field.key.len()..)?;
            let leads = field.key.iter().zip(key).all(|(found, part)| found == part);
            leads.then(|| field.value.get(rest)).flatten()
        })
    }

    /// The fields of an object.
    #[must_use]
    pub fn fields(&self) -> &[Field] {
        match &self.kind {
            Kind::Object(fields) => fields,
            _ => &[],
        }
    }
}

/// Reads a file: the fields of an object whose braces may be left out.
///
/// # Errors
/// The first thing that is not read here, or a text out of [`Limits::DEFAULT`].
pub fn parse(text: &str) -> Result<Value> {
    let limits = Limits::DEFAULT;
    limits.check_size("size of text", text)?;
    let mut parser = Parser {
        cursor: Cursor::new(text),
        budget: Budget::new(limits),
    };
    parser.blank();
    let braces = parser.cursor.eat("{");
    let fields = parser.fields(braces)?;
    parser.blank();
    if !parser.cursor.is_end() {
        return Err(parser.unexpected("the end of the text"));
    }
    Ok(Value {
        kind: Kind::Object(fields),
        span: Span::new(0, text.len()),
    })
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    budget: Budget,
}

impl Parser<'_> {
    /// Fields up to a closing brace, which is passed over, or to the end.
    fn fields(&mut self, braces: bool) -> Result<Vec<Field>> {
        let mut fields = Vec::new();
        loop {
            self.separators();
            if braces && self.cursor.eat("}") {
                return Ok(fields);
            }
            if self.cursor.is_end() {
                if braces {
                    return Err(self.unexpected("a field or }"));
                }
                return Ok(fields);
            }
            if self.include() {
                continue;
            }
            fields.push(self.field()?);
        }
    }

    /// `include "file"`, which is passed over.
    fn include(&mut self) -> bool {
        let is = self
            .cursor
            .rest()
            .strip_prefix("include")
            .is_some_and(|rest| {
                rest.trim_start_matches([' ', '\t'])
                    .starts_with(['"', 'f', 'r'])
            });
        if is {
            self.cursor.eat_line();
        }
        is
    }

    fn field(&mut self) -> Result<Field> {
        let start = self.cursor.at();
        let mut key = Vec::new();
        loop {
            if self.cursor.starts_with("\"") {
                key.push(self.quoted()?);
            } else {
                let part = self
                    .cursor
                    .eat_while(|c| !c.is_whitespace() && !"\".:={}[],#+".contains(c));
                if part.is_empty() {
                    return Err(self.unexpected("a key"));
                }
                key.push(part.to_owned());
            }
            if !self.cursor.eat(".") {
                break;
            }
        }
        let key_span = self.cursor.since(start);
        self.budget.count(key_span)?;
        self.blank();
        let assigned = self.cursor.eat("+=") || self.cursor.eat("=") || self.cursor.eat(":");
        if !assigned && !self.cursor.starts_with("{") {
            return Err(self.unexpected("= or : or { after the key"));
        }
        self.blank();
        let value = self.value()?;
        Ok(Field {
            key,
            key_span,
            value,
        })
    }

    fn value(&mut self) -> Result<Value> {
        let start = self.cursor.at();
        self.budget.enter(self.cursor.here())?;
        let kind = if self.cursor.eat("{") {
            Kind::Object(self.fields(true)?)
        } else if self.cursor.eat("[") {
            let mut elements = Vec::new();
            loop {
                self.separators();
                if self.cursor.eat("]") {
                    break;
                }
                if self.cursor.is_end() {
                    return Err(self.unexpected("a value or ]"));
                }
                let value = self.value()?;
                self.budget.count(value.span)?;
                elements.push(value);
            }
            Kind::Array(elements)
        } else {
            Kind::Text(self.text()?)
        };
        self.budget.leave();
        let mut span = self.cursor.since(start);
        if matches!(kind, Kind::Text(_)) {
            span.end = start + span.text(self.cursor.text()).trim_end().len();
        }
        Ok(Value { kind, span })
    }

    /// Strings, quoted or not, up to the end of the value.
    fn text(&mut self) -> Result<String> {
        let mut text = String::new();
        let start = self.cursor.at();
        loop {
            if self.cursor.starts_with("\"") {
                text.push_str(&self.quoted()?);
            } else if self.cursor.starts_with("${") {
                let from = self.cursor.at();
                self.cursor.eat_while(|c| c != '}' && c != '\n');
                self.cursor.eat("}");
                text.push_str(self.cursor.text_since(from));
            } else if self.cursor.starts_with("//") {
                break;
            } else {
                match self.cursor.peek() {
                    Some(c) if !matches!(c, '\n' | ',' | '}' | ']' | '#' | '{' | '[') => {
                        text.push(c);
                        self.cursor.bump();
                    }
                    _ => break,
                }
            }
        }
        if self.cursor.at() == start {
            return Err(self.unexpected("a value"));
        }
        // White space around a quoted text is none of it, and nobody configures with it.
        Ok(text.trim().to_owned())
    }

    fn quoted(&mut self) -> Result<String> {
        let start = self.cursor.at();
        let open = |cursor: &Cursor<'_>| Span::new(start, cursor.at().min(start + 3));
        if self.cursor.eat("\"\"\"") {
            let rest = self.cursor.rest();
            let Some(end) = rest.find("\"\"\"") else {
                let span = open(&self.cursor);
                return Err(Error::unterminated("string", "\"\"\"", span));
            };
            let text = rest.get(..end).unwrap_or_default().to_owned();
            self.cursor.skip(end + 3);
            return Ok(text);
        }
        self.cursor.bump();
        let mut text = String::new();
        loop {
            match self.cursor.bump() {
                Some('"') => return Ok(text),
                Some('\\') => match self.cursor.bump() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('u') => {
                        let code = self.cursor.rest().get(..4).unwrap_or_default();
                        let code = u32::from_str_radix(code, 16).ok().and_then(char::from_u32);
                        self.cursor.skip(code.map_or(0, |_| 4));
                        text.extend(code);
                    }
                    Some(c) => text.push(c),
                    None => {}
                },
                Some('\n') | None => {
                    let span = open(&self.cursor);
                    return Err(Error::unterminated("string", "\"", span));
                }
                Some(c) => text.push(c),
            }
        }
    }

    fn blank(&mut self) {
        loop {
            self.cursor.eat_while(char::is_whitespace);
            if self.cursor.starts_with("#") || self.cursor.starts_with("//") {
                self.cursor.eat_line();
            } else {
                return;
            }
        }
    }

    fn separators(&mut self) {
        loop {
            self.blank();
            if !self.cursor.eat(",") {
                return;
            }
        }
    }

    fn unexpected(&self, wanted: &'static str) -> Error {
        Error::unexpected(&self.cursor.found(), wanted, self.cursor.here())
    }
}
