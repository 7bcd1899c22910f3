//! Where the library is that shifts the clock of a process.

use std::path::PathBuf;

use super::Missing;

/// What to do where it is missing.
const INSTALL: &str = "libfaketime is not installed: apt-get install libfaketime (Debian, Ubuntu), dnf install libfaketime (Fedora)";

/// libfaketime for programs with threads.
pub(super) fn library() -> Result<PathBuf, Missing> {
    if !cfg!(target_os = "linux") {
        return Err(Missing(
            "clocks of single processes are shifted on Linux only".to_owned(),
        ));
    }
    let mut places: Vec<_> = ["/usr/lib64", "/usr/lib", "/usr/local/lib"]
        .map(PathBuf::from)
        .to_vec();
    // Debian has a directory for each architecture.
    let triples = std::fs::read_dir("/usr/lib").into_iter().flatten();
    places.extend(triples.filter_map(|entry| Some(entry.ok()?.path())));
    places
        .into_iter()
        .map(|place| place.join("faketime/libfaketimeMT.so.1"))
        .find(|library| library.is_file())
        .ok_or_else(|| Missing(INSTALL.to_owned()))
}
