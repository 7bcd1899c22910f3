//! What is wrong with a set, and where: the one error type of everything that reads one.

use core::fmt;

/// One thing that is wrong. The set's author is to blame; trying again does not help.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file, relative to the set's directory. Empty if it is about the set as a whole.
    pub file: String,
    /// From 1; 0 if the place is not known.
    pub line: usize,
    /// In characters, from 1; 0 if the place is not known.
    pub column: usize,
    /// What was found.
    pub found: String,
    /// What would be right.
    pub wanted: String,
}

impl Problem {
    /// About a whole file, or about the set if `file` is empty.
    pub(crate) fn new(
        file: impl Into<String>,
        found: impl Into<String>,
        wanted: impl Into<String>,
    ) -> Self {
        Self {
            file: file.into(),
            line: 0,
            column: 0,
            found: one_line(found.into()),
            wanted: one_line(wanted.into()),
        }
    }

    /// At a byte of the text of the file.
    pub(crate) fn at(mut self, text: &str, offset: usize) -> Self {
        let mut offset = offset.min(text.len());
        while !text.is_char_boundary(offset) {
            offset -= 1;
        }
        let before = text.get(..offset).unwrap_or(text);
        self.line = before.matches('\n').count() + 1;
        let start = before.rfind('\n').map_or(0, |at| at + 1);
        self.column = before.get(start..).unwrap_or("").chars().count() + 1;
        self
    }
}

/// What authors wrote ends up in terminals and logs: one line, no control characters, at most 400 characters.
fn one_line(text: String) -> String {
    const MOST: usize = 400;
    let mut out = String::with_capacity(text.len().min(MOST));
    for (n, c) in text.chars().enumerate() {
        if n == MOST {
            out.push('…');
            break;
        }
        match c {
            '\n' => out.push_str("; "),
            c if c.is_control() || is_bidi(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// Characters that change the direction of what follows, or are not seen at all.
const fn is_bidi(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.file.is_empty() {
            write!(f, "{}", self.file)?;
            if self.line > 0 {
                write!(f, ":{}:{}", self.line, self.column)?;
            }
            f.write_str(": ")?;
        }
        write!(f, "{}", self.found)?;
        if !self.wanted.is_empty() {
            write!(f, "; wanted {}", self.wanted)?;
        }
        Ok(())
    }
}

/// Everything that is wrong with a set, in the order of the files. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// The problems.
    #[must_use]
    pub fn as_slice(&self) -> &[Problem] {
        &self.0
    }

    /// `Ok` if there are none.
    pub(crate) fn check(mut found: Vec<Problem>) -> Result<(), Self> {
        if found.is_empty() {
            return Ok(());
        }
        found.sort();
        found.dedup();
        found.truncate(MOST_PROBLEMS);
        Err(Self(found))
    }
}

/// More than this nobody reads at once.
const MOST_PROBLEMS: usize = 100;

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            if n > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// The name in `known` that is nearest to `text`, if one is near enough to be meant.
pub(crate) fn near<'a>(text: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let most = text.chars().count().div_ceil(3).clamp(1, 4);
    known
        .into_iter()
        .map(|candidate| (distance(text, candidate), candidate))
        .filter(|&(far, _)| far <= most)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Levenshtein, on at most 64 characters of each.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().take(64).enumerate() {
        let mut before = i;
        let mut left = i + 1;
        let mut next = Vec::with_capacity(row.len());
        next.push(left);
        for (&above, y) in row.iter().skip(1).zip(&b) {
            left = (left + 1).min(above + 1).min(before + usize::from(x != *y));
            before = above;
            next.push(left);
        }
        row = next;
    }
    row.last().copied().unwrap_or(usize::MAX)
}
