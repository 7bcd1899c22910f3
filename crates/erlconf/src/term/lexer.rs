//! Erlang's tokens, after `erl_scan.erl` of OTP 25 and 27. Their order is the parser's affair.

use super::{Comment, Options};
use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::limits::Budget;
use crate::placeholder;
use crate::span::Span;

/// The longest atom, in characters.
const MAX_ATOM: usize = 255;
/// The longest number, in characters. Erlang's own bound for bases other than powers of two is near four million bits,
/// which takes it seconds; no configuration has one of a hundred digits.
const MAX_NUMBER: usize = 4096;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Atom(String),
    /// A word that is no atom without quotes, or a variable.
    Word,
    Integer(i128),
    Big(String),
    Float(f64),
    Char(char),
    String(String),
    /// A sigil that makes a binary.
    Sigil(String),
    Placeholder(String),
    Symbol(&'static str),
    Dot,
    End,
}

pub(super) struct Lexer<'t> {
    cursor: Cursor<'t>,
    placeholders: bool,
    pub(super) comments: Vec<Comment>,
    pub(super) budget: Budget,
}

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, options: Options) -> Self {
        Self {
            cursor: Cursor::new(text),
            placeholders: options.placeholders,
            comments: Vec::new(),
            budget: Budget::new(options.limits),
        }
    }

    pub(super) const fn text(&self) -> &'t str {
        self.cursor.text()
    }

    pub(super) fn next(&mut self) -> Result<(Token, Span)> {
        self.blank()?;
        let start = self.cursor.at();
        let Some(first) = self.cursor.peek() else {
            return Ok((Token::End, Span::new(start, start)));
        };
        self.budget.count(self.cursor.here())?;
        if self.placeholders && placeholder::length(&self.cursor).is_some() {
            return self.placeholder(start);
        }
        let token = match first {
            '\'' => {
                let text = self.quoted("quoted atom", "'", true)?;
                self.atom(text, start)?
            }
            '"' if self.cursor.starts_with("\"\"\"") => Token::String(self.triple(false, start)?),
            '"' => Token::String(self.quoted("string", "\"", true)?),
            '$' => {
                self.cursor.bump();
                Token::Char(self.character(start)?)
            }
            '~' => self.sigil()?,
            '0'..='9' => self.number()?,
            c if is_lower(c) => {
                self.cursor.eat_while(is_name);
                if self.glued() {
                    return self.placeholder(start);
                }
                let name = self.cursor.text_since(start).to_owned();
                if is_reserved(&name) {
                    Token::Word
                } else {
                    self.atom(name, start)?
                }
            }
            c if is_upper(c) => {
                self.cursor.eat_while(is_name);
                if self.glued() {
                    return self.placeholder(start);
                }
                Token::Word
            }
            _ => self.symbol()?,
        };
        Ok((token, self.cursor.since(start)))
    }

    fn blank(&mut self) -> Result<()> {
        loop {
            self.cursor.eat_while(is_white);
            let start = self.cursor.at();
            if !self.cursor.starts_with("%") {
                return Ok(());
            }
            let comment = self.cursor.eat_line();
            let span = self.cursor.since(start);
            if !comment.chars().all(is_unicode) {
                return Err(Error::invalid("comment", NOT_A_CHARACTER, span));
            }
            self.budget.count(span)?;
            self.comments.push(Comment { span });
        }
    }

    fn symbol(&mut self) -> Result<Token> {
        const SYMBOLS: [&str; 33] = [
            "=:=", "=/=", "==", "/=", "=<", ">=", "<-", "<=", ";", "*", "=>", ":=", "<<", ">>",
            "||", "->", "--", "++", "::", "..", "=", "{", "}", "[", "]", "(", ")", ",", "|", "#",
            "/", "-", ":",
        ];
        if self.cursor.starts_with(".") && !self.cursor.starts_with("..") {
            let after = self.cursor.peek_second();
            if after.is_none_or(|c| is_white(c) || c == '%') {
                self.cursor.bump();
                return Ok(Token::Dot);
            }
        }
        for symbol in SYMBOLS {
            if self.cursor.eat(symbol) {
                return Ok(Token::Symbol(symbol));
            }
        }
        if self.cursor.eat("+") {
            return Ok(Token::Symbol("+"));
        }
        let span = self.cursor.here();
        Err(Error::unexpected(
            span.text(self.text()),
            "an Erlang term",
            span,
        ))
    }

    fn atom(&self, name: String, start: usize) -> Result<Token> {
        let length = name.chars().count();
        if length > MAX_ATOM {
            let span = self.cursor.since(start);
            return Err(Error::too_large("length of atom", length, MAX_ATOM, span));
        }
        Ok(Token::Atom(name))
    }

    /// Whether a placeholder touches the name that was just read.
    fn glued(&self) -> bool {
        self.placeholders && placeholder::length(&self.cursor).is_some()
    }

    /// Placeholders, and the names and numbers that touch them.
    fn placeholder(&mut self, start: usize) -> Result<(Token, Span)> {
        loop {
            if let Some(length) = placeholder::length(&self.cursor) {
                self.cursor.skip(length);
            } else if self.cursor.eat_while(is_name).is_empty() {
                break;
            }
        }
        let text = self.cursor.text_since(start).to_owned();
        Ok((Token::Placeholder(text), self.cursor.since(start)))
    }

    fn number(&mut self) -> Result<Token> {
        let start = self.cursor.at();
        let whole = self.digits(10);
        let illegal = |reason, cursor: &Cursor<'_>| {
            Err(Error::invalid("number", reason, cursor.since(start)))
        };
        if self.cursor.starts_with("#") {
            let base: u32 = whole.parse().unwrap_or(0);
            if !(2..=36).contains(&base) {
                return illegal("wanted a base from 2 to 36", &self.cursor);
            }
            self.cursor.bump();
            let digits = self.digits(base);
            if digits.is_empty() {
                return illegal("wanted digits of the base", &self.cursor);
            }
            self.short(start)?;
            return Ok(match i128::from_str_radix(&digits, base) {
                Ok(value) => Token::Integer(value),
                Err(_) => Token::Big(format!("{base}#{digits}")),
            });
        }
        let fraction = self.cursor.starts_with(".")
            && self
                .cursor
                .peek_second()
                .is_some_and(|c| c.is_ascii_digit());
        if !fraction {
            self.short(start)?;
            return Ok(match whole.parse() {
                Ok(value) => Token::Integer(value),
                Err(_) => Token::Big(whole),
            });
        }
        let mut text = whole;
        self.cursor.bump();
        text.push('.');
        text.push_str(&self.digits(10));
        if matches!(self.cursor.peek(), Some('e' | 'E')) {
            self.cursor.bump();
            text.push('e');
            if let Some(sign @ ('+' | '-')) = self.cursor.peek() {
                self.cursor.bump();
                text.push(sign);
            }
            let exponent = self.digits(10);
            if exponent.is_empty() {
                return illegal("wanted digits of the exponent", &self.cursor);
            }
            text.push_str(&exponent);
        }
        self.short(start)?;
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Token::Float(value)),
            _ => illegal("a float that no 64 bits hold", &self.cursor),
        }
    }

    /// Digits with single underscores between them, which are left out.
    fn digits(&mut self, base: u32) -> String {
        let mut digits = String::new();
        loop {
            digits.push_str(self.cursor.eat_while(|c| c.is_digit(base)));
            let goes_on = !digits.is_empty()
                && self.cursor.starts_with("_")
                && self.cursor.peek_second().is_some_and(|c| c.is_digit(base));
            if !goes_on {
                return digits;
            }
            self.cursor.bump();
        }
    }

    fn short(&self, start: usize) -> Result<()> {
        let span = self.cursor.since(start);
        let length = span.end - span.start;
        if length > MAX_NUMBER {
            return Err(Error::too_large(
                "length of number",
                length,
                MAX_NUMBER,
                span,
            ));
        }
        Ok(())
    }

    /// After `$`.
    fn character(&mut self, start: usize) -> Result<char> {
        if self.cursor.starts_with("\\") {
            return self.escape();
        }
        match self.cursor.bump() {
            Some(c) if is_unicode(c) => Ok(c),
            Some(_) => Err(Error::invalid(
                "character",
                NOT_A_CHARACTER,
                self.cursor.since(start),
            )),
            None => Err(Error::unterminated(
                "character",
                "one after the $",
                self.cursor.since(start),
            )),
        }
    }

    /// From the opening delimiter, which is one character long, to the closing one.
    fn quoted(&mut self, what: &'static str, close: &'static str, escapes: bool) -> Result<String> {
        let start = self.cursor.at();
        self.cursor.bump();
        let mut text = String::new();
        loop {
            if self.cursor.eat(close) {
                return Ok(text);
            }
            if escapes && self.cursor.starts_with("\\") {
                text.push(self.escape()?);
                continue;
            }
            let at = self.cursor.here();
            match self.cursor.bump() {
                Some(c) if is_unicode(c) => text.push(c),
                Some(_) => return Err(Error::invalid(what, NOT_A_CHARACTER, at)),
                None => {
                    let open = Span::new(start, start + 1);
                    return Err(Error::unterminated(what, close, open));
                }
            }
        }
    }

    /// From a backslash on.
    fn escape(&mut self) -> Result<char> {
        let start = self.cursor.at();
        self.cursor.bump();
        let illegal = |reason, cursor: &Cursor<'_>| {
            Err(Error::invalid("escape", reason, cursor.since(start)))
        };
        let Some(first) = self.cursor.bump() else {
            return illegal("wanted a character after the backslash", &self.cursor);
        };
        Ok(match first {
            '0'..='7' => {
                let mut value = first.to_digit(8).unwrap_or_default();
                for _ in 0..2 {
                    let Some(digit) = self.cursor.peek().and_then(|c| c.to_digit(8)) else {
                        break;
                    };
                    self.cursor.bump();
                    value = value * 8 + digit;
                }
                // At most \777, which is below the surrogates.
                char::from_u32(value).unwrap_or_default()
            }
            'x' if self.cursor.eat("{") => {
                let digits = self.cursor.eat_while(|c| c.is_ascii_hexdigit());
                let value = u32::from_str_radix(digits, 16)
                    .ok()
                    .and_then(char::from_u32);
                match value.filter(|c| is_unicode(*c)) {
                    Some(value) if self.cursor.eat("}") => value,
                    _ => return illegal("wanted \\x{code point in hexadecimal}", &self.cursor),
                }
            }
            'x' => {
                let mut value = 0;
                for _ in 0..2 {
                    match self.cursor.bump().and_then(|c| c.to_digit(16)) {
                        Some(digit) => value = value * 16 + digit,
                        None => return illegal("wanted two hexadecimal digits", &self.cursor),
                    }
                }
                char::from_u32(value).unwrap_or_default()
            }
            '^' => match self.cursor.bump() {
                Some('\n') => '\n',
                Some(c) => char::from_u32(u32::from(c) & 31).unwrap_or_default(),
                None => return illegal("wanted a character after \\^", &self.cursor),
            },
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            'b' => '\u{8}',
            'f' => '\u{c}',
            'e' => '\u{1b}',
            's' => ' ',
            'd' => '\u{7f}',
            c if is_unicode(c) => c,
            _ => return illegal(NOT_A_CHARACTER, &self.cursor),
        })
    }

    /// `~`, `~s`, `~S`, `~b`, `~B` of OTP 27.
    fn sigil(&mut self) -> Result<Token> {
        let start = self.cursor.at();
        self.cursor.bump();
        let name = self.cursor.eat_while(is_name);
        let (binary, escapes, triple_escapes) = match name {
            "" => (true, true, false),
            "b" => (true, true, true),
            "B" => (true, false, false),
            "s" => (false, true, true),
            "S" => (false, false, false),
            _ => {
                return Err(Error::invalid(
                    "sigil",
                    "wanted ~, ~b, ~B, ~s or ~S",
                    self.cursor.since(start),
                ));
            }
        };
        let close = match self.cursor.peek() {
            Some('(') => ")",
            Some('[') => "]",
            Some('{') => "}",
            Some('<') => ">",
            Some('/') => "/",
            Some('|') => "|",
            Some('#') => "#",
            Some('`') => "`",
            Some('\'') => "'",
            Some('"') => "\"",
            _ => {
                let span = self.cursor.here();
                let found = self.cursor.found();
                return Err(Error::unexpected(&found, "the string of the sigil", span));
            }
        };
        let text = if self.cursor.starts_with("\"\"\"") {
            self.triple(triple_escapes, start)?
        } else {
            self.quoted("sigil", close, escapes)?
        };
        if self.cursor.peek().is_some_and(is_name) {
            let span = self.cursor.here();
            return Err(Error::invalid(
                "sigil",
                "wanted nothing after its end",
                span,
            ));
        }
        Ok(if binary {
            Token::Sigil(text)
        } else {
            Token::String(text)
        })
    }

    /// A string in three quotes or more: lines, less the white space before the closing quotes.
    fn triple(&mut self, escapes: bool, start: usize) -> Result<String> {
        let quotes = self.cursor.eat_while(|c| c == '"');
        let open = self.cursor.since(start);
        let first = self.cursor.eat_line();
        if !first.chars().all(is_white) {
            return Err(Error::invalid(
                "triple-quoted string",
                "wanted a new line after the opening quotes",
                self.cursor.since(open.end),
            ));
        }
        let unterminated =
            || Error::unterminated("triple-quoted string", "as many quotes on a line", open);
        let mut lines: Vec<(String, Span)> = Vec::new();
        let indent = loop {
            if !self.cursor.eat("\n") {
                return Err(unterminated());
            }
            let line = self.cursor.at();
            let white = self.cursor.eat_while(|c| c != '\n' && is_white(c));
            if self.cursor.eat(quotes) {
                break white;
            }
            self.cursor.reset(line);
            lines.push(self.triple_line(escapes)?);
        };
        let mut content = String::new();
        let last = lines.len().saturating_sub(1);
        for (number, (line, span)) in lines.into_iter().enumerate() {
            let kept = match line.strip_prefix(indent) {
                Some(kept) => kept,
                // An empty line needs no indentation.
                None if line.is_empty() || line == "\r" => &line,
                None => {
                    return Err(Error::invalid(
                        "triple-quoted string",
                        "a line is indented less than the closing quotes",
                        span,
                    ));
                }
            };
            if number == last {
                content.push_str(kept.strip_suffix('\r').unwrap_or(kept));
            } else {
                content.push_str(kept);
                content.push('\n');
            }
        }
        Ok(content)
    }

    /// One line of a triple-quoted string, without its end.
    fn triple_line(&mut self, escapes: bool) -> Result<(String, Span)> {
        let start = self.cursor.at();
        let mut line = String::new();
        while let Some(c) = self.cursor.peek() {
            if c == '\n' {
                break;
            }
            if escapes && c == '\\' {
                let escape = self.cursor;
                let value = self.escape()?;
                if value == '\n' && self.cursor.text_since(escape.at()).ends_with('\n') {
                    // An escaped end of line is an ordinary one.
                    self.cursor.reset(self.cursor.at() - 1);
                    break;
                }
                line.push(value);
                continue;
            }
            if !is_unicode(c) {
                let span = self.cursor.here();
                return Err(Error::invalid(
                    "triple-quoted string",
                    NOT_A_CHARACTER,
                    span,
                ));
            }
            line.push(c);
            self.cursor.bump();
        }
        Ok((line, self.cursor.since(start)))
    }
}

const NOT_A_CHARACTER: &str = "a code point that is no character to Erlang";

/// What `erl_scan` calls Unicode; surrogates are none to Rust either.
fn is_unicode(c: char) -> bool {
    !matches!(c, '\u{fffe}' | '\u{ffff}')
}

fn is_white(c: char) -> bool {
    matches!(c, '\0'..=' ' | '\u{80}'..='\u{a0}')
}

fn is_lower(c: char) -> bool {
    matches!(c, 'a'..='z' | 'ß'..='ÿ') && c != '÷'
}

fn is_upper(c: char) -> bool {
    matches!(c, 'A'..='Z' | '_' | 'À'..='Þ') && c != '×'
}

fn is_name(c: char) -> bool {
    is_lower(c) || is_upper(c) || c.is_ascii_digit() || c == '@'
}

/// Whether an atom that is written without quotes is none. `maybe` and `else` are words of OTP 27 by default in modules,
/// but not in what `consult` reads.
pub(super) fn is_reserved(name: &str) -> bool {
    matches!(
        name,
        "after"
            | "and"
            | "andalso"
            | "band"
            | "begin"
            | "bnot"
            | "bor"
            | "bsl"
            | "bsr"
            | "bxor"
            | "case"
            | "catch"
            | "cond"
            | "div"
            | "end"
            | "fun"
            | "if"
            | "let"
            | "not"
            | "of"
            | "or"
            | "orelse"
            | "receive"
            | "rem"
            | "try"
            | "when"
            | "xor"
    )
}

/// Whether an atom needs no quotes.
pub(super) fn is_plain_atom(name: &str) -> bool {
    name.chars().next().is_some_and(is_lower) && name.chars().all(is_name) && !is_reserved(name)
}
