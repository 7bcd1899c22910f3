//! The clocks of some processes: they run under libfaketime, which reads from a file how far its clock is off. Only what tells the time of day
//! is shifted; what measures a length of time, which nobody sets, is not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;

/// What to do where the library is missing.
const INSTALL: &str = "libfaketime is not installed: apt-get install libfaketime (Debian, Ubuntu), dnf install libfaketime (Fedora)";
/// Where Linux has segments of shared memory.
const SHARED: &str = "/dev/shm";

/// libfaketime for programs with threads.
///
/// # Errors
/// What is missing, and what to do about it.
pub fn library() -> Result<PathBuf, String> {
    if !cfg!(target_os = "linux") {
        return Err("clocks of single processes are shifted on Linux only".to_owned());
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
        .ok_or_else(|| INSTALL.to_owned())
}

/// The program to start processes from: where there is a library, a script in `within` that puts it before the real one.
///
/// # Errors
/// [`Error::System`].
pub fn shifted(skans: &Path, within: &Path, library: Option<&Path>) -> Result<PathBuf, Error> {
    let Some(library) = library else {
        return Ok(skans.to_owned());
    };
    set(within, 0)?;
    let script = within.join("skans-shifted");
    // The file is looked into once a second. Times of files stay real.
    let text = format!(
        "#!/bin/sh\nexport LD_PRELOAD={} FAKETIME_TIMESTAMP_FILE={} FAKETIME_CACHE_DURATION=1 FAKETIME_DONT_FAKE_MONOTONIC=1 DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1\nexec {} \"$@\"\n",
        quoted(library),
        quoted(&file(within)),
        quoted(skans)
    );
    let failed = || Error::system(script.display().to_string());
    std::fs::write(&script, text).map_err(failed())?;
    let mode = PermissionsExt::from_mode(0o700);
    std::fs::set_permissions(&script, mode).map_err(failed())?;
    Ok(script)
}

/// Shifts the clock of all processes of the program in `within`, by so many seconds from what is real. They see it within a second.
///
/// # Errors
/// [`Error::System`].
pub fn set(within: &Path, seconds: i64) -> Result<(), Error> {
    let (file, next) = (file(within), within.join("clock.next"));
    let failed = || Error::system(file.display().to_string());
    // Renamed into place: half a number would be another time.
    std::fs::write(&next, format!("{seconds:+}\n")).map_err(failed())?;
    std::fs::rename(&next, &file).map_err(failed())
}

/// What the library leaves behind of a process that was killed: a semaphore and a segment of shared memory, by its id. They go with this value,
/// which has to go after the processes.
#[derive(Debug)]
pub struct Segments(SystemTime);

impl Segments {
    /// Of processes that are started later.
    #[must_use]
    pub fn from_now_on() -> Self {
        Self(SystemTime::now())
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(SHARED).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let of = ["faketime_shm_", "sem.faketime_sem_"];
            let Some(pid) = of.iter().find_map(|prefix| name.strip_prefix(prefix)) else {
                continue;
            };
            let made = entry.metadata().and_then(|file| file.modified());
            let ours = made.is_ok_and(|made| made >= self.0);
            // Somebody else's may run.
            if ours && !Path::new("/proc").join(pid).exists() {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }
}

fn file(within: &Path) -> PathBuf {
    within.join("clock")
}

/// For a shell.
fn quoted(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', "'\\''"))
}
