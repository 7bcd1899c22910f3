//! Calls: their arguments, with and without parentheses, and their blocks. What stands in them is in the parent.

use super::super::lexer::Token;
use super::super::{Expr, Kind};
use super::{Parser, ends_part, is_operator};
use crate::error::Result;
use crate::span::Span;

impl Parser<'_> {
    /// After the name of what is called: arguments and a block, or nothing.
    pub(super) fn call(&mut self, name: String, start: Span) -> Result<Expr> {
        let next = self.peek()?;
        let mut called = true;
        let arguments = if next.token == Token::Symbol("(") && !next.spaced {
            self.advance()?;
            self.until(")")?
        } else {
            let bare = self.bare_arguments()?;
            called = !bare.is_empty();
            bare
        };
        let block = self.block()?;
        called |= block.is_some() || name.contains('.');
        let kind = if called {
            Kind::Call {
                name,
                arguments,
                block: block.unwrap_or_default(),
            }
        } else {
            Kind::Variable(name)
        };
        Ok(self.spanning(kind, start))
    }

    /// Arguments without parentheses, on the same line.
    pub(super) fn bare_arguments(&mut self) -> Result<Vec<Expr>> {
        let next = self.peek()?;
        let begins = next.spaced
            && !next.fresh
            && match &next.token {
                Token::Identifier(word) => {
                    !is_operator(&next.token)
                        && !matches!(
                            word.as_str(),
                            "do" | "end" | "else" | "rescue" | "catch" | "after"
                        )
                }
                Token::Symbol(symbol) => matches!(
                    *symbol,
                    "[" | "{" | "%{" | "%" | "@" | "(" | "<<" | "!" | "&"
                ),
                Token::End => false,
                _ => true,
            };
        if !begins {
            return Ok(Vec::new());
        }
        let outer = std::mem::replace(&mut self.bare, true);
        let arguments = self.arguments();
        self.bare = outer;
        arguments
    }

    fn arguments(&mut self) -> Result<Vec<Expr>> {
        let mut arguments = vec![self.argument()?];
        while self.peek()?.token == Token::Symbol(",") {
            self.advance()?;
            arguments.push(self.argument()?);
        }
        Ok(arguments)
    }

    /// An expression, or `key => value`.
    fn argument(&mut self) -> Result<Expr> {
        let Expr { kind, span } = self.expression()?;
        // `a => b` was read as an operation of two.
        let kind = match kind {
            Kind::Operation {
                mut operators,
                mut operands,
            } if operators.first().is_some_and(|first| first == "=>") && operands.len() > 1 => {
                let mut rest = operands.split_off(1);
                operators.remove(0);
                let value = if operators.is_empty() {
                    rest.pop()
                } else {
                    let end = rest.last().map_or(span.end, |last| last.span.end);
                    let start = rest.first().map_or(span.start, |first| first.span.start);
                    Some(Expr {
                        kind: Kind::Operation {
                            operators,
                            operands: rest,
                        },
                        span: Span::new(start, end),
                    })
                };
                match (operands.pop(), value) {
                    (Some(key), Some(value)) => Kind::Pair(Box::new(key), Box::new(value)),
                    _ => Kind::Other(Vec::new()),
                }
            }
            kind => kind,
        };
        Ok(Expr { kind, span })
    }

    /// `do … end`, with everything between.
    fn block(&mut self) -> Result<Option<Vec<Expr>>> {
        let is_do = matches!(&self.peek()?.token, Token::Identifier(word) if word == "do");
        if !is_do || self.bare {
            return Ok(None);
        }
        self.advance()?;
        let mut all = Vec::new();
        loop {
            all.extend(self.body(ends_part)?);
            let next = self.peek()?.clone();
            match &next.token {
                Token::Identifier(word) if word != "end" => {
                    self.advance()?;
                }
                _ => break,
            }
        }
        self.end()?;
        Ok(Some(all))
    }

    pub(super) fn end(&mut self) -> Result<()> {
        let next = self.advance()?;
        match next.token {
            Token::Identifier(word) if word == "end" => Ok(()),
            _ => Err(self.unexpected(&next, "end")),
        }
    }

    /// Arguments up to a closing symbol, which is passed over.
    pub(super) fn until(&mut self, close: &'static str) -> Result<Vec<Expr>> {
        let outer = std::mem::replace(&mut self.bare, false);
        let parts = self.parts(close);
        self.bare = outer;
        parts
    }

    fn parts(&mut self, close: &'static str) -> Result<Vec<Expr>> {
        let mut parts = Vec::new();
        loop {
            let next = self.peek()?.clone();
            match next.token {
                Token::Symbol(symbol) if symbol == close => {
                    self.advance()?;
                    return Ok(parts);
                }
                Token::Symbol("," | ";" | "->") => {
                    self.advance()?;
                }
                Token::End => return Err(self.unexpected(&next, close)),
                _ => parts.push(self.argument()?),
            }
        }
    }
}
