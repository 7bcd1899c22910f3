//! Where something stands: bytes for programs, lines and columns for people. No parsing.

use std::ops::Range;

/// A range of bytes of the text that was parsed. Both ends are on character boundaries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte after the last.
    pub end: usize,
}

impl Span {
    /// From `start` up to, not including, `end`.
    #[must_use]
    pub const fn new(start: usize, end: usize) -> Self {
        Self { start, end }
    }

    /// From the start of this one to the end of the other.
    #[must_use]
    pub const fn to(self, other: Self) -> Self {
        Self::new(self.start, other.end)
    }

    /// The same range in a text in which this one begins at byte `by`.
    #[must_use]
    pub const fn shift(self, by: usize) -> Self {
        Self::new(self.start.saturating_add(by), self.end.saturating_add(by))
    }

    /// What stands there; nothing if the text is another one and too short.
    #[must_use]
    pub fn text(self, text: &str) -> &str {
        text.get(self.start..self.end).unwrap_or_default()
    }
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        Self::new(range.start, range.end)
    }
}

/// A place as editors count it: both numbers begin at 1, columns count characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

/// The beginnings of the lines of a text, so that places are found without reading it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    /// Reads the text once.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self { starts }
    }

    /// Line and column of a byte of `text`, which must be the text that the index was made of.
    ///
    /// ```
    /// use skans_erlconf::LineIndex;
    /// let text = "-name a\n-setcookie b";
    /// let place = LineIndex::new(text).position(text, 11);
    /// assert_eq!((place.line, place.column), (2, 4));
    /// ```
    #[must_use]
    pub fn position(&self, text: &str, at: usize) -> Position {
        let line = self.starts.partition_point(|start| *start <= at).max(1);
        let start = self.start(line);
        let before = text
            .get(start..at.min(text.len()))
            .map_or(0, |before| before.chars().count());
        Position {
            line,
            column: before + 1,
        }
    }

    /// The first byte of a line, which begins to count at 1; of the last line if there are fewer.
    #[must_use]
    pub fn start(&self, line: usize) -> usize {
        let index = line.saturating_sub(1);
        self.starts
            .get(index)
            .or(self.starts.last())
            .copied()
            .unwrap_or_default()
    }

    /// The text of a line, without its end.
    #[must_use]
    pub fn line<'t>(&self, text: &'t str, line: usize) -> &'t str {
        let rest = text.get(self.start(line)..).unwrap_or_default();
        rest.lines().next().unwrap_or_default()
    }

    /// How many lines there are; an empty text has one.
    #[must_use]
    pub fn count(&self) -> usize {
        self.starts.len()
    }
}
