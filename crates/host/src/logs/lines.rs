//! What becomes of an event on its way out: one line of printable ASCII, of bounded length, whatever texts of others are in
//! it. Here, since every event comes by: who logs something need not think of it.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::{Map, Value};
use tracing_subscriber::field::MakeExt as _;
use tracing_subscriber::fmt::format::{self, FormatFields};

use super::LogFormat;

/// The longest line, in bytes. Ours: Docker cuts lines at 16 KiB, syslog's receivers at 8 KiB, and what stands behind a cut is a
/// line whose beginning a peer could choose.
pub(super) const MAX_LINE: usize = 8 * 1024;

/// The longest text in a JSON object that would be longer than a line: the first of these with which it fits.
const MAX_TEXTS: [usize; 3] = [1024, 256, 64];

/// Writes events as lines: each call of `write` is one event, which is how the layer above calls it.
pub(super) struct Lines<W> {
    pub(super) to: W,
    pub(super) format: LogFormat,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = event.strip_suffix(b"\n").unwrap_or(event);
        let plain = text.iter().all(|byte| matches!(byte, b' '..=b'~'));
        if plain && event.len() <= MAX_LINE {
            self.to.write_all(event)?;
        } else {
            let text = String::from_utf8_lossy(text);
            self.to.write_all(self.format.line(&text).as_bytes())?;
        }
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

impl LogFormat {
    fn line(self, text: &str) -> String {
        let mut line = match self {
            Self::Text => cut(text, MAX_LINE - 1, |out, other| {
                // Writing to a string cannot fail.
                let _ = write!(out, "\\u{{{:x}}}", u32::from(other));
            }),
            Self::Json => match json(text, usize::MAX) {
                line if line.len() < MAX_LINE => line,
                long => shorter(&long).unwrap_or_else(|| TOO_LONG.to_owned()),
            },
        };
        line.push('\n');
        line
    }
}

/// The same object with shorter texts.
fn shorter(long: &str) -> Option<String> {
    let event: Map<String, Value> = serde_json::from_str(long).ok()?;
    MAX_TEXTS.into_iter().find_map(|most| {
        let mut event = event.clone();
        for value in event.values_mut() {
            if let Value::String(text) = value {
                *text = json(text, most);
            }
        }
        let line = Value::Object(event).to_string();
        (line.len() < MAX_LINE).then_some(line)
    })
}

/// Of an event with hundreds of fields, which nobody logs.
const TOO_LONG: &str = r#"{"level":"ERROR","message":"an event that is longer than a line"}"#;

/// Printable ASCII as it is, anything else as JSON escapes it: an object stays the same object.
fn json(text: &str, most: usize) -> String {
    cut(text, most, |out, other| {
        for unit in other.encode_utf16(&mut [0; 2]) {
            let _ = write!(out, "\\u{unit:04x}");
        }
    })
}

fn cut(text: &str, most: usize, escape: impl Fn(&mut String, char)) -> String {
    const CUT: &str = "...";
    let mut out = String::with_capacity(text.len().min(MAX_LINE));
    for character in text.chars() {
        let before = out.len();
        match character {
            ' '..='~' => out.push(character),
            other => escape(&mut out, other),
        }
        if out.len() > most.saturating_sub(CUT.len()) {
            out.truncate(before);
            out.push_str(CUT);
            break;
        }
    }
    out
}

/// How text lines show fields: a value that could be taken for more than one is quoted.
pub(super) fn fields() -> impl for<'writer> FormatFields<'writer> + 'static {
    format::debug_fn(|writer, field, value| {
        if field.name() == "message" {
            return write!(writer, "{value:?}");
        }
        let value = format!("{value:?}");
        let bare = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\');
        if is_quoted(&value) || value.chars().all(bare) {
            write!(writer, "{}={value}", field.name())
        } else {
            write!(writer, "{}={value:?}", field.name())
        }
    })
    .delimited(" ")
}

/// Whether it is one text in quotes, as Rust writes it.
fn is_quoted(value: &str) -> bool {
    let inside = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    let mut escaped = false;
    inside.is_some_and(|inside| {
        let alone = inside.bytes().all(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            !ends
        });
        alone && !escaped
    })
}

#[cfg(test)]
mod tests;
