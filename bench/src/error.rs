//! What can go wrong in a measurement. Nothing is retried: a run that failed in part measured nothing.

use std::fmt::Display;

/// What was being done, and what went wrong.
#[derive(Debug, thiserror::Error)]
#[error("{doing}: {why}")]
pub struct Error {
    doing: String,
    why: String,
}

/// The result of a step.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error while `doing` something.
    pub fn new(doing: impl Into<String>, why: impl Display) -> Self {
        Self {
            doing: doing.into(),
            why: why.to_string(),
        }
    }
}

/// Says what was being done when something failed.
pub trait Doing<T> {
    /// Turns any error into one of ours.
    fn doing(self, what: impl Into<String>) -> Result<T>;
}

impl<T, E: Display> Doing<T> for std::result::Result<T, E> {
    fn doing(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| Error::new(what, error))
    }
}
