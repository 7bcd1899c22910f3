//! What cannot be used.

use skans_host::error::FileError;

/// Why a collector cannot be reached as it is configured.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A field of [`crate::Otlp`], what was found in it, and what was wanted.
    #[error("{0}: {1}")]
    Field(&'static str, String),
    /// The file with the authorities cannot be read, or holds something else.
    #[error(transparent)]
    File(#[from] FileError),
}

/// With [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
