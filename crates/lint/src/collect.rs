//! Files from disk, bounded: how many, how large, how deep. The only place of this crate that reads any.

#[cfg(test)]
mod tests;

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::document;
use crate::error::{Error, Result};

/// The largest file, in bytes. The largest of this kind are rendered charts with all their custom resource definitions,
/// 1 to 3 MiB.
pub const MAX_FILE: u64 = 8 << 20;
/// The most that is read in all, in bytes.
pub const MAX_TOTAL: u64 = 256 << 20;
/// The most files.
pub const MAX_FILES: usize = 20_000;
/// The deepest directory.
const MAX_DEPTH: usize = 32;
/// Directories that hold what others wrote, or what was built.
const SKIPPED: &[&str] = &[
    "_build",
    "deps",
    "node_modules",
    "target",
    "_checkouts",
    "vendor",
];

/// What was read.
#[derive(Debug, Default)]
pub struct Collected {
    /// Path and text of each file.
    pub files: Vec<(String, String)>,
    /// What could not be read.
    pub errors: Vec<Error>,
}

/// Reads files and directories; `-` is standard input. In a directory only what a rule may look at is read; hidden
/// directories, those of dependencies and builds, and symbolic links are passed over. A file that is named itself is
/// always read.
#[must_use]
pub fn collect(paths: &[PathBuf], stdin: &mut dyn Read) -> Collected {
    let mut collected = Collected::default();
    let mut total = 0;
    for path in paths {
        if path.as_os_str() == "-" {
            add(&mut collected, &mut total, "<stdin>".to_owned(), stdin);
            continue;
        }
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_dir() => walk(&mut collected, &mut total, path),
            Ok(_) => read(&mut collected, &mut total, path),
            Err(source) => collected.errors.push(Error::Read {
                path: path.display().to_string(),
                source,
            }),
        }
    }
    collected
}

fn walk(collected: &mut Collected, total: &mut u64, root: &Path) {
    let mut open = vec![(root.to_owned(), 0)];
    while let Some((directory, depth)) = open.pop() {
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(source) => {
                collected.errors.push(Error::Read {
                    path: directory.display().to_string(),
                    source,
                });
                continue;
            }
        };
        let mut entries: Vec<_> = entries.flatten().collect();
        // Deeper ones later, and the same order each time.
        entries.sort_by_key(fs::DirEntry::file_name);
        let mut directories = Vec::new();
        for entry in entries {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(kind) = entry.file_type() else {
                continue;
            };
            if kind.is_dir() {
                let passed = name.starts_with('.') || SKIPPED.contains(&name.as_str());
                if !passed && depth < MAX_DEPTH {
                    directories.push((entry.path(), depth + 1));
                }
            } else if kind.is_file() && document::is_interesting(&entry.path().to_string_lossy()) {
                if collected.files.len() >= MAX_FILES {
                    collected.errors.push(Error::TooLarge {
                        path: root.display().to_string(),
                        what: "number of files",
                        found: u64::try_from(collected.files.len() + 1).unwrap_or(u64::MAX),
                        limit: u64::try_from(MAX_FILES).unwrap_or(u64::MAX),
                    });
                    return;
                }
                read(collected, total, &entry.path());
            }
        }
        open.extend(directories.into_iter().rev());
    }
}

fn read(collected: &mut Collected, total: &mut u64, path: &Path) {
    let name = path
        .strip_prefix("./")
        .unwrap_or(path)
        .display()
        .to_string();
    match File::open(path) {
        Ok(mut file) => add(collected, total, name, &mut file),
        Err(source) => collected.errors.push(Error::Read { path: name, source }),
    }
}

fn add(collected: &mut Collected, total: &mut u64, path: String, reader: &mut dyn Read) {
    match text(reader, &path, total) {
        Ok(text) => collected.files.push((path, text)),
        Err(error) => collected.errors.push(error),
    }
}

fn text(reader: &mut dyn Read, path: &str, total: &mut u64) -> Result<String> {
    let limit = MAX_FILE.min(MAX_TOTAL.saturating_sub(*total));
    let mut bytes = Vec::new();
    // One more than is wanted tells a file that is too large from one that is not.
    reader
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|source| Error::Read {
            path: path.to_owned(),
            source,
        })?;
    let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
    if length > limit {
        return Err(Error::TooLarge {
            path: path.to_owned(),
            what: if limit < MAX_FILE {
                "size of all files"
            } else {
                "size of file"
            },
            found: length,
            limit,
        });
    }
    *total += length;
    skans_erlconf::term::decode(&bytes).map_err(|error| Error::NotText {
        path: path.to_owned(),
        at: error.span().start,
    })
}
