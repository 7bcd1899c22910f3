//! The clock of one of two clusters: its processes run under libfaketime, which reads from a file how far its clock is off. Only what tells the
//! time of day is shifted; what measures a length of time, which nobody sets, is not.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use crate::Error;

/// Where Linux has segments of shared memory.
const SHARED: &str = "/dev/shm";

/// The program to start a side from: where there is a library, a script that puts it before the real one.
pub(super) fn shifted(
    skans: &Path,
    within: &Path,
    library: Option<&Path>,
) -> Result<PathBuf, Error> {
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

/// Shifts it, by so many seconds from what is real.
pub(super) fn set(within: &Path, seconds: i64) -> Result<(), Error> {
    let (file, next) = (file(within), within.join("clock.next"));
    let failed = || Error::system(file.display().to_string());
    // Renamed into place: half a number would be another time.
    std::fs::write(&next, format!("{seconds:+}\n")).map_err(failed())?;
    std::fs::rename(&next, &file).map_err(failed())
}

/// What the library leaves behind of a process that was killed: a semaphore and a segment of shared memory, by its id. They go with this value,
/// which has to go after the processes.
#[derive(Debug)]
pub(super) struct Segments(SystemTime);

impl Segments {
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
