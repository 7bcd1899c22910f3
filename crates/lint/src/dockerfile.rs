//! Instructions of a Dockerfile, with lines that are continued put together. No meaning.

use skans_erlconf::Span;

/// An instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instruction {
    /// `FROM`, `RUN` and so on, in capitals.
    pub name: String,
    /// What follows, with the ends of continued lines as they were written, so that places can be told.
    pub arguments: Span,
    /// All of it.
    pub span: Span,
}

/// The instructions of a text. Comment lines within a continued one are a part of it.
#[must_use]
pub fn parse(text: &str) -> Vec<Instruction> {
    let mut instructions = Vec::new();
    let mut at = 0;
    let mut open: Option<usize> = None;
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let body = line.trim_end();
        let comment = body.trim_start().starts_with('#');
        let begin = match open {
            Some(begin) => begin,
            None if body.trim().is_empty() || comment => continue,
            None => start + (body.len() - body.trim_start().len()),
        };
        if (body.ends_with('\\') || comment) && at < text.len() {
            open = Some(begin);
            continue;
        }
        open = None;
        let span = Span::new(begin, start + body.len());
        let whole = span.text(text);
        let word = whole.find(char::is_whitespace).unwrap_or(whole.len());
        let name = whole.get(..word).unwrap_or_default().to_ascii_uppercase();
        let rest = whole.get(word..).unwrap_or_default();
        let gap = rest.len() - rest.trim_start().len();
        instructions.push(Instruction {
            name,
            arguments: Span::new(begin + word + gap, span.end),
            span,
        });
    }
    instructions
}
