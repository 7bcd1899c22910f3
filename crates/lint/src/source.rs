//! Texts and places in them, also of texts that stand within others: a file in a ConfigMap, the value of a variable.
//! No parsing.

use skans_erlconf::{LineIndex, Span};

/// Which text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceId(usize);

/// Where something stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// In which text.
    pub source: SourceId,
    /// Where in it.
    pub span: Span,
}

impl Place {
    /// A span of a text.
    #[must_use]
    pub const fn new(source: SourceId, span: Span) -> Self {
        Self { source, span }
    }
}

/// A text, and where it comes from.
#[derive(Debug)]
pub struct Source {
    /// The path of the file, or what the text is within another: `ConfigMap shop/erlang, vm.args`.
    pub name: String,
    /// The text.
    pub text: String,
    lines: LineIndex,
    outer: Option<Embedding>,
}

impl Source {
    /// Whether it stands within another.
    #[must_use]
    pub const fn is_embedded(&self) -> bool {
        self.outer.is_some()
    }

    /// The last part of the path or name.
    #[must_use]
    pub fn file_name(&self) -> &str {
        let end = |c| c == '/' || c == '\\' || (self.outer.is_some() && c == ' ');
        self.name.rsplit(end).next().unwrap_or_default()
    }
}

/// How a text stands within another.
#[derive(Debug)]
struct Embedding {
    source: SourceId,
    /// Beginnings of pieces that are the same in both: first byte here, first byte there.
    pieces: Vec<(usize, usize)>,
    /// All of it there.
    whole: Span,
}

/// Where a finding is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location<'s> {
    /// The file.
    pub file: &'s str,
    /// The first line, counted from 1.
    pub line: usize,
    /// The first character of it, counted from 1.
    pub column: usize,
    /// The last line.
    pub end_line: usize,
    /// The character after the last one.
    pub end_column: usize,
    /// The innermost text, if it is not the file: its name, line and column.
    pub within: Option<(&'s str, usize, usize)>,
}

/// All texts of a run.
#[derive(Debug, Default)]
pub struct Sources {
    all: Vec<Source>,
}

impl Sources {
    /// Adds a file.
    pub fn add(&mut self, name: impl Into<String>, text: String) -> SourceId {
        self.push(name.into(), text, None)
    }

    /// Adds a text that stands within another. `pieces` are the beginnings of pieces that are the same in both.
    pub fn embed(
        &mut self,
        name: impl Into<String>,
        text: String,
        whole: Place,
        pieces: Vec<(usize, usize)>,
    ) -> SourceId {
        let outer = Embedding {
            source: whole.source,
            pieces,
            whole: whole.span,
        };
        self.push(name.into(), text, Some(outer))
    }

    fn push(&mut self, name: String, text: String, outer: Option<Embedding>) -> SourceId {
        let id = SourceId(self.all.len());
        self.all.push(Source {
            name,
            lines: LineIndex::new(&text),
            text,
            outer,
        });
        id
    }

    /// One of them.
    ///
    /// # Panics
    /// Never with an id of this run: they are made here only and nothing is removed.
    #[must_use]
    #[allow(clippy::indexing_slicing)] // See above.
    pub fn get(&self, id: SourceId) -> &Source {
        &self.all[id.0]
    }

    /// All of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = (SourceId, &Source)> {
        self.all
            .iter()
            .enumerate()
            .map(|(number, source)| (SourceId(number), source))
    }

    /// The text of a source.
    #[must_use]
    pub fn text(&self, id: SourceId) -> &str {
        &self.get(id).text
    }

    /// What stands at a place.
    #[must_use]
    pub fn at(&self, place: Place) -> &str {
        place.span.text(self.text(place.source))
    }

    /// The same place in the file that holds it.
    #[must_use]
    pub fn in_file(&self, place: Place) -> Place {
        let mut place = place;
        while let Some(outer) = &self.get(place.source).outer {
            let there = |at: usize| {
                let piece = outer.pieces.partition_point(|(here, _)| *here <= at);
                let (here, there) = piece
                    .checked_sub(1)
                    .and_then(|piece| outer.pieces.get(piece).copied())
                    .unwrap_or((0, outer.whole.start));
                (there + (at - here.min(at))).clamp(outer.whole.start, outer.whole.end)
            };
            let (start, end) = (there(place.span.start), there(place.span.end));
            place = Place {
                source: outer.source,
                span: Span::new(start, end.max(start)),
            };
        }
        place
    }

    /// Where a finding is shown.
    #[must_use]
    pub fn location(&self, place: Place) -> Location<'_> {
        let outer = self.in_file(place);
        let file = self.get(outer.source);
        let start = file.lines.position(&file.text, outer.span.start);
        let end = file.lines.position(&file.text, outer.span.end);
        let inner = self.get(place.source);
        let within = inner.is_embedded().then(|| {
            let at = inner.lines.position(&inner.text, place.span.start);
            (inner.name.as_str(), at.line, at.column)
        });
        Location {
            file: &file.name,
            line: start.line,
            column: start.column,
            end_line: end.line,
            end_column: end.column,
            within,
        }
    }

    /// The text of a line of a file.
    #[must_use]
    pub fn line(&self, id: SourceId, line: usize) -> &str {
        let source = self.get(id);
        source.lines.line(&source.text, line)
    }

    /// The place of a whole line, and of none before the first.
    #[must_use]
    pub fn line_of(&self, place: Place) -> usize {
        let source = self.get(place.source);
        source.lines.position(&source.text, place.span.start).line
    }
}
