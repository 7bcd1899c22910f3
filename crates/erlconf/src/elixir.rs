//! What stands literally in Elixir configuration: `config/runtime.exs`, `config/config.exs`, `mix.exs`. Nothing is
//! evaluated.
//!
//! The reader is tolerant: it knows literals, calls, blocks and that operators join things, but not what any of it
//! means. What it does not understand it skips to the end of the line and lists in [`File::skipped`], so that a caller
//! can say what was not looked at. Operators have no precedence here: operands stand side by side.
//!
//! ```
//! use skans_erlconf::elixir;
//!
//! let text = r#"
//! import Config
//! config :shop, cookie: System.get_env("COOKIE", "secret"), port: 4000
//! "#;
//! let file = elixir::parse(text)?;
//! let settings = file.settings();
//! assert_eq!((settings[0].app, settings[0].key()), ("shop", Some("cookie")));
//! let from = settings[0].value.from_environment().unwrap();
//! assert_eq!(from.name, "COOKIE");
//! assert_eq!(from.default.unwrap().text(), Some("secret"));
//! # Ok::<(), skans_erlconf::Error>(())
//! ```

mod lexer;
mod parser;
mod query;
#[cfg(test)]
mod tests;

use crate::error::{Error, Result};
use crate::limits::Limits;
use crate::span::Span;

pub use query::{FromEnvironment, Setting};

/// An expression and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// What an expression is.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Kind {
    /// An atom: `:name`, `:"a name"`, a key such as `name:`; also `true`, `false` and `nil`.
    Atom(String),
    /// A module name such as `Shop.Endpoint`.
    Alias(String),
    /// An integer.
    Integer(i128),
    /// A float.
    Float(f64),
    /// A string.
    String {
        /// Its text; what is interpolated stands in it as it was written.
        text: String,
        /// What is interpolated.
        interpolated: Vec<Expr>,
    },
    /// A list of characters in single quotes or `~c`.
    Charlist(String),
    /// A list. Its keyword entries are [`Kind::Pair`]s.
    List(Vec<Expr>),
    /// A tuple.
    Tuple(Vec<Expr>),
    /// A map or struct; its entries are pairs.
    Map(Vec<Expr>),
    /// `key: value` or `key => value`.
    Pair(Box<Expr>, Box<Expr>),
    /// A name that stands alone: a variable, or a call without arguments.
    Variable(String),
    /// `@name`, perhaps with what it is set to.
    Attribute(String, Vec<Expr>),
    /// A call; keyword arguments are pairs among the others.
    Call {
        /// What is called, as it was written: `config`, `System.get_env`, `:net_kernel.start`.
        name: String,
        /// The arguments.
        arguments: Vec<Expr>,
        /// What stands in its block, `else` and the like included.
        block: Vec<Expr>,
    },
    /// Operands and the operators between them or before the first, without precedence.
    Operation {
        /// The operators, in order.
        operators: Vec<String>,
        /// The operands, in order.
        operands: Vec<Expr>,
    },
    /// What has no value that can be read: an anonymous function, a sigil of another kind. Its parts, if any.
    Other(Vec<Expr>),
}

/// Something that was not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// What was passed over.
    pub span: Span,
    /// Why.
    pub reason: Error,
}

/// What a file holds.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct File {
    /// Its expressions, in order.
    pub body: Vec<Expr>,
    /// What was not understood.
    pub skipped: Vec<Skipped>,
    /// The comments, with their `#`.
    pub comments: Vec<Span>,
}

/// Reads a file.
///
/// # Errors
/// A text out of [`Limits::DEFAULT`]. What is merely not understood is in [`File::skipped`].
pub fn parse(text: &str) -> Result<File> {
    parser::file(text, Limits::DEFAULT)
}
