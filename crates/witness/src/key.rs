//! The key of a witness: made once, read at every start. It is in no backup and on no other machine: two that sign as one may cosign two
//! histories.

use std::fs::{Permissions, set_permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use skans_audit::cosignature::Cosigner;
use skans_host::files;

use crate::Error;

/// Largest key file in bytes. A name has 512 at most, the rest 70.
const MAX_FILE: u64 = 1024;

/// Makes a key of this name, in a file that is not there yet (0400). Gives the public half, for those who verify.
///
/// # Errors
/// [`Error::Key`], if it is no name; [`Error::File`], if the file is there or cannot be written.
pub fn make(path: &Path, name: &str) -> Result<String, Error> {
    let key = Cosigner::generate(name).map_err(Error::Key)?;
    let mut text = key.to_skey();
    text.push('\n');
    files::write_new(path, text.as_bytes())?;
    // Nobody is to write it again, by accident neither.
    set_permissions(path, Permissions::from_mode(0o400))
        .map_err(|error| Error::file(path, format!("cannot set its mode: {error}")))?;
    Ok(key.vkey())
}

/// Reads it.
///
/// # Errors
/// [`Error::File`], if others may read it, or it is no key of a witness; what is found in it is not shown.
pub fn read(path: &Path) -> Result<Cosigner, Error> {
    let text = files::read_secret_text(path, MAX_FILE)?;
    Cosigner::parse_skey(text.trim_end_matches('\n'))
        .map_err(|error| Error::file(path, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_by_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let vkey = make(&path, "witness.example/w1").unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o400);
        assert_eq!(read(&path).unwrap().vkey(), vkey);
        assert!(make(&path, "witness.example/w1").is_err());
        assert_eq!(read(&path).unwrap().vkey(), vkey);
        set_permissions(&path, Permissions::from_mode(0o444)).unwrap();
        assert!(read(&path).is_err());
        assert!(make(&dir.path().join("other"), "a b").is_err());
    }
}
