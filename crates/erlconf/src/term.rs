//! Erlang terms as `file:consult/1` reads them: a tree with spans, and how to ask it. Reading is in the parser.
//!
//! What Erlang refuses is refused: variables, expressions, local funs, records. What only some releases read is read
//! as the newest of OTP 25 to 27 does (triple-quoted strings and sigils). Two things differ from `consult`: numbers
//! beyond 128 bits stay text, and on request ([`Options::placeholders`]) what a release tool fills in later is kept.

mod bits;
mod lexer;
mod parser;
mod print;
mod query;
#[cfg(test)]
mod tests;

use crate::error::Result;
use crate::limits::Limits;
use crate::span::Span;

pub use query::Entry;

/// A term and where it stands. Terms are equal if their values are: spans do not count.
#[derive(Debug, Clone)]
pub struct Term {
    /// What it is.
    pub kind: Kind,
    /// Where it stands.
    pub span: Span,
}

/// What a term is. Characters (`$a`) are the integers that they are in Erlang.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Kind {
    /// An atom, without quotes and escapes.
    Atom(String),
    /// An integer of at most 128 bits.
    Integer(i128),
    /// A larger integer, as it was written, with its sign.
    BigInteger(String),
    /// A float, never infinite.
    Float(f64),
    /// What was written as a string: to Erlang the list of its characters.
    String(String),
    /// A binary.
    Binary(Vec<u8>),
    /// A bit string that does not fill its last byte.
    Bits {
        /// The bits, those of the last byte at its high end.
        bytes: Vec<u8>,
        /// How many bits of the last byte count, 1 to 7.
        last: u8,
    },
    /// A tuple.
    Tuple(Vec<Term>),
    /// A list; the second part is what stands behind `|`.
    List(Vec<Term>, Option<Box<Term>>),
    /// A map in the order of writing; of equal keys, Erlang takes the last.
    Map(Vec<(Term, Term)>),
    /// `fun Module:Function/Arity`.
    Fun {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// How many arguments it takes.
        arity: u8,
    },
    /// `Module:Function(Arguments)`, if [`Options::code`] allows it. Nothing is called.
    Call {
        /// The module.
        module: String,
        /// The function.
        function: String,
        /// The arguments.
        arguments: Vec<Term>,
    },
    /// `fun (…) -> … end`, if [`Options::code`] allows it, as it was written.
    Code(String),
    /// `${NAME}` or `<%= … %>` where a term may stand, as it was written, with what touches it.
    Placeholder(String),
}

impl Kind {
    /// What it is, for messages.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Atom(_) => "an atom",
            Self::Integer(_) | Self::BigInteger(_) => "an integer",
            Self::Float(_) => "a float",
            Self::String(_) => "a string",
            Self::Binary(_) => "a binary",
            Self::Bits { .. } => "a bit string",
            Self::Tuple(_) => "a tuple",
            Self::List(..) => "a list",
            Self::Map(_) => "a map",
            Self::Fun { .. } => "a fun",
            Self::Call { .. } => "a call",
            Self::Code(_) => "code",
            Self::Placeholder(_) => "a placeholder",
        }
    }
}

/// A comment, from `%` to the end of the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Comment {
    /// Where it stands, with its `%`.
    pub span: Span,
}

/// What a file of terms holds.
#[derive(Debug, Clone, Default)]
pub struct Document {
    /// The terms, each of which ended with a dot.
    pub terms: Vec<Term>,
    /// The comments.
    pub comments: Vec<Comment>,
}

/// How to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// The bounds.
    pub limits: Limits,
    /// Whether `${NAME}` and `<%= … %>` may stand where a term may, as in `sys.config.src`.
    pub placeholders: bool,
    /// Whether calls and funs may stand where a term may, as in the file of `-ssl_dist_optfile`, which is evaluated.
    pub code: bool,
}

/// Reads terms, each followed by a dot and white space, as `file:consult/1` does.
///
/// # Errors
/// The first thing in the text that Erlang would not read, or that is out of [`Limits::DEFAULT`].
///
/// ```
/// let text = "%% by hand\n{server, [{verify, verify_peer}]}.\n{client, []}.";
/// let file = skans_erlconf::term::consult(text)?;
/// assert_eq!(file.terms.len(), 2);
/// assert_eq!(file.comments[0].span.text(text), "%% by hand");
/// # Ok::<(), skans_erlconf::Error>(())
/// ```
pub fn consult(text: &str) -> Result<Document> {
    consult_with(text, Options::default())
}

/// The same, with options.
///
/// # Errors
/// The first thing in the text that Erlang would not read, or that is out of the limits.
pub fn consult_with(text: &str, options: Options) -> Result<Document> {
    parser::document(text, options)
}

/// Reads one term without a dot: the value of a flag such as `-kernel inet_dist_listen_min 9100`.
///
/// # Errors
/// What Erlang would not read as one term.
///
/// ```
/// let term = skans_erlconf::term::parse("{127,0,0,1}")?;
/// assert_eq!(term.elements().map(<[_]>::len), Some(4));
/// # Ok::<(), skans_erlconf::Error>(())
/// ```
pub fn parse(text: &str) -> Result<Term> {
    parser::single(text, Options::default())
}

/// The text of a file: UTF-8, or Latin-1 if the first two lines say so (`%% coding: latin-1`), as `epp` decides.
///
/// # Errors
/// Bytes that are not UTF-8 in a file that does not say that it is something else.
pub fn decode(bytes: &[u8]) -> Result<String> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let head: Vec<u8> = bytes
        .split(|byte| *byte == b'\n')
        .take(2)
        .flatten()
        .map(u8::to_ascii_lowercase)
        .collect();
    let head = String::from_utf8_lossy(&head);
    let latin = head.split("coding").skip(1).any(|after| {
        let name = after.trim_start_matches([' ', '\t']);
        name.strip_prefix([':', '='])
            .is_some_and(|name| name.trim_start().starts_with("latin-1"))
    });
    if latin {
        return Ok(bytes.iter().map(|byte| char::from(*byte)).collect());
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.to_owned()),
        Err(error) => {
            let at = error.valid_up_to();
            Err(crate::Error::invalid(
                "text",
                "not UTF-8; a file in Latin-1 says so in its first line: %% coding: latin-1",
                Span::new(at, at),
            ))
        }
    }
}
