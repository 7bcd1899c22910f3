//! All text files below a directory, for what is configured by several of them.

use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::{StatVfsMountFlags, statvfs};

use super::read_text;
use crate::error::FileError;

/// How deep it goes: the directory itself, and those in it.
const DEPTH: usize = 2;

/// Who may be able to change what is read.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Whose {
    /// Anybody: whoever reads it decides nothing by it.
    Anybodys,
    /// Root or this process's user alone.
    Ours,
}

/// The text files of a directory and of those in it, by their paths with `/` between the parts, sorted. Names that begin with a
/// dot are passed over: editors and Kubernetes have such. Links are followed, as a mounted ConfigMap has them.
///
/// # Errors
/// If something cannot be read, is not UTF-8, can be changed by others, or is more than `most` files or `limit` bytes together.
pub fn read_tree(
    directory: &Path,
    most: usize,
    limit: u64,
    whose: Whose,
) -> Result<Vec<(String, String)>, FileError> {
    let mut found = Vec::new();
    let mut left = limit;
    read_into(directory, "", DEPTH, whose, &mut |name, path| {
        if found.len() >= most {
            let problem = format!("found more than {most} files, wanted at most that");
            return Err(FileError::new(directory, problem));
        }
        let text = read_text(path, left).map_err(|error| {
            if left < limit && path.metadata().is_ok_and(|meta| meta.len() > left) {
                let problem = format!("found more than {limit} bytes in all, wanted at most that");
                return FileError::new(directory, problem);
            }
            error
        })?;
        left -= text.len() as u64;
        found.push((name, text));
        Ok(())
    })?;
    found.sort();
    Ok(found)
}

fn read_into(
    directory: &Path,
    prefix: &str,
    depth: usize,
    whose: Whose,
    take: &mut dyn FnMut(String, &Path) -> Result<(), FileError>,
) -> Result<(), FileError> {
    let meta = fs::metadata(directory).map_err(FileError::doing(directory, "open"))?;
    if !meta.is_dir() {
        let problem = "found something else, wanted a directory";
        return Err(FileError::new(directory, problem));
    }
    if whose == Whose::Ours {
        // Whoever can take a file out changes what the rest means. What is mounted read-only (a ConfigMap) nobody can change here.
        let fixed = statvfs(directory)
            .is_ok_and(|system| system.f_flag.contains(StatVfsMountFlags::RDONLY));
        check_ours(directory, &meta, fixed)?;
    }
    for entry in fs::read_dir(directory).map_err(FileError::doing(directory, "read"))? {
        let entry = entry.map_err(FileError::doing(directory, "read"))?;
        let path = entry.path();
        let name = entry.file_name().into_string().map_err(|_| {
            FileError::new(&path, "found a name that is not UTF-8, wanted one that is")
        })?;
        if name.starts_with('.') {
            continue;
        }
        let name = format!("{prefix}{name}");
        let meta = fs::metadata(&path).map_err(FileError::doing(&path, "stat"))?;
        if meta.is_dir() {
            if depth <= 1 {
                let problem = "found a directory, wanted none so deep";
                return Err(FileError::new(&path, problem));
            }
            read_into(&path, &format!("{name}/"), depth - 1, whose, take)?;
            continue;
        }
        if !meta.is_file() {
            return Err(FileError::new(
                &path,
                "found something else, wanted a regular file",
            ));
        }
        if whose == Whose::Ours {
            check_ours(&path, &meta, false)?;
        }
        take(name, &path)?;
    }
    Ok(())
}

fn check_ours(path: &Path, meta: &Metadata, fixed: bool) -> Result<(), FileError> {
    let owner = meta.uid();
    if owner != 0 && owner != rustix::process::geteuid().as_raw() {
        let problem = format!("found owner {owner}, wanted root or this process's user");
        return Err(FileError::new(path, problem));
    }
    let mode = meta.mode() & 0o777;
    if mode & 0o022 != 0 && !fixed {
        let problem = format!("found mode {mode:04o}, wanted one that others cannot write to");
        return Err(FileError::new(path, problem));
    }
    Ok(())
}
