//! What can be wrong with a host.

use std::path::{Path, PathBuf};

/// A file or directory cannot be used, or not safely. The administrator of the host is to act; trying again does not help
/// until then.
#[derive(Debug, thiserror::Error)]
#[error("{}: {problem}", path.display())]
pub struct FileError {
    /// The file.
    pub path: PathBuf,
    /// What was found, and what was wanted.
    pub problem: String,
}

impl FileError {
    /// About this file.
    #[must_use]
    pub fn new(path: &Path, problem: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            problem: problem.into(),
        }
    }

    /// Says what was tried before the system's own words.
    pub(crate) fn doing(path: &Path, doing: &str) -> impl FnOnce(std::io::Error) -> Self {
        move |error| Self::new(path, format!("cannot {doing}: {error}"))
    }
}

/// A level for logs that is none.
#[derive(Debug, thiserror::Error)]
#[error("found {found:?}: {why}")]
pub struct BadLevel {
    /// What was given.
    pub found: String,
    /// What is wrong with it.
    pub why: String,
}
