//! Terms as Erlang writes them, on one line; what is printed is read again as the same term.

use std::fmt::{self, Display, Formatter, Write};

use super::lexer::is_plain_atom;
use super::{Kind, Term};

impl Display for Term {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl Display for Kind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Self::Atom(name) if is_plain_atom(name) => f.write_str(name),
            Self::Atom(name) => quoted(f, name, '\''),
            Self::Integer(value) => write!(f, "{value}"),
            Self::BigInteger(text) | Self::Placeholder(text) | Self::Code(text) => {
                f.write_str(text)
            }
            Self::Call {
                module,
                function,
                arguments,
            } => {
                write!(
                    f,
                    "{}:{}(",
                    Self::Atom(module.clone()),
                    Self::Atom(function.clone())
                )?;
                list(f, arguments)?;
                f.write_char(')')
            }
            Self::Float(value) => float(f, *value),
            Self::String(text) => quoted(f, text, '"'),
            Self::Binary(bytes) => binary(f, bytes, None),
            Self::Bits { bytes, last } => binary(f, bytes, Some(*last)),
            Self::Tuple(terms) => {
                f.write_char('{')?;
                list(f, terms)?;
                f.write_char('}')
            }
            Self::List(terms, tail) => {
                f.write_char('[')?;
                list(f, terms)?;
                if let Some(tail) = tail {
                    write!(f, "|{tail}")?;
                }
                f.write_char(']')
            }
            Self::Map(pairs) => {
                f.write_str("#{")?;
                for (number, (key, value)) in pairs.iter().enumerate() {
                    if number > 0 {
                        f.write_char(',')?;
                    }
                    write!(f, "{key} => {value}")?;
                }
                f.write_char('}')
            }
            Self::Fun {
                module,
                function,
                arity,
            } => write!(
                f,
                "fun {}:{}/{arity}",
                Self::Atom(module.clone()),
                Self::Atom(function.clone())
            ),
        }
    }
}

fn list(f: &mut Formatter<'_>, terms: &[Term]) -> fmt::Result {
    for (number, term) in terms.iter().enumerate() {
        if number > 0 {
            f.write_char(',')?;
        }
        write!(f, "{term}")?;
    }
    Ok(())
}

fn float(f: &mut Formatter<'_>, value: f64) -> fmt::Result {
    // Rust's own form has the digits that are needed; Erlang wants a point.
    let text = format!("{value:?}");
    match text.split_once('e') {
        Some((digits, exponent)) if !digits.contains('.') => write!(f, "{digits}.0e{exponent}"),
        _ => f.write_str(&text),
    }
}

fn quoted(f: &mut Formatter<'_>, text: &str, quote: char) -> fmt::Result {
    f.write_char(quote)?;
    for c in text.chars() {
        match c {
            '\\' => f.write_str("\\\\")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            '\r' => f.write_str("\\r")?,
            c if c == quote => write!(f, "\\{c}")?,
            c if c.is_control() => write!(f, "\\x{{{:x}}}", u32::from(c))?,
            c => f.write_char(c)?,
        }
    }
    f.write_char(quote)
}

fn binary(f: &mut Formatter<'_>, bytes: &[u8], last: Option<u8>) -> fmt::Result {
    let text = std::str::from_utf8(bytes)
        .ok()
        .filter(|text| last.is_none() && !text.is_empty())
        .filter(|text| text.chars().all(|c| c == ' ' || c.is_ascii_graphic()));
    f.write_str("<<")?;
    if let Some(text) = text {
        quoted(f, text, '"')?;
        return f.write_str(">>");
    }
    let end = bytes.len().saturating_sub(1);
    for (at, byte) in bytes.iter().enumerate() {
        if at > 0 {
            f.write_char(',')?;
        }
        match last {
            Some(bits) if at == end => write!(f, "{}:{bits}", byte >> (8 - bits.clamp(1, 7)))?,
            _ => write!(f, "{byte}")?,
        }
    }
    f.write_str(">>")
}
