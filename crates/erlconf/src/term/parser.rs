//! From tokens to terms, after `erl_parse.yrl` and what `erl_parse:normalise/1` lets through. No characters.

use super::bits;
use super::lexer::{Lexer, Token};
use super::{Document, Kind, Options, Term};
use crate::error::{Error, Result};
use crate::span::Span;

pub(super) fn document(text: &str, options: Options) -> Result<Document> {
    let mut parser = Parser::new(text, options)?;
    let mut terms = Vec::new();
    while parser.token != Token::End {
        terms.push(parser.term()?);
        if parser.token != Token::Dot {
            return Err(parser.unexpected("a dot and white space at the end of the term"));
        }
        parser.advance()?;
    }
    Ok(Document {
        terms,
        comments: parser.lexer.comments,
    })
}

pub(super) fn single(text: &str, options: Options) -> Result<Term> {
    let mut parser = Parser::new(text, options)?;
    let term = parser.term()?;
    if parser.token != Token::End {
        return Err(parser.unexpected("the end of the text"));
    }
    Ok(term)
}

pub(super) struct Parser<'t> {
    lexer: Lexer<'t>,
    token: Token,
    span: Span,
    /// Where the token before ended.
    last_end: usize,
    /// Whether calls and funs are read.
    code: bool,
}

impl<'t> Parser<'t> {
    fn new(text: &'t str, options: Options) -> Result<Self> {
        options.limits.check_size("size of text", text)?;
        let mut lexer = Lexer::new(text, options);
        let (token, span) = lexer.next()?;
        Ok(Self {
            lexer,
            token,
            span,
            last_end: 0,
            code: options.code,
        })
    }

    pub(super) fn term(&mut self) -> Result<Term> {
        self.lexer.budget.enter(self.span)?;
        let term = self.one()?;
        self.lexer.budget.leave();
        Ok(term)
    }

    fn one(&mut self) -> Result<Term> {
        let start = self.span;
        let kind = match &self.token {
            Token::Symbol("{") => {
                self.advance()?;
                Kind::Tuple(self.until("}", ", or }")?)
            }
            Token::Symbol("[") => {
                self.advance()?;
                return self.list(start);
            }
            Token::Symbol("#") => {
                self.advance()?;
                return self.map(start);
            }
            Token::Symbol("<<") => {
                self.advance()?;
                return bits::binary(self, start);
            }
            Token::Symbol("(") => {
                self.advance()?;
                let inner = self.term()?;
                self.expect(")", ")")?;
                return Ok(inner);
            }
            Token::Symbol(sign @ ("-" | "+")) => {
                let negative = *sign == "-";
                self.advance()?;
                return self.signed(start, negative);
            }
            Token::Word if start.text(self.lexer.text()) == "fun" => {
                self.advance()?;
                return self.fun(start);
            }
            Token::String(_) => return self.strings(),
            Token::Atom(_) if self.code => return self.call(start),
            _ => return self.simple(),
        };
        // The closing token has just been passed over.
        Ok(self.spanning(kind, start))
    }

    /// A token that is a term.
    fn simple(&mut self) -> Result<Term> {
        let kind = match &self.token {
            Token::Atom(name) => Kind::Atom(name.clone()),
            Token::Integer(value) => Kind::Integer(*value),
            Token::Big(text) => Kind::BigInteger(text.clone()),
            Token::Float(value) => Kind::Float(*value),
            Token::Char(c) => Kind::Integer(i128::from(u32::from(*c))),
            Token::Sigil(text) => Kind::Binary(text.clone().into_bytes()),
            Token::Placeholder(text) => Kind::Placeholder(text.clone()),
            _ => return Err(self.unexpected("an Erlang term")),
        };
        let span = self.span;
        self.advance()?;
        Ok(Term { kind, span })
    }

    /// Strings that stand side by side are one.
    fn strings(&mut self) -> Result<Term> {
        let mut span = self.span;
        let mut all = String::new();
        while let Token::String(text) = &self.token {
            all.push_str(text);
            span = span.to(self.span);
            self.advance()?;
        }
        Ok(Term {
            kind: Kind::String(all),
            span,
        })
    }

    /// After a sign: a number, perhaps in parentheses; nothing else has one here.
    pub(super) fn signed(&mut self, start: Span, negative: bool) -> Result<Term> {
        let operand = self.unsigned()?;
        let span = start.to(operand.span);
        let kind = match operand.kind {
            Kind::Integer(value) if negative => match value.checked_neg() {
                Some(value) => Kind::Integer(value),
                None => Kind::BigInteger(format!("-{value}")),
            },
            // One more negative integer than positive ones has 128 bits.
            Kind::BigInteger(text) if negative => match format!("-{text}").parse() {
                Ok(value) => Kind::Integer(value),
                Err(_) => Kind::BigInteger(format!("-{text}")),
            },
            Kind::Float(value) if negative => Kind::Float(-value),
            kind @ (Kind::Integer(_) | Kind::BigInteger(_) | Kind::Float(_)) => kind,
            _ => {
                return Err(Error::unexpected(
                    operand.span.text(self.lexer.text()),
                    "a number after the sign",
                    operand.span,
                ));
            }
        };
        Ok(Term { kind, span })
    }

    /// A term in parentheses or a token that is a term. A sign within is no number to Erlang.
    pub(super) fn unsigned(&mut self) -> Result<Term> {
        if self.token != Token::Symbol("(") {
            return self.simple();
        }
        let open = self.span;
        self.lexer.budget.enter(open)?;
        self.advance()?;
        let inner = self.unsigned()?;
        let close = self.span;
        self.expect(")", ")")?;
        self.lexer.budget.leave();
        // What stands before it goes on to its end.
        Ok(Term {
            span: open.to(close),
            ..inner
        })
    }

    /// Terms with commas between them, up to a closing symbol, which is passed over. None at all is right, too.
    fn until(&mut self, close: &'static str, wanted: &'static str) -> Result<Vec<Term>> {
        let mut terms = Vec::new();
        if self.token == Token::Symbol(close) {
            self.advance()?;
            return Ok(terms);
        }
        loop {
            terms.push(self.term()?);
            if self.token == Token::Symbol(",") {
                self.advance()?;
                continue;
            }
            self.expect(close, wanted)?;
            return Ok(terms);
        }
    }

    fn list(&mut self, start: Span) -> Result<Term> {
        let mut terms = Vec::new();
        let mut tail = None;
        if self.token == Token::Symbol("]") {
            self.advance()?;
            return Ok(self.spanning(Kind::List(terms, tail), start));
        }
        loop {
            terms.push(self.term()?);
            if self.token == Token::Symbol(",") {
                self.advance()?;
                continue;
            }
            if self.token == Token::Symbol("|") {
                self.advance()?;
                tail = Some(Box::new(self.term()?));
            }
            self.expect("]", if tail.is_some() { "]" } else { ", or | or ]" })?;
            break;
        }
        // A tail that is a list itself goes on with this one.
        if let Some(end) = tail.take() {
            match end.kind {
                Kind::List(more, rest) => {
                    terms.extend(more);
                    tail = rest;
                }
                Kind::String(text) => terms.extend(text.chars().map(|c| Term {
                    kind: Kind::Integer(i128::from(u32::from(c))),
                    span: end.span,
                })),
                kind => {
                    tail = Some(Box::new(Term {
                        kind,
                        span: end.span,
                    }));
                }
            }
        }
        Ok(self.spanning(Kind::List(terms, tail), start))
    }

    fn map(&mut self, start: Span) -> Result<Term> {
        self.expect("{", "{ (records are not read here)")?;
        let mut pairs = Vec::new();
        if self.token == Token::Symbol("}") {
            self.advance()?;
            return Ok(self.spanning(Kind::Map(pairs), start));
        }
        loop {
            let key = self.term()?;
            self.expect("=>", "=>")?;
            pairs.push((key, self.term()?));
            if self.token == Token::Symbol(",") {
                self.advance()?;
                continue;
            }
            self.expect("}", ", or }")?;
            return Ok(self.spanning(Kind::Map(pairs), start));
        }
    }

    /// An atom, or a call of `module:function`.
    fn call(&mut self, start: Span) -> Result<Term> {
        let term = self.simple()?;
        let Kind::Atom(module) = &term.kind else {
            return Ok(term);
        };
        if !self.is(":") {
            return Ok(term);
        }
        self.advance()?;
        let Token::Atom(function) = self.token.clone() else {
            return Err(self.unexpected("a function"));
        };
        self.advance()?;
        self.expect("(", "( before the arguments")?;
        let arguments = self.until(")", ", or )")?;
        let kind = Kind::Call {
            module: module.clone(),
            function,
            arguments,
        };
        Ok(self.spanning(kind, start))
    }

    /// From the parenthesis after `fun` to the `end` that closes it.
    fn code(&mut self, start: Span) -> Result<Term> {
        let mut depth = 1_usize;
        loop {
            if self.token == Token::End {
                return Err(Error::unterminated("fun", "end", start));
            }
            let word = self.span.text(self.lexer.text());
            let fun = self.token == Token::Word && word == "fun";
            let opens = matches!(word, "case" | "if" | "begin" | "receive" | "try" | "maybe")
                && matches!(self.token, Token::Word | Token::Atom(_));
            let closes = self.token == Token::Word && word == "end";
            self.advance()?;
            if opens || fun && self.is("(") {
                depth += 1;
            } else if closes {
                depth -= 1;
                if depth == 0 {
                    let span = Span::new(start.start, self.last_end);
                    let text = span.text(self.lexer.text()).to_owned();
                    return Ok(Term {
                        kind: Kind::Code(text),
                        span,
                    });
                }
            }
        }
    }

    fn fun(&mut self, start: Span) -> Result<Term> {
        const WANTED: &str = "fun Module:Function/Arity";
        if self.code && self.is("(") {
            return self.code(start);
        }
        let Token::Atom(module) = self.token.clone() else {
            return Err(self.unexpected(WANTED));
        };
        self.advance()?;
        self.expect(":", WANTED)?;
        let Token::Atom(function) = self.token.clone() else {
            return Err(self.unexpected(WANTED));
        };
        self.advance()?;
        self.expect("/", WANTED)?;
        let Token::Integer(arity) = self.token else {
            return Err(self.unexpected(WANTED));
        };
        let Ok(arity) = u8::try_from(arity) else {
            return Err(self.unexpected("an arity from 0 to 255"));
        };
        let span = start.to(self.span);
        self.advance()?;
        Ok(Term {
            kind: Kind::Fun {
                module,
                function,
                arity,
            },
            span,
        })
    }

    /// A term from `start` to the token that was passed over last.
    pub(super) fn spanning(&self, kind: Kind, start: Span) -> Term {
        let text = self.lexer.text();
        let end = self.last_end.max(start.end).min(text.len());
        Term {
            kind,
            span: Span::new(start.start, end),
        }
    }

    pub(super) const fn token(&self) -> &Token {
        &self.token
    }

    pub(super) const fn span(&self) -> Span {
        self.span
    }

    pub(super) fn is(&self, symbol: &'static str) -> bool {
        self.token == Token::Symbol(symbol)
    }

    pub(super) fn advance(&mut self) -> Result<()> {
        self.last_end = self.span.end;
        (self.token, self.span) = self.lexer.next()?;
        Ok(())
    }

    pub(super) fn expect(&mut self, symbol: &'static str, wanted: &'static str) -> Result<()> {
        if self.token != Token::Symbol(symbol) {
            return Err(self.unexpected(wanted));
        }
        self.advance()
    }

    pub(super) fn unexpected(&self, wanted: &'static str) -> Error {
        let found = match self.token {
            Token::End => "the end of the text",
            _ => self.span.text(self.lexer.text()),
        };
        Error::unexpected(found, wanted, self.span)
    }
}
