//! How much of a text is read. No parsing.

use crate::error::{Error, Result};
use crate::span::Span;

/// What a parser accepts. Erlang itself has no such limits: whoever reads a hostile file there pays with memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub size: usize,
    /// The most elements, each term, word or value counted.
    pub count: usize,
    /// The deepest nesting. A byte, so that the stack of any thread suffices.
    pub depth: u8,
}

impl Limits {
    /// 4 MiB, 500,000 elements, 50 levels. The largest files of this kind are lists of modules in `.app` and `.rel`
    /// files (below 1 MiB); people nest ten levels.
    pub const DEFAULT: Self = Self {
        size: 4 << 20,
        count: 500_000,
        depth: 50,
    };

    pub(crate) fn check_size(&self, what: &'static str, text: &str) -> Result<()> {
        if text.len() > self.size {
            return Err(Error::too_large(
                what,
                text.len(),
                self.size,
                Span::new(0, 0),
            ));
        }
        Ok(())
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What has been used of the limits so far.
#[derive(Debug, Clone)]
pub(crate) struct Budget {
    limits: Limits,
    count: usize,
    depth: u8,
}

impl Budget {
    pub(crate) const fn new(limits: Limits) -> Self {
        Self {
            limits,
            count: 0,
            depth: 0,
        }
    }

    /// One more element.
    pub(crate) fn count(&mut self, span: Span) -> Result<()> {
        self.count += 1;
        if self.count > self.limits.count {
            return Err(Error::too_large(
                "number of elements",
                self.count,
                self.limits.count,
                span,
            ));
        }
        Ok(())
    }

    /// One level deeper; [`Budget::leave`] when it ends.
    pub(crate) fn enter(&mut self, span: Span) -> Result<()> {
        if self.depth >= self.limits.depth {
            return Err(Error::too_large(
                "nesting",
                usize::from(self.depth) + 1,
                usize::from(self.limits.depth),
                span,
            ));
        }
        self.depth += 1;
        Ok(())
    }

    pub(crate) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }
}
