//! Values of the application environment, whichever language they were written in.

use skans_erlconf::elixir::{self, Expr};
use skans_erlconf::term::{self, Term};

use crate::source::Place;

/// One value of the application environment of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Setting {
    /// The application.
    pub app: String,
    /// The key.
    pub key: String,
    /// The value.
    pub value: Value,
    /// Where the key stands, up to the end of the value.
    pub place: Place,
    /// Who says it.
    pub origin: Origin,
}

/// Who says a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A file named by `-config`.
    Config,
    /// `-Application Key Value`.
    Flag,
    /// `config/config.exs`: a part of the release's `sys.config`.
    Build,
    /// `config/runtime.exs`: after kernel and stdlib have started.
    Runtime,
}

/// A value, as far as rules look at it.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// An integer.
    Integer(i128),
    /// An atom; in Elixir also a module.
    Atom(String),
    /// A string or a binary.
    Text(String),
    /// A tuple.
    Tuple(Vec<Value>),
    /// A list; of a keyword list, its pairs as tuples.
    List(Vec<Value>),
    /// A map.
    Map(Vec<(Value, Value)>),
    /// Read from this variable when the node starts; with what is taken if it is not set.
    Variable(String, Option<Box<Value>>),
    /// Something else, or something that is only known when it runs.
    Unknown,
}

impl Value {
    /// The text of an atom or string.
    #[must_use]
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Atom(text) | Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The integer.
    #[must_use]
    pub const fn integer(&self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether it is this atom.
    #[must_use]
    pub fn is_atom(&self, name: &str) -> bool {
        matches!(self, Self::Atom(text) if text == name)
    }

    /// The value of a key of a property list or map.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Self> {
        match self {
            Self::List(items) => items.iter().find_map(|item| match item {
                Self::Tuple(pair) => match pair.as_slice() {
                    [name, value] if name.text() == Some(key) => Some(value),
                    _ => None,
                },
                _ => None,
            }),
            Self::Map(pairs) => pairs
                .iter()
                .find(|(name, _)| name.text() == Some(key))
                .map(|(_, value)| value),
            _ => None,
        }
    }
}

impl From<&Term> for Value {
    fn from(term: &Term) -> Self {
        let all = |terms: &[Term]| terms.iter().map(Self::from).collect();
        match &term.kind {
            term::Kind::Integer(value) => Self::Integer(*value),
            term::Kind::Atom(name) => Self::Atom(name.clone()),
            term::Kind::String(text) => Self::Text(text.clone()),
            term::Kind::Binary(_) => term
                .text()
                .map_or(Self::Unknown, |text| Self::Text(text.to_owned())),
            term::Kind::Tuple(terms) => Self::Tuple(all(terms)),
            term::Kind::List(terms, None) => Self::List(all(terms)),
            term::Kind::Map(pairs) => Self::Map(
                pairs
                    .iter()
                    .map(|(key, value)| (Self::from(key), Self::from(value)))
                    .collect(),
            ),
            term::Kind::Placeholder(text) => {
                let inner = text
                    .strip_prefix("${")
                    .and_then(|inner| inner.strip_suffix('}'));
                match inner.map(|inner| inner.split_once(":-").unwrap_or((inner, ""))) {
                    Some((name, default)) => Self::Variable(
                        name.to_owned(),
                        (!default.is_empty()).then(|| Box::new(Self::Text(default.to_owned()))),
                    ),
                    None => Self::Unknown,
                }
            }
            _ => Self::Unknown,
        }
    }
}

impl From<&Expr> for Value {
    fn from(expr: &Expr) -> Self {
        let all = |exprs: &[Expr]| exprs.iter().map(Self::from).collect();
        match &expr.kind {
            elixir::Kind::Integer(value) => Self::Integer(*value),
            elixir::Kind::Atom(name) | elixir::Kind::Alias(name) => Self::Atom(name.clone()),
            elixir::Kind::Charlist(text) => Self::Text(text.clone()),
            elixir::Kind::String { text, interpolated } if interpolated.is_empty() => {
                Self::Text(text.clone())
            }
            elixir::Kind::Tuple(exprs) => Self::Tuple(all(exprs)),
            elixir::Kind::List(exprs) => Self::List(all(exprs)),
            elixir::Kind::Pair(key, value) => {
                Self::Tuple(vec![Self::from(key.as_ref()), Self::from(value.as_ref())])
            }
            elixir::Kind::Map(entries) => Self::Map(
                entries
                    .iter()
                    .filter_map(|entry| match &entry.kind {
                        elixir::Kind::Pair(key, value) => {
                            Some((Self::from(key.as_ref()), Self::from(value.as_ref())))
                        }
                        _ => None,
                    })
                    .collect(),
            ),
            _ => match expr.from_environment() {
                Some(from) => Self::Variable(
                    from.name.to_owned(),
                    from.default.map(|default| Box::new(Self::from(default))),
                ),
                None => Self::Unknown,
            },
        }
    }
}
