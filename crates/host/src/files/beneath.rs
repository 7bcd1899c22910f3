//! Files below one directory that came from elsewhere: read without being led out of it, whatever it holds.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Dir, FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;

use crate::error::FileError;

/// How deep it goes. The deepest path of a log has eight parts.
const DEPTH: usize = 12;

/// A directory. Nothing in it that is a link is followed, so that what is read is what somebody else would find in a copy of it.
#[derive(Debug)]
pub struct Beneath {
    root: OwnedFd,
    path: PathBuf,
}

impl Beneath {
    /// Opens it. The directory itself may be named by a link.
    ///
    /// # Errors
    /// If it cannot be opened, or is none.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open(path, flags, Mode::empty()).map_err(doing(path, "open"))?;
        Ok(Self {
            root,
            path: path.to_owned(),
        })
    }

    /// The content of a regular file at this path, of a longer one the first `limit` bytes; `None` if there is none. The parts of the
    /// path are separated by `/`, and none of them is `.`, `..` or empty.
    ///
    /// # Errors
    /// If it, or a directory on the way, is a link or something else, or cannot be read.
    pub fn read(&self, path: &str, limit: usize) -> Result<Option<Vec<u8>>, FileError> {
        let whole = self.path.join(path);
        let mut parts: Vec<&str> = path.split('/').collect();
        let odd = |part: &&str| matches!(*part, "" | "." | "..");
        if parts.iter().any(odd) || parts.len() > DEPTH {
            let problem = "found a path that leads elsewhere, wanted one below the directory";
            return Err(FileError::new(&whole, problem));
        }
        let last = parts.pop().unwrap_or_default();
        let mut at = None;
        for part in parts {
            match self.directory(at.as_ref(), part) {
                Ok(next) => at = Some(next),
                Err(Errno::NOENT) => return Ok(None),
                Err(error) => return Err(doing(&whole, "open")(error)),
            }
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = match openat(
            at.as_ref().unwrap_or(&self.root),
            last,
            flags,
            Mode::empty(),
        ) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(doing(&whole, "open")(error)),
        };
        let stat = fstat(&file).map_err(doing(&whole, "stat"))?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            let problem = "found something else, wanted a regular file";
            return Err(FileError::new(&whole, problem));
        }
        let size = usize::try_from(stat.st_size).unwrap_or(0).min(limit);
        let mut bytes = Vec::with_capacity(size);
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        File::from(file)
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(FileError::doing(&whole, "read"))?;
        Ok(Some(bytes))
    }

    fn directory(&self, at: Option<&OwnedFd>, part: &str) -> Result<OwnedFd, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(at.unwrap_or(&self.root), part, flags, Mode::empty())
    }

    /// The paths of everything in it that is no directory, at most `most`, in no order.
    ///
    /// # Errors
    /// If something cannot be listed, has a name that is not UTF-8, is deeper than the deepest may be, or is too much.
    pub fn list(&self, most: usize) -> Result<Vec<String>, FileError> {
        let mut found = Vec::new();
        let mut left = vec![(String::new(), 0)];
        while let Some((prefix, depth)) = left.pop() {
            let whole = self.path.join(&prefix);
            if depth >= DEPTH {
                return Err(FileError::new(
                    &whole,
                    "found a directory, wanted none so deep",
                ));
            }
            let mut at = None;
            for part in prefix.split_terminator('/') {
                let next = self.directory(at.as_ref(), part);
                at = Some(next.map_err(doing(&whole, "open"))?);
            }
            let entries = Dir::read_from(at.as_ref().unwrap_or(&self.root));
            for entry in entries.map_err(doing(&whole, "read"))? {
                let entry = entry.map_err(doing(&whole, "read"))?;
                let name = entry.file_name().to_str().map_err(|_| {
                    FileError::new(&whole, "found a name that is not UTF-8, wanted one that is")
                })?;
                if matches!(name, "." | "..") {
                    continue;
                }
                if found.len() + left.len() >= most {
                    let problem = format!("found more than {most} files, wanted at most that");
                    return Err(FileError::new(&self.path, problem));
                }
                let path = format!("{prefix}{name}");
                // Some file systems do not say what it is.
                let directory = match entry.file_type() {
                    FileType::Unknown => self.directory(at.as_ref(), name).is_ok(),
                    known => known == FileType::Directory,
                };
                if directory {
                    left.push((path + "/", depth + 1));
                } else {
                    found.push(path);
                }
            }
        }
        Ok(found)
    }
}

fn doing(path: &Path, doing: &str) -> impl FnOnce(Errno) -> FileError {
    let say = FileError::doing(path, doing);
    move |error| say(error.into())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn nothing_leads_out_of_the_directory() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("secret"), "theirs").unwrap();
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("tile/0")).unwrap();
        fs::write(dir.path().join("tile/0/000"), "12345678").unwrap();
        symlink(outside.path().join("secret"), dir.path().join("link")).unwrap();
        symlink(outside.path(), dir.path().join("elsewhere")).unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        let read = |path: &str| beneath.read(path, 5);
        assert_eq!(read("tile/0/000").unwrap().unwrap(), b"12345");
        assert_eq!(
            beneath.read("tile/0/000", 100).unwrap().unwrap(),
            b"12345678"
        );
        for none in ["tile/0/001", "tile/1/000", "none"] {
            assert_eq!(read(none).unwrap(), None, "{none}");
        }
        let secret = outside.path().join("secret").display().to_string();
        for wrong in [
            "link",
            "elsewhere/secret",
            "../x",
            "tile/../link",
            "tile//0",
            "",
            "tile",
            "./tile",
            &secret,
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
        let mut listed = beneath.list(10).unwrap();
        listed.sort();
        assert_eq!(listed, ["elsewhere", "link", "tile/0/000"]);
        assert!(beneath.list(2).is_err());
        assert!(Beneath::open(&outside.path().join("secret")).is_err());
        assert!(Beneath::open(&dir.path().join("none")).is_err());
    }

    #[test]
    fn nothing_makes_it_wait_or_go_on_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            dir.path().join("pipe"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let beneath = Beneath::open(dir.path()).unwrap();
        assert!(beneath.read("pipe", 5).is_err());
        let deep = dir.path().join("d/".repeat(DEPTH + 1));
        fs::create_dir_all(deep).unwrap();
        assert!(beneath.list(100).is_err());
        assert!(beneath.read(&"d/".repeat(DEPTH + 1), 5).is_err());
    }
}
