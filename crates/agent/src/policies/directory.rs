//! A set of local files, for an agent without a control plane.

use std::path::Path;
use std::sync::Arc;

use skans_host::files::{Whose, read_tree};
use skans_policy::source::{MAX_BYTES, MAX_FILES};
use skans_policy::{File, Source};

use super::{InForce, Standing, compile};
use crate::Error;

/// Reads and compiles it.
///
/// # Errors
/// [`Error::File`] if a file cannot be read, or can be changed by others; [`Error::Policy`] with every problem and its place.
pub fn load(directory: &Path) -> Result<InForce, Error> {
    let files = read_tree(directory, MAX_FILES, MAX_BYTES as u64, Whose::Ours)?;
    let files: Vec<File> = files
        .into_iter()
        .map(|(name, text)| File { name, text })
        .collect();
    let source = Source::read(&files).map_err(|problems| Error::Policy {
        problem: format!("{}: {problems}", directory.display()),
        label: "compile",
    })?;
    Ok(InForce {
        engine: Arc::new(compile(&source)?),
        standing: Standing::Directory,
        name: source.name,
        expires: None,
    })
}
