//! Elixir's tokens, as far as literals and calls need them. Their order is the parser's affair.

use crate::cursor::Cursor;
use crate::error::{Error, Result};
use crate::span::Span;

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    Identifier(String),
    /// One part of a module name.
    Alias(String),
    Atom(String),
    /// `name:` with white space behind it.
    Key(String),
    Integer(i128),
    Float(f64),
    /// Text and the spans of what is interpolated, without `#{` and `}`.
    String(String, Vec<Span>),
    Charlist(String),
    /// `~w` and its words; whether they are atoms.
    Words(Vec<String>, bool),
    /// A sigil of another kind, or a number too large.
    Opaque,
    Symbol(&'static str),
    /// Something that is no token. Whoever takes it fails; what stands before it is not lost.
    Bad(Error),
    End,
}

/// A token, and what stands before it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Lexed {
    pub(super) token: Token,
    pub(super) span: Span,
    /// Whether white space stands before it.
    pub(super) spaced: bool,
    /// Whether the end of a line stands before it.
    pub(super) fresh: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Lexer<'t> {
    cursor: Cursor<'t>,
    /// Where an interpolation ends, or the text.
    end: usize,
}

const SYMBOLS: &[&str] = &[
    "...", "<<<", ">>>", "|||", "&&&", "^^^", "~~~", "===", "!==", "<~>", "<<~", "~>>", "|>", "=>",
    "->", "<-", "\\\\", "||", "&&", "<>", "++", "--", "..", "::", "==", "!=", "=~", "<=", ">=",
    "<<", ">>", "<~", "~>", "%{", "(", ")", "[", "]", "{", "}", ",", ";", ".", "@", "+", "-", "*",
    "/", "=", "<", ">", "!", "&", "|", "^", "%", "~",
];

impl<'t> Lexer<'t> {
    pub(super) fn new(text: &'t str, span: Span) -> Self {
        let mut cursor = Cursor::new(text);
        cursor.reset(span.start);
        Self {
            cursor,
            end: span.end,
        }
    }

    pub(super) const fn at(&self) -> usize {
        self.cursor.at()
    }

    pub(super) const fn text(&self) -> &'t str {
        self.cursor.text()
    }

    /// To the end of the line, as recovery needs it.
    pub(super) fn skip_line(&mut self) {
        self.cursor.eat_line();
    }

    /// To the end of the text.
    pub(super) const fn skip_all(&mut self) {
        self.cursor.reset(self.end);
    }

    /// The next token. The comments before it are added to `comments`.
    pub(super) fn next(&mut self, comments: &mut Vec<Span>) -> Lexed {
        let before = self.cursor.at();
        let fresh = self.blank(comments);
        let start = self.cursor.at();
        let spaced = start > before;
        let lexed = |token, cursor: &Cursor<'_>| Lexed {
            token,
            span: cursor.since(start),
            spaced,
            fresh,
        };
        if start >= self.end {
            return lexed(Token::End, &self.cursor);
        }
        let token = self.token().unwrap_or_else(Token::Bad);
        lexed(token, &self.cursor)
    }

    /// White space and comments; whether a line ended.
    fn blank(&mut self, comments: &mut Vec<Span>) -> bool {
        let mut fresh = false;
        while self.cursor.at() < self.end {
            let white = self.cursor.eat_while(char::is_whitespace);
            fresh |= white.contains('\n');
            let start = self.cursor.at();
            if self.cursor.eat("\\\n") || self.cursor.eat("\\\r\n") {
                continue;
            }
            if !self.cursor.starts_with("#") {
                break;
            }
            self.cursor.eat_line();
            comments.push(self.cursor.since(start));
        }
        fresh
    }

    fn token(&mut self) -> Result<Token> {
        let start = self.cursor.at();
        let first = self.cursor.peek().unwrap_or_default();
        Ok(match first {
            c if c == '_' || c.is_alphabetic() => return self.name(),
            '0'..='9' => self.number(),
            '"' | '\'' => {
                let heredoc: &'static str = if first == '"' { "\"\"\"" } else { "'''" };
                let (text, inner) = if self.cursor.eat(heredoc) {
                    self.heredoc(heredoc, true, start)?
                } else {
                    self.cursor.bump();
                    self.quoted(if first == '"' { "\"" } else { "'" }, true, start)?
                };
                if self.cursor.starts_with(":")
                    && self.cursor.peek_second().is_none_or(char::is_whitespace)
                {
                    self.cursor.bump();
                    Token::Key(text)
                } else if first == '"' {
                    Token::String(text, inner)
                } else {
                    Token::Charlist(text)
                }
            }
            ':' if !self.cursor.starts_with("::") => self.atom(start)?,
            '?' => {
                self.cursor.bump();
                let c = self.cursor.bump();
                let c = if c == Some('\\') {
                    self.cursor.bump().map(escaped)
                } else {
                    c
                };
                match c {
                    Some(c) => Token::Integer(i128::from(u32::from(c))),
                    None => Token::Opaque,
                }
            }
            '~' if self
                .cursor
                .peek_second()
                .is_some_and(|c| c.is_ascii_alphabetic()) =>
            {
                self.sigil(start)?
            }
            _ => {
                for symbol in SYMBOLS {
                    if self.cursor.eat(symbol) {
                        return Ok(Token::Symbol(symbol));
                    }
                }
                let span = self.cursor.here();
                self.cursor.bump();
                return Err(Error::unexpected(
                    span.text(self.text()),
                    "an Elixir expression",
                    span,
                ));
            }
        })
    }

    fn name(&mut self) -> Result<Token> {
        let start = self.cursor.at();
        self.cursor.eat_while(is_name);
        if matches!(self.cursor.peek(), Some('?' | '!')) && self.cursor.peek_second() != Some('=') {
            self.cursor.bump();
        }
        let name = self.cursor.text_since(start).to_owned();
        let is_key = self.cursor.starts_with(":")
            && self.cursor.peek_second().is_none_or(char::is_whitespace);
        if is_key {
            self.cursor.bump();
            return Ok(Token::Key(name));
        }
        Ok(if name.starts_with(char::is_uppercase) {
            Token::Alias(name)
        } else {
            Token::Identifier(name)
        })
    }

    fn number(&mut self) -> Token {
        let prefixed = |cursor: &Cursor<'_>, prefix| cursor.starts_with(prefix);
        let base = if prefixed(&self.cursor, "0x") {
            16
        } else if prefixed(&self.cursor, "0o") {
            8
        } else if prefixed(&self.cursor, "0b") {
            2
        } else {
            10
        };
        if base != 10 {
            self.cursor.skip(2);
        }
        let start = self.cursor.at();
        self.cursor.eat_while(|c| c.is_digit(base) || c == '_');
        let fraction = base == 10
            && self.cursor.starts_with(".")
            && self
                .cursor
                .peek_second()
                .is_some_and(|c| c.is_ascii_digit());
        if fraction {
            self.cursor.bump();
            self.cursor.eat_while(|c| c.is_ascii_digit() || c == '_');
            if matches!(self.cursor.peek(), Some('e' | 'E')) {
                self.cursor.bump();
                self.cursor
                    .eat_while(|c| c.is_ascii_digit() || c == '+' || c == '-');
            }
        }
        let digits = self.cursor.text_since(start).replace('_', "");
        if fraction {
            return digits.parse().map_or(Token::Opaque, Token::Float);
        }
        i128::from_str_radix(&digits, base).map_or(Token::Opaque, Token::Integer)
    }

    fn atom(&mut self, start: usize) -> Result<Token> {
        self.cursor.bump();
        match self.cursor.peek() {
            Some('"') => {
                self.cursor.bump();
                Ok(Token::Atom(self.quoted("\"", true, start)?.0))
            }
            Some('\'') => {
                self.cursor.bump();
                Ok(Token::Atom(self.quoted("'", true, start)?.0))
            }
            Some(c) if c == '_' || c.is_alphabetic() => {
                let from = self.cursor.at();
                self.cursor.eat_while(|c| is_name(c) || c == '@');
                if matches!(self.cursor.peek(), Some('?' | '!')) {
                    self.cursor.bump();
                }
                Ok(Token::Atom(self.cursor.text_since(from).to_owned()))
            }
            _ => {
                for symbol in SYMBOLS {
                    if self.cursor.eat(symbol) {
                        return Ok(Token::Atom((*symbol).to_owned()));
                    }
                }
                let span = self.cursor.since(start);
                Err(Error::unexpected(":", "an atom", span))
            }
        }
    }

    fn sigil(&mut self, start: usize) -> Result<Token> {
        self.cursor.bump();
        let name = self
            .cursor
            .eat_while(|c| c.is_ascii_alphanumeric())
            .to_owned();
        let raw = name.starts_with(char::is_uppercase);
        let (text, inner) = if self.cursor.eat("\"\"\"") {
            self.heredoc("\"\"\"", !raw, start)?
        } else if self.cursor.eat("'''") {
            self.heredoc("'''", !raw, start)?
        } else {
            let close = match self.cursor.bump() {
                Some('(') => ")",
                Some('[') => "]",
                Some('{') => "}",
                Some('<') => ">",
                Some('/') => "/",
                Some('|') => "|",
                Some('"') => "\"",
                Some('\'') => "'",
                _ => {
                    let span = self.cursor.since(start);
                    return Err(Error::unexpected(
                        span.text(self.text()),
                        "a delimiter after the sigil",
                        span,
                    ));
                }
            };
            self.quoted(close, !raw, start)?
        };
        let modifiers = self.cursor.eat_while(|c| c.is_ascii_alphanumeric());
        Ok(match name.as_str() {
            "s" | "S" => Token::String(text, inner),
            "c" | "C" => Token::Charlist(text),
            "w" | "W" => Token::Words(
                text.split_whitespace().map(str::to_owned).collect(),
                modifiers.contains('a'),
            ),
            _ => Token::Opaque,
        })
    }

    /// After the opening delimiter. `live`: whether escapes and interpolation mean something.
    fn quoted(
        &mut self,
        close: &'static str,
        live: bool,
        start: usize,
    ) -> Result<(String, Vec<Span>)> {
        let mut text = String::new();
        let mut inner = Vec::new();
        loop {
            if self.cursor.at() >= self.end {
                let span = Span::new(start, start + 1);
                return Err(Error::unterminated("string", close, span));
            }
            if self.cursor.eat(close) {
                return Ok((text, inner));
            }
            self.one(live, &mut text, &mut inner)?;
        }
    }

    fn heredoc(
        &mut self,
        close: &'static str,
        live: bool,
        start: usize,
    ) -> Result<(String, Vec<Span>)> {
        let mut text = String::new();
        let mut inner = Vec::new();
        self.cursor.eat_line();
        self.cursor.eat("\n");
        let mut fresh = true;
        loop {
            if self.cursor.at() >= self.end {
                let span = Span::new(start, start + 3);
                return Err(Error::unterminated("heredoc", close, span));
            }
            if fresh {
                let line = self.cursor.at();
                let indent = self.cursor.eat_while(|c| c == ' ' || c == '\t').len();
                if self.cursor.eat(close) {
                    return Ok((strip(&text, indent), inner));
                }
                self.cursor.reset(line);
            }
            fresh = self.cursor.starts_with("\n");
            self.one(live, &mut text, &mut inner)?;
        }
    }

    /// One character of a string, one escape, or one interpolation.
    fn one(&mut self, live: bool, text: &mut String, inner: &mut Vec<Span>) -> Result<()> {
        if live && self.cursor.starts_with("#{") {
            let start = self.cursor.at();
            self.cursor.skip(2);
            let from = self.cursor.at();
            self.interpolation(start)?;
            inner.push(Span::new(from, self.cursor.at()));
            self.cursor.eat("}");
            text.push_str(self.cursor.text_since(start));
        } else if self.cursor.eat("\\") {
            match self.cursor.bump() {
                Some('\n') if live => {}
                Some(c) if live => text.push(escaped(c)),
                Some(c) => {
                    text.push('\\');
                    text.push(c);
                }
                None => {}
            }
        } else {
            text.extend(self.cursor.bump());
        }
        Ok(())
    }

    /// To the brace that closes an interpolation, which is not passed over. Braces in strings within are seen wrongly
    /// only if they do not match.
    fn interpolation(&mut self, start: usize) -> Result<()> {
        let mut depth = 0_usize;
        while self.cursor.at() < self.end {
            match self.cursor.peek() {
                Some('}') if depth == 0 => return Ok(()),
                Some('}') => depth -= 1,
                Some('{') => depth += 1,
                Some('\\') => {
                    self.cursor.bump();
                }
                _ => {}
            }
            self.cursor.bump();
        }
        Err(Error::unterminated(
            "interpolation",
            "}",
            Span::new(start, start + 2),
        ))
    }
}

fn strip(text: &str, indent: usize) -> String {
    text.split_inclusive('\n')
        .map(|line| {
            let white = line.find(|c| c != ' ' && c != '\t').unwrap_or(line.len());
            line.get(white.min(indent)..).unwrap_or_default()
        })
        .collect()
}

fn escaped(c: char) -> char {
    match c {
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        's' => ' ',
        '0' => '\0',
        'e' => '\u{1b}',
        c => c,
    }
}

fn is_name(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}
