//! Reading and writing files safely: modes, owners, links, bounds, and renaming into place.

mod beneath;
mod directory;
mod read;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

pub use beneath::Beneath;
pub use directory::{directory, directory_of, private_directory};
pub use read::{read_own, read_private, read_secret, read_secret_text, read_text};
pub use tree::{Whose, read_tree};
pub use write::{Access, New, lock, write, write_new};

use crate::error::FileError;

/// Whether a file or directory is this process's user's, and nobody else's to look into.
fn check_private(path: &Path, meta: &Metadata, wanted: u32) -> Result<(), FileError> {
    let (owner, own) = (meta.uid(), rustix::process::geteuid().as_raw());
    if owner != own {
        return Err(FileError::new(
            path,
            format!("found owner {owner}, wanted this process's user, {own}"),
        ));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(FileError::new(
            path,
            format!("found mode {mode:04o}, wanted {wanted:04o}: it holds keys (chmod {wanted:o})"),
        ));
    }
    Ok(())
}
