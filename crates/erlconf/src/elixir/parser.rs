//! From Elixir's tokens to expressions, tolerant. No characters; calls and blocks are in `calls`.

mod calls;

use super::lexer::{Lexed, Lexer, Token};
use super::{Expr, File, Kind, Skipped};
use crate::error::{Error, Result};
use crate::limits::{Budget, Limits};
use crate::span::Span;

pub(super) fn file(text: &str, limits: Limits) -> Result<File> {
    limits.check_size("size of text", text)?;
    let mut parser = Parser {
        lexer: Lexer::new(text, Span::new(0, text.len())),
        budget: Budget::new(limits),
        ahead: None,
        file: File::default(),
        last_end: 0,
        interpolated: 0,
        bare: false,
    };
    let body = parser.body(|token| *token == Token::End)?;
    Ok(File {
        body,
        ..parser.file
    })
}

struct Parser<'t> {
    lexer: Lexer<'t>,
    budget: Budget,
    ahead: Option<Lexed>,
    /// Comments and what was skipped.
    file: File,
    last_end: usize,
    /// How many bytes of interpolations have been read.
    interpolated: usize,
    /// Whether arguments without parentheses are being read: a `do` belongs to the call whose arguments they are.
    bare: bool,
}

/// Words and symbols that join two operands.
fn is_operator(token: &Token) -> bool {
    match token {
        Token::Identifier(word) => matches!(word.as_str(), "and" | "or" | "in" | "when" | "not"),
        Token::Symbol(symbol) => !matches!(
            *symbol,
            "(" | ")"
                | "["
                | "]"
                | "{"
                | "}"
                | "%{"
                | ","
                | ";"
                | "."
                | "@"
                | "%"
                | "<<"
                | ">>"
                | "->"
                | "!"
                | "&"
        ),
        _ => false,
    }
}

/// Operators with which a line may begin that goes on with the one before.
fn goes_on(token: &Token) -> bool {
    match token {
        Token::Identifier(word) => matches!(word.as_str(), "and" | "or" | "in" | "when"),
        Token::Symbol(symbol) => matches!(
            *symbol,
            "|>" | "||" | "&&" | "<>" | "++" | "==" | "!=" | "|" | "=" | "|||" | "~>" | "::"
        ),
        _ => false,
    }
}

/// Words that end a part of a block.
fn ends_part(token: &Token) -> bool {
    matches!(token, Token::Identifier(word) if matches!(word.as_str(), "end" | "else" | "rescue" | "catch" | "after"))
}

impl Parser<'_> {
    /// Expressions up to a token that `ends`, which is not passed over. Lines that are not understood are skipped.
    fn body(&mut self, ends: impl Fn(&Token) -> bool + Copy) -> Result<Vec<Expr>> {
        let outer = std::mem::replace(&mut self.bare, false);
        let body = self.expressions(ends);
        self.bare = outer;
        body
    }

    fn expressions(&mut self, ends: impl Fn(&Token) -> bool + Copy) -> Result<Vec<Expr>> {
        let mut body = Vec::new();
        loop {
            let next = self.peek()?.clone();
            if next.token == Token::End || ends(&next.token) {
                return Ok(body);
            }
            if matches!(next.token, Token::Symbol(";" | "->" | ",")) {
                self.advance()?;
                continue;
            }
            match self.expression() {
                Ok(expr) => body.push(expr),
                Err(error) => self.skip(next.span.start, error)?,
            }
        }
    }

    /// Passes over the rest of a line that was not understood.
    fn skip(&mut self, start: usize, error: Error) -> Result<()> {
        if matches!(error, Error::TooLarge { .. }) {
            return Err(error);
        }
        let endless = matches!(error, Error::Unterminated { .. });
        let here = match self.ahead.take() {
            // What is never closed has been looked for in all that follows; once is enough.
            _ if endless => {
                self.lexer.skip_all();
                self.lexer.at()
            }
            // What was looked at but not taken is part of what is skipped, unless it stands on a line of its own.
            Some(next) if next.fresh && next.span.start > start => {
                let end = self.last_end.max(start);
                self.ahead = Some(next);
                end
            }
            _ => {
                self.lexer.skip_line();
                self.lexer.at()
            }
        };
        let span = Span::new(start, here.max(start));
        self.budget.count(span)?;
        self.file.skipped.push(Skipped {
            span,
            reason: error,
        });
        // Whoever skips nothing stands still.
        if span.start == span.end && self.advance().is_err() {
            self.lexer.skip_line();
        }
        Ok(())
    }

    /// Operands with operators between them.
    fn expression(&mut self) -> Result<Expr> {
        let start = self.peek()?.span;
        self.budget.enter(start)?;
        let result = self.operation(start);
        self.budget.leave();
        result
    }

    fn operation(&mut self, start: Span) -> Result<Expr> {
        let mut operators = Vec::new();
        let mut operands = Vec::new();
        loop {
            while self.is_prefix()? {
                let operator = self.advance()?;
                operators.push(operator.span.text(self.lexer.text()).to_owned());
            }
            operands.push(self.operand()?);
            let next = self.peek()?;
            let joins = is_operator(&next.token) && (!next.fresh || goes_on(&next.token));
            if !joins {
                break;
            }
            let operator = self.advance()?;
            operators.push(operator.span.text(self.lexer.text()).to_owned());
        }
        if operators.is_empty() && operands.len() == 1 {
            return operands.pop().ok_or_else(|| self.lost(start));
        }
        // A negative number is a literal to people.
        if let ([operator], [operand]) = (operators.as_slice(), operands.as_slice())
            && operator == "-"
            && let Kind::Integer(value) = operand.kind
        {
            return Ok(self.spanning(Kind::Integer(value.saturating_neg()), start));
        }
        let kind = Kind::Operation {
            operators,
            operands,
        };
        Ok(self.spanning(kind, start))
    }

    fn is_prefix(&mut self) -> Result<bool> {
        Ok(match &self.peek()?.token {
            Token::Symbol(symbol) => matches!(*symbol, "-" | "+" | "!" | "^" | "&" | "..." | "~~~"),
            Token::Identifier(word) => word == "not",
            _ => false,
        })
    }

    fn operand(&mut self) -> Result<Expr> {
        let start = self.peek()?.span;
        let mut expr = self.primary()?;
        let mut wrapped = 0_u8;
        // What is written to it: `.name`, `.name(…)`, `[…]`.
        loop {
            let next = self.peek()?;
            let touches = !next.spaced;
            match next.token {
                Token::Symbol(".") if !next.fresh || touches => {
                    self.budget.enter(start)?;
                    wrapped += 1;
                    self.advance()?;
                    expr = self.dotted(expr, start)?;
                }
                Token::Symbol("[") if touches => {
                    self.budget.enter(start)?;
                    wrapped += 1;
                    self.advance()?;
                    let mut parts = self.until("]")?;
                    parts.insert(0, expr);
                    expr = self.spanning(Kind::Other(parts), start);
                }
                _ => {
                    // Each of them is one level of the tree.
                    (0..wrapped).for_each(|_| self.budget.leave());
                    return Ok(expr);
                }
            }
        }
    }

    /// After a dot: what is called on `target`.
    fn dotted(&mut self, target: Expr, start: Span) -> Result<Expr> {
        let next = self.peek()?.clone();
        match next.token {
            Token::Identifier(name) => {
                self.advance()?;
                let written = self
                    .spanning(Kind::Other(Vec::new()), target.span)
                    .span
                    .text(self.lexer.text());
                let whole = match &target.kind {
                    Kind::Alias(_) | Kind::Atom(_) | Kind::Variable(_) => written.to_owned(),
                    // Of `a().b(c)` only the last part has a name.
                    _ => name.clone(),
                };
                let inner = matches!(
                    target.kind,
                    Kind::Alias(_) | Kind::Atom(_) | Kind::Variable(_)
                );
                let mut call = self.call(whole, start)?;
                if !inner {
                    let (Kind::Call { arguments, .. } | Kind::Other(arguments)) = &mut call.kind
                    else {
                        return Ok(self.spanning(Kind::Other(vec![target]), start));
                    };
                    arguments.insert(0, target);
                }
                Ok(call)
            }
            Token::Symbol("(") => {
                self.advance()?;
                let mut parts = self.until(")")?;
                parts.insert(0, target);
                Ok(self.spanning(Kind::Other(parts), start))
            }
            Token::Symbol("{") => {
                self.advance()?;
                let parts = self.until("}")?;
                Ok(self.spanning(Kind::Other(parts), start))
            }
            _ => Err(self.unexpected(&next, "a name after the dot")),
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let next = self.advance()?;
        let start = next.span;
        self.budget.count(start)?;
        let kind = match next.token {
            Token::Integer(value) => Kind::Integer(value),
            Token::Float(value) => Kind::Float(value),
            Token::Atom(name) => Kind::Atom(name),
            Token::Charlist(text) => Kind::Charlist(text),
            Token::Opaque => Kind::Other(Vec::new()),
            Token::String(text, spans) => {
                let interpolated = self.interpolated(&spans)?;
                Kind::String { text, interpolated }
            }
            Token::Words(words, atoms) => Kind::List(
                words
                    .into_iter()
                    .map(|text| Expr {
                        kind: if atoms {
                            Kind::Atom(text)
                        } else {
                            Kind::String {
                                text,
                                interpolated: Vec::new(),
                            }
                        },
                        span: start,
                    })
                    .collect(),
            ),
            Token::Alias(name) => return self.alias(name, start),
            Token::Key(name) => return self.pair(name, start),
            Token::Symbol("[") => Kind::List(self.until("]")?),
            Token::Symbol("{") => Kind::Tuple(self.until("}")?),
            Token::Symbol("%{") => Kind::Map(self.until("}")?),
            Token::Symbol("<<") => Kind::Other(self.until(">>")?),
            Token::Symbol("%") => {
                // A struct: its name, then as a map.
                let name = self.operand_name()?;
                let mut parts = name;
                self.expect("{")?;
                parts.extend(self.until("}")?);
                Kind::Map(parts)
            }
            Token::Symbol("(") => {
                let mut parts = self.until(")")?;
                if parts.len() == 1
                    && let Some(mut only) = parts.pop()
                {
                    only.span = start.to(Span::new(start.start, self.last_end));
                    return Ok(only);
                }
                Kind::Other(parts)
            }
            Token::Symbol("@") => {
                let name = self.advance()?;
                let Token::Identifier(name) = name.token else {
                    return Err(self.unexpected(&name, "a name after @"));
                };
                let arguments = self.bare_arguments()?;
                Kind::Attribute(name, arguments)
            }
            Token::Identifier(word) => return self.word(word, start),
            _ => return Err(self.unexpected(&next, "an expression")),
        };
        Ok(self.spanning(kind, start))
    }

    /// The module name of a struct, if there is one.
    fn operand_name(&mut self) -> Result<Vec<Expr>> {
        let next = self.peek()?.clone();
        if let Token::Alias(name) = next.token {
            self.advance()?;
            return Ok(vec![self.alias(name, next.span)?]);
        }
        if matches!(next.token, Token::Identifier(_)) {
            self.advance()?;
        }
        Ok(Vec::new())
    }

    fn alias(&mut self, first: String, start: Span) -> Result<Expr> {
        let mut name = first;
        loop {
            // `A.B` goes on, `A.b` is a call.
            let saved = (self.lexer.clone(), self.ahead.clone(), self.last_end);
            if self.peek()?.token == Token::Symbol(".") && !self.peek()?.spaced {
                self.advance()?;
                if let Token::Alias(part) = &self.peek()?.token {
                    name.push('.');
                    name.push_str(part);
                    self.advance()?;
                    continue;
                }
            }
            (self.lexer, self.ahead, self.last_end) = saved;
            return Ok(self.spanning(Kind::Alias(name), start));
        }
    }

    fn pair(&mut self, name: String, start: Span) -> Result<Expr> {
        let key = Expr {
            kind: Kind::Atom(name),
            span: Span::new(start.start, start.end.saturating_sub(1)),
        };
        let value = self.expression()?;
        Ok(self.spanning(Kind::Pair(Box::new(key), Box::new(value)), start))
    }

    fn word(&mut self, word: String, start: Span) -> Result<Expr> {
        match word.as_str() {
            "true" | "false" | "nil" => Ok(self.spanning(Kind::Atom(word), start)),
            "fn" => {
                let inner =
                    self.body(|token| matches!(token, Token::Identifier(word) if word == "end"))?;
                self.end()?;
                Ok(self.spanning(Kind::Other(inner), start))
            }
            "end" | "else" | "do" | "rescue" | "catch" | "after" => {
                Err(Error::unexpected(&word, "an expression", start))
            }
            _ => self.call(word, start),
        }
    }

    fn expect(&mut self, symbol: &'static str) -> Result<()> {
        let next = self.advance()?;
        if next.token == Token::Symbol(symbol) {
            return Ok(());
        }
        Err(self.unexpected(&next, symbol))
    }

    /// What stands in `#{…}`. What is not understood there is skipped as a whole.
    fn interpolated(&mut self, spans: &[Span]) -> Result<Vec<Expr>> {
        let mut all = Vec::new();
        for span in spans {
            self.budget.enter(*span)?;
            // Each level of nesting is read once more.
            self.interpolated = self.interpolated.saturating_add(span.end - span.start);
            let size = self.lexer.text().len().saturating_mul(4);
            if self.interpolated > size {
                return Err(Error::too_large(
                    "size of all that is interpolated",
                    self.interpolated,
                    size,
                    *span,
                ));
            }
            let inner = Lexer::new(self.lexer.text(), *span);
            let outer = std::mem::replace(&mut self.lexer, inner);
            let saved = (self.ahead.take(), self.last_end);
            let body = self.body(|token| *token == Token::End);
            self.lexer = outer;
            (self.ahead, self.last_end) = saved;
            all.extend(body?);
            self.budget.leave();
        }
        Ok(all)
    }

    fn peek(&mut self) -> Result<&Lexed> {
        if self.ahead.is_none() {
            self.ahead = Some(self.lexer.next(&mut self.file.comments));
        }
        let end = Span::new(self.last_end, self.last_end);
        self.ahead
            .as_ref()
            .ok_or_else(|| Error::unexpected("the end of the text", "an expression", end))
    }

    fn advance(&mut self) -> Result<Lexed> {
        let next = match self.ahead.take() {
            Some(next) => next,
            None => self.lexer.next(&mut self.file.comments),
        };
        if let Token::Bad(error) = next.token {
            return Err(error);
        }
        self.last_end = next.span.end;
        Ok(next)
    }

    /// From `start` to the token that was passed over last.
    fn spanning(&self, kind: Kind, start: Span) -> Expr {
        Expr {
            kind,
            span: Span::new(start.start, self.last_end.max(start.end)),
        }
    }

    fn unexpected(&self, found: &Lexed, wanted: &'static str) -> Error {
        let text = match found.token {
            Token::End => "the end of the text",
            _ => found.span.text(self.lexer.text()),
        };
        Error::unexpected(text, wanted, found.span)
    }

    fn lost(&self, span: Span) -> Error {
        Error::unexpected(span.text(self.lexer.text()), "an expression", span)
    }
}
