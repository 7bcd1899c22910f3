//! Directories: made with the mode that was asked for, or checked if they are there.

use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use super::check_private;
use super::write::{give, sync_parent};
use crate::error::FileError;

/// Makes a directory that nobody else may enter (0700), or checks that what is there is one.
///
/// # Errors
/// Says whose it is, or which mode it has, and what was wanted.
pub fn private_directory(path: &Path) -> Result<(), FileError> {
    directory(path, 0o700)?;
    let meta = fs::symlink_metadata(path).map_err(FileError::doing(path, "stat"))?;
    check_private(path, &meta, 0o700)?;
    // It is going to hold keys: they must not be lost with its name.
    sync_parent(path)
}

/// Makes a directory with this mode (and its parents, 0755), or checks that what is there is a directory of ours or root's
/// that others cannot write to.
///
/// # Errors
/// Says what was found there.
pub fn directory(path: &Path, mode: u32) -> Result<(), FileError> {
    directory_of(path, mode, None)
}

/// Like [`directory`], for one that belongs to a user: it is given to that user, and may be theirs already.
///
/// # Errors
/// As [`directory`]; giving it to another user than this process's own takes root.
pub fn directory_of(path: &Path, mode: u32, user: Option<u32>) -> Result<(), FileError> {
    if let Some(parent) = path.parent() {
        // Whatever the umask is: nobody else may put anything there.
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o755)
            .create(parent)
            .map_err(FileError::doing(parent, "create"))?;
    }
    match fs::DirBuilder::new().mode(mode).create(path) {
        Ok(()) => {
            // The umask took bits away that were asked for.
            fs::set_permissions(path, fs::Permissions::from_mode(mode))
                .map_err(FileError::doing(path, "set its mode"))?;
            return give_directory(path, user);
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(FileError::doing(path, "create")(error)),
    }
    let meta = fs::symlink_metadata(path).map_err(FileError::doing(path, "stat"))?;
    if !meta.is_dir() {
        return Err(FileError::new(
            path,
            "found something else, wanted a directory",
        ));
    }
    let owner = meta.uid();
    let ours = owner == 0 || owner == rustix::process::geteuid().as_raw();
    if !ours && user != Some(owner) {
        return Err(FileError::new(
            path,
            format!("found owner {owner}, wanted root or this process's user"),
        ));
    }
    if meta.mode() & 0o022 != 0 {
        let mode = meta.mode() & 0o777;
        return Err(FileError::new(
            path,
            format!("found mode {mode:04o}, wanted one that others cannot write to"),
        ));
    }
    give_directory(path, user)
}

fn give_directory(path: &Path, user: Option<u32>) -> Result<(), FileError> {
    let Some(owner) = user else { return Ok(()) };
    File::open(path)
        .and_then(|directory| give(&directory, owner))
        .map_err(FileError::doing(path, &format!("give to user {owner}")))
}
