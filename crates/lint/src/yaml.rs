//! YAML and JSON as a tree with places: several documents, aliases put in place, numbers as Kubernetes reads them. No
//! meaning.
//!
//! The events come from `granit-parser`. Bounds: depth, number of nodes with aliases put in place, each fault skips to
//! the next document.

#[cfg(test)]
mod tests;

use std::collections::HashMap;

use granit_parser::{Event, Parser, ScalarStyle, options};
use skans_erlconf::Span;

/// The deepest tree, aliases put in place. Kubernetes objects have fewer than 30 levels.
const MAX_DEPTH: usize = 100;
/// The most nodes of one file, aliases put in place: what keeps an anchor bomb small.
const MAX_NODES: usize = 1 << 20;
/// The most nodes of a run, aliases put in place: what keeps many of them small. 1,000 manifests have 200,000.
pub const MAX_OF_RUN: usize = 1 << 22;

/// A node and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it is.
    pub kind: Kind,
    /// Where it stands; of an alias, where it was defined.
    pub span: Span,
}

/// What a node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A text, and how it was written.
    Scalar(String, Style),
    /// A sequence.
    Sequence(Vec<Node>),
    /// A mapping in the order of writing.
    Mapping(Vec<(Node, Node)>),
}

/// How a scalar was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Style {
    /// Without quotes: may be a number, a boolean or null.
    Plain,
    /// In single quotes.
    Single,
    /// In double quotes, as in JSON.
    Double,
    /// Behind `|`.
    Literal,
    /// Behind `>`.
    Folded,
}

/// A document that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub span: Span,
    /// Why.
    pub reason: String,
}

/// What a file holds.
#[derive(Debug, Default)]
pub struct File {
    /// Documents that are not empty.
    pub documents: Vec<Node>,
    /// Those that cannot be read.
    pub faults: Vec<Fault>,
}

/// Reads a file on its own.
#[must_use]
pub fn parse(text: &str) -> File {
    parse_within(text, &mut MAX_OF_RUN.clone())
}

/// Reads a file of a run, and takes its nodes off what the run has left.
#[must_use]
pub fn parse_within(text: &str, left: &mut usize) -> File {
    let most = MAX_NODES.min(*left);
    let options = options! {
        emit_comments: false,
        flow_nesting_limit: MAX_DEPTH,
        block_nesting_limit: MAX_DEPTH,
    };
    let mut parser = Parser::new_from_str_with_options(text, options);
    let mut builder = Builder {
        most,
        ..Builder::default()
    };
    let mut file = File::default();
    loop {
        let fault = match parser.next() {
            None => break,
            Some(Ok((event, span))) => {
                let span = Span::new(
                    span.start.byte_offset().unwrap_or_default(),
                    span.end.byte_offset().unwrap_or_default(),
                );
                match event {
                    Event::DocumentStart(..) => {
                        builder.document();
                        None
                    }
                    Event::DocumentEnd => {
                        file.documents.extend(builder.root.take());
                        None
                    }
                    event => builder.take(event, span).err().map(|reason| Fault {
                        span,
                        reason: reason.to_owned(),
                    }),
                }
            }
            Some(Err(error)) => {
                let at = error.marker().byte_offset().unwrap_or_default();
                Some(Fault {
                    span: Span::new(at, at),
                    reason: error.to_string(),
                })
            }
        };
        if let Some(fault) = fault {
            file.faults.push(fault);
            builder.document();
            let too_many = builder.nodes > most || file.faults.len() > 100;
            if too_many || !parser.proceed_next_document().unwrap_or(false) {
                break;
            }
        }
    }
    *left = left.saturating_sub(builder.nodes);
    file
}

const TOO_MANY: &str = "more nodes than a million in a file or four in a run, aliases put in place";

#[derive(Default)]
struct Builder {
    root: Option<Node>,
    open: Vec<Open>,
    /// What anchors stand for, with depth and number of nodes.
    anchors: HashMap<usize, (Node, usize, usize)>,
    nodes: usize,
    /// How many there may be.
    most: usize,
}

/// A collection that is being read.
struct Open {
    node: Node,
    anchor: usize,
    /// A key that waits for its value.
    key: Option<Node>,
    /// The depth below it so far, and how many nodes there are.
    depth: usize,
    nodes: usize,
}

impl Builder {
    fn document(&mut self) {
        self.root = None;
        self.open.clear();
        self.anchors.clear();
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), &'static str> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let style = match style {
                    // `!!str 1` is a text.
                    ScalarStyle::Plain if tag.is_some() => Style::Double,
                    ScalarStyle::Plain => Style::Plain,
                    ScalarStyle::SingleQuoted => Style::Single,
                    ScalarStyle::DoubleQuoted => Style::Double,
                    ScalarStyle::Literal => Style::Literal,
                    ScalarStyle::Folded => Style::Folded,
                };
                let kind = Kind::Scalar(text.into_owned(), style);
                self.add(Node { kind, span }, anchor, 0, 1)
            }
            Event::SequenceStart(_, anchor, _) => {
                self.begin(Kind::Sequence(Vec::new()), anchor, span)
            }
            Event::MappingStart(_, anchor, _) => {
                self.begin(Kind::Mapping(Vec::new()), anchor, span)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(mut open) = self.open.pop() else {
                    return Ok(());
                };
                open.node.span.end = span.end.max(open.node.span.start);
                self.add(open.node, open.anchor, open.depth + 1, open.nodes + 1)
            }
            Event::Alias(id) => {
                let Some((node, depth, nodes)) = self.anchors.get(&id) else {
                    return Err("an alias of something that is not finished");
                };
                let (depth, nodes) = (*depth, *nodes);
                if self.nodes.saturating_add(nodes) > self.most {
                    self.nodes = self.most.saturating_add(1);
                    return Err(TOO_MANY);
                }
                let node = node.clone();
                self.nodes += nodes;
                self.add(node, 0, depth, nodes)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, kind: Kind, anchor: usize, span: Span) -> Result<(), &'static str> {
        if self.open.len() >= MAX_DEPTH {
            return Err("nested deeper than 100 levels");
        }
        self.open.push(Open {
            node: Node { kind, span },
            anchor,
            key: None,
            depth: 0,
            nodes: 0,
        });
        Ok(())
    }

    /// A node that is complete: the root, or a part of the collection that is open.
    fn add(
        &mut self,
        node: Node,
        anchor: usize,
        depth: usize,
        nodes: usize,
    ) -> Result<(), &'static str> {
        self.nodes += 1;
        if self.nodes > self.most {
            return Err(TOO_MANY);
        }
        if self.open.len() + depth > MAX_DEPTH {
            return Err("nested deeper than 100 levels, aliases put in place");
        }
        if anchor > 0 {
            self.nodes = self.nodes.saturating_add(nodes);
            self.anchors.insert(anchor, (node.clone(), depth, nodes));
        }
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node).filter(|node| !node.is_null());
            return Ok(());
        };
        open.depth = open.depth.max(depth);
        open.nodes = open.nodes.saturating_add(nodes);
        match &mut open.node.kind {
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(entries) => match open.key.take() {
                Some(key) => entries.push((key, node)),
                None => open.key = Some(node),
            },
            Kind::Scalar(..) => {}
        }
        Ok(())
    }
}

impl Node {
    /// The text of a scalar.
    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        crate::work::step();
        match &self.kind {
            Kind::Scalar(text, _) => Some(text),
            _ => None,
        }
    }

    /// How a scalar was written.
    #[must_use]
    pub const fn style(&self) -> Option<Style> {
        match self.kind {
            Kind::Scalar(_, style) => Some(style),
            _ => None,
        }
    }

    /// An integer, as Kubernetes reads it: `0644` and `0o644` are octal.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        let Kind::Scalar(text, Style::Plain) = &self.kind else {
            return None;
        };
        let text = text.replace('_', "");
        let (negative, digits) = match text.strip_prefix('-') {
            Some(digits) => (true, digits),
            None => (false, text.strip_prefix('+').unwrap_or(&text)),
        };
        let parsed = if let Some(hex) = digits.strip_prefix("0x") {
            i64::from_str_radix(hex, 16)
        } else if let Some(octal) = digits.strip_prefix("0o") {
            i64::from_str_radix(octal, 8)
        } else if digits.len() > 1 && digits.starts_with('0') {
            i64::from_str_radix(digits, 8)
        } else {
            digits.parse()
        };
        let value = parsed.ok().filter(|_| !digits.starts_with(['+', '-']))?;
        Some(if negative { -value } else { value })
    }

    /// A boolean, as Kubernetes reads it: YAML 1.1 has `yes`, `on` and their like, too.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        let Kind::Scalar(text, Style::Plain) = &self.kind else {
            return None;
        };
        match text.as_str() {
            "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
            "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
            _ => None,
        }
    }

    /// Whether it is nothing.
    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar(text, Style::Plain) if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// The items of a sequence; none of anything else.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        match &self.kind {
            Kind::Sequence(items) => items,
            _ => &[],
        }
    }

    /// The entries of a mapping; none of anything else.
    #[must_use]
    pub fn entries(&self) -> &[(Self, Self)] {
        match &self.kind {
            Kind::Mapping(entries) => entries,
            _ => &[],
        }
    }

    /// Whether it is a mapping.
    #[must_use]
    pub const fn is_mapping(&self) -> bool {
        matches!(self.kind, Kind::Mapping(_))
    }

    /// Key and value of an entry of a mapping, also of one that is merged in by `<<`.
    #[must_use]
    pub fn entry(&self, key: &str) -> Option<(&Self, &Self)> {
        crate::work::step();
        let find = |of: &'_ Self| {
            let at = of
                .entries()
                .iter()
                .rposition(|(name, _)| name.as_str() == Some(key))?;
            Some(at)
        };
        if let Some(at) = find(self) {
            return self.entries().get(at).map(|(key, value)| (key, value));
        }
        let (_, merged) = self
            .entries()
            .iter()
            .find(|(name, _)| name.as_str() == Some("<<"))?;
        let mut sources = std::slice::from_ref(merged).iter();
        if !merged.is_mapping() {
            sources = merged.items().iter();
        }
        for source in sources {
            if let Some(at) = find(source) {
                return source.entries().get(at).map(|(key, value)| (key, value));
            }
        }
        None
    }

    /// A value of a mapping that is not null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        self.entry(key)
            .map(|(_, value)| value)
            .filter(|value| !value.is_null())
    }

    /// The value behind a chain of keys.
    #[must_use]
    pub fn path(&self, keys: &[&str]) -> Option<&Self> {
        keys.iter().try_fold(self, |node, key| node.get(key))
    }

    /// The text behind a chain of keys.
    #[must_use]
    pub fn text(&self, keys: &[&str]) -> Option<&str> {
        self.path(keys).and_then(Self::as_str)
    }

    /// This node and all within it, outer ones first.
    #[must_use]
    pub fn all(&self) -> Vec<&Self> {
        let mut found = vec![self];
        let mut next = 0;
        while let Some(node) = found.get(next).copied() {
            match &node.kind {
                Kind::Sequence(items) => found.extend(items),
                Kind::Mapping(entries) => {
                    found.extend(entries.iter().flat_map(|(key, value)| [key, value]));
                }
                Kind::Scalar(..) => {}
            }
            next += 1;
        }
        found
    }

    /// Where the lines of a scalar stand in the file: first byte in its text, first byte in `text`. Exact for block
    /// scalars and for quoted ones without escapes before the place; else the beginning.
    #[must_use]
    pub fn pieces(&self, text: &str) -> Vec<(usize, usize)> {
        let Kind::Scalar(value, style) = &self.kind else {
            return Vec::new();
        };
        let raw = self.span.text(text);
        match style {
            Style::Plain => vec![(0, self.span.start)],
            Style::Single => vec![(0, self.span.start + 1)],
            Style::Double => escaped(raw, self.span.start),
            Style::Literal | Style::Folded => block(value, text, self.span),
        }
    }
}

/// Of a text in double quotes, pieces begin behind each escape.
fn escaped(raw: &str, start: usize) -> Vec<(usize, usize)> {
    let mut pieces = vec![(0, start + 1)];
    let mut inner = 0;
    let mut characters = raw.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        if c != '\\' {
            inner += c.len_utf8();
            continue;
        }
        let Some((_, kind)) = characters.next() else {
            break;
        };
        let digits = match kind {
            'x' => 2,
            'u' => 4,
            'U' => 8,
            _ => 0,
        };
        let code = raw.get(at + 2..at + 2 + digits).unwrap_or_default();
        inner += match kind {
            '\n' => 0,
            _ if digits == 0 => 1,
            _ => u32::from_str_radix(code, 16)
                .ok()
                .and_then(char::from_u32)
                .map_or(1, char::len_utf8),
        };
        for _ in 0..digits {
            characters.next();
        }
        pieces.push((inner, start + at + 2 + digits));
    }
    pieces
}

/// Of a block, lines begin behind their indentation. A folded one has fewer lines than were written, so that its lines
/// are looked for one after the other.
fn block(value: &str, text: &str, span: Span) -> Vec<(usize, usize)> {
    let mut pieces = Vec::new();
    let mut inner = 0;
    let raw = span.text(text);
    let header = raw.starts_with(['|', '>']);
    let mut outer = if header {
        span.start + raw.find('\n').map_or(raw.len(), |end| end + 1)
    } else {
        // From the line on which it begins, and the blank ones before it, which are part of it.
        let before = text.get(..span.start).unwrap_or_default();
        let mut start = before.rfind('\n').map_or(0, |end| end + 1);
        while let Some(above) = before.get(..start.saturating_sub(1)).filter(|_| start > 0) {
            let line = above.rfind('\n').map_or(0, |end| end + 1);
            if !above.get(line..).unwrap_or_default().trim().is_empty() || line == start {
                break;
            }
            start = line;
        }
        start
    };
    let mut lines = text.get(outer..).unwrap_or_default().split_inclusive('\n');
    for line in value.split_inclusive('\n') {
        let content = line.trim_end_matches('\n');
        loop {
            let Some(written) = lines.next() else {
                return pieces;
            };
            let from = outer;
            outer += written.len();
            let body = written.trim_end_matches(['\n', '\r']);
            // The text of a folded line is the beginning of the one it became a part of.
            let found = if content.is_empty() {
                body.trim().is_empty().then_some(0)
            } else {
                let indent = body.len() - body.trim_start_matches(' ').len();
                let lead = content.len() - content.trim_start_matches(' ').len();
                let same = body.get(indent..).is_some_and(|body| {
                    !body.is_empty() && content.trim_start_matches(' ').starts_with(body)
                });
                same.then(|| indent.saturating_sub(lead))
            };
            if let Some(indent) = found {
                pieces.push((inner, from + indent));
                break;
            }
            if outer > span.end.saturating_add(1) && outer > text.len() {
                return pieces;
            }
        }
        inner += line.len();
    }
    pieces
}
