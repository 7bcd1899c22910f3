//! What only root can do. Skipped loudly elsewhere, and never in CI.

use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Whether this is root; says so where it is not.
///
/// # Panics
/// In CI, where a skipped test would pass for a kept promise.
pub fn or_skip(what: &str) -> bool {
    use std::os::unix::fs::MetadataExt;
    if std::fs::metadata("/proc/self").unwrap().uid() == 0 {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "{what}: needs root, and CI must not skip it"
    );
    // Not by eprintln, which is kept from view where a test passes. script/test counts these lines.
    let _ = writeln!(std::io::stderr(), "SKIPPED: {what}: needs root");
    false
}

/// A small disk, mounted on a directory until this goes.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn new(mebibytes: u32) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={mebibytes}m,mode=0700"))
            .arg("skans-test")
            .arg(directory.path())
            .output()
            .unwrap();
        assert!(mounted.status.success(), "{mounted:?}");
        Self(directory)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a file may still be open in a thread that ends now.
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}
