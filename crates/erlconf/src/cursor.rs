//! A place in a text that moves forward: what all lexers here are made of. No notation.

use crate::span::Span;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cursor<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Cursor<'t> {
    pub(crate) const fn new(text: &'t str) -> Self {
        Self { text, at: 0 }
    }

    /// The byte that comes next.
    pub(crate) const fn at(&self) -> usize {
        self.at
    }

    /// What has not been read.
    pub(crate) fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// The whole text.
    pub(crate) const fn text(&self) -> &'t str {
        self.text
    }

    pub(crate) fn is_end(&self) -> bool {
        self.at >= self.text.len()
    }

    pub(crate) fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// The character after the next one.
    pub(crate) fn peek_second(&self) -> Option<char> {
        self.rest().chars().nth(1)
    }

    pub(crate) fn starts_with(&self, with: &str) -> bool {
        self.rest().starts_with(with)
    }

    pub(crate) fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += next.len_utf8();
        Some(next)
    }

    /// Passes over `what` if it comes next.
    pub(crate) fn eat(&mut self, what: &str) -> bool {
        let found = self.starts_with(what);
        if found {
            self.at += what.len();
        }
        found
    }

    /// Passes over all that `is`; what it was.
    pub(crate) fn eat_while(&mut self, mut is: impl FnMut(char) -> bool) -> &'t str {
        let rest = self.rest();
        let length = rest.find(|c| !is(c)).unwrap_or(rest.len());
        self.at += length;
        rest.get(..length).unwrap_or_default()
    }

    /// To the end of the line, which is not passed over.
    pub(crate) fn eat_line(&mut self) -> &'t str {
        self.eat_while(|c| c != '\n')
    }

    /// Forward by so many bytes that are known to be there.
    pub(crate) fn skip(&mut self, bytes: usize) {
        self.at = self.at.saturating_add(bytes).min(self.text.len());
    }

    /// Back to a place where a cursor of this text was.
    pub(crate) const fn reset(&mut self, at: usize) {
        self.at = at;
    }

    /// From `start` to here.
    pub(crate) const fn since(&self, start: usize) -> Span {
        Span::new(start, self.at)
    }

    /// What stands from `start` to here.
    pub(crate) fn text_since(&self, start: usize) -> &'t str {
        self.text.get(start..self.at).unwrap_or_default()
    }

    /// The next character as a span; empty at the end.
    pub(crate) fn here(&self) -> Span {
        let length = self.peek().map_or(0, char::len_utf8);
        Span::new(self.at, self.at + length)
    }

    /// The next character for a message.
    pub(crate) fn found(&self) -> String {
        self.peek()
            .map_or_else(|| "the end".to_owned(), |c| format!("{c:?}"))
    }
}
